"""A run that died goes on: with one of its diagnosis' fixes, asked for, or by itself where ``recovery.auto`` says so.

A fix that is a patch makes a new run, which goes on from the old one's last good checkpoint where it can; one that is a
plain resume makes a new attempt. ``recoveries`` in ``status.json`` tells of each.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config import ConfigError
from engine.config.quick_msgspec import msgspec
from engine.config.reading import read_file
from engine.events import identity, read_json, write_json
from qltui.runs import launching, status
from qltui.runs.diagnosis.diagnosis import GUESS
from qltui.runs.ending import is_stop
from qltui.runs.launching import LaunchRefused

if TYPE_CHECKING:
    from pathlib import Path

    from engine.events import RunDirectory
    from qltui.runs.diagnosis.causes.cause import Fix
    from qltui.runs.diagnosis.diagnosis import Diagnosis

AGAIN = frozenset({"port_in_use", "nccl_init_network", "nccl_timeout", "hub_not_found_or_offline"})
"""Causes outside of the run, after which the same is tried again."""
ONCE_AGAIN = frozenset({"host_oom_sigkill", "sigsegv"})
"""Causes that may be chance the first time."""
SAME_RESULTS = frozenset({"training.micro_batch_size", "training.gradient_accumulation_steps"})
CHANGED = {"cuda_oom": SAME_RESULTS, "gpu_lost_xid": frozenset({"hardware.gpus"})}
"""Fields that a new run may have otherwise by itself: those whose patches keep the rows of a step."""
WAITS = {"hub_not_found_or_offline": 60.0}
"""Seconds before it is tried again."""
POLL_SECONDS = 0.2


class CannotApply(Exception):
    """The fix can't be applied; the message says why and what to do."""


def apply(run: RunDirectory, number: int) -> RunDirectory:
    """Apply the fix that ``qltui diagnose RUN`` numbers so, and start what it makes: the run itself, or a new one.

    Raises:
        CannotApply: the run goes on, there is no such fix, or it is for hands.
        LaunchRefused: the launch is refused.
        ConfigError: ``run.yaml`` can't be read any more.
    """
    from qltui.runs.diagnosis.own_runs import NotEnded, diagnose_run

    try:
        found = diagnose_run(run)
    except NotEnded as error:
        raise CannotApply(str(error)) from None
    if not 1 <= number <= len(found.fixes):
        there = f"It has {len(found.fixes)}" if found.fixes else "It has none"
        raise CannotApply(f"{run.id} has no fix {number}. {there}: qltui diagnose {run.id}")
    fix = found.fixes[number - 1]
    if fix.patch:
        return _start_anew(run, found, fix, by_itself=False)
    if fix.command != _resume_command(run):
        how = f"run: {fix.command}" if fix.command else "it is a step to take by hand."
        raise CannotApply(f"Fix {number} of {run.id} ({fix.title}) is no change of its settings; {how}")
    launching.resume(run)
    return run


def told(run: RunDirectory) -> str:
    """What the newest recovery of a run came to, in a sentence; empty where there was none."""
    recoveries = status.read_written(run)["recoveries"]
    return str(recoveries[-1].get("continues", "")) if recoveries else ""


def _resume_command(run: RunDirectory) -> str:
    from qltui.runs.diagnosis.fixes import resume_command

    return resume_command(run)


class _Record(NamedTuple):
    """An entry of ``recoveries``."""

    run: str
    """That died."""
    attempt: int
    cause: str
    step: int
    """At which it died."""
    gpus: list[str]
    """It had, by UUID."""
    fix: str
    continues: str
    """What goes on and what begins anew."""
    by_itself: bool
    wall: float

    @classmethod
    def of(
        cls, run: RunDirectory, ended: dict[str, Any], found: Diagnosis, fix: str, continues: str, *, by_itself: bool
    ) -> _Record:
        """Of a run that ended so and was diagnosed so."""
        return cls(
            run.id, ended["attempt"], found.cause, ended["step"], ended["gpus"], fix, continues, by_itself, time.time()
        )


def _start_anew(run: RunDirectory, found: Diagnosis, fix: Fix, *, by_itself: bool) -> RunDirectory:
    """Launch a new run with the fix's patch; raises as :func:`apply`."""
    from qltui.runs import plan_file
    from qltui.runs.assessment import assess
    from qltui.runs.diagnosis.continuing import start_of
    from qltui.runs.diagnosis.fixes import apply_patch

    ended = status.read(run)
    config = read_file(run.run_yaml)
    patched = apply_patch(config, fix.patch)
    start = start_of(run, config, patched, found.cause)
    patched = msgspec.structs.replace(patched, parent=start.parent)
    planned = plan_file.read(run)
    forced = [finding.rule for finding in planned.findings if finding.forced] if planned else []
    assessed = assess(patched, forced=forced)
    if assessed.refusals:
        raise LaunchRefused("\n".join(map(str, assessed.refusals)))
    new = launching.create(patched, plan_file.document(assessed))
    if start.checkpoint is not None and not start.is_newest:
        _take_over(start.checkpoint, new)
    record = _Record.of(run, ended, found, fix.title, start.sentence, by_itself=by_itself)._asdict()
    write_json(new.status_json, {**status.read_written(new), "recoveries": [*ended["recoveries"], record]})
    write_json(run.status_json, {**ended, "recoveries": [*ended["recoveries"], {**record, "into": new.id}]})
    launching.start(new)
    return new


