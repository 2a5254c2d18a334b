"""The loss in chunks is the loss of all logits, with the same gradients, whatever the head is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from peft import LoraConfig, get_peft_model
from support.prepared import config_of, fresh_process, prepared
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from engine.chunked_loss import ChunkedLoss, choose_loss
from engine.config import Loss
from engine.errors import BadInput
from engine.loss import summed_loss
from engine.strategy import Strategy
from engine.tokens import IGNORED

VOCABULARY, TOKENS = 320, 40
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "initializer_range": 0.3,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "llama, tied": {"tie_word_embeddings": True},
    "phi": {"num_key_value_heads": 4},  # a head with a bias
    "gpt2": {"n_embd": 48, "n_head": 4, "n_layer": 2, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    "gemma2": {"final_logit_softcapping": 3.0, "sliding_window": 16},
    "granite": {"logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.25, "tie_word_embeddings": True},
}
ROW = {"input_ids": list(range(3, 3 + TOKENS)), "labels": list(range(3, 3 + TOKENS)), "prompt_ids": [3]}

pytestmark = pytest.mark.usefixtures("fresh_process")
__all__ = ["fresh_process"]


def model_of(family: str, **more: Any) -> Any:
    torch.manual_seed(0)
    values = {**SMALL, **FAMILIES[family], **more}
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(family.partition(",")[0], **values))
    for name, parameter in model.named_parameters():
        if name.endswith("lm_head.bias"):
            nn.init.normal_(parameter)
    return model


def batch_of(rows: int = 2) -> dict[str, Tensor]:
    """Rows with prompts and padding, where there is no loss."""
    ids = torch.randint(3, VOCABULARY, (rows, TOKENS), generator=torch.Generator().manual_seed(1))
    labels, mask = ids.clone(), torch.ones_like(ids)
    labels[:, :7] = IGNORED
    labels[0, -9:], mask[0, -9:] = IGNORED, 0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def loss_and_gradients(loss: Any, strategy: Strategy, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    strategy.model.zero_grad()
    with strategy.autocast():
        found = loss(strategy.model, batch)
    (found / 50).backward()
    gradients = {
        name: one.grad.clone() for name, one in strategy.unwrapped.named_parameters() if one.grad is not None
    }  # fmt: skip
    return found.detach(), gradients


def in_chunks(strategy: Strategy, **values: Any) -> Any:
    return choose_loss(config_of(**{"training.loss": 11, **values}), strategy, ROW, complain)


def complain(message: str) -> None:
    raise AssertionError(message)


def agree(strategy: Strategy, tolerance: float = 1e-5, batch: dict[str, Tensor] | None = None) -> None:
    """See that chunks give the loss and gradients that all logits do."""
    batch = batch or batch_of()
    expected, gradients = loss_and_gradients(summed_loss, strategy, batch)
    found, others = loss_and_gradients(in_chunks(strategy), strategy, batch)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(others[name], gradient, rtol=0, atol=10 * tolerance * scale, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_trained_in_full(family: str) -> None:
    agree(prepared(model_of(family)))


def adapted(family: str, **lora: Any) -> Any:
    targets = {"target_modules": "all-linear", **lora}
    model: Any = get_peft_model(model_of(family), LoraConfig(r=4, task_type="CAUSAL_LM", **targets))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("family", ["llama", "llama, tied", "gemma2"])
def test_adapters_below_a_frozen_head(family: str) -> None:
    agree(prepared(adapted(family)))


HEADS: dict[str, Callable[[], Any]] = {
    "adapters": lambda: adapted("llama", target_modules=["q_proj", "lm_head"]),
    "trained whole": lambda: adapted("llama", modules_to_save=["lm_head"]),
    "new rows": lambda: adapted("llama", trainable_token_indices={"embed_tokens": [3, 4], "lm_head": [3, 4]}),
    "new rows, tied": lambda: adapted("llama, tied", trainable_token_indices={"embed_tokens": [3, 4]}),
}


@pytest.mark.parametrize("head", HEADS)
def test_what_is_trained_beside_or_in_the_head(head: str) -> None:
    agree(prepared(HEADS[head]()))


def four_bit(head: nn.Module) -> nn.Module:
    packed = Linear4bit(48, VOCABULARY, bias=False, compute_dtype=torch.float32, quant_type="nf4")
    packed.weight = Params4bit(head.weight.data, requires_grad=False, quant_type="nf4")
    packed.support_avx512bf16_for_cpu = False
    return packed.to("cpu")


def eight_bit(head: nn.Module) -> nn.Module:
    packed = Linear8bitLt(48, VOCABULARY, bias=False, has_fp16_weights=False, threshold=0.0)
    packed.weight = Int8Params(head.weight.data, requires_grad=False, has_fp16_weights=False)
    return packed.to("cpu")


@pytest.mark.parametrize("quantise", [four_bit, eight_bit])
def test_a_quantised_head(quantise: Callable[[nn.Module], nn.Module]) -> None:
    model = model_of("llama").requires_grad_(False)
    model.lm_head = quantise(model.lm_head)
    model = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj"]))
    agree(prepared(model), tolerance=1e-4)


@pytest.mark.parametrize("make", [lambda: adapted("llama").bfloat16(), lambda: model_of("granite")])
def test_in_bf16(make: Callable[[], Any]) -> None:
    """Weights of the head as they are and cast; gradients of hidden states are rounded to bf16 either way."""
    agree(prepared(make(), **{"precision.compute": "bf16"}), tolerance=2e-3)


def test_small_gradients_in_fp16_are_kept() -> None:
    """Most of a trained model's tokens have gradients that fp16 has no number for."""
    torch.manual_seed(0)
    head = nn.Linear(64, 500, bias=False).requires_grad_(False)
    states, targets = torch.randn(24, 64) * 2, torch.arange(24)
    head.weight.data[:24] = states / 10
    whole = states.clone().requires_grad_()
    (ChunkedLossOf(head).of(whole, targets, 24) * 1e-3 * 2**14).backward()
    half = states.half().requires_grad_()
    (ChunkedLossOf(head.half()).of(half, targets, 5) * 1e-3 * 2**14).backward()
    assert whole.grad is not None and half.grad is not None
    difference = (half.grad.float() - whole.grad).norm() / whole.grad.norm()
    assert difference < 0.02


