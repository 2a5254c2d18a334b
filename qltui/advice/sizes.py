"""What a machine gives and a model has, in the words of a Setup; bytes that a run takes are the memory plan's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Card, Machine

GIB = 2**30
MIB = 2**20

METHODS = {"full": "full", "lora": "lora", "qlora4": "qlora", "int8": "int8"}
"""Methods whose sizes are known: RunConfig's name by Setup's."""


def in_experts(architecture: Architecture) -> int:
    """Parameters of fused experts, which are no linear layers: bitsandbytes passes them by."""
    return sum(
        count * linear.parameters for count, layer in architecture.layers for linear in layer.linears if linear.experts
    )


def model_gib(architecture: Architecture, method: str, *, double_quantization: bool = True) -> float:
    """GiB of a whole model as one of METHODS keeps it."""
    # Only here: the memory plan takes longer to import than a check of one file may.
    from engine.config.choices import Method
    from qltui.advice.memory.whole import weight_bytes

    return weight_bytes(architecture, Method(METHODS[method]), double_quantization=double_quantization) / GIB


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
