"""What a run planned for one machine becomes on another: as it is where it can be, else as the planner would have it.

Model, data, method and rows of a step stay; how the work is spread, cut up and kept is the planner's. Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.choices import Device, StrategyName
from engine.config.ranks import ONE_RANK, uses_gpu
from engine.config.run_config import get
from engine.config.schema import as_text
from qltui.advice import fitting, planner
from qltui.advice.changes import Change
from qltui.advice.evaluation import advise, blocks
from qltui.advice.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from engine.config import RunConfig
    from qltui.advice.evaluation import Advice
    from qltui.advice.lengths import Lengths
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

CPU_PARAMETERS = 1e9
"""A model with more is not offered CPU ranks: they would take days for what a GPU does in minutes."""
ON_CPU: dict[str, Any] = {
    "hardware.device": Device.CPU, "hardware.gpus": [], "hardware.ranks_per_node": None, "hardware.nodes": 1,
    "strategy.name": StrategyName.SINGLE, **planner.NO_OFFLOAD,
}  # fmt: skip


class Standing(StrEnum):
    """How a run stands on a machine."""

    FITS = "fits"
    TIGHT = "tight"
    """It fits, and would not if the plan errs by as much as it may."""
    ADAPTED = "adapted"
    """It cannot run as it is, and can with other values."""
    NOTHING = "nothing"
    """It cannot run here."""
    UNKNOWN = "unknown"
    """No rule stops it; its memory is not known, for want of the model's numbers."""


class Adaptation(NamedTuple):
    """A run on a machine, changed where it must be."""

    standing: Standing
    config: RunConfig
    """As it would run; where nothing fits, as it was."""
    changes: list[Change]
    """What of it is otherwise than it was; empty unless it is adapted."""
    advice: Advice
    """On ``config``."""
    reason: str = ""
    """Why nothing fits, in a sentence or two."""


def adapt(
    config: RunConfig, machine: Machine, architecture: Architecture | None, versions: Mapping[str, str], advice: Advice,
    *, lengths: Lengths | None = None, forced: Collection[str] = (),
) -> Adaptation:  # fmt: skip
    """``config`` as it can run on ``machine``; ``advice`` is what is said of it there as it is."""
    stops = _stops(advice, forced)
    if not stops:
        return Adaptation(_standing(config, machine, advice), config, [], advice)
    if architecture is None or config.hardware.device is Device.CPU:  # CPU ranks are the same on every machine
        return Adaptation(Standing.NOTHING, config, [], advice, stops[0])
    if not machine.cards:
        return _on_cpu(config, machine, architecture, versions, advice, forced)
    nodes = min(config.hardware.nodes, machine.nodes)
    free = planner.with_values(
        config, {"hardware.ranks_per_node": None, "hardware.gpus": [], "hardware.nodes": nodes}
    )  # fmt: skip
    rows = rows_of_a_step(config, machine)

    def rules(one: RunConfig, there: Machine) -> list[str]:
        return blocks(one, there, architecture, versions, forced)

    choice = planner.choose(
        free, architecture, machine._replace(nodes=nodes), lengths=lengths, rows=rows,
        blocks=lambda one: rules(one, machine),
    )  # fmt: skip
    best = _best(config, choice)
    if best is None:
        if any(one.rule == planner.DOES_NOT_FIT for one in choice.rejected):
            nothing = fitting.nothing_fits(free, architecture, machine, choice, rows, rules, lengths)
            stops = [nothing.message]
        return Adaptation(Standing.NOTHING, config, [], advice, stops[0])
    one = None if config.hardware.ranks_per_node is None else 1
    ranks = one if best.config.strategy.name in ONE_RANK else machine.gpus_per_node
    adapted = planner.with_values(best.config, {"hardware.ranks_per_node": ranks})
    whys = _whys(config, adapted, machine, choice, best, rows)
    return Adaptation(
        Standing.ADAPTED, adapted, _changes(config, adapted, whys),
        advise(adapted, machine, architecture, versions, forced),
    )  # fmt: skip


def rows_of_a_step(config: RunConfig, machine: Machine) -> int:
    """Rows of one optimizer step as it was planned, over all ranks."""
    training = config.training
    ranks = 1 if config.strategy.name in ONE_RANK else config.hardware.ranks_per_node or machine.gpus_per_node or 1
    return training.micro_batch_size * training.gradient_accumulation_steps * ranks * config.hardware.nodes


