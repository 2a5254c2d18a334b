"""What to do about the death of a run of ours: patches on its configuration, commands and steps, the cheapest first.

A patch that changes nothing, or that a rule blocks on this machine, is none. Each says what it does to memory and
speed, where the memory plan knows that, and where the run would go on.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engine.config import ConfigError, Problem, get
from engine.config.cells import refused
from engine.config.choices import Compute, Method
from engine.config.ranks import compute_type, uses_gpu
from engine.config.reading import read, read_file
from engine.config.run_config import FIELDS
from engine.config.schema import as_text
from qltui import words
from qltui.advice.evaluation import blocks
from qltui.advice.memory.whole import checkpoint_bytes
from qltui.configs import row_lengths
from qltui.facts import machine as machines
from qltui.runs import plan_file, store
from qltui.runs.assessment import find_architecture, versions_here
from qltui.runs.diagnosis.causes.cause import Fix
from qltui.runs.diagnosis.continuing import start_of, step_of
from qltui.runs.diagnosis.memory_fixes import gpu_fixes, host_fixes, unplanned_fixes
from qltui.runs.diagnosis.prediction import Predictor
from qltui.runs.leases import live_runs
from qltui.runs.removal import RemovalRefused, preview
from qltui.runs.sense import whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from engine.config import RunConfig
    from engine.events import RunDirectory
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine
    from qltui.runs.diagnosis.diagnosis import Diagnosis
    from qltui.runs.plan_file import LaunchPlan
    from qltui.runs.removal import Removal

OUTSIDE = frozenset(
    {
        "nccl_timeout", "nccl_init_network", "port_in_use", "user_interrupt", "sigsegv", "gpu_lost_xid",
        "shm_bus_error",
    }
)  # fmt: skip
"""Causes outside of the configuration, that may not come again: a plain resume is the first thing to try."""
SLOWER_LEARNING = 0.25
"""Of the learning rate that led to a loss that is no number."""
USUAL_RATE = {Method.FULL: 2e-5}
USUAL_ADAPTER_RATE = 2e-4
LONG_WARMUP = 0.1
STACK_AT_CRASH = "export PYTHONFAULTHANDLER=1"
"""What ranks of ours have from their launcher."""
ONE_AT_WORK = frozenset({"load", "prepare", "data", "eval", "save"})
"""Phases in which one rank may work for long while the others wait; elsewhere they wait for one that is stuck."""
LONGER = 4
"""Times as long that ranks wait for each other, where they waited for one at work."""
TORCH_WAITS = {True: 600, False: 1800}
"""Seconds by torch's default, on GPUs and on CPU. Source: torch/distributed/constants.py"""
LOOKED_AT = 10
"""Other runs of which it is looked at what they take of the disk."""


class _Case(NamedTuple):
    """All that the ways out depend on."""

    run: RunDirectory
    ended: Mapping[str, Any]
    diagnosis: Diagnosis
    config: RunConfig
    plan: LaunchPlan | None
    machine: Machine
    architecture: Architecture | None

    def allows(self, patched: RunConfig) -> bool:
        """Whether the engine and the rules let it through as they did the run itself."""
        if refused(patched):
            return False
        here = versions_here()
        stops = set(blocks(patched, self.machine, self.architecture, here))
        return stops <= set(blocks(self.config, self.machine, self.architecture, here))

    def predictor(self) -> Predictor | None:
        """Of what it would take of GPUs; None on CPU ranks, and for a model that is not known."""
        cards = self.machine.cards
        if self.architecture is None or not cards or not uses_gpu(self.config, len(cards)):
            return None
        return Predictor(self.architecture, self.machine, row_lengths.estimated(self.config))


