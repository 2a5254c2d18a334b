"""What was frozen is computed with as it was loaded: byte for byte, on the hardware at hand.

A checksum of every frozen tensor is taken as it is loaded, and again of what a module holds at the moment it computes:
gathered from the shards of all ranks, where a strategy shards. That is where the usual settings of 4-bit weights under
FSDP2 damage them on CUDA without a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from engine.audit.failure import AuditFailure
from engine.collective import gathered
from engine.parameters import is_sharded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

WORD = 8
CHUNK = 1 << 22
"""Bytes summed up at once; a multiple of the word."""
SPREAD = 2 * 2654435761
"""Even, so that every word is multiplied by an odd number: any change of one word changes the sum."""


def checksum(tensor: Tensor, device: torch.device | None = None) -> Tensor:
    """A position-sensitive checksum of a tensor's bytes, modulo 2^64, as an int64 scalar.

    Its bytes are taken as words of 64 bit, the last filled up with zeros. Computed on ``device``, to which the bytes
    go chunk by chunk, or else where the tensor is.
    """
    data = tensor.detach().contiguous().view(-1).view(torch.uint8)
    total = torch.zeros((), dtype=torch.int64, device=device or data.device)
    for start in range(0, data.numel(), CHUNK):
        words = _words(data[start : start + CHUNK].to(total.device))
        index = torch.arange(start // WORD, start // WORD + words.numel(), device=total.device)
        total += (index.mul_(SPREAD).add_(1).mul_(words)).sum()
    return total


def _words(data: Tensor) -> Tensor:
    """Bytes as int64 words."""
    if missing := -data.numel() % WORD:
        data = torch.nn.functional.pad(data, (0, missing))
    elif data.storage_offset() % WORD:
        data = data.clone()
    return data.view(torch.int64)


class LoadedWeights:
    """Checksums of a model's weights as they were loaded, taken part by part before each is sharded."""

    def __init__(
        self, model: nn.Module, device: torch.device | None = None, frozen_dtype: torch.dtype | None = None
    ) -> None:
        """Weights on the host are summed up on ``device``.

        ``frozen_dtype`` is the type the strategy will cast frozen floating weights to, if it does.
        """
        self._model = model
        self._seen: set[nn.Module] = set()
        self._device = device
        self._frozen_dtype = frozen_dtype
        self._frozen: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] = {}

    def see(self, part: nn.Module) -> None:
        """Sum up the weights of a part of the model, but for modules that were seen."""
        # Looked up anew, as quantising experts adds modules.
        names = {module: name for name, module in self._model.named_modules()}
        for module in part.modules():
            if module not in self._seen:
                self._seen.add(module)
                self._sum_up(module, names[module])

    def _sum_up(self, module: nn.Module, module_name: str) -> None:
        for name, tensor in frozen_tensors(module):
            if is_sharded(tensor):
                continue  # tied to one of a part that was seen
            if self._frozen_dtype is not None and _is_cast(module, name, tensor):
                tensor = tensor.to(self._frozen_dtype)
            self._frozen[f"{module_name}.{name}"] = self._checksum(tensor)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and not is_sharded(parameter):
                self._trained[f"{module_name}.{name}"] = self._checksum(parameter)

    def _checksum(self, tensor: Tensor) -> Tensor:
        return checksum(tensor, self._device if tensor.device.type == "cpu" else None)

    def agreed(self) -> dict[str, int]:
        """The checksum of every frozen tensor, once all was seen and the ranks agree on all weights. A collective.

        Raises:
            AuditFailure: the ranks loaded, or initialised, different weights.
        """
        sums = _numbers({**self._frozen, **self._trained})
        everyone = gathered(sums)
        for rank, theirs in enumerate(everyone):
            different = sorted(name for name in sums if theirs.get(name) != everyone[0].get(name))
            if different:
                raise AuditFailure(
                    f"rank {rank} begins with other weights than rank 0"
                    f" ({len(different)} tensors, first: {different[0]})"
                )
        return {name: sums[name] for name in self._frozen}