def _stops(advice: Advice, forced: Collection[str]) -> list[str]:
    """What stands in the way, a sentence or two each."""
    return [
        one.message for one in advice.findings if one.severity is Severity.BLOCK and one.rule not in forced
    ]  # fmt: skip


def _standing(config: RunConfig, machine: Machine, advice: Advice) -> Standing:
    if advice.fit is None:
        return Standing.UNKNOWN if uses_gpu(config, len(machine.cards)) else Standing.FITS
    return Standing.FITS if advice.fit.is_safe else Standing.TIGHT


def _best(config: RunConfig, choice: planner.Choice) -> planner.Candidate | None:
    """With the strategy it was planned with, where that surely fits; else the planner's first, a sure one before."""
    sure = [one for one in choice.ranked if one.fit.is_safe]
    same = [one for one in sure if one.config.strategy.name is config.strategy.name]
    return next(iter([*same, *sure, *choice.ranked]), None)


def _on_cpu(
    config: RunConfig, machine: Machine, architecture: Architecture, versions: Mapping[str, str], advice: Advice,
    forced: Collection[str],
) -> Adaptation:  # fmt: skip
    """As one process on CPU, where the model is small enough for that."""
    billions = architecture.parameters / 1e9
    if architecture.parameters > CPU_PARAMETERS:
        reason = f"It needs GPUs, and there is none here; {billions:.1f} B parameters are too many for CPU ranks."
        return Adaptation(Standing.NOTHING, config, [], advice, reason)
    training = config.training
    rows = rows_of_a_step(config, machine) // training.micro_batch_size
    adapted = planner.with_values(config, {**ON_CPU, "training.gradient_accumulation_steps": rows})
    there = advise(adapted, machine, architecture, versions, forced)
    if stops := _stops(there, forced):
        return Adaptation(Standing.NOTHING, config, [], advice, stops[0])
    none = "there is no GPU here"
    whys = dict.fromkeys(ON_CPU, none)
    whys["training.gradient_accumulation_steps"] = "one process computes all rows of a step"
    return Adaptation(Standing.ADAPTED, adapted, _changes(config, adapted, whys), there)


def _whys(
    config: RunConfig, adapted: RunConfig, machine: Machine, choice: planner.Choice, best: planner.Candidate, rows: int
) -> dict[str, str]:
    """Why each field is as it is in ``adapted``, a clause each, in the order they are told."""
    count = machine.gpus_per_node
    there = f"there {'is 1 GPU' if count == 1 else f'are {count} GPUs'} here"
    name = adapted.strategy.name
    ranks = f"{name.value} is one process" if name in ONE_RANK and count > 1 else there
    layers, depth = best.job.checkpointed, best.job.architecture.depth
    recomputed = f"{layers} of {depth} layers computed twice are the fewest that make it fit"
    if layers in (0, depth):
        recomputed = f"{'all layers have' if layers else 'no layer has'} to be computed twice here"
    step = f"a step takes {best.rows} rows as it did"
    if best.rows != rows:
        step = f"a step takes {best.rows} rows instead of {rows}, as near as {count} GPUs come"
    is_first = best is choice.ranked[0]
    strategy = _clause(choice.why.partition(". ")[0]) if is_first else f"{name.value} surely fits"
    host = "it does not surely fit without, and a part of it waits in host memory, which is slow"
    offload = host if adapted.strategy.offload_parameters or adapted.strategy.offload_optimizer else "it fits without"
    return {
        "hardware.nodes": f"there {'is 1 machine' if machine.nodes == 1 else f'are {machine.nodes} machines'}",
        "hardware.ranks_per_node": ranks, "hardware.gpus": there,
        "strategy.name": strategy, "strategy.offload_parameters": offload, "strategy.offload_optimizer": offload,
        "training.micro_batch_size": step, "training.gradient_accumulation_steps": step,
        "training.gradient_checkpointing": recomputed,
    }  # fmt: skip


def _clause(sentence: str) -> str:
    """A sentence as it goes on after a colon; names of strategies are in small letters anyway."""
    return sentence[:1].lower() + sentence[1:]


def _changes(config: RunConfig, adapted: RunConfig, whys: Mapping[str, str]) -> list[Change]:
    return [
        Change(path, as_text(get(config, path)), as_text(get(adapted, path)), why)
        for path, why in whys.items()
        if get(config, path) != get(adapted, path)
    ]
