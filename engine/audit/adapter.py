"""What was saved is what was trained: the adapter's file, opened again and compared with memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from engine.audit.failure import AuditFailure
from engine.audit.weights import checksum

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

FIRST_TO_MOVE = re.compile(r"\.lora_(B|embedding_A)\.")
"""Halves of adapters that the first step changes: the other half's gradient is zero as long as these are."""


def saved_name(name: str) -> str:
    """The key under which PEFT saves, and will look for, a trainable parameter of an adapted model."""
    name = re.sub(r"\.modules_to_save\.default\.", ".", name)
    name = re.sub(r"\.lora_magnitude_vector\.default\.weight$", ".lora_magnitude_vector", name)
    return re.sub(r"\.default(\.|$)", r"\1", name)


def begun_checksums(model: nn.Module) -> dict[str, int]:
    """Checksums of the adapters' first halves to move, in a model not trained yet, by the keys they are saved under.

    Normally they begin as zero; pissa and olora take them from the weights.
    """
    begun = {name: one for name, one in model.named_parameters() if FIRST_TO_MOVE.search(name)}
    return {saved_name(name): int(checksum(parameter)) for name, parameter in begun.items()}


def audit_adapter(folder: Path, trained: Mapping[str, Tensor], updates: int, begun: Mapping[str, int]) -> str:
    """Reopen a saved adapter and compare it with the weights in memory, tensor by tensor.

    ``trained`` holds every trained parameter whole, by its name in the PEFT model; ``begun`` is what
    :func:`begun_checksums` gave. Returns what was measured.

    Raises:
        AuditFailure: tensors are missing, foreign, of another shape or value, or untrained after ``updates``.
    """
    path = folder / "adapter_model.safetensors"
    wanted = {saved_name(name): value for name, value in trained.items()}
    if not path.is_file():
        raise AuditFailure(f"{path} was not written")
    with safe_open(path, framework="pt") as file:
        keys = set(file.keys())
        if not keys:
            raise AuditFailure(f"{path} is empty: PEFT saved none of {len(wanted)} tensors")
        if keys != set(wanted):
            missing, foreign = sorted(set(wanted) - keys), sorted(keys - set(wanted))
            raise AuditFailure(
                f"{path}: {len(missing)} of {len(wanted)} tensors are missing"
                + (f" (first: {missing[0]})" if missing else "")
                + (f", {len(foreign)} are none of this model's (first: {foreign[0]})" if foreign else "")
            )
        learnt = False
        for key in sorted(keys):
            saved, memory = file.get_tensor(key), wanted[key].detach().cpu()
            if saved.shape != memory.shape:
                raise AuditFailure(f"{path}: {key} has shape {tuple(saved.shape)}, in memory {tuple(memory.shape)}")
            if not torch.equal(saved, memory.to(saved.dtype)):
                raise AuditFailure(f"{path}: {key} is not what is in memory")
            learnt |= key in begun and int(checksum(saved)) != begun[key]
    if updates > 0 and not learnt:
        raise AuditFailure(f"{path}: every adapter is as it began after {updates} updates: nothing was learnt")
    numbers = sum(value.numel() for value in wanted.values())
    return f"{len(wanted)} tensors, {numbers:,} numbers, equal to memory"
