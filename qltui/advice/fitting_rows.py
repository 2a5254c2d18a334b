"""What is known of a run once the lengths of its rows are: memory at the longest, time at those that come, an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qltui import words
from qltui.advice import fitting, planner
from qltui.advice.findings import Finding, Severity
from qltui.advice.memory import fit
from qltui.advice.our_runs import used_cards
from qltui.advice.verdicts import DOES_NOT_FIT, NOTHING_FITS, ROWS_CUT, ROWS_PADDED

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
    steps = lengths.rows / planner.rows_of_a_step(config, architecture, used)
    longest = config.data.max_length
    time = planner.time_of(job, used, lengths)
    return Epoch(
        lengths.rows,
        steps,
        lengths.rows * lengths.mean(longest),
        lengths.padding(longest, config.training.micro_batch_size),
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
    padding = lengths.padding(config.data.max_length, training.micro_batch_size)
    if padding <= MUCH_PADDING:
        return []

    def seconds(one: RunConfig) -> float:
        return planner.time_of(planner.job_of(one, architecture, machine, lengths), machine, lengths).total

    each, now = training.micro_batch_size * training.gradient_accumulation_steps, seconds(config)
    patches = [
        {"training.micro_batch_size": rows, "training.gradient_accumulation_steps": each // rows}
        for rows in range(1, training.micro_batch_size)
        if each % rows == 0
    ]
    best = min(patches, key=lambda patch: seconds(planner.with_values(config, patch)))
    saved = 1 - seconds(planner.with_values(config, best)) / now
    message = f"{_about(lengths)}{words.share(padding)} of what micro batches of {training.micro_batch_size} compute is"
    if saved < GAIN:
        message += " padding; smaller ones would hardly be faster here. Packing rows is not built yet."
        best = {}
    else:
        micro_batch, accumulation = best.values()
        message += f" padding. Micro batch {micro_batch} x {accumulation} would save {words.share(saved)} of the time."
    return [
        Finding(
            ROWS_PADDED.id, Severity.INFO, "training.micro_batch_size", message, ROWS_PADDED.why, ROWS_PADDED.source,
            best,
        )
    ]  # fmt: skip


def _about(lengths: Lengths) -> str:
    return "" if lengths.measured else "About "