def _take_over(checkpoint: Path, new: RunDirectory) -> None:
    """Have the run begin at this checkpoint, not at its parent's newest: by links, which take no room."""
    shutil.copytree(checkpoint, new.checkpoints / checkpoint.name, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another disk
        shutil.copy2(source, target)


def again(run: RunDirectory, ended: dict[str, Any], found: Diagnosis) -> dict[str, Any] | None:
    """The status of the next attempt, if ``recovery.auto`` has the run resumed as it is; None if it stays dead.

    The attempt keeps its GPUs. To be called by its supervisor, before it writes how the attempt ended.
    """
    if not _may_recover(run, ended, found) or found.cause not in AGAIN | ONCE_AGAIN:
        return None
    if found.cause in ONCE_AGAIN and any(one["cause"] == found.cause for one in ended["recoveries"]):
        return None
    newest = _newest_checkpoint(run)
    continues = f"It goes on from {newest}, all as it was." if newest else "It begins anew: nothing was saved."
    record = _Record.of(run, ended, found, "resume", continues, by_itself=True)
    recovered = {**ended, "recoveries": [*ended["recoveries"], record._asdict()]}
    _note(run, ended, found, continues)
    begun = launching.write_begun(run, recovered, {"state": "starting", "gpus": ended["gpus"], "waiting_for": None})
    begun["supervisor"] = identity()
    write_json(run.status_json, begun)
    return begun


def wait(run: RunDirectory, begun: dict[str, Any]) -> dict[str, Any] | None:
    """Let some time pass where the cause needs it; the final status if it is told to stop meanwhile."""
    until = time.monotonic() + WAITS.get(begun["recoveries"][-1]["cause"], 0.0)
    while True:
        if is_stop(read_json(run.request_json), begun["attempt"]):
            stopped = {
                **begun,
                "state": "stopped",
                "reason": "Stopped as asked, before it was resumed.",
                "exit_code": 0,
            }
            write_json(run.status_json, stopped)
            return stopped
        if time.monotonic() >= until:
            return None
        time.sleep(POLL_SECONDS)


def start_changed(run: RunDirectory, ended: dict[str, Any], found: Diagnosis) -> RunDirectory | None:
    """Launch the run anew with smaller batches, or on other GPUs, if ``recovery.auto`` and its cause allow it.

    Its steps keep their rows, so that the results are alike. None if it stays dead.
    """
    if found.cause not in CHANGED or not _may_recover(run, ended, found):
        return None
    fix = next((fix for fix in found.fixes if {path for path, _ in fix.patch} == CHANGED[found.cause]), None)
    if fix is None:
        return None
    try:
        new = _start_anew(run, found, fix, by_itself=True)
    except (LaunchRefused, ConfigError) as error:
        print(f"recovery.auto: {fix.title}: {error}", flush=True)
        return None
    _note(run, ended, found, f"{new.id} goes on with {fix.title}. {told(new)}")
    return new


def _may_recover(run: RunDirectory, ended: dict[str, Any], found: Diagnosis) -> bool:
    """Whether it may be tried once more: not too often, never twice for the same cause at the same step."""
    if (
        ended["state"] != "failed"
        or found.confidence == GUESS
        or is_stop(read_json(run.request_json), ended["attempt"])
    ):
        return False
    recoveries = ended["recoveries"]
    if any((one["cause"], one["step"]) == (found.cause, ended["step"]) for one in recoveries):
        return False
    return _count(recoveries) < wanted(run)


def _count(recoveries: list[dict[str, Any]]) -> int:
    """How often a run recovered by itself."""
    return sum(bool(one["by_itself"]) for one in recoveries)


def wanted(run: RunDirectory) -> int:
    """``recovery.auto`` of a run."""
    try:
        return read_file(run.run_yaml).recovery.auto
    except ConfigError:
        return 0


def _newest_checkpoint(run: RunDirectory) -> str:
    from qltui.runs import store

    return next((f"checkpoints/{folder.name}" for folder in store.checkpoints(run)), "")


def _note(run: RunDirectory, ended: dict[str, Any], found: Diagnosis, what: str) -> None:
    """A line in ``supervisor.log``, where what a supervisor prints goes."""
    count = _count(ended["recoveries"]) + 1
    died = f"attempt {ended['attempt']} died at step {ended['step']} ({found.cause})"
    print(f"recovery {count} of {wanted(run)}: {died}. {what}", flush=True)
