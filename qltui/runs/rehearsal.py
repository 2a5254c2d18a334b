"""A rehearsal carried out: shrink the model, train, stop on the way, resume to the end, tell what was seen."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.cells import refused
from engine.config.choices import Device
from engine.events import EventReader, RunDirectory, number
from qltui.configs import preflight
from qltui.configs.model_files import missing
from qltui.facts import gpus, host
from qltui.runs import launching, plan_file, status, store
from qltui.runs.assessment import assess
from qltui.runs.rehearsal_plan import affordable_ranks, rehearsed, unproven
from qltui.runs.state import FINAL, LIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.config import RunConfig
    from engine.config.schema import Problem
    from qltui.advice.changes import Change

POLL_SECONDS = 0.02
REPORT_SECONDS = 0.5


class RehearsalRefused(Exception):
    """Nothing was rehearsed; the message says why and what to do."""


class Proof(NamedTuple):
    """Something that was seen to work."""

    what: str
    detail: str


class Outcome(NamedTuple):
    """What came of a rehearsal."""

    run: RunDirectory
    ranks: int
    changed: list[Change]
    proven: list[Proof]
    unproven: list[str]
    audits: dict[str, str]
    plan: dict[str, Any]
    """What ``plan.json`` would say of the run itself, launched on this machine; that of the rehearsal is its own."""
    failure: dict[str, Any] | None
    """phase, rank, error and message of what went wrong; None if all went well."""


def check(config: RunConfig) -> list[Problem]:
    """What would stop a rehearsal, as far as files can tell, or the run on any machine; weights are not needed."""
    problems = refused(config)
    name = config.model.path
    problems += [] if Path(name).exists() else missing(name, "model.path", "model")
    small, _ = rehearsed(config, name, 2)
    known = {*(problem.field for problem in problems), "model.path"}
    return problems + [problem for problem in preflight.check(small) if problem.field not in known]


def rehearse(config: RunConfig, wanted_ranks: int | None, say: Callable[[str], None]) -> Outcome:
    """Shrink the model, train, stop on the way, resume to the end; ``say`` gets a line now and then.

    The run stays; the small model is removed. ``wanted_ranks`` outweighs what memory and cores allow.

    Raises:
        RehearsalRefused: the model can't be shrunk, or the run can't be started.
        KeyboardInterrupt: after the run's processes were asked to end.
    """
    plan = plan_file.document(assess(config))
    gpu_count = 0 if config.hardware.device is Device.CPU else len(gpus.visible_gpus())
    with _small_model_folder() as folder:
        say(f"shrinking {config.model.path}")
        small_model = _shrink(config, folder)
        say(f"{small_model['architecture']} with {small_model['parameters']:,} parameters: {_sizes(small_model)}")
        ranks = wanted_ranks or affordable_ranks(
            config, gpu_count, host.memory()[1], host.cpu_cores(), small_model["bytes"]
        )
        small_config, changed = rehearsed(config, str(folder), ranks)
        run = _start(small_config)
        say(f"{run.id}: {ranks} CPU {'rank' if ranks == 1 else 'ranks'} under {small_config.strategy.name.value}")
        try:
            ended, was_stopped = _train_in_two_attempts(run, say)
        except KeyboardInterrupt:
            _end(run)
            raise
    events = list(_events(run))
    proven = [Proof("architecture", f"{small_model['architecture']}, {_sizes(small_model)}")]
    proven += _proven(small_config, ranks, events)
    open_points = unproven(config, ranks, gpu_count)
    if not was_stopped and ended["state"] == "finished":
        open_points.insert(0, "stopping and resuming: the run was over before it could be stopped; rehearse it again")
    return Outcome(run, ranks, changed, proven, open_points, ended["audits"], plan, _failure(ended, events))


@contextlib.contextmanager
def _small_model_folder() -> Iterator[Path]:
    """A folder among the runs, hidden from their list, removed afterwards."""
    home = store.runs_home()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".small-model-", dir=home))
    except OSError as error:
        advice = "Free some space or set QLTUI_HOME to a folder you can write."
        raise RehearsalRefused(f"The state folder {home} can't be written: {error.strerror}. {advice}") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _shrink(config: RunConfig, folder: Path) -> dict[str, Any]:
    """What ``engine.shrink`` says of the small model it wrote to ``folder``."""
    model = config.model
    command = [sys.executable, "-P", "-m", "engine.shrink", model.path, str(folder)]
    command += ["--revision", model.revision] if model.revision else []
    command += ["--tokenizer", model.tokenizer] if model.tokenizer else []
    command += ["--trust-remote-code"] if model.trust_remote_code else []
    command += ["--task", model.task.value]
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lines = [line for line in (done.stderr if done.returncode else done.stdout).splitlines() if line.strip()]
    if done.returncode:
        reason = lines[-1].removeprefix("error: ") if lines else f"exit code {done.returncode}"
        raise RehearsalRefused(f"The model can't be shrunk: {reason}")
    said: dict[str, Any] = json.loads(lines[-1])
    return said


def _sizes(small_model: dict[str, Any]) -> str:
    """The sizes that were changed, as ``num_hidden_layers 32 to 2``."""
    return ", ".join(f"{field} {old} to {new}" for field, (old, new) in small_model["changed"].items()) or "as it was"


def _start(config: RunConfig) -> RunDirectory:
    try:
        run = launching.create(config, plan_file.document(assess(config)))
        launching.start(run)
    except launching.LaunchRefused as error:
        raise RehearsalRefused(str(error)) from None
    return run


def _train_in_two_attempts(run: RunDirectory, say: Callable[[str], None]) -> tuple[dict[str, Any], bool]:
    """(final status, whether it was stopped and resumed)."""
    ended = _wait(run, say, until_saving=True)
    if ended["state"] in LIVE:
        with contextlib.suppress(launching.LaunchRefused):  # it has ended meanwhile
            launching.request_stop(run)
            say("stopping it after its first checkpoint")
        ended = _wait(run, say)
    if ended["state"] != "stopped":
        return ended, False
    say("resuming it")
    try:
        launching.resume(run)
    except launching.LaunchRefused as error:
        raise RehearsalRefused(str(error)) from None
    return _wait(run, say), True


def _wait(run: RunDirectory, say: Callable[[str], None], until_saving: bool = False) -> dict[str, Any]:
    """The status once the run has ended, or, if asked, once it begins to save for the first time."""
    reader: EventReader | None = None
    shown, next_report = "", 0.0
    while True:
        if reader is None and (attempt := run.last_attempt()):
            reader = EventReader(attempt.events(0))
        saving = until_saving and reader is not None and any(_begins_to_save(event) for event in reader.read())
        if saving or time.monotonic() >= next_report:
            current = status.read(run)
            next_report = time.monotonic() + REPORT_SECONDS
            if current["state"] != shown:
                shown = current["state"]
                say(shown)
            if saving or shown in FINAL:
                return current
        time.sleep(POLL_SECONDS)


def _begins_to_save(event: dict[str, Any]) -> bool:
    return event["kind"] == "phase" and event.get("phase") == "save"


def _end(run: RunDirectory) -> None:
    """Have the run's processes ended, before its model is removed."""
    with contextlib.suppress(launching.LaunchRefused):
        launching.request_stop(run, now=True)
        _wait(run, lambda _: None)


