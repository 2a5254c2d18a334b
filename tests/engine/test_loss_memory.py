"""What the memory plan says the loss takes, against the bytes that live at once on CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from support.live_bytes import LiveBytes
from support.prepared import config_of, fresh_process, prepared
from transformers import AutoConfig, AutoModelForCausalLM

from engine.chunked_loss import choose_loss
from engine.config import Compute
from qltui.advice.memory import Job
from qltui.advice.memory.activations import logits_bytes
from qltui.facts.architecture import of_config

pytestmark = pytest.mark.usefixtures("fresh_process")
__all__ = ["fresh_process"]

TOKENS, VOCABULARIES = 600, (12_000, 24_000)
NUMBERS: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 12, "pad_token_id": 0, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize("loss", ["full", 100])
@pytest.mark.parametrize(("family", "method"), [("llama", "lora"), ("gemma2", "lora"), ("llama", "full")])
def test_bytes_that_each_word_of_the_vocabulary_takes(family: str, method: str, loss: Any) -> None:
    values = {
        "method.name": method, "training.loss": loss, "precision.compute": "bf16", "data.max_length": TOKENS,
    }  # fmt: skip
    measured = [taken(family, vocabulary, values) for vocabulary in VOCABULARIES]
    planned = [max(logits_bytes(job_of(family, vocabulary, values))) for vocabulary in VOCABULARIES]
    between = VOCABULARIES[1] - VOCABULARIES[0]
    cast = 2 * NUMBERS["hidden_size"] if method == "full" else 0  # of the head's weight, which the plan has elsewhere
    measured_each = (measured[1] - measured[0]) / between - cast
    assert (planned[1] - planned[0]) / between == pytest.approx(measured_each, rel=0.005)


def numbers(family: str, vocabulary: int) -> dict[str, Any]:
    return {"model_type": family, "vocab_size": vocabulary, **NUMBERS}


def job_of(family: str, vocabulary: int, values: dict[str, Any]) -> Job:
    return Job(config_of(**values), of_config(numbers(family, vocabulary)), Compute.BF16, world_size=1)


def taken(family: str, vocabulary: int, values: dict[str, Any]) -> int:
    """The most bytes at once of a step, weights aside."""
    torch.manual_seed(0)
    full = values["method.name"] == "full"
    config = AutoConfig.for_model(**numbers(family, vocabulary))
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32 if full else torch.bfloat16)
    if not full:
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    strategy = prepared(model, **values)
    ids = list(range(3, 3 + TOKENS))
    loss = choose_loss(config_of(**values), strategy, {"input_ids": ids, "labels": ids}, pytest.fail)
    row = torch.tensor([ids])
    batch = {"input_ids": row, "attention_mask": torch.ones_like(row), "labels": row}
    strategy.model.train()
    with LiveBytes() as live:
        with strategy.autocast():
            summed = loss(strategy.model, batch)
        strategy.backward(summed)
    return live.peak
