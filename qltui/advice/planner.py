"""Which way to run a configuration on a machine: every way is planned, what fits is ranked by its time.

The method is the user's choice; strategy, micro batch, accumulation, recomputed layers and offload are the planner's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engine.config.cells import REFUSALS
from engine.config.choices import Checkpointing, Method, StrategyName
from engine.config.ranks import ONE_RANK
from qltui.advice.lengths import of_samples
from qltui.advice.memory import Fit, Job, fit, job_on, total
from qltui.advice.memory.held import SHARDS_WEIGHTS
from qltui.advice.memory.host import host_memory
from qltui.advice.speed import StepTime, step_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from engine.config.run_config import RunConfig
    from qltui.advice.lengths import Lengths
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

    Blocks = Callable[[RunConfig], list[str]]
    """The rules that block a configuration, by id."""

SIMPLEST_FIRST = (
    StrategyName.SINGLE, StrategyName.DDP, StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.FSDP2,
    StrategyName.ZERO3, StrategyName.PIPELINE,
)  # fmt: skip
TIE = 0.03
"""Predicted times that differ by less are alike, and the simpler strategy is taken."""
MOST_ROWS = 64
"""Rows a rank computes at once at most: more gain nothing."""
DOES_NOT_FIT, TOO_FEW_GPUS = "does-not-fit", "too-few-gpus"
"""Why a strategy is left out, beside the rules."""
NO_OFFLOAD: dict[str, Any] = {"strategy.offload_parameters": False, "strategy.offload_optimizer": False}


class Candidate(NamedTuple):
    """One way to run."""

    config: RunConfig
    patch: dict[str, Any]
    """What it changes, by dotted path."""
    job: Job
    fit: Fit
    """At the longest row."""
    time: StepTime
    """At the length that rows have on average, padding included."""
    rows: int
    """Of one optimizer step, over all ranks."""
    host: int = 0
    """Bytes of each node's host memory that offload takes; whether they are there is the rules' to say."""

    @property
    def seconds_per_row(self) -> float:
        return self.time.total / self.rows

    @property
    def summary(self) -> str:
        """In a few words: ``fsdp2, micro batch 2 x 4, 12 layers recomputed``."""
        config, job = self.config, self.job
        training = config.training
        words = [config.strategy.name.value]
        words.append(f"micro batch {training.micro_batch_size} x {training.gradient_accumulation_steps}")
        if job.checkpointed:
            everything = job.checkpointed == job.architecture.depth
            layers = "1 layer" if job.checkpointed == 1 else f"{job.checkpointed} layers"
            words.append("all layers recomputed" if everything else f"{layers} recomputed")
        if config.strategy.offload_parameters:
            words.append("parameters and optimizer in host memory")
        elif config.strategy.offload_optimizer:
            words.append("optimizer in host memory")
        return ", ".join(words)


class Rejected(NamedTuple):
    """A strategy that does not come into question."""

    strategy: StrategyName
    rule: str
    total: int | None
    """Bytes the least of its candidates takes, where it does not fit."""

    @property
    def summary(self) -> str:
        return self.strategy.value


class Choice(NamedTuple):
    """All ways, best first."""

    ranked: list[Candidate]
    """The best of each strategy: those that surely fit before those that may, of each the fastest first."""
    rejected: list[Rejected]
    why: str
    """Why the first is first, in two sentences; empty where nothing fits."""


def choose(
    config: RunConfig, architecture: Architecture, machine: Machine, *, lengths: Lengths | None = None,
    rows: int | None = None, blocks: Blocks | None = None,
) -> Choice:  # fmt: skip
    """Rank the ways to run ``config`` on ``machine``, which has GPUs.

    Args:
        lengths: of the rows, where they were read; else all are taken to be as long as they may.
        rows: wanted for an optimizer step over all ranks; what ``config`` comes to where None.
        blocks: rules a candidate must not break, beside what the engine refuses.
    """
    rows = rows or rows_of_a_step(config, architecture, machine)
    best: list[Candidate] = []
    rejected: list[Rejected] = []
    for strategy in SIMPLEST_FIRST:
        found = _best_of(strategy, config, architecture, machine, lengths, rows, blocks or (lambda _config: []))
        if isinstance(found, Candidate):
            best.append(found)
        else:
            rejected.append(found)
    if not best:
        return Choice([], rejected, "")
    fastest = min(best, key=lambda one: (not one.fit.is_safe, one.seconds_per_row))
    ranked = sorted(best, key=lambda one: _rank(one, fastest))
    return Choice(ranked, rejected, _why(ranked[0], rejected))


def rows_of_a_step(config: RunConfig, architecture: Architecture, machine: Machine) -> int:
    """Rows of one optimizer step, over all ranks."""
    training = config.training
    world_size = job_on(config, architecture, machine).world_size
    return training.micro_batch_size * training.gradient_accumulation_steps * world_size


def smallest(
    config: RunConfig, architecture: Architecture, machines: Iterable[Machine], *, rows: int,
    blocks_on: Callable[[RunConfig, Machine], list[str]], lengths: Lengths | None = None,
) -> Machine | None:  # fmt: skip
    """The first of ``machines`` that runs ``config`` some way, with room for the plan's error; None if none does.

    Without offload: nothing is known of their hosts, so none is asked to take what the GPUs have no room for.
    """

    def runs_it(machine: Machine) -> bool:
        def blocks(one: RunConfig) -> list[str]:
            return blocks_on(one, machine)

        ways = (
            _best_of(strategy, config, architecture, machine, lengths, rows, blocks, offload=False)
            for strategy in SIMPLEST_FIRST
        )
        return any(isinstance(way, Candidate) and way.fit.is_safe for way in ways)

    return next(filter(runs_it, machines), None)


def _rank(candidate: Candidate, fastest: Candidate) -> tuple[bool, int, float]:
    """What surely fits first; there as good as the fastest: by simplicity; else by time."""
    unsure = not candidate.fit.is_safe
    if candidate.seconds_per_row <= fastest.seconds_per_row * (1 + TIE):
        return (unsure, 0, SIMPLEST_FIRST.index(candidate.config.strategy.name))
    return (unsure, 1, candidate.seconds_per_row)


def _best_of(
    strategy: StrategyName, config: RunConfig, architecture: Architecture, machine: Machine,
    lengths: Lengths | None, rows: int, blocks: Blocks, *, offload: bool = True,
) -> Candidate | Rejected:  # fmt: skip
    """The fastest way with one strategy that fits safely, or else one that fits; offload only where none does safely.

    The smallest micro batch is tried first: where it does not fit, no other does.
    """
    if machine.gpus < 2 and strategy is not StrategyName.SINGLE:
        return Rejected(strategy, TOO_FEW_GPUS, None)
    least: int | None = None
    blocked = ""
    tight: Candidate | None = None
    for places in offloads(strategy, config.method.name) if offload else (NO_OFFLOAD,):
        base = with_values(config, {"strategy.name": strategy, **places, "hardware.ranks_per_node": None})
        if rules := [*_refusals(base), *blocks(base)]:
            blocked = blocked or rules[0]
            continue
        fitting: list[Candidate] = []
        for micro_batch, accumulation in _batches(rows, _replicas(strategy, machine)):
            candidate = _fewest_recomputed(base, micro_batch, accumulation, architecture, machine, lengths)
            if not candidate.fit.fits:
                least = min(least or candidate.fit.total, candidate.fit.total)
                break
            fitting.append(candidate)
        for candidate in sorted(fitting, key=lambda one: (not one.fit.is_safe, one.seconds_per_row)):
            rules = blocks(candidate.config)
            if not rules and candidate.fit.is_safe:
                return candidate
            if not rules:
                tight = tight or candidate
                break
            blocked = blocked or rules[0]
    return tight or Rejected(strategy, blocked if least is None else DOES_NOT_FIT, least)


def offloads(strategy: StrategyName, method: Method) -> Iterator[dict[str, Any]]:
    """Fields that move something to the host, the least first."""
    yield NO_OFFLOAD
    if strategy in (StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.ZERO3) and method is Method.FULL:
        yield {"strategy.offload_parameters": False, "strategy.offload_optimizer": True}
    if strategy in (StrategyName.FSDP2, StrategyName.ZERO3):
        yield {"strategy.offload_parameters": True, "strategy.offload_optimizer": True}


def _refusals(config: RunConfig) -> list[str]:
    return [f"engine-{refusal.id}" for refusal in REFUSALS if refusal.when(config)]


def _replicas(strategy: StrategyName, machine: Machine) -> int:
    """Ranks that compute rows of their own."""
    return 1 if strategy in ONE_RANK else machine.gpus


def _batches(rows: int, replicas: int) -> Iterator[tuple[int, int]]:
    """(micro batch, accumulation) that come to ``rows`` over all ranks, or as near as they can."""
    each = max(1, round(rows / replicas))
    for micro_batch in range(1, min(each, MOST_ROWS) + 1):
        if each % micro_batch == 0:
            yield micro_batch, each // micro_batch


def _fewest_recomputed(
    base: RunConfig, micro_batch: int, accumulation: int, architecture: Architecture, machine: Machine,
    lengths: Lengths | None,
) -> Candidate:  # fmt: skip
    """The candidate that recomputes no more layers than it must to fit safely; all if even that is not enough."""

    def changes(layers: int) -> dict[str, Any]:
        depth = architecture.depth
        checkpointing = Checkpointing.NONE if layers == 0 else Checkpointing.ALL if layers == depth else layers
        return {
            "strategy.name": base.strategy.name,
            "strategy.offload_parameters": base.strategy.offload_parameters,
            "strategy.offload_optimizer": base.strategy.offload_optimizer,
            "training.micro_batch_size": micro_batch, "training.gradient_accumulation_steps": accumulation,
            "training.gradient_checkpointing": checkpointing, "hardware.ranks_per_node": None,
        }  # fmt: skip

    def job(layers: int) -> Job:
        return job_of(with_values(base, changes(layers)), architecture, machine, lengths)

    fewest, most = 0, architecture.depth
    while fewest < most:
        middle = (fewest + most) // 2
        if fit(job(middle), machine).is_safe:
            most = middle
        else:
            fewest = middle + 1
    chosen = job(most)
    rows = micro_batch * accumulation * _replicas(base.strategy.name, machine)
    time = time_of(chosen, machine, lengths)
    host = total(host_memory(chosen, machine.nodes))
    return Candidate(chosen.config, changes(most), chosen, fit(chosen, machine), time, rows, host)


def job_of(config: RunConfig, architecture: Architecture, machine: Machine, lengths: Lengths | None) -> Job:
    """The run as it would be started on ``machine``, with the longest of its rows."""
    if lengths is None:
        return job_on(config, architecture, machine)
    longest, lengths = config.data.max_length, of_samples(lengths, config)
    job = job_on(config, architecture, machine, lengths.longest_row(longest))
    return _with_rows(job, job.tokens, same_lengths=True) if lengths.are_same(longest) else job


def time_of(job: Job, machine: Machine, lengths: Lengths | None) -> StepTime:
    """Of a step with rows as they come, padding included."""
    if lengths is None:
        return step_time(job, machine)
    training, lengths = job.config.training, of_samples(lengths, job.config)
    unwaited = 1 if job.strategy in SHARDS_WEIGHTS else training.gradient_accumulation_steps
    tokens = lengths.pace(job.config.data.max_length, training.micro_batch_size, job.world_size, unwaited)
    return step_time(_with_rows(job, max(1, round(tokens)), same_lengths=job.same_lengths), machine)


def _with_rows(job: Job, tokens: int | None, *, same_lengths: bool) -> Job:
    return Job(job.config, job.architecture, job.compute, job.world_size, job.gpus, tokens, same_lengths)


def with_values(config: RunConfig, patch: dict[str, Any]) -> RunConfig:
    """The configuration with other values at dotted paths of two parts."""
    sections: dict[str, dict[str, Any]] = {}
    for path, value in patch.items():
        section, _, name = path.partition(".")
        sections.setdefault(section, {})[name] = value
    replaced = {
        section: msgspec.structs.replace(getattr(config, section), **values) for section, values in sections.items()
    }
    return msgspec.structs.replace(config, **replaced)


def _why(winner: Candidate, rejected: list[Rejected]) -> str:
    """Two sentences: why this strategy, and what of the layers."""
    strategy, job = winner.config.strategy, winner.job
    too_large = {one.strategy: one.total for one in rejected if one.rule == DOES_NOT_FIT}
    if strategy.offload_parameters or strategy.offload_optimizer:
        first = "It does not surely fit without offload, so a part of it waits in host memory, which is slow"
    elif strategy.name is StrategyName.SINGLE:
        first = "It fits on one GPU, and that is all it needs"
    elif strategy.name is StrategyName.DDP:
        first = "It fits on one GPU, so ddp: sharding would only add traffic"
    elif total := too_large.get(StrategyName.DDP):
        needs = f"{total / 2**30:.0f} of {(winner.fit.capacity or 0) / 2**30:.0f} GiB"
        parts = max(job.world_size, job.gpus)
        first = f"It does not fit on one GPU ({needs} at least), so {strategy.name.value} splits it over {parts}"
    else:
        first = f"{strategy.name.value} is the fastest that fits"
    if not job.checkpointed:
        second = "No layer has to be computed twice."
    else:
        are = "is" if job.checkpointed == 1 else "are"
        layers = f"{job.checkpointed} of {job.architecture.depth} layers {are} computed twice"
        second = f"{layers}, the fewest that make it fit."
    return f"{first}. {second}"