def with_fixes(run: RunDirectory, ended: Mapping[str, Any], found: Diagnosis) -> Diagnosis:
    """A diagnosis with fixes for this run in place of its cause's general ones.

    A run whose ``run.yaml`` can't be read any more keeps the general ones that are no patches.
    """
    try:
        config = read_file(run.run_yaml)
    except ConfigError:
        return found._replace(fixes=[fix for fix in found.fixes if not fix.patch])
    fixes, correction = fixes_for(run, ended, found, config)
    details = {**found.details, "plan_corrected": correction} if correction else found.details
    return found._replace(fixes=fixes, details=details)


def fixes_for(
    run: RunDirectory, ended: Mapping[str, Any], found: Diagnosis, config: RunConfig
) -> tuple[list[Fix], str]:
    """(what to do about it, the best first; how the memory plan was corrected by what the run measured)."""
    if found.cause == "none":
        return [], ""
    plan = plan_file.read(run)
    architecture = find_architecture(config.model.path, config.model.revision)
    case = _Case(run, ended, found, config, plan, _machine(plan), architecture)
    own, correction = _own(case)
    usable = [fix for fix in own if not fix.patch or _is_patch(fix, case)]
    if not usable and ended["state"] != "finished":
        usable = [_resume(case)]
    return _without_doubles([_finished(fix, case) for fix in usable]), correction


def _machine(plan: LaunchPlan | None) -> Machine:
    """This machine; where it has no GPUs and the run had some, one with those it had."""
    here = machines.here(store.runs_home())
    if here.cards or plan is None or not plan.machine.gpus:
        return here
    try:
        there = machines.parse("+".join(gpu.name for gpu in plan.machine.gpus))
    except machines.UnknownMachine:
        return here
    cards = [
        card._replace(memory_bytes=gpu.memory_bytes)
        for card, gpu in zip(there.cards, plan.machine.gpus, strict=True)
    ]  # fmt: skip
    return there._replace(
        cards=tuple(cards), host_memory=plan.machine.host_memory, host_available=plan.machine.host_available,
        disk_free=plan.machine.disk_free, peer_access=plan.machine.peer_access,
    )  # fmt: skip


def _own(case: _Case) -> tuple[list[Fix], str]:
    """By cause, the cheapest first."""
    cause, general = case.diagnosis.cause, [_ours(fix) for fix in case.diagnosis.fixes]
    resume = _resume(case)
    if cause == "cuda_oom":
        return _of_gpu_memory(case)
    if cause == "host_oom_sigkill":
        commands, left_out = [fix for fix in general if fix.command], host_fixes(case.config, case.predictor())
        is_sure = case.diagnosis.confidence == "certain"
        return ([*left_out, resume, *commands] if is_sure else [resume, *left_out, *commands]), ""
    if cause == "loss_nan_or_zero":
        return [*_steadier(case), *(fix for fix in general if not fix.patch)], ""
    if cause == "disk_full":
        return [*_room_on_disk(case), *(fix for fix in general if fix.command and "df " in fix.command)], ""
    if cause == "gpu_lost_xid":
        return [*_other_gpus(case), resume, *general], ""
    if cause == "nccl_timeout":
        return [*_longer_wait(case), resume, *general], ""
    if cause in OUTSIDE:
        return [resume, *(fix for fix in general if fix.command != STACK_AT_CRASH)], ""
    if case.ended["state"] == "finished":
        return general, ""
    patches, steps = [fix for fix in general if fix.patch], [fix for fix in general if not fix.patch]
    then = [resume._replace(title="then go on with the run")] if steps else []
    return [*patches, *steps, *then], ""


def _ours(fix: Fix) -> Fix:
    """A general fix with values as our configuration spells them."""
    spelt = {("training.gradient_checkpointing", True): "all"}
    patch = ((path, spelt.get((path, value), value) if isinstance(value, bool) else value) for path, value in fix.patch)
    return fix._replace(patch=tuple(patch))


def resume_command(run: RunDirectory) -> str:
    """What goes on with a run as it is."""
    return f"qltui resume {store.reference(run)}"