def loaded_checksums(
    model: nn.Module, device: torch.device | None = None, frozen_dtype: torch.dtype | None = None
) -> dict[str, int]:
    """What :class:`LoadedWeights` come to of a model that is not sharded yet.

    Raises:
        AuditFailure: the ranks loaded, or initialised, different weights.
    """
    loaded = LoadedWeights(model, device, frozen_dtype)
    loaded.see(model)
    return loaded.agreed()


def frozen_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's own frozen parameters and the scales of quantised ones, by name."""
    for name, parameter in module.named_parameters(recurse=False):
        if not parameter.requires_grad:
            yield name, parameter
    own = vars(module)  # not attributes: PEFT's wrappers show their base layer's as theirs
    state = own.get("quant_state") or getattr(own["_parameters"].get("weight"), "quant_state", None)
    if state is not None:
        yield "absmax", state.absmax
        if state.nested:
            yield "absmax of absmax", state.state2.absmax
    # bitsandbytes' own layer takes the scales of its int8 weight over at its first forward; older ones may be there.
    scale = getattr(own["_parameters"].get("weight"), "SCB", None)
    scale = getattr(own.get("state"), "SCB", None) if scale is None else scale
    if isinstance(scale, torch.Tensor):
        yield "SCB", scale


def _is_cast(module: nn.Module, name: str, tensor: Tensor) -> bool:
    """Whether a strategy that casts a model casts this: parameters that are plain numbers, never scales."""
    parameter = vars(module)["_parameters"].get(name)
    packed = getattr(parameter, "quant_state", None) is not None
    return parameter is not None and tensor.is_floating_point() and not packed


def _numbers(sums: dict[str, Tensor]) -> dict[str, int]:
    """Device scalars as numbers, fetched at once."""
    by_device: dict[torch.device, list[str]] = {}
    for name, value in sums.items():
        by_device.setdefault(value.device, []).append(name)
    numbers: dict[str, int] = {}
    for names in by_device.values():
        numbers |= zip(names, torch.stack([sums[name] for name in names]).tolist(), strict=True)
    return numbers


class WeightWatch:
    """Looks at the frozen bytes of every module while it computes, in the forward passes it is armed for."""

    def __init__(self, model: nn.Module, loaded: dict[str, int]) -> None:
        """``model`` is the prepared one, sharded or not; ``loaded`` are the checksums to find again."""
        self._model = model
        self._loaded = loaded
        self._seen: dict[str, Tensor] = {}
        self._hooks: list[Any] = []

    def arm(self) -> None:
        """Look at the next forward pass."""
        self._seen = {}
        for module_name, module in self._model.named_modules():
            if any(f"{module_name}.{name}" in self._loaded for name, _ in frozen_tensors(module)):
                self._hooks.append(module.register_forward_pre_hook(self._look_at(module_name)))

    def _look_at(self, module_name: str) -> Any:
        def look(module: nn.Module, _arguments: Any) -> None:
            for name, tensor in frozen_tensors(module):
                key = f"{module_name}.{name}"
                if key in self._loaded and key not in self._seen and tensor.numel():
                    self._seen[key] = checksum(tensor)

        return look

    def verify(self) -> str | None:
        """What was seen since :meth:`arm` against what was loaded; None where nothing is frozen. A collective.

        Raises:
            AuditFailure: some rank computed with other bytes.
        """
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if not self._loaded:
            return None
        now = _numbers(self._seen)
        changed = sorted(name for name, value in now.items() if self._loaded[name] != value)
        for rank, (theirs, first) in enumerate(gathered((len(changed), changed[:1]))):
            if theirs:
                raise AuditFailure(
                    f"rank {rank} computes with {theirs} of {len(now)} frozen tensors that are not what was loaded"
                    f" (first: {first[0]})"
                )
        if not now:
            raise AuditFailure("no module with frozen weights was seen computing")
        ranks = len(gathered(None))
        unused = len(self._loaded) - len(now)
        return (
            f"{len(now)} frozen tensors computed with as loaded, byte for byte, on {ranks} rank{'s' * (ranks > 1)}"
            + (f"; {unused} took no part" if unused else "")
        )  # fmt: skip
