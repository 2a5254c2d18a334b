"""Names and values of a Setup in words, and where our RunConfig keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import get
from engine.config.schema import as_text

if TYPE_CHECKING:
    from qltui.advice.setup import Setup

PATHS = {
    "method": "method.name",
    "strategy": "strategy.name",
    "quant_storage": "method.quantization.storage",
    "quant_type": "method.quantization.type",
    "precision": "precision.compute",
    "cpu_offload_params": "strategy.offload_parameters",
    "cpu_offload_opt": "strategy.offload_optimizer",
    "gc": "training.gradient_checkpointing",
    "task": "model.task",
    "modules_to_save": "method.lora.modules_to_save",
    "resize_vocab": "model.new_tokens",
    "init": "method.lora.init",
    "dora": "method.lora.use_dora",
    "optim": "training.optimizer",
    "attn": "model.attention",
    "save_total": "training.keep_checkpoints",
    "dataloader_workers": "data.num_workers",
    "world_size": "hardware.ranks_per_node",
    "n_gpus": "hardware.gpus",
    "max_length": "data.max_length",
    "packing": "data.packing",
    "model": "model.path",
    "batch_size": "training.micro_batch_size",
}
"""Dotted path in RunConfig by name in Setup."""

VALUES = {
    ("method", "qlora4"): "qlora",
    ("attn", "fa2"): "flash_attention_2",
}
"""Values that RunConfig spells otherwise."""

SHOWN = {
    ("method", "full"): "full fine-tuning",
    ("method", "lora"): "16-bit LoRA",
    ("method", "qlora4"): "QLoRA",
    ("method", "int8"): "int8 LoRA",
    ("strategy", "single"): "one process",
    ("strategy", "ddp"): "DDP",
    ("strategy", "pipeline"): "a pipeline",
    ("strategy", "fsdp1"): "FSDP1",
    ("strategy", "fsdp2"): "FSDP2",
    ("strategy", "zero1"): "ZeRO-1",
    ("strategy", "zero2"): "ZeRO-2",
    ("strategy", "zero3"): "ZeRO-3",
    ("attn", "fa2"): "FlashAttention 2",
    ("attn", "fa3"): "FlashAttention 3",
    ("attn", "fa4"): "FlashAttention 4",
}
"""How a value is read out in a sentence, where its own name would not do."""


IN_WORDS = ("full fine-tuning", "one process", "a pipeline")
"""What is read out is words there, which begin a sentence with a capital; identifiers stay as they are."""


def path_of(name: str) -> str | None:
    """Where RunConfig keeps what Setup calls ``name``; None for what is the machine's. Its own paths stay."""
    return name if "." in name else PATHS.get(name)


def value_of(name: str, value: Any) -> Any:
    """A value of Setup as RunConfig spells it."""
    return VALUES.get((name, value), value) if isinstance(value, str) else value


class _Values:
    """What the placeholders of a sentence stand for."""

    def __init__(self, setup: Setup, field: str | None) -> None:
        self.setup, self.field = setup, field

    def __getitem__(self, name: str) -> Any:
        name = self.field or "" if name == "value" else name
        if "." in name and self.setup.config is not None:
            return as_text(get(self.setup.config, name))
        value = getattr(self.setup, name)
        if value is None or isinstance(value, bool):
            return str(value).lower()
        return SHOWN.get((name, value), value) if isinstance(value, str) else value


def fill(sentence: str, setup: Setup, field: str | None) -> str:
    """``sentence`` with its ``{name}`` placeholders filled from the setup; words that begin it get a capital."""
    text = sentence.format_map(_Values(setup, field)) if "{" in sentence else sentence
    return text[0].upper() + text[1:] if text.startswith(IN_WORDS) else text
