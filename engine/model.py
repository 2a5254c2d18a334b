"""The base model as the method wants it: whole, frozen with adapters, or quantised with adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from engine.config import Attention, Checkpointing, Compute, LoraInit, Method, RunConfig, Storage
from engine.errors import BadInput

if TYPE_CHECKING:
    from torch import nn

DTYPES = {Compute.BF16: torch.bfloat16, Compute.FP16: torch.float16, Compute.FP32: torch.float32}
STORAGE = {
    Storage.AUTO: torch.uint8,  # exact wherever weights are not sharded
    Storage.UINT8: torch.uint8,
    Storage.FLOAT32: torch.float32,
    Storage.BFLOAT16: torch.bfloat16,
    Storage.FLOAT16: torch.float16,
}


def load_model(config: RunConfig, compute: Compute, device: torch.device) -> Any:
    """The model on ``device``, adapters attached, only what is trained requiring gradients.

    Raises:
        BadInput: the folder holds no such model, or no module has a name that adapters were wanted on.
    """
    model = _base_model(config, compute, device)
    model.config.use_cache = False
    _checkpoint_layers(model, config.training.gradient_checkpointing)
    if config.method.name is Method.FULL:
        return model
    if device.type == "cpu":
        _keep_4bit_weights_plain(model)
    return _with_adapters(model, config)


def _base_model(config: RunConfig, compute: Compute, device: torch.device) -> Any:
    arguments: dict[str, Any] = {}
    if config.model.attention is not Attention.AUTO:
        arguments["attn_implementation"] = config.model.attention.value
    try:
        return AutoModelForCausalLM.from_pretrained(
            config.model.path,
            revision=config.model.revision,
            trust_remote_code=config.model.trust_remote_code,
            # Trained in full, weights stay float32: small updates vanish when added to 16-bit ones.
            dtype=torch.float32 if config.method.name is Method.FULL else DTYPES[compute],
            quantization_config=_quantization(config, compute),
            device_map={"": device},
            **arguments,
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise BadInput(f"model.path: {config.model.path} cannot be loaded: {_first_line(error)}") from error


def _quantization(config: RunConfig, compute: Compute) -> BitsAndBytesConfig | None:
    wanted = config.method.quantization
    if config.method.name is Method.QLORA:
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=wanted.type.value,
            bnb_4bit_use_double_quant=wanted.double_quantization,
            bnb_4bit_compute_dtype=DTYPES[compute],
            bnb_4bit_quant_storage=STORAGE[wanted.storage],
        )
    if config.method.name is Method.INT8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=wanted.int8_threshold)
    return None


def _keep_4bit_weights_plain(model: nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights in evaluation mode.

    On CPUs with AVX512-BF16 ``Linear4bit.forward`` repacks its weight at the first forward in eval mode, and the packed
    kernel has no backward: training after an evaluation would go on with gradients that stop at that layer, silently
    (bitsandbytes 0.50.2, nn/modules.py ``Linear4bit.forward`` and autograd/_functions.py ``matmul_4bit``).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _checkpoint_layers(model: Any, wanted: Checkpointing | int) -> None:
    if wanted is Checkpointing.NONE:
        return
    # The non-reentrant variant needs no gradient on its inputs and works under DDP with frozen weights.
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if isinstance(wanted, int):
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        for layer in layers[wanted:]:
            layer.gradient_checkpointing = False


def _with_adapters(model: Any, config: RunConfig) -> Any:
    wanted = config.method.lora
    initialisation: bool | str = True if wanted.init is LoraInit.DEFAULT else wanted.init.value
    adapters = PeftLoraConfig(
        r=wanted.rank,
        lora_alpha=wanted.alpha,
        lora_dropout=wanted.dropout,
        target_modules=wanted.target_modules,
        modules_to_save=wanted.modules_to_save or None,
        use_rslora=wanted.use_rslora,
        use_dora=wanted.use_dora,
        init_lora_weights=initialisation,
        task_type=TaskType.CAUSAL_LM,
    )
    try:
        adapted = get_peft_model(model, adapters)
    except ValueError as error:
        raise BadInput(f"method.lora.target_modules: {_first_line(error)}") from error
    if not any(isinstance(module, LoraLayer) for module in adapted.modules()):
        raise BadInput(f"method.lora.target_modules: {wanted.target_modules} matches no module of this model.")
    return adapted


def adapted_modules(model: nn.Module) -> int:
    """How many modules carry adapters."""
    return sum(isinstance(module, LoraLayer) for module in model.modules())


def trainable(model: nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
