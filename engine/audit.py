"""Checks of the running job by measurement: what was saved is what was trained, what was frozen stayed so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from engine.collective import gathered
from engine.model import trainable

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

CHUNK = 1 << 22


class AuditFailure(RuntimeError):
    """A measurement contradicts what the run claims; the run must not go on as if nothing were."""


def saved_name(name: str) -> str:
    """The key under which PEFT saves, and will look for, a trainable parameter of an adapted model."""
    name = re.sub(r"\.modules_to_save\.default\.", ".", name)
    name = re.sub(r"\.lora_magnitude_vector\.default\.weight$", ".lora_magnitude_vector", name)
    return re.sub(r"\.default(\.|$)", r"\1", name)


def audit_adapter(folder: Path, model: nn.Module, updates: int) -> str:
    """Reopen a saved adapter and compare it with the weights in memory, tensor by tensor.

    ``model`` is the unwrapped PEFT model. Returns what was measured.

    Raises:
        AuditFailure: tensors are missing, foreign, of another shape or value, or untrained after ``updates``.
    """
    path = folder / "adapter_model.safetensors"
    wanted = {saved_name(name): parameter for name, parameter in trainable(model).items()}
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
            learnt |= "lora_B" in key and bool(saved.count_nonzero())
    if updates > 0 and not learnt:
        raise AuditFailure(f"{path}: every lora_B is zero after {updates} updates: nothing was learnt")
    numbers = sum(parameter.numel() for parameter in wanted.values())
    return f"{len(wanted)} tensors, {numbers:,} numbers, equal to memory"


def checksum(tensor: torch.Tensor) -> int:
    """A position-sensitive checksum of a tensor's bytes, modulo 2^64; the same on every device."""
    data = tensor.detach().contiguous().view(-1).view(torch.uint8)
    total = torch.zeros((), dtype=torch.int64, device=data.device)
    for start in range(0, data.numel(), CHUNK):
        part = data[start : start + CHUNK].to(torch.int64)
        index = torch.arange(start, start + part.numel(), device=data.device)
        total += (part * (index * 2654435761 + 1)).sum()
    return int(total)


def frozen_checksums(model: nn.Module) -> dict[str, int]:
    """A checksum per frozen parameter, the scales of quantised ones included."""
    sums = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            continue
        sums[name] = checksum(parameter)
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            sums[f"{name}.absmax"] = checksum(state.absmax)
    return sums


def audit_weights(before: dict[str, int], model: nn.Module) -> str:
    """Compare the frozen bytes with those loaded (``before``), and with the other ranks'.

    Raises:
        AuditFailure: a frozen tensor changed, or the ranks compute with different weights.
    """
    now = frozen_checksums(model)
    changed = sorted(name for name, value in before.items() if now.get(name) != value)
    if changed:
        raise AuditFailure(
            f"{len(changed)} of {len(before)} frozen tensors changed while training (first: {changed[0]})"
        )
    ranks = gathered(sum(now.values()))
    if len(set(ranks)) > 1:
        raise AuditFailure(f"the ranks hold different frozen weights (checksums {ranks})")
    return f"{len(before)} frozen tensors as loaded, the same on {len(ranks)} rank{'s' if len(ranks) > 1 else ''}"
