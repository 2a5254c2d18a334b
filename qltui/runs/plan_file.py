"""``plan.json``: what was predicted of a run when it was launched, and the findings that stood then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from engine.config.quick_msgspec import msgspec
from engine.events import read_json

if TYPE_CHECKING:
    from engine.events import RunDirectory
    from qltui.advice.findings import Finding
    from qltui.advice.memory import Fit
    from qltui.runs.assessment import Assessment

SCHEMA_VERSION = 1


class PlannedGpu(msgspec.Struct, frozen=True):
    """A GPU of the machine that was planned for."""

    name: str
    memory_bytes: int
    """What CUDA can use of it."""
    capability: tuple[int, int]


class PlannedMachine(msgspec.Struct, frozen=True):
    """The machine as it was seen; None is what nothing told."""

    nodes: int
    gpus: list[PlannedGpu]
    """Of one node; those the run may take among others."""
    host_memory: int | None = None
    host_available: int | None = None
    disk_free: int | None = None
    peer_access: bool | None = None


class PlannedMemory(msgspec.Struct, frozen=True):
    """Bytes on the fullest GPU, as the driver will show them at the peak."""

    total_bytes: int
    capacity_bytes: int
    error_bytes: int
    """By which the total may be wrong."""
    parts: dict[str, int]
    phases: dict[str, dict[str, int]]
    """By phase and part, as torch's allocator will count them."""


class PlannedRows(msgspec.Struct, frozen=True):
    """The rows to train on, as they were counted at launch; ``memory`` and ``seconds_per_step`` are for them."""

    rows: int
    read: int
    """Rows that were looked at; they stand for all."""
    measured: bool
    """Whether by the model's tokenizer; else estimated from bytes, ``longest_tokens`` at the most it may be."""
    mean_tokens: float
    """Of a row, cut at data.max_length."""
    longest_tokens: int
    cut: float
    """Share of the rows that are longer than data.max_length."""
    padding: float
    """Share of what micro batches compute that is padding."""
    seconds_per_epoch: float
    error: float
    """Share by which ``seconds_per_epoch`` may be wrong."""


class PlannedFinding(msgspec.Struct, frozen=True):
    """A finding that stood at launch."""

    rule: str
    severity: str
    field: str | None
    message: str
    why: str
    source: str
    fix: dict[str, Any]
    forced: bool = False
    """Whether it would have stopped the launch, and was overridden by name."""


class LaunchPlan(msgspec.Struct, frozen=True):
    """The whole file."""

    schema_version: int
    written: float
    """Wall time."""
    machine: PlannedMachine
    memory: PlannedMemory | None = None
    """None on CPU ranks, and for a model whose architecture is not known."""
    host_bytes: int = 0
    """What offload takes of each node's host memory."""
    seconds_per_step: float | None = None
    rows: PlannedRows | None = None
    """None where ``memory`` is, and where the data is no file here; rows are planned at data.max_length then."""
    findings: list[PlannedFinding] = []


def document(assessed: Assessment) -> dict[str, Any]:
    """What ``plan.json`` says of a run."""
    advice, machine = assessed.advice, assessed.machine
    plan = LaunchPlan(
        SCHEMA_VERSION,
        time.time(),
        PlannedMachine(
            machine.nodes,
            [PlannedGpu(card.name, card.memory_bytes, card.capability) for card in machine.cards],
            machine.host_memory, machine.host_available, machine.disk_free, machine.peer_access,
        ),
        _memory(advice.fit),
        advice.host,
        advice.seconds,
        _rows(assessed),
        [_finding(one, forced=one in assessed.overridden) for one in advice.findings],
    )  # fmt: skip
    plain: dict[str, Any] = msgspec.to_builtins(plan)
    return plain


def _memory(fitted: Fit | None) -> PlannedMemory | None:
    if fitted is None or fitted.capacity is None:
        return None
    phases = {
        phase.value: {part.value: size for part, size in parts.items() if size}
        for phase, parts in fitted.plan.phases.items()
    }
    parts = {part.value: size for part, size in fitted.parts.items() if size}
    return PlannedMemory(fitted.total, fitted.capacity, fitted.error, parts, phases)


def _rows(assessed: Assessment) -> PlannedRows | None:
    lengths, epoch = assessed.lengths, assessed.epoch
    if lengths is None or epoch is None:
        return None
    longest = assessed.config.data.max_length
    return PlannedRows(
        lengths.rows, lengths.read, lengths.measured, lengths.mean(longest), lengths.longest_row(longest),
        lengths.cut(longest), epoch.padding, epoch.seconds, epoch.error,
    )  # fmt: skip


def _finding(finding: Finding, *, forced: bool) -> PlannedFinding:
    return PlannedFinding(
        finding.rule, finding.severity.value, finding.field, finding.message, finding.why, finding.source,
        dict(finding.fix), forced,
    )  # fmt: skip


def read(run: RunDirectory) -> LaunchPlan | None:
    """What was planned; None of a run without a plan, and where it cannot be read.

    Fields of newer versions are passed by; those of older ones that are missing have their default.
    """
    content = read_json(run.plan_json)
    if content is None:
        return None
    try:
        return msgspec.convert(content, LaunchPlan)
    except msgspec.ValidationError:
        return None
