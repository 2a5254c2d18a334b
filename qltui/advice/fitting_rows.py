"""What is known of a run once the lengths of its rows are: memory at the longest, time at those that come, an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.choices import Task
from qltui import words
from qltui.advice import fitting, planner
from qltui.advice.findings import Finding, Severity
from qltui.advice.lengths import of_samples
from qltui.advice.memory import fit
from qltui.advice.our_runs import used_cards
from qltui.advice.verdicts import DOES_NOT_FIT, NOTHING_FITS, ROWS_CUT, ROWS_PADDED
from qltui.facts.models.isolation import mixes_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from engine.config import RunConfig
    from qltui.advice.evaluation import Advice
    from qltui.advice.lengths import Lengths
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

    BlocksOn = Callable[[RunConfig, Machine], list[str]]

MUCH_CUT, MUCH_PADDING = 0.05, 0.3
GAIN = 0.1
"""Share of the time that a smaller micro batch must save to be worth naming."""
OF_FITTING = {DOES_NOT_FIT.id, NOTHING_FITS.id}
OF_LENGTH = "beyond-context-length"
"""A rule that goes by how long rows may be, not by how long they are."""


class Epoch(NamedTuple):
    """One pass over the rows."""

    rows: int
    steps: float
    """Optimizer steps; a fraction, as batches go across epochs."""
    tokens: float
    """Of the rows as they come, padding not counted."""
    padding: float
    """Share of what is computed that is padding."""
    seconds: float
    error: float
    """Share by which the seconds may be wrong."""


def advise_on_rows(
    advice: Advice, config: RunConfig, architecture: Architecture, machine: Machine, lengths: Lengths,
    blocks_on: BlocksOn, forced: Collection[str] = (),
) -> Advice:  # fmt: skip
    """The advice on a run that takes GPUs, for rows of these lengths instead of rows as long as they may be."""
    used = machine._replace(cards=used_cards(config, machine))
    job = planner.job_of(config, architecture, used, lengths)
    fitted, time = fit(job, used), planner.time_of(job, used, lengths)
    settled = {*OF_FITTING}
    if lengths.longest_row(config.data.max_length) <= architecture.context_length:
        settled.add(OF_LENGTH)
    findings = [one for one in advice.findings if one.rule not in settled]
    if not any(one.severity is Severity.BLOCK and one.rule not in forced for one in findings):
        findings += fitting.judge(config, architecture, machine, fitted, blocks_on, lengths)
    findings += _on_cutting(config, lengths)
    findings += _on_padding(config, architecture, used, lengths)
    findings.sort(key=lambda finding: finding.severity.order)
    return advice._replace(findings=findings, fit=fitted, time=time)


def epoch(config: RunConfig, architecture: Architecture, machine: Machine, lengths: Lengths) -> Epoch:
    """What a pass over the rows takes on the GPUs of ``machine`` that the run takes."""
    used = machine._replace(cards=used_cards(config, machine))
    job = planner.job_of(config, architecture, used, lengths)
    samples = of_samples(lengths, config)
    steps = samples.rows / planner.rows_of_a_step(config, architecture, used)
    longest = config.data.max_length
    time = planner.time_of(job, used, lengths)
    return Epoch(
        lengths.rows,
        steps,
        lengths.rows * lengths.mean(longest),
        samples.padding(longest, config.training.micro_batch_size),
        steps * time.total,
        time.error + lengths.error,
    )


def _on_cutting(config: RunConfig, lengths: Lengths) -> list[Finding]:
    longest = config.data.max_length
    cut = lengths.cut(longest)
    if cut <= MUCH_CUT:
        return []
    enough = lengths.enough_for(1 - MUCH_CUT)
    message = (
        f"{_about(lengths)}{words.share(cut)} of the rows are longer than {longest} tokens, and are cut. With"
        f" {enough} it would be {words.share(MUCH_CUT)}; longer rows take more memory and time."
    )
    return [Finding(ROWS_CUT.id, Severity.INFO, "data.max_length", message, ROWS_CUT.why, ROWS_CUT.source, {})]


def _on_padding(config: RunConfig, architecture: Architecture, machine: Machine, lengths: Lengths) -> list[Finding]:
    training = config.training
    padding = of_samples(lengths, config).padding(config.data.max_length, training.micro_batch_size)
    if padding <= MUCH_PADDING:
        return []

    now = _seconds(config, architecture, machine, lengths)

    def saved_by(patch: dict[str, Any]) -> float:
        """Share of an epoch's time."""
        return 1 - _seconds(planner.with_values(config, patch), architecture, machine, lengths) / now

    each = training.micro_batch_size * training.gradient_accumulation_steps
    smaller = [
        {"training.micro_batch_size": rows, "training.gradient_accumulation_steps": each // rows}
        for rows in range(1, training.micro_batch_size)
        if each % rows == 0
    ]
    best = max(smaller, key=saved_by, default={})
    saved = saved_by(best)
    packed = _packed_instead(config, architecture, machine, lengths)
    message = f"{_about(lengths)}{words.share(padding)} of what micro batches of {training.micro_batch_size} compute is"
    if packed and (saved_packed := saved_by(packed)) >= max(saved, 0.0) + GAIN:
        best = packed
        rows = round(packed["training.gradient_accumulation_steps"] * _rows_a_sequence(config, lengths))
        message += (
            f" padding. Packed into sequences of {config.data.max_length} tokens, rows would save"
            f" {words.share(saved_packed)} of the time, {words.counted(rows, 'row')} a rank and step."
        )
    elif saved >= GAIN:
        micro_batch, accumulation = best.values()
        message += f" padding. Micro batch {micro_batch} x {accumulation} would save {words.share(saved)} of the time."
    else:
        best = {}
        message += " padding; smaller ones would hardly be faster here."
    field = "data.packing" if best is packed else "training.micro_batch_size"
    return [Finding(ROWS_PADDED.id, Severity.INFO, field, message, ROWS_PADDED.why, ROWS_PADDED.source, best)]


def _seconds(config: RunConfig, architecture: Architecture, machine: Machine, lengths: Lengths) -> float:
    """Of an epoch."""
    time = planner.time_of(planner.job_of(config, architecture, machine, lengths), machine, lengths)
    return time.total * of_samples(lengths, config).rows / planner.rows_of_a_step(config, architecture, machine)


def _packed_instead(
    config: RunConfig, architecture: Architecture, machine: Machine, lengths: Lengths
) -> dict[str, Any] | None:
    """What packs rows, a sequence at a time and about as many rows a step.

    None where they cannot be packed, may not fit then, or those of a step fill no sequence.
    """
    if config.data.packing or config.model.task is Task.SEQUENCE_CLASSIFICATION or mixes_rows(architecture):
        return None
    each = config.training.micro_batch_size * config.training.gradient_accumulation_steps
    sequences = each / _rows_a_sequence(config, lengths)
    if sequences < 1:
        return None
    patch = {
        "data.packing": True, "training.micro_batch_size": 1,
        "training.gradient_accumulation_steps": round(sequences),
    }  # fmt: skip
    job = planner.job_of(planner.with_values(config, patch), architecture, machine, lengths)
    return patch if fit(job, machine).is_safe else None


def _rows_a_sequence(config: RunConfig, lengths: Lengths) -> float:
    return lengths.rows / of_samples(lengths, planner.with_values(config, {"data.packing": True})).rows


def _about(lengths: Lengths) -> str:
    return "" if lengths.measured else "About "