def _resume(case: _Case) -> Fix:
    return Fix("go on with the run as it is", resume_command(case.run))


def _of_gpu_memory(case: _Case) -> tuple[list[Fix], str]:
    config, found = case.config, case.diagnosis
    commands = [fix for fix in found.fixes if fix.command] if found.details.get("kind") != "too_much" else []
    others = whole(found.details.get("others")) if found.details.get("kind") == "another_process" else 0
    correction = ""
    predictor = case.predictor()
    if predictor is None:
        patches = unplanned_fixes(config)
    else:
        predictor.others = others or 0
        measured = needed(case.ended, found)
        patches, correction = gpu_fixes(config, predictor, measured, found.phase, case.allows)
    if others:
        return [*commands, _resume(case)._replace(title="go on once the GPU is free"), *patches], correction
    return [*patches, *commands], correction


def needed(ended: Mapping[str, Any], found: Diagnosis) -> dict[str, int]:
    """By phase, bytes torch's allocator held at most on any rank; at the death what it held and was asked for."""
    most: dict[str, int] = {}
    for rank in ended.get("ranks") or []:
        for phase, usage in rank["memory_by_phase"].items():
            most[phase] = max(most.get(phase, 0), usage.get("memory_peak") or 0)
    asked, allocated = (whole(found.details.get(name)) for name in ("asked", "allocated"))
    if found.phase and asked and allocated:
        most[found.phase] = max(most.get(found.phase, 0), asked + allocated)
    return most


def _longer_wait(case: _Case) -> Iterator[Fix]:
    """More time, where ranks gave up waiting while one of them may have been at work: not where it was lost."""
    has_waited = any(re.search(r"(?i)time(?:d )?out", one.text) for one in case.diagnosis.evidence)
    if case.diagnosis.phase in ONE_AT_WORK and has_waited:
        now = case.config.hardware.timeout_seconds or TORCH_WAITS[uses_gpu(case.config, len(case.machine.cards))]
        longer = ("hardware.timeout_seconds", LONGER * now)
        yield Fix("let ranks wait longer for one at work", patch=(longer,), effect=f"{now} → {LONGER * now} s")


def _other_gpus(case: _Case) -> Iterator[Fix]:
    """GPUs that answer in place of those that do not, where as many are free."""
    had, there = case.ended["gpus"], [gpu.uuid for gpu in case.machine.devices]
    if set(had) <= set(there):
        return
    before = {uuid for one in case.ended.get("recoveries") or [] for uuid in one.get("gpus") or []}
    taken = {uuid for one in live_runs() if one["id"] != case.run.id for uuid in one["gpus"]}
    if gpus := in_place_of_lost(had, there, before | taken):
        lost = len(set(had) - set(there))
        what = "another GPU" if lost == 1 else f"{lost} other GPUs"
        yield Fix(f"{what} in place of what was lost", patch=(("hardware.gpus", gpus),))


def in_place_of_lost(had: Sequence[str], there: Sequence[str], not_these: Collection[str]) -> list[str]:
    """The GPUs for a run that had these and lost some: the others it had, then as many more of those that are there.

    GPUs by UUID. ``not_these`` are in use, or were lost before: one that comes back is lost again soon. Empty where
    there are not enough.
    """
    left = [uuid for uuid in had if uuid in there]
    more = [uuid for uuid in there if uuid not in had and uuid not in not_these]
    gpus = [*left, *more][: len(had)]
    return gpus if len(gpus) == len(had) else []