class ChunkedLossOf:
    """Of a head alone."""

    def __init__(self, head: nn.Module) -> None:
        self.loss = ChunkedLoss(head)

    def of(self, states: Tensor, targets: Tensor, tokens: int) -> Tensor:
        self.loss.tokens = tokens
        before = torch.zeros(1, dtype=targets.dtype)
        return self.loss._loss_of_all(states[None], torch.cat([before, targets])[None])


def test_targets_alone_are_computed() -> None:
    strategy = prepared(model_of("llama"))
    seen: list[int] = []
    loss = in_chunks(strategy)
    head = strategy.unwrapped.lm_head.forward.__self__._head_forward
    strategy.unwrapped.lm_head.forward.__self__._head_forward = lambda states: seen.append(len(states)) or head(states)
    with torch.no_grad():
        loss(strategy.model, batch_of())
    assert seen == [11, 11, 11, 11, 11, 2]  # of 2 x 40 tokens, 7 + 7 + 9 of them without


def test_nothing_to_learn() -> None:
    strategy = prepared(adapted("llama", modules_to_save=["lm_head"]))
    batch = batch_of()
    batch["labels"].fill_(IGNORED)
    found, gradients = loss_and_gradients(in_chunks(strategy), strategy, batch)
    assert found == 0
    assert gradients
    assert all(not gradient.any() for gradient in gradients.values())


def test_evaluation_and_generation_beside_it() -> None:
    strategy = prepared(model_of("gemma2"))
    batch = batch_of()
    with torch.no_grad():
        expected = summed_loss(strategy.unwrapped, batch)
        logits = strategy.unwrapped(batch["input_ids"]).logits
        loss = in_chunks(strategy)
        torch.testing.assert_close(loss(strategy.unwrapped, batch), expected, rtol=1e-6, atol=0)
        assert torch.equal(strategy.unwrapped(batch["input_ids"]).logits, logits)


def with_unknown_end(model: Any) -> Any:
    """Does something with its logits that no configuration tells of."""
    forward = model.forward

    def changed(*arguments: Any, **named: Any) -> Any:
        output = forward(*arguments, **named)
        output.logits = output.logits * 1.01
        return output

    model.forward = changed
    return model


def test_a_model_that_does_more_with_its_logits() -> None:
    strategy = prepared(with_unknown_end(model_of("llama")))
    said: list[str] = []
    assert choose_loss(config_of(), strategy, ROW, said.append) is summed_loss
    assert said == ["the loss is taken of all logits at once: the model does more with its logits than is known."]
    assert "forward" not in vars(strategy.unwrapped.lm_head)
    for wanted in ("chunked", 100):
        chunked = config_of(**{"training.loss": wanted})
        with pytest.raises(
            BadInput, match=r"^training\.loss: .* more with its logits than is known; use auto or full\.$"
        ):
            choose_loss(chunked, strategy, ROW, complain)


def test_asked_for_in_full() -> None:
    strategy = prepared(model_of("llama"))
    assert in_chunks(strategy, **{"training.loss": Loss.FULL.value}) is summed_loss
