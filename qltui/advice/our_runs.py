"""A RunConfig in the words of a Setup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import Checkpointing, Compute, Device, Method, StrategyName, Task
from engine.config.choices import Attention, Storage
from engine.config.quick_msgspec import msgspec
from engine.config.ranks import compute_type, gpus_per_node, uses_gpu, world_size
from qltui.advice import sizes

if TYPE_CHECKING:
    from engine.config import RunConfig
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Card, Machine

ATTENTION = {Attention.FLASH_ATTENTION_2: "fa2", Attention.EAGER: "eager"}
DTYPE = {Compute.BF16: "bfloat16", Compute.FP16: "float16", Compute.FP32: "float32"}


def anywhere(config: RunConfig) -> RunConfig:
    """The configuration for GPUs elsewhere, whatever it says of those here."""
    hardware = msgspec.structs.replace(config.hardware, device=Device.AUTO, gpus=[])
    return msgspec.structs.replace(config, hardware=hardware)


def usable_cards(config: RunConfig, machine: Machine) -> tuple[Card, ...]:
    """The GPUs of a node that the run may take: those it names, else all; none on CPU ranks."""
    if not uses_gpu(config, len(machine.cards)):
        return ()
    places = [place for name in config.hardware.gpus if (place := machine.card_named(name)) is not None]
    return tuple(machine.cards[place] for place in dict.fromkeys(places)) or machine.cards


def used_cards(config: RunConfig, machine: Machine) -> tuple[Card, ...]:
    """The GPUs of a node that the run takes: the first of those it may."""
    cards = usable_cards(config, machine)
    return cards[: gpus_per_node(config, len(cards))] if cards else ()


def values(config: RunConfig, machine: Machine | None, architecture: Architecture | None) -> dict[str, Any]:
    """What a run of ours is, by name in Setup. Of a machine that is not known nothing is said that fires a rule."""
    method = {Method.QLORA: "qlora4"}.get(config.method.name, config.method.name.value)
    strategy, training, lora = config.strategy, config.training, config.method.lora
    hardware = _hardware(config, machine)
    precision = hardware["precision"]
    found: dict[str, Any] = {
        "method": method,
        "strategy": strategy.name.value,
        "launcher": "qltui",
        "trainer": "qltui",
        "device_map": "auto" if strategy.name is StrategyName.PIPELINE else None,
        "use_deepspeed": strategy.name.value.startswith("zero"),
        "use_fsdp": strategy.name is StrategyName.FSDP2,
        "quant_storage": _storage(config),
        "quant_type": config.method.quantization.type.value,
        "compute_dtype": DTYPE[Compute(precision)],
        "model_dtype": DTYPE[Compute(precision)],
        "checkpoint_dtype": architecture.dtype if architecture is not None else "",
        "cpu_offload_params": strategy.offload_parameters,
        "cpu_offload_opt": strategy.offload_optimizer,
        "gc": "none" if training.gradient_checkpointing is Checkpointing.NONE else "hf",
        "use_reentrant": False,
        "find_unused": False,
        "max_grad_norm": training.max_grad_norm,
        "task": "seq_cls" if config.model.task is Task.SEQUENCE_CLASSIFICATION else "causal",
        "has_adapter": config.method.name is not Method.FULL,
        "modules_to_save": bool(lora.modules_to_save) and config.method.name is not Method.FULL,
        "resize_vocab": bool(config.model.new_tokens),
        "trainable_tokens": bool(config.model.new_tokens),
        "init": lora.init.value,
        "dora": lora.use_dora and config.method.name is not Method.FULL,
        "optim": training.optimizer.value,
        "batch_size": training.micro_batch_size,
        "max_length": config.data.max_length,
        "packing": config.data.packing,
        "attn": ATTENTION.get(config.model.attention, "sdpa"),
        "dataloader_workers": config.data.num_workers,
        "save_total": training.keep_checkpoints,
        "est_host_ram_gb": 0.0,
        "est_quant_model_gb": 0.0,
        "ckpt_gb": 0.0,
    }
    if architecture is None:
        return found | hardware
    return found | hardware | _of_architecture(config, method, architecture, machine)


def _hardware(config: RunConfig, machine: Machine | None) -> dict[str, Any]:
    if machine is None:
        on_cpu = config.hardware.device is Device.CPU
        precision = compute_type(config, () if on_cpu else (9,))
        ranks = world_size(config, 0)
        gpus = 0 if on_cpu else ranks
        return {
            "gpu_vendor": "cpu" if on_cpu else "nvidia", "gpu_cc": 9.0, "precision": precision.value,
            "world_size": ranks, "n_gpus": gpus, "n_gpus_per_node": gpus,
        }  # fmt: skip
    cards = used_cards(config, machine)
    precision = compute_type(config, {card.capability[0] for card in cards})
    return sizes.of_machine(machine, cards) | {
        "precision": precision.value,
        "world_size": world_size(config, len(machine.cards)),
        "n_gpus": len(cards) * config.hardware.nodes,
        "n_gpus_per_node": len(cards),
    }


def _storage(config: RunConfig) -> str:
    """The type 4-bit weights are stored as; what ``auto`` comes to is the strategy's."""
    wanted = config.method.quantization.storage
    if wanted is not Storage.AUTO:
        return wanted.value
    return "float32" if config.strategy.name is StrategyName.FSDP2 else "uint8"


def _of_architecture(
    config: RunConfig, method: str, architecture: Architecture, machine: Machine | None
) -> dict[str, Any]:
    """What the model's numbers say; sizes only where there are GPUs, and room to compare them with."""
    found: dict[str, Any] = {"tied": architecture.tied}
    if machine is None or not machine.cards:
        return found
    double = config.method.quantization.double_quantization
    found["est_quant_model_gb"] = sizes.model_gib(architecture, method, double_quantization=double)
    offload = config.strategy
    if offload.offload_parameters or offload.offload_optimizer or config.training.offload_activations:
        found["est_host_ram_gb"] = _offloaded_gib(config, architecture, machine)
    if machine.disk_free is not None:
        from qltui.advice.memory.whole import checkpoint_bytes

        found["ckpt_gb"] = checkpoint_bytes(config, architecture) / sizes.GIB
    return found


def _offloaded_gib(config: RunConfig, architecture: Architecture, machine: Machine) -> float:
    from qltui.advice.memory import job_on, total
    from qltui.advice.memory.host import host_memory

    job = job_on(config, architecture, machine._replace(cards=used_cards(config, machine)))
    return total(host_memory(job, machine.nodes)) / sizes.GIB