def _steadier(case: _Case) -> Iterator[Fix]:
    """Against a loss that became no number, or zero."""
    training = case.config.training
    if compute_type(case.config, [card.capability[0] for card in case.machine.cards]) is Compute.FP16:
        yield Fix("bf16 in place of fp16", patch=(("precision.compute", Compute.BF16),), effect="cannot overflow so")
    usual = USUAL_RATE.get(case.config.method.name, USUAL_ADAPTER_RATE)
    lower = usual if training.learning_rate > usual / SLOWER_LEARNING else training.learning_rate * SLOWER_LEARNING
    slower = ("training.learning_rate", float(f"{lower:.2g}"))
    rate = f"{training.learning_rate:g} → {slower[1]:g}"
    yield Fix("a lower learning rate", patch=(slower,), effect=f"rate {rate}")
    if training.warmup_ratio < LONG_WARMUP:
        patch = (slower, ("training.warmup_ratio", LONG_WARMUP))
        yield Fix("a lower learning rate, reached more slowly", patch=patch, effect=f"rate {rate}")
    if training.max_grad_norm != 1.0:
        yield Fix("gradients clipped at 1", patch=(("training.max_grad_norm", 1.0),))


def _room_on_disk(case: _Case) -> Iterator[Fix]:
    """Room made by hand, then the run goes on; or checkpoints that take less."""
    kept = case.config.training.keep_checkpoints
    largest = max(_deletable(case.run), key=lambda one: one.frees, default=None)
    if largest is not None:
        command = f"qltui delete {largest.run.id} --keep-adapters"
        yield Fix(
            "delete the checkpoints of a run that is done with", command, effect=f"frees {words.size(largest.frees)}"
        )
    yield _resume(case)._replace(title="once there is room, go on with the run")
    if kept > 1:
        effect = f"{kept} → 1 kept"
        if case.architecture is not None:
            effect += f", {words.size(checkpoint_bytes(case.config, case.architecture))} each"
        yield Fix("keep the newest checkpoint only", patch=(("training.keep_checkpoints", 1),), effect=effect)


def _deletable(run: RunDirectory) -> Iterator[Removal]:
    """What deleting the newest other runs frees, but for their adapters; of those that none was made to continue."""
    others = [one for one in store.directories() if one.id != run.id and store.checkpoints(one)]
    for other in others[:LOOKED_AT]:
        with suppress(RemovalRefused):
            there = preview(other, keep_adapters=True)
            if there.frees and not there.children:
                yield there


def _is_patch(fix: Fix, case: _Case) -> bool:
    """Whether its patch can be, changes something and is let through."""
    try:
        patched = apply_patch(case.config, fix.patch)
    except ConfigError:
        return False
    return patched != case.config and case.allows(patched)


def apply_patch(config: RunConfig, patch: Iterable[tuple[str, object]]) -> RunConfig:
    """The configuration with a fix's values.

    Raises:
        ConfigError: a value cannot be what its field wants.
    """
    values = {path: msgspec.to_builtins(value) for path, value in patch}
    if unknown := values.keys() - FIELDS.keys():
        raise ConfigError([Problem("the fix", min(unknown), "there is no such field.")])
    return read(config.tree(), where="run.yaml", base=store.runs_home(), assignments=values)


def _finished(fix: Fix, case: _Case) -> Fix:
    """The fix with only what it changes, in plain values, and with what goes on."""
    if fix.patch:
        patched = apply_patch(case.config, fix.patch)
        patch = tuple(
            (path, msgspec.to_builtins(get(patched, path)))
            for path, _ in fix.patch
            if get(patched, path) != get(case.config, path)
        )
        start = start_of(case.run, case.config, patched, case.diagnosis.cause)
        return fix._replace(patch=patch, effect="; ".join(filter(None, (fix.effect, start.where))))
    if fix.command == resume_command(case.run):
        there = store.checkpoints(case.run)
        from_where = f"from step {step_of(there[0])}, all as it was" if there else "from the start: nothing was saved"
        return fix._replace(effect=from_where)
    return fix


def _without_doubles(fixes: list[Fix]) -> list[Fix]:
    """Each patch, command and title once."""
    once: dict[str, Fix] = {}
    for fix in fixes:
        told = ", ".join(f"{path}={as_text(value)}" for path, value in fix.patch)
        once.setdefault(told or fix.command or fix.title, fix)
    return list(once.values())