# What came of it


def _events(run: RunDirectory) -> Iterator[dict[str, Any]]:
    """Rank 0's events of all attempts."""
    for attempt in run.attempts():
        reader = EventReader(attempt.events(0))
        while events := reader.read():
            yield from events


def _of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == kind]


def _proven(config: RunConfig, ranks: int, events: list[dict[str, Any]]) -> list[Proof]:
    """What rank 0's events show to have worked."""
    proven = []
    for event in _of(events, "data")[-1:]:
        proven.append(Proof("data", f"{event.get('rows')} rows read as {event.get('format')}"))
    losses = [number(event.get("loss")) for event in _of(events, "step")]
    finite = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if finite and len(finite) == len(losses):
        where = f"{ranks} {'rank' if ranks == 1 else 'ranks'}, {config.strategy.name.value}, {config.method.name.value}"
        trend = ", falling" if finite[-1] < finite[0] else ""
        steps = _of(events, "step")[-1]["step"]
        proven.append(Proof("training", f"{steps} steps on {where}; loss {finite[0]:.4f} to {finite[-1]:.4f}{trend}"))
    for event in _of(events, "evaluation")[-1:]:
        proven.append(Proof("evaluation", f"{event.get('rows')} rows"))
    saved = [event["path"] for event in _of(events, "checkpoint") if not event.get("resumed")]
    resumed = [event["path"] for event in _of(events, "checkpoint") if event.get("resumed")]
    if saved:
        proven.append(Proof("checkpoints", f"{', '.join(saved)}: saved"))
    if resumed:
        proven.append(Proof("resuming", f"went on from {resumed[-1]}"))
    last = {event.get("audit"): event for event in _of(events, "audit")}  # each as it was measured last
    proven += [
        Proof(f"{name} audit", f"{event.get('result', '').replace('_', ' ')}: {event.get('detail')}")
        for name, event in last.items()
        if event.get("result") in ("passed", "not_applicable")
    ]
    for event in _of(events, "finished")[-1:]:
        if event.get("adapter"):
            reopened = last.get("adapter", {}).get("path") == event["adapter"]
            proven.append(
                Proof("result", f"{event['adapter']}/ written{', reopened and compared' if reopened else ''}")
            )
    return proven


def _failure(ended: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What went wrong: the run's own failure, else what it did not notice itself."""
    if ended["state"] != "finished":
        return {"phase": None, "rank": None, "error": None, **(ended["failure"] or {}), "message": ended["reason"]}
    message = None
    for event in _of(events, "step"):
        if (loss := number(event.get("loss"))) is None or not math.isfinite(loss):
            message = f"The loss of step {event['step']} is {event.get('loss')}."
    failed = [name for name, result in ended["audits"].items() if result == "failed"]
    if failed:
        message = f"Audits failed: {', '.join(failed)}."
    return {"phase": None, "rank": None, "error": None, "message": message} if message else None
