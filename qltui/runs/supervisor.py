"""Looks after one attempt: ``python -P -m qltui.runs.supervisor RUN_DIR``, in a session of its own, without a terminal.

Starts ``engine.launch``, samples telemetry, follows the events, keeps ``status.json`` true, and writes how it ended.
Losing it costs the run nothing: the ranks are the launcher's, and readers then judge from events and exit records.
With ``--adopt`` it looks after the attempt that a lost one left running, instead of starting another; with
``--queued`` it waits until the run's turn has come.
What it prints, and what the launcher prints, goes to ``supervisor.log``. Options it does not know are the launcher's.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import ConfigError
from engine.config.reading import read_file
from engine.events import Attempt, RunDirectory, identity, is_alive, read_json, send_signal, write_json
from engine.events.processes import host_name
from engine.events.run_directory import RunIsLive
from qltui.runs import status
from qltui.runs.ending import conclude, is_stop, signal_name
from qltui.runs.reduction import Reduction
from qltui.runs.sanitise import clean
from qltui.runs.state import LIVE
from qltui.runs.telemetry import Sampler, out_of_memory_kills

if TYPE_CHECKING:
    from qltui.runs.diagnosis.diagnosis import Diagnosis

POLL_SECONDS = 0.2
STATUS_SECONDS = 0.5
SAMPLE_SECONDS = 1.0
READ_SECONDS = 1.0
"""Time spent on events before status and requests have their turn again."""
KEEP_SECONDS = 10.0
"""Time between two writings of levels; what lies between, readers take from the events."""
CLEARED_SECONDS = 10.0
"""Time the launcher's guard has to clear away what a killed launcher left."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="qltui.runs.supervisor", description="Look after one attempt of a run.")
    parser.add_argument("run_dir", type=Path, help="directory with run.yaml")
    parser.add_argument("--adopt", action="store_true", help="look after the attempt that is running")
    parser.add_argument("--queued", action="store_true", help="wait for the run's turn first")
    options, launcher_options = parser.parse_known_args(arguments)
    run = RunDirectory(options.run_dir)
    with open(run.supervisor_log, "ab") as claimed:  # no second one may adopt what this one looks after
        try:
            fcntl.flock(claimed, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if options.adopt and isinstance(error, BlockingIOError):
                print(f"error: run {run.id} has a supervisor", file=sys.stderr)
                return 1
        signal.signal(signal.SIGHUP, lambda *_: None)  # not ignored: that would be inherited by the launcher
        if options.queued:
            from qltui.runs.queueing import Waiting  # only here: other supervisors do without what it imports

            its_gpus = Waiting(run).wait()
            if its_gpus is None:
                return int(status.read_written(run)["exit_code"])
            launcher_options += its_gpus
        ended = Supervisor(run).supervise(None if options.adopt else launcher_options)
        while ended["state"] in LIVE:
            ended = _next_attempt(run, ended, launcher_options)
    if ended["state"] == "failed":
        _start_changed(run, ended)
    return int(ended["exit_code"])


def _next_attempt(run: RunDirectory, begun: dict[str, Any], launcher_options: list[str]) -> dict[str, Any]:
    """Look after another attempt of a run that goes on by itself (``recovery.auto``); returns the final status."""
    from qltui.runs import recovery  # here and below: most runs need none

    its_gpus = ["--gpus", ",".join(begun["gpus"])] if begun["gpus"] and "--gpus" not in launcher_options else []
    return recovery.wait(run, begun) or Supervisor(run).supervise([*launcher_options, *its_gpus])


def _start_changed(run: RunDirectory, ended: dict[str, Any]) -> None:
    """Launch a dead run with other settings in its place, where ``recovery.auto`` wants that."""
    attempt = run.last_attempt()
    written = read_json(attempt.diagnosis_json) if attempt else None
    if written is None or not config_says(run, "auto", 0):
        return
    from qltui.runs import recovery
    from qltui.runs.diagnosis.diagnosis import from_json

    found = from_json(written)
    if found is not None:
        recovery.start_changed(run, ended, found)


def config_says(run: RunDirectory, name: str, unreadable: int) -> int:
    """A value of the configuration's ``recovery``; ``unreadable`` where no rank can run anyway."""
    try:
        return int(getattr(read_file(run.run_yaml).recovery, name))
    except ConfigError:
        return unreadable


class Adopted:
    """A launcher that another supervisor started, as far as :class:`Supervisor` needs a ``Popen``."""

    def __init__(self, run: RunDirectory) -> None:
        attempt = run.last_attempt()
        launch = (read_json(attempt.launch_json) if attempt else None) or {}
        self._process: dict[str, Any] = launch.get("launcher") or {}
        self.pid = self._process.get("pid", -1)
        self.returncode = None
        """Nobody knows: it is not our child. How the ranks ended tells."""

    def poll(self) -> int | None:
        return None if is_alive(self._process) else 0

    def terminate(self) -> None:
        send_signal(self._process, signal.SIGTERM)


class CannotStart(Exception):
    """Other nodes can't be started."""


class NeverStarted:
    """In place of a launcher where other nodes could not be started."""

    pid = -1
    returncode = 1

    def poll(self) -> int:
        return self.returncode

    def terminate(self) -> None:
        pass


Launcher = subprocess.Popen[bytes] | Adopted | NeverStarted


class Supervisor:
    """One attempt, from before its launcher to after its last rank."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        written = status.read_written(run) | {"supervisor": identity()}
        self._reduction = Reduction(run, written, keeps=True)
        self._reduction.read()
        self._state = self._reduction.state
        if written["attempt"] != self._state.attempt:
            self._state.begin(written["attempt"])
        self._attempt: Attempt | None = None
        self._launch: dict[str, Any] = {}
        self._sampler: Sampler | None = None
        self._written: dict[str, Any] = {}
        self._next_status = self._next_sample = self._next_keep = 0.0
        self._stop_seen: float | None = None
        self._kills_before = out_of_memory_kills()
        self._terminated = False

    def supervise(self, launcher_options: list[str] | None) -> dict[str, Any]:
        """Launch, or None: adopt the launcher there is; look after the ranks until they have ended.

        Returns the final status; that of the next attempt if the run goes on by itself.
        """
        self._write(self._state.status())
        launcher = Adopted(self.run) if launcher_options is None else self._launcher(launcher_options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: launcher.terminate())
        while launcher.poll() is None:
            self._look(launcher)
            time.sleep(POLL_SECONDS)
        self._wait_until_cleared()
        self._next_sample = 0.0  # the last one tells whether the kernel ended a process
        self._look(launcher)
        self._reduction.read()
        self._keep()
        kills = out_of_memory_kills()
        out_of_memory = kills is not None and kills > (self._kills_before or 0)
        ended = self._conclude(launcher, out_of_memory)
        if ended["state"] == "failed" and config_says(self.run, "auto", 0):
            return self._recover(ended, out_of_memory)
        self._write(ended)
        if ended["state"] == "failed":
            self._diagnose(ended, out_of_memory)
        return ended

    def _recover(self, ended: dict[str, Any], out_of_memory: bool) -> dict[str, Any]:
        """The status of the next attempt, so that nobody reads that this one failed; ``ended`` if there is none."""
        from qltui.runs import recovery

        found = self._diagnose(ended, out_of_memory)
        begun = None
        with contextlib.suppress(OSError):  # a full disk: it stays as it ended
            begun = recovery.again(self.run, ended, found) if found else None
        if begun is None:
            self._write(ended)
        return begun or ended

    def _launcher(self, options: list[str]) -> Launcher:
        """Start this node's launcher; of a run over several hosts those of the other nodes first."""
        try:
            options = [*options, *self._start_others(options)]
        except CannotStart as error:
            print(f"error: {error}", flush=True)
            return NeverStarted()
        command = [sys.executable, "-P", "-m", "engine.launch", str(self.run.path), *options]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _start_others(self, options: list[str]) -> list[str]:
        """More options for the launcher of node 0, after ``options`` that were given by hand."""
        try:
            config = read_file(self.run.run_yaml)
        except ConfigError:  # which the launcher tells
            return []
        if config.hardware.nodes == 1 or "--master-addr" in options:
            return []
        from qltui.runs import hosts  # only here: most runs have one node

        try:
            hosts.start_others(self.run, config)
        except (hosts.CannotTakePart, OSError) as error:
            raise CannotStart(str(error)) from None
        return ["--master-addr", hosts.address(config)]

    def _look(self, launcher: Launcher) -> None:
        """One round: new events, a sample, requests, status."""
        now = time.monotonic()
        self._find_attempt(launcher.pid)
        self._read_events(now)
        if self._launch and now >= self._next_sample:
            self._next_sample = now + SAMPLE_SECONDS
            self._sample()
        self._heed_requests(launcher, now)
        current = self._state.status()
        if now >= self._next_status and current != self._written:
            self._next_status = now + STATUS_SECONDS
            self._write(current)

    def _find_attempt(self, launcher_pid: int) -> None:
        """The attempt our launcher made, as soon as it has recorded itself there; then its ranks, once they run."""
        if len(self._launch.get("ranks", [])) == self._launch.get("world_size", -1):
            return
        attempt = self.run.last_attempt()
        launch = read_json(attempt.launch_json) if attempt else None
        if attempt is None or launch is None or launch.get("launcher", {}).get("pid") != launcher_pid:
            return
        if self._attempt is None and attempt.number != self._state.attempt:
            self._state.begin(attempt.number)
        self._attempt, self._launch = attempt, launch
        self._state.identity["gpus"] = launch.get("gpus", [])

    def _read_events(self, now: float) -> None:
        if self._attempt is not None:
            self._reduction.read(READ_SECONDS)
        if now >= self._next_keep:
            self._next_keep = now + KEEP_SECONDS
            self._keep()

    def _keep(self) -> None:
        """Write down how far the events were read, and the curves in levels; readers go without if the disk is full."""
        with contextlib.suppress(OSError):
            self._reduction.keep()
        if self._sampler:
            self._sampler.keep()

    def _sample(self) -> None:
        if self._sampler is None:
            self._sampler = Sampler(self.run.telemetry, self._launch.get("gpus", []))
        ranks = self._launch.get("ranks", [])
        self._sampler.write({one["rank"]: one["pid"] for one in ranks if one.get("host") == host_name()})

    def _heed_requests(self, launcher: Launcher, now: float) -> None:
        """End the ranks if a stop is to be at once, or if they did not heed one; never while they save."""
        request = read_json(self.run.request_json)
        if self._terminated or request is None or not is_stop(request, self._state.attempt):
            return
        if self._stop_seen is None:
            self._stop_seen = now
        late = now - self._stop_seen > config_says(self.run, "stop_grace_seconds", 0) and self._state.state != "saving"
        if request.get("now") or late:
            self._terminated = True
            launcher.terminate()

    def _wait_until_cleared(self) -> None:
        """Wait until nothing of the attempt runs: as long as the launcher or its guard lives, the run is claimed."""
        deadline = time.monotonic() + CLEARED_SECONDS
        while time.monotonic() < deadline:
            try:
                with self.run.claim():
                    return
            except RunIsLive:
                time.sleep(POLL_SECONDS)
            except OSError:
                return

    def _conclude(self, launcher: Launcher, out_of_memory: bool) -> dict[str, Any]:
        """How it ended."""
        return conclude(
            self._state,
            self._launch.get("world_size", 1),
            (read_json(self._attempt.exits_json) if self._attempt else None) or {},
            read_json(self.run.request_json),
            status.last_lines(self._attempt) if self._attempt else {},
            launcher_end=self._launcher_end(launcher.returncode),
            out_of_memory=out_of_memory,
        )

    def _diagnose(self, ended: dict[str, Any], out_of_memory: bool) -> Diagnosis | None:
        """Write down why it failed; if the disk is full, whoever asks finds out for himself."""
        from qltui.runs.diagnosis.own_runs import diagnose_end  # only here: most runs end well

        attempt = self.run.last_attempt()
        if attempt is None:
            return None
        found = diagnose_end(self.run, ended, out_of_memory)
        with contextlib.suppress(OSError):
            write_json(attempt.diagnosis_json, found.as_json())
        return found

    def _launcher_end(self, code: int | None) -> str:
        if code is None:
            return f"The launcher ended, and nothing tells how, at step {self._state.step}."
        if code < 0:
            return f"The launcher was ended by {signal_name(-code)} at step {self._state.step}."
        line = clean(status.last_line(self.run.supervisor_log))
        return line.removeprefix("error: ") or f"The launcher ended with exit code {code}."

    def _write(self, current: dict[str, Any]) -> None:
        """Replace ``status.json``. If the disk is full the run goes on and readers judge from the events."""
        self._written = current
        with contextlib.suppress(OSError):
            write_json(self.run.status_json, current)


if __name__ == "__main__":
    sys.exit(main())
