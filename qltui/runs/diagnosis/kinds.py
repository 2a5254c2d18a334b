"""Kinds of one cause, told apart by the figures in its message."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from qltui.runs.diagnosis.causes.cause import Fix

_UNITS = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 1000, "MB": 10**6, "GB": 10**9}
_SIZE = r"(?P<{0}>[\d.]+) ?(?P<{0}_unit>bytes|[KMG]i?B|B)\b"
_ASKED, _CAPACITY, _FREE, _OWN, _ALLOCATED, _RESERVED = map(
    _SIZE.format, ("asked", "capacity", "free", "own", "allocated", "reserved")
)
_FIGURES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"Tried to allocate {_ASKED}",
        rf"{_CAPACITY} total capacity",
        rf"total capacity of {_CAPACITY}",
        rf"{_FREE} (?:free|is free)",
        rf"this process has {_OWN}",
        rf"(?:{_ALLOCATED} (?:already allocated|is allocated by PyTorch))",
        rf"allocated memory {_ALLOCATED}",
        rf"{_RESERVED} (?:reserved in total|is reserved by PyTorch but unallocated|cached)",
    )
)
"""As torch words them since 1.0; which of them are there depends on its version."""
_OTHERS = re.compile(r"Process (?P<pid>\d+) has (?P<size>[\d.]+) (?P<unit>[KMG]i?B) memory in use")
FRAGMENTED = 0.15
"""Of the card: reserved and not in use."""
OTHERS = 0.1
"""Of the card: in use by others, where the message counts them."""
NOT_COUNTED = 0.25
"""Of the card: in use by nobody the message tells of, beside the CUDA context and buffers of NCCL."""


class Kind(NamedTuple):
    """What more is known."""

    says: str
    fixes: tuple[Fix, ...]
    details: dict[str, Any]


def kind_of(cause: str, text: str) -> Kind:
    """The kind of an out-of-memory error of a GPU; nothing for other causes."""
    return _out_of_memory(text) if cause == "cuda_oom" else Kind("", (), {})


def _out_of_memory(text: str) -> Kind:
    """By the allocator's figures: something else on the card, memory in pieces, or simply too much."""
    figures = _figures(text)
    if "capacity" not in figures or "asked" not in figures:
        return Kind("", (), figures)
    capacity, asked = figures["capacity"], figures["asked"]
    allocated = figures.get("allocated", 0)
    unused = figures.get("reserved", 0)
    if "reserved in total" in text:  # the older message tells all that is reserved
        unused = max(0, unused - allocated)
    others, most = _taken_by_others(text, figures, allocated + unused)
    says = f"{_gib(asked)} GiB more were asked for with {_gib(figures.get('free', 0))} of {_gib(capacity)} GiB free"
    says += f"; {_gib(allocated)} were in use by this process." if "allocated" in figures else "."
    details = figures | {"reserved_unused": unused, "others": others}
    if unused > FRAGMENTED * capacity and unused > asked:
        fix = Fix(
            "let memory grow in segments that can be joined", "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
        )
        said = f" {_gib(unused)} GiB more were reserved but in pieces too small: the memory is fragmented."
        return Kind(says + said, (fix,), details | {"kind": "fragmentation"})
    if others > most * capacity and others + figures.get("free", 0) >= asked:
        fix = Fix("end what else is on this GPU, or take another", "nvidia-smi")
        said = f" {_gib(others)} GiB are taken by others: another process is on this GPU."
        return Kind(says + said, (fix,), details | {"kind": "another_process"})
    return Kind(says, (), details | {"kind": "too_much"})


def _taken_by_others(text: str, figures: dict[str, Any], known: int) -> tuple[int, float]:
    """(bytes of the card in use by other processes, part of the card from which on that matters).

    ``known`` is what torch has of it. In a container the message has this process among the others, by another number.
    """
    capacity, free = figures["capacity"], figures.get("free", 0)
    listed = sum(int(float(found["size"]) * _UNITS[found["unit"]]) for found in _OTHERS.finditer(text))
    own = figures.get("own", 0)
    if own > capacity:  # what WSL tells is no figure
        return 0, OTHERS
    if own:
        return listed or max(0, capacity - free - own), OTHERS
    if listed:
        return max(0, listed - known), OTHERS
    return max(0, capacity - free - known) if "allocated" in figures else 0, NOT_COUNTED


def _figures(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pattern in _FIGURES:
        if match := pattern.search(text):
            for name, value in match.groupdict().items():
                if value is not None and not name.endswith("_unit"):
                    found[name] = int(float(value) * _UNITS[match[f"{name}_unit"]])
    return found


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f}"
