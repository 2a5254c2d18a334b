"""The figures of a device as text, and which of them there is room for. Pure: no widget."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qltui.runs.health import SLOWS, STRAGGLES
from qltui.ui import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qltui.runs.devices import Device

GIB = 1 << 30
BAR = 12
"""Columns a bar has at the least before figures are put beside it."""
MOST_FLAGS = 14
MAKERS = ("NVIDIA ", "GeForce ", "Tesla ", "Quadro ")


def memory(device: Device) -> str:
    """What is in use of what there is, in GiB; without a GPU what the rank holds."""
    if device.total is None:
        return words.size(device.held)
    held = f"{device.held / GIB:.1f}" if device.held is not None else "?"
    return f"{held}/{device.total / GIB:.1f}"


def utilization(device: Device) -> str:
    """Percent of the time in which the GPU had something to do."""
    return f"{_or_unknown(device.utilization)} %"


def pace(device: Device) -> str:
    """The step time as a multiple of the other ranks'."""
    return f"{device.pace.times:.2f}x" if device.pace else "?"


def temperature(device: Device) -> str:
    """In degrees Celsius."""
    return f"{_or_unknown(device.temperature)}°"


def power(device: Device) -> str:
    """Watts, against the limit if that is known."""
    limit = f"/{device.power_limit:.0f}" if device.power_limit is not None else ""
    return f"{_or_unknown(device.power)}{limit} W"


def _or_unknown(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def flags(device: Device) -> str:
    """What is amiss, in words behind a mark; empty where nothing is."""
    told = ["slow"] if device.pace and device.pace.times >= STRAGGLES else []
    told += [_reason(reason) for reason in device.throttle if any(part in reason for part in SLOWS)][:1]
    return f"▲ {' '.join(told)}" if told else ""


def _reason(reason: str) -> str:
    return "hot" if "thermal" in reason else "throttled"


class Column(NamedTuple):
    """One figure."""

    name: str
    text: Callable[[Device], str]
    is_known: Callable[[Device], bool]


FIGURES = (
    Column("utilization", utilization, lambda device: device.utilization is not None),
    Column("pace", pace, lambda device: device.pace is not None),
    Column("temperature", temperature, lambda device: device.temperature is not None),
    Column("power", power, lambda device: device.power is not None),
)
"""After memory, the most telling first; one that is known of no device is left out."""
SHOWN = ("utilization", "power", "temperature", "pace")
"""The order in which they stand."""


class Columns(NamedTuple):
    """Which figures stand in every line, and how wide each is."""

    label: int = 0
    named: bool = False
    """Whether the label has the GPU's name."""
    memory: int = 0
    shown: tuple[tuple[Column, int], ...] = ()
    flags: int = 0

    def figures(self, device: Device) -> list[str]:
        """Memory and the figures, each as wide as its column."""
        return [memory(device).rjust(self.memory), *(column.text(device).rjust(width) for column, width in self.shown)]

    def label_of(self, device: Device) -> str:
        """What the device is called."""
        return label(device, named=self.named)

    def has(self, name: str) -> bool:
        """Whether a figure stands in the line."""
        return any(column.name == name for column, _ in self.shown)


def label(device: Device, *, named: bool) -> str:
    """The GPU's number, with its name if there is room; without a GPU the rank's."""
    if device.number is None:
        return f"rank {device.rank}"
    return f"{device.number} {short_name(device.name)}".rstrip() if named else f"GPU {device.number}"


def short_name(name: str) -> str:
    """A card's name without its maker's, and no longer than its model."""
    text = words.plain(name)
    for maker in MAKERS:
        text = text.removeprefix(maker)
    return text.split(" ")[0].split("-")[0][:6] if name else ""


def columns_of(devices: Sequence[Device], width: int) -> Columns:
    """What there is room for in lines of ``width`` columns, a bar of :data:`BAR` beside it."""
    if not devices:
        return Columns()
    widest = _widest(map(memory, devices))
    amiss = min(MOST_FLAGS, _widest(map(flags, devices)))
    named = any(device.number is not None and device.name for device in devices)
    labels = _widest(label(device, named=named) for device in devices)
    room = width - labels - widest - BAR - 2 - (amiss + 1 if amiss else 0)
    chosen = {}
    for column in FIGURES:
        wide = _widest(map(column.text, devices))
        if any(map(column.is_known, devices)) and wide + 1 <= room:
            chosen[column.name] = (column, wide)
            room -= wide + 1
    return Columns(labels, named, widest, tuple(chosen[name] for name in SHOWN if name in chosen), amiss)


def _widest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def details(device: Device, columns: Columns) -> str:
    """The second line: what does not stand in the first, the most telling first."""
    parts = [f"held back: {', '.join(map(words.plain, device.throttle))}"] if device.throttle else []
    parts += [f"others {words.size(device.others)}"] if device.others else []
    parts += [column.text(device) for column in FIGURES if column.is_known(device) and not columns.has(column.name)]
    parts += [f"peak {words.size(device.peak)}"] if device.peak else []
    if device.reserved and device.reserved > (device.allocated or 0):
        parts.append(f"reserved {words.size(device.reserved)}")
    parts += [f"{device.step_time:.2f} s/step"] if device.step_time else []
    return " · ".join(parts)


def node_facts(devices: Sequence[Device]) -> tuple[str, str]:
    """The figures of a node's devices from the lowest to the highest, and how many have something amiss."""
    alive = [device for device in devices if not device.lost and device.silent is None]
    parts = [f"{len(devices)} {'GPUs' if any(device.number is not None for device in devices) else 'ranks'}"]
    held = [device.held / GIB for device in alive if device.held is not None]
    total = max((device.total / GIB for device in alive if device.total), default=None)
    if held:
        parts.append(_span(held, ".1f") + (f"/{total:.1f}" if total else "") + " GiB")
    for values, form, unit in (
        ([device.utilization for device in alive], ".0f", " %"),
        ([device.temperature for device in alive], ".0f", "°"),
        ([device.pace.times if device.pace else None for device in alive], ".2f", "x"),
    ):
        known = [value for value in values if value is not None]
        if known:
            parts.append(_span(known, form) + unit)
    lost = sum(device.lost for device in devices)
    silent = len(devices) - len(alive) - lost
    amiss = [f"{lost} lost"] if lost else []
    amiss += [f"{silent} silent"] if silent else []
    amiss += [f"{count} amiss"] if (count := sum(bool(flags(device)) for device in alive)) else []
    return "  ".join(parts), f"▲ {', '.join(amiss)}" if amiss else ""


def _span(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low}–{high}"
