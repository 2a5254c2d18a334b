"""A run's result as its user will load it: plain Transformers and PEFT, on one device, nothing of the engine's."""

from __future__ import annotations

from typing import Any

import bitsandbytes
import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
)

from engine.config import Method, RunConfig, Task
from engine.data import prepare_rows
from engine.events import RunDirectory
from engine.quantized_experts import packing_of, quantize_experts
from engine.strategy import resolve_compute
from engine.strategy.base import DTYPES


def reloaded_evaluation_loss(
    run: RunDirectory, config: RunConfig, labels: list[str] | None, device: torch.device
) -> float:
    """Mean loss over the evaluation rows, as Transformers itself takes it, row by row and without padding."""
    dtype = DTYPES[resolve_compute(config, device.type == "cpu")]
    tokenizer = AutoTokenizer.from_pretrained(run.model if config.method.name is Method.FULL else run.adapter)
    rows = prepare_rows(config, tokenizer, run.data, is_main=True, progress=lambda text: None).evaluation
    assert rows is not None
    model = load(run, config, dtype, device, len(labels or ()), len(tokenizer)).eval()
    if device.type == "cpu":
        keep_float32_kernels(model)
        keep_int8_scales(model)
    total, targets = 0.0, 0
    with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        for row in rows:
            wanted = [row["label"]] if labels else [row["labels"]]
            count = 1 if labels else sum(label != -100 for label in row["labels"][1:])
            output = model(
                input_ids=torch.tensor([row["input_ids"]], device=device), labels=torch.tensor(wanted, device=device)
            )
            total, targets = total + float(output.loss) * count, targets + count
    return total / targets


def load(
    run: RunDirectory, config: RunConfig, dtype: torch.dtype, device: torch.device, labels: int, tokens: int
) -> Any:
    """The result with its base. ``labels``: classes, 0 if there are none; ``tokens``: size of the tokenizer."""
    classifies = config.model.task is Task.SEQUENCE_CLASSIFICATION
    kind: Any = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    place: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}}
    if config.method.name is Method.FULL:
        return kind.from_pretrained(run.model, **place)
    wanted = config.method.quantization
    quantization = {
        Method.LORA: None,
        Method.INT8: BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=wanted.int8_threshold),
        Method.QLORA: BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=wanted.type.value,
            bnb_4bit_use_double_quant=wanted.double_quantization,
            bnb_4bit_compute_dtype=dtype,
        ),
    }[config.method.name]
    classes = {"num_labels": labels} if labels else {}
    base = kind.from_pretrained(config.model.path, quantization_config=quantization, **place, **classes)
    if tokens > base.get_input_embeddings().weight.shape[0]:
        base.resize_token_embeddings(tokens)
    model = PeftModel.from_pretrained(base, run.adapter)
    packing = packing_of(config.method, dtype)
    if packing is not None:  # Transformers leave experts in 16 bit
        quantize_experts(model, None, packing)
    return model


def keep_float32_kernels(model: torch.nn.Module) -> None:
    """bitsandbytes' packed CPU kernel computes in bf16; like is to be compared with like."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def keep_int8_scales(model: torch.nn.Module) -> None:
    """On CPU PEFT's DoRA puts a copy without scales in the place of int8 weights; the layer's state still has them."""
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            module.register_forward_pre_hook(_give_scales_back)


def _give_scales_back(module: torch.nn.Module, _arguments: Any) -> None:
    weight: Any = module.weight
    if weight.SCB is None:
        weight.SCB = module.state.SCB  # type: ignore[union-attr]
