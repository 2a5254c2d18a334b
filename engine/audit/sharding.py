"""What each rank really holds, against the share its strategy claims.

Counted are parameters, what the optimizer keeps, and what modules keep beside their parameters: a copy there (as
``Linear8bitLt`` has of its int8 weight) undoes the sharding without a message.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from engine.audit.failure import AuditFailure
from engine.collective import gathered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from engine.strategy import Strategy

SLACK = 1.02
"""Held over expected that still passes: alignment of flat buffers."""
SMALL = 1 << 16
"""Bytes that no one misses, in tiny models."""


class Held(NamedTuple):
    """Bytes of one kind on one rank."""

    kind: str
    held: int
    expected: int
    total: int
    """Of all ranks together, were nothing held twice."""


def audit_sharding(strategy: Strategy, *, stepped: bool) -> str:
    """Measure on every rank; a collective. ``stepped``: the optimizer has made its states.

    Raises:
        AuditFailure: some rank holds more than its share, with what and how much.
    """
    mine = list(_measure(strategy, stepped=stepped))
    for rank, measured in enumerate(gathered(mine)):
        for kind, held, expected, total in measured:
            if held > expected * SLACK + SMALL:
                raise AuditFailure(
                    f"{strategy.config.strategy.name.value} claims to shard, but rank {rank} holds"
                    f" {_size(held)} of {_size(total)} {kind}, where {_size(expected)} are its share;"
                    " set strategy.allow_replicated=true to go on all the same"
                )
    return "; ".join(
        f"{one.kind}: {_size(one.held)} of {_size(one.total)} ({one.held / one.total:.0%})" for one in mine if one.total
    )


def _measure(strategy: Strategy, *, stepped: bool) -> Iterator[Held]:
    model = strategy.unwrapped
    if strategy.shards_parameters:
        by_type: dict[str, Counter[str]] = {}
        for parameter in model.parameters():
            count = by_type.setdefault(str(parameter.dtype).removeprefix("torch."), Counter())
            count["held"] += held_bytes(parameter)
            count["expected"] += strategy.expected_bytes(parameter)
            count["total"] += whole_bytes(parameter)
        for name, count in sorted(by_type.items()):
            yield Held(f"{name} parameters", count["held"], count["expected"], count["total"])
        copies = sum(copy.numel() * copy.element_size() for copy in copies_beside(model))
        yield Held("copies of weights that modules keep beside their parameters", copies, 0, copies)
    if strategy.shards_optimizer and stepped:
        sizes = strategy.optimizer_bytes()
        if sizes is not None:
            yield Held("optimizer states", _optimizer_bytes(strategy.optimizer), *sizes)


def whole_bytes(parameter: Any) -> int:
    """Bytes of a parameter as a whole."""
    return int(getattr(parameter, "ds_numel", parameter.numel()) * parameter.element_size())


def held_bytes(parameter: Any) -> int:
    """Bytes of a parameter that lie on this rank now."""
    if hasattr(parameter, "to_local"):
        return _storage(parameter.to_local())
    if hasattr(parameter, "ds_tensor"):
        return _storage(parameter.data) + (0 if parameter.ds_persist else _storage(parameter.ds_tensor))
    return _storage(parameter)


def copies_beside(model: nn.Module) -> list[Tensor]:
    """Tensors as large as a module's weight, or larger, that it keeps beside its parameters and buffers.

    Scales and code books of quantised weights are smaller and stay on every rank by design.
    """
    known = {_address(tensor) for tensor in (*model.parameters(), *model.buffers())}
    known |= {_address(one.ds_tensor) for one in model.parameters() if hasattr(one, "ds_tensor")}
    found: dict[int, Tensor] = {}
    for module in model.modules():
        own = [whole_bytes(parameter) for parameter in module.parameters(recurse=False)]
        for tensor in _kept(module):
            size = tensor.numel() * tensor.element_size()
            if own and size >= max(own) and size > 0 and _address(tensor) not in known:
                found[_address(tensor)] = tensor
    return list(found.values())


def _kept(module: nn.Module) -> Iterator[Tensor]:
    """Tensors among a module's attributes, its parameters' attributes, and one level into objects among them."""
    holders = [vars(module), *(vars(parameter) for parameter in module.parameters(recurse=False))]
    for holder in holders:
        for name, value in list(holder.items()):
            if name.startswith("ds_") or isinstance(value, (type, torch.nn.Module)):  # ds_: DeepSpeed's own partition
                continue
            if isinstance(value, torch.Tensor):
                yield value
            elif not name.startswith("_") and hasattr(value, "__dict__"):
                yield from (inner for inner in vars(value).values() if isinstance(inner, torch.Tensor))


def _optimizer_bytes(optimizer: Any) -> int:
    states = getattr(optimizer, "optimizer", optimizer).state.values()
    values = (value for state in states for value in state.values() if torch.is_tensor(value) and value.dim())
    return sum(_storage(value.to_local() if hasattr(value, "to_local") else value) for value in values)


def _address(tensor: Any) -> int:
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return int(local.untyped_storage().data_ptr()) if local.numel() else 0


def _storage(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _size(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment]
    return f"{count:.2f} GiB"
