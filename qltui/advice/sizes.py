"""Bytes a run surely needs, by the numbers of its model alone; the memory plan says it more exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.config import RunConfig
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Card, Machine

GIB = 2**30
MIB = 2**20

BITS_16 = 2.0
BYTES_INT8 = 1.0
BYTES_4BIT = 0.5 + 4 / 64
"""A float32 scale for each block of 64 weights."""
BYTES_4BIT_DOUBLE = 0.5 + 1 / 64 + 4 / (64 * 256)
"""The scales in 8 bits, and a float32 scale for each 256 of them."""

BYTES_TRAINED = 12
"""A trained weight and its two Adam moments, in float32."""


def in_experts(architecture: Architecture) -> int:
    """Parameters of fused experts, which are no linear layers and stay in 16 bit."""
    return sum(
        count * linear.parameters for count, layer in architecture.layers for linear in layer.linears if linear.experts
    )


def weight_bytes(architecture: Architecture, method: str, *, double_quantization: bool = True) -> float:
    """Bytes of all weights, as a method (named as in Setup) keeps them."""
    total = architecture.parameters
    if method in ("full", "lora"):
        return total * BITS_16
    each = BYTES_INT8 if method == "int8" else BYTES_4BIT_DOUBLE if double_quantization else BYTES_4BIT
    replaced = architecture.quantized_parameters
    return replaced * each + (total - replaced) * BITS_16


def checkpoint_bytes(config: RunConfig, architecture: Architecture) -> float:
    """Bytes of one checkpoint of ours: what is trained, with its moments."""
    if config.method.name.value == "full":
        return float(architecture.parameters * BYTES_TRAINED)
    lora = config.method.lora
    named = [lora.target_modules] if isinstance(lora.target_modules, str) else lora.target_modules
    return float(architecture.lora_parameters(lora.rank, None if named == ["all-linear"] else named) * BYTES_TRAINED)


def host_bytes(config: RunConfig, architecture: Architecture) -> float:
    """Bytes that offload of ours puts into the host memory of a node at least; buffers come on top."""
    offload, full = config.strategy, config.method.name.value == "full"
    under_fsdp2 = offload.name.value == "fsdp2"
    total = 0.0
    states_on_host = full and (offload.offload_optimizer or (under_fsdp2 and offload.offload_parameters))
    if states_on_host:
        total += architecture.parameters * BYTES_TRAINED
    if offload.offload_parameters and not (states_on_host and under_fsdp2):  # there float32 weights are the weights
        method = {"qlora": "qlora4"}.get(config.method.name.value, config.method.name.value)
        total += weight_bytes(architecture, method)
    return total


def of_machine(machine: Machine, cards: Sequence[Card]) -> dict[str, Any]:
    """What a machine gives a run that uses these of its GPUs, by name in Setup; unknown figures are left out."""
    values: dict[str, Any] = {"mig": machine.mig, "gpu_vendor": vendor(cards)}
    if cards:
        major, minor = min(card.capability for card in cards)
        values["vram_gb"] = min(card.memory_bytes for card in cards) / GIB
        if values["gpu_vendor"] == "nvidia":
            values["gpu_cc"] = major + minor / 10
    if machine.host_memory is not None:
        values["host_ram_gb"] = machine.host_memory / GIB
    if machine.shm is not None:
        values["shm_mb"] = machine.shm / MIB
    if machine.disk_free is not None:
        values["disk_free_gb"] = machine.disk_free / GIB
    if machine.peer_access is not None:
        values["p2p"] = machine.peer_access
    return values


def vendor(cards: Sequence[Card]) -> str:
    """Who made the GPUs; ``cpu`` where there are none."""
    if not cards:
        return "cpu"
    return (
        "amd"
        if any("INSTINCT" in name or name.startswith(("MI", "AMD")) for name in (c.name.upper() for c in cards))
        else "nvidia"
    )
