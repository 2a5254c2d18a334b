"""Runs begun, resumed and asked to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from engine.config.quick_msgspec import msgspec
from engine.config.ranks import ranks_per_node
from engine.config.reading import read_file
from engine.events import RunDirectory, is_alive, read_json, send_signal, write_json
from qltui.configs.files import write_files
from qltui.runs import leases, queueing, state_folder, status, store
from qltui.runs.leases import LaunchRefused as LaunchRefused
from qltui.runs.state import LIVE, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.config import RunConfig
    from qltui.facts import gpus
    from qltui.runs.assessment import Assessment


def launch(
    assessed: Assessment, *, queue: bool = False, after: RunDirectory | None = None, by_hand: bool = False
) -> RunDirectory:
    """Start a run that nothing stops, with what is known of it as ``plan.json``; for commands and screens alike.

    ``queue`` and ``after`` are those of :func:`create`; a run that has to wait starts by itself later. ``by_hand``
    starts nothing: somebody starts each of its nodes.

    Raises:
        LaunchRefused: something stops it, a live run has the name or the GPUs, or the state folder can't be written.
    """
    from qltui.runs import plan_file

    if assessed.refusals:
        raise LaunchRefused("\n".join(map(str, assessed.refusals)))
    if not by_hand:
        _check_hosts(assessed.config)
    run = create(assessed.config, plan_file.document(assessed), queue=queue, after=after)
    if not by_hand:
        start(run)
    return run


def _check_hosts(config: RunConfig) -> None:
    """Ask the hosts of a run over several whether they can take part.

    Raises:
        LaunchRefused: with a line for each that can't.
    """
    if config.hardware.nodes == 1:
        return
    from qltui.runs import hosts  # only here: most runs have one node

    try:
        with _as_refusal(f"The other hosts can't be asked from {store.runs_home()}"):
            hosts.check(config, store.runs_home())
    except hosts.CannotTakePart as error:
        raise LaunchRefused(str(error)) from None


def create(
    config: RunConfig, plan: dict[str, Any] | None = None, *, queue: bool = False, after: RunDirectory | None = None
) -> RunDirectory:
    """Make the directory of a run, whole or not at all, with ``plan`` as its ``plan.json``. ``start`` then starts it.

    Args:
        queue: where other runs have its GPUs it is queued behind those that wait for them already.
        after: it is queued until this run has ended, one way or another; then it is as with ``queue``.

    Raises:
        LaunchRefused: a live run has the name or, without ``queue``, the GPUs; there is no such parent, or the state
            folder can't be written.
    """
    config = with_parent_found(config)
    with _state_folder_locked():
        live = leases.live_runs()
        place = queueing.last_place(config, live, after) if queue or after else None
        leased, waiting = _turn(config, live, place)
        if waiting is None:
            _refuse_name(config, live)
        run = RunDirectory(store.runs_home() / _free_id(config.name))
        temporary = RunDirectory(store.runs_home() / f".{os.urandom(8).hex()}")
        try:
            temporary.path.mkdir(mode=0o700)
            write_files(temporary, config, ranks_per_node(config, len(leased)), leased)
            if plan is not None:
                write_json(temporary.plan_json, plan)
            first = _first_status(run, config)
            if waiting is not None:
                leases.write_place(temporary, place)
            write_json(temporary.status_json, {**first, **_start_of(leased, waiting)})
            temporary.path.rename(run.path)
        except BaseException:
            import shutil  # only here: it takes time to import

            shutil.rmtree(temporary.path, ignore_errors=True)
            raise
    return run


def claim(config: RunConfig) -> list[gpus.Gpu]:
    """The GPUs that a launch now would take, none on CPU ranks; nobody is kept from taking them before it.

    Raises:
        LaunchRefused: a live run has the name or the GPUs.
    """
    live = leases.live_runs()
    _refuse_name(config, live)
    return leases.take(config, live)


def _refuse_name(config: RunConfig, live: list[dict[str, Any]]) -> None:
    """Two runs of one name are no trouble but for whoever means one of them; one that waits may bear it."""
    for one in live:
        if one["name"] == config.name:
            advice = f"Stop it, or give this one another name: --set name={config.name}-2"
            raise LaunchRefused(f"A run named {config.name} is live: {one['id']}. {advice}")


def _turn(
    config: RunConfig, live: list[dict[str, Any]], place: leases.Place | None
) -> tuple[list[gpus.Gpu], dict[str, Any] | None]:
    """The GPUs a run begins on and None; or, as it has a place in the queue, those it may get and what it waits for.

    Raises:
        LaunchRefused: it has no place, and other runs have the GPUs; or they are not there.
    """
    if place is None:
        return leases.take(config, live), None
    found = queueing.turn(config, place, live)
    if not isinstance(found, queueing.Wait):
        return found, None
    possible, wanted = leases.candidates(config)
    return possible[:wanted], found.waiting_for


def _start_of(leased: list[gpus.Gpu], waiting: dict[str, Any] | None) -> dict[str, Any]:
    """What the status of a run says that begins now, or of one that waits."""
    if waiting is None:
        return {"state": "starting", "gpus": [gpu.uuid for gpu in leased], "waiting_for": None}
    return {"state": "queued", "gpus": [], "waiting_for": waiting}


def with_parent_found(config: RunConfig) -> RunConfig:
    """The configuration with its parent as the engine looks for it: the id of a run kept here, or an absolute path.

    Raises:
        LaunchRefused: there is no such run.
    """
    if config.parent is None:
        return config
    try:
        parent = store.find_parent(config.parent)
    except store.RunNotFound as error:
        raise LaunchRefused(f"parent: {error}") from None
    return msgspec.structs.replace(config, parent=store.reference(parent))


def start(run: RunDirectory, *, adopt: bool = False) -> None:
    """Start the run's supervisor, detached: it needs neither this process nor its terminal, and returns at once.

    That of a queued run waits first. With ``adopt`` it takes over the attempt that is running, and starts none.

    Raises:
        LaunchRefused: no process could be started.
    """
    written = status.read_written(run)
    options = ["--gpus", ",".join(written["gpus"])] if written["gpus"] else []
    if adopt or written["state"] == "queued":
        options = ["--adopt" if adopt else "--queued"]
    command = [sys.executable, "-P", "-m", "qltui.runs.supervisor", str(run.path), *options]
    with (
        _as_refusal(f"The supervisor of {run.id} can't be started"),
        open(run.supervisor_log, "ab") as log,
        open(os.devnull, "rb") as nothing,
    ):
        # Not subprocess: importing it costs a launch more than all this.
        streams = [(os.POSIX_SPAWN_DUP2, source.fileno(), target) for target, source in enumerate((nothing, log, log))]
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        os.posix_spawn(sys.executable, command, environment, file_actions=streams, setsid=True)


def resume(run: RunDirectory, *, queue: bool = False) -> None:
    """Start a new attempt of a run that has ended; it goes on from the newest good checkpoint.

    A run that goes on without its supervisor gets another, and no new attempt. With ``queue`` it waits where other
    runs have its GPUs; one that was lost while it was queued takes its place again.

    Raises:
        LaunchRefused: the run is live or finished, or its GPUs are taken.
        ConfigError: ``run.yaml`` can't be read any more.
    """
    with _state_folder_locked():
        current = status.read(run)
        orphan = current["state"] in LIVE and _is_orphan(run, current)
        if not orphan:
            _begin_attempt(run, current, queue)
    start(run, adopt=orphan)


def _begin_attempt(run: RunDirectory, current: dict[str, Any], queue: bool) -> None:
    """Write the status of a run whose next attempt is about to be started; raises as :func:`resume`."""
    if current["state"] in LIVE:
        raise LaunchRefused(f"{run.id} is live ({current['state']}); stop it first.")
    if current["state"] == "finished":
        raise LaunchRefused(f"{run.id} has finished; there is nothing to resume.")
    if store.step_folders(run) and not store.checkpoints(run):
        advice = f"Start it anew: qltui launch {run.run_yaml}"
        raise LaunchRefused(f"Only adapters of {run.id} were kept; it can't go on from them. {advice}")
    config, live = read_file(run.run_yaml), leases.live_runs()
    place = leases.read_place(run) or (queueing.last_place(config, live, None) if queue else None)
    leased, waiting = _turn(config, live, place)
    leases.write_place(run, place if waiting else None)
    write_begun(run, current, _start_of(leased, waiting))


def write_begun(run: RunDirectory, current: dict[str, Any], start: dict[str, Any]) -> dict[str, Any]:
    """Write and return the status of a run that has ended as ``current`` says and whose next attempt begins.

    ``start``: ``state``, ``gpus`` and ``waiting_for`` of the attempt.
    """
    last = run.last_attempt()
    attempt = last.number + 1 if last else 1
    begun = RunState({**current, "supervisor": None, "attempt": attempt})
    kept = {key: current[key] for key in ("exact_match", "sample", "total_steps")}
    run.request_json.unlink(missing_ok=True)  # what it asks was asked of an attempt that is over
    written = {**begun.status(), **kept, **start, "updated": time.time()}
    write_json(run.status_json, written)
    return written


def _is_orphan(run: RunDirectory, current: dict[str, Any]) -> bool:
    """Whether the launcher of a run is at work here and the supervisor is gone."""
    attempt = run.last_attempt()
    launch = (read_json(attempt.launch_json) if attempt else None) or {}
    return is_alive(launch.get("launcher")) is True and is_alive(current["supervisor"]) is False


def request_stop(run: RunDirectory, now: bool = False) -> None:
    """Ask a run to save and stop; with ``now`` end its ranks without saving.

    Raises:
        LaunchRefused: the run isn't live, or the request can't be written.
    """
    _request(run, "stop", now=now)
    attempt = run.last_attempt()
    launch = read_json(attempt.launch_json) if attempt else None
    if now and launch:  # its supervisor would see the request too, if there is one
        send_signal(launch.get("launcher", {}), signal.SIGTERM)


def request_checkpoint(run: RunDirectory) -> None:
    """Ask a run to save a checkpoint after its current step and go on.

    Raises:
        LaunchRefused: the run isn't live, or waits in the queue, or the request can't be written.
    """
    if status.read_written(run)["state"] == "queued":
        raise LaunchRefused(f"{run.id} is queued; there is nothing to save yet.")
    _request(run, "checkpoint")


def _request(run: RunDirectory, action: str, **more: Any) -> None:
    """Leave a request for the ranks of a live run."""
    current = status.read(run)
    if current["state"] not in LIVE:
        raise LaunchRefused(f"{run.id} isn't live: it is {current['state']}.")
    request = {
        "action": action, "id": os.urandom(8).hex(), "wall": time.time(), "attempt": current["attempt"], **more,
    }  # fmt: skip
    with _as_refusal(f"The request can't be written to {run.request_json}"):
        write_json(run.request_json, request)


@contextlib.contextmanager
def _state_folder_locked() -> Iterator[None]:
    with _as_refusal(f"The state folder {store.runs_home().parent} can't be written"), state_folder.locked():
        yield


@contextlib.contextmanager
def _as_refusal(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "Free some space or set QLTUI_HOME to a folder you can write."
        raise LaunchRefused(f"{what}: {error.strerror or error}. {advice}") from None


def _free_id(name: str) -> str:
    """Name and time; a number on top if that is taken."""
    first = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    candidate, number = first, 1
    while (store.runs_home() / candidate).exists():
        number += 1
        candidate = f"{first}-{number}"
    return candidate


def _first_status(run: RunDirectory, config: RunConfig) -> dict[str, Any]:
    """``status.json`` of a run whose supervisor is about to be started."""
    now = time.time()
    identity = {
        "id": run.id, "name": config.name, "run_dir": str(run.path), "method": config.method.name.value,
        "strategy": config.strategy.name.value, "model": config.model.path, "data": config.data.path,
        "created": now, "updated": now,
    }  # fmt: skip
    return RunState(identity).status() | {"total_steps": config.training.max_steps}
