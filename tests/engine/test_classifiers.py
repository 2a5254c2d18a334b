"""Classifiers of several architectures trained by the engine: what plain PEFT loads of them answers alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cells.life import attempt, audits, events_of, of_kind
from cells.ranks import forget
from cells.verdict import RELOAD_TOLERANCE
from peft import PeftModel
from support import small_encoders
from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

from engine.events import RunDirectory, write_json

HELD_OUT = small_encoders.pairs(12)


@pytest.fixture(autouse=True)
def as_the_first_run_of_a_process() -> Iterator[None]:
    yield
    forget()


def train(model: str, folder: Path, **values: Any) -> RunDirectory:
    """A run of a few steps on one CPU rank; it learnt, and its audits passed."""
    data = small_encoders.write(small_encoders.pairs(32), folder / "train.jsonl")
    held_out = small_encoders.write(HELD_OUT, folder / "held_out.jsonl")
    run = RunDirectory(folder / "run")
    run.path.mkdir()
    tree = {
        "model.path": str(small_encoders.save(model, folder / model)), "model.task": "sequence_classification",
        "data.path": str(data), "data.eval_path": str(held_out), "method.lora.rank": 8, "hardware.device": "cpu",
        "training.max_steps": 16, "training.micro_batch_size": 8, "training.learning_rate": 5e-3,
        "training.warmup_ratio": 0.0,
    }  # fmt: skip
    write_json(run.run_yaml, {**tree, **values})  # JSON is YAML
    attempt(run, forget)
    losses = [event["loss"] for event in of_kind(events_of(run, 1, 0), "step")]
    assert sum(losses[-4:]) < sum(losses[:4])
    found = audits([events_of(run, 1, 0)])
    assert (found["weights"]["result"], found["adapter"]["result"]) == ("passed", "passed")
    return run


def loss_of_plain_peft(run: RunDirectory, base: Path, *, with_types: bool, **quantization: Any) -> float:
    """Mean loss over the held-out rows, one by one as the model's own tokenizer gives them."""
    settings = BitsAndBytesConfig(**quantization) if quantization else None
    plain = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=2, quantization_config=settings, device_map={"": "cpu"}
    )
    plain.config.pad_token_id = 0
    model = PeftModel.from_pretrained(plain, run.adapter).eval()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    tokenizer, total = small_encoders.tokenizer(), 0.0
    for row in HELD_OUT:
        inputs = tokenizer(*[row[name] for name in ("text", "text_pair") if name in row], return_tensors="pt")
        if not with_types:
            del inputs["token_type_ids"]
        with torch.no_grad():
            loss = model(**inputs, labels=torch.tensor([["agrees", "denies"].index(row["label"])])).loss
        total += float(loss)
    return total / len(HELD_OUT)


def own_loss(run: RunDirectory) -> float:
    return float(of_kind(events_of(run, 1, 0), "evaluation")[-1]["loss"])


def test_bert_is_trained_and_evaluated_with_its_token_types(tmp_path: Path) -> None:
    run = train("bert", tmp_path, **{"method.name": "lora"})
    own, base = own_loss(run), tmp_path / "bert"
    assert math.isclose(own, loss_of_plain_peft(run, base, with_types=True), rel_tol=RELOAD_TOLERANCE["cpu"])
    assert not math.isclose(own, loss_of_plain_peft(run, base, with_types=False), rel_tol=1e-3)
