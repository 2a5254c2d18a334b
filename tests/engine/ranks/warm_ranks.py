"""Runs whose processes need not import torch anew: ``python -m warm_ranks``, told of runs on standard input.

A line is ``{"run": FOLDER, "fault": NAME}``. Supervisor, launcher and ranks are the real ones, each a process of its
own with the parent it always has; they are forked from this one instead of started by its interpreter. ``fault`` names
what is made wrong in a rank before it begins; empty for nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import engine.train  # isort: skip - it quiets the libraries

import bitsandbytes  # noqa: F401
import transformers.models.llama.modeling_llama  # noqa: F401

import engine.launch
from engine.events import identity
from engine.rank_processes import RankProcess
from engine.reporter import Reporter
from qltui.runs import supervisor

MIB = 2**20
GRACE = "1"
"""Seconds that the other ranks have to end."""
_fault = ""


class Forked:
    """A child, as far as supervisor and launcher need a ``Popen``."""

    def __init__(self, live: Callable[[], Any]) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                live()
            finally:
                os._exit(1)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, state = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(state) if pid else None
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def main() -> None:
    print("ready", flush=True)
    supervisor.Supervisor._launcher = _launcher  # type: ignore[assignment,method-assign]
    engine.launch.start_rank = _start_rank  # type: ignore[assignment]
    for line in sys.stdin:
        asked = json.loads(line)
        Forked(lambda: _supervise(asked["run"], asked["fault"]))  # noqa: B023 - called before the next line
    os._exit(0)  # taking torch apart takes seconds


def _begin_anew(log: os.PathLike[str] | str) -> None:
    """Be as a process that was started: no signals' handlers, no files but the log."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.closerange(3, 4096)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for file, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(file, number)
    os.closerange(3, 4096)


def _supervise(run: str, fault: str) -> NoReturn:
    global _fault
    _fault = fault
    os.setsid()
    _begin_anew(os.path.join(run, "supervisor.log"))
    os._exit(supervisor.main([run, "--grace", GRACE]))


def _launcher(watching: supervisor.Supervisor, options: list[str]) -> Forked:
    def launch() -> NoReturn:
        _begin_anew(watching.run.supervisor_log)
        code = engine.launch.main([str(watching.run.path), *options])
        sys.stdout.flush()
        os._exit(code)

    return Forked(launch)


def _start_rank(
    rank: int, local_rank: int, command: Sequence[str], environment: Mapping[str, str], log: os.PathLike[str]
) -> RankProcess:
    def live() -> NoReturn:
        os.setsid()
        _begin_anew(log)
        os.environ.update(environment)
        faulthandler.enable()  # PYTHONFAULTHANDLER has said so to those that are started
        if _fault:
            FAULTS[_fault](rank)
        engine.train.main(list(command[4:]))

    process: Any = Forked(live)
    return RankProcess(rank, local_rank, process, identity(process.pid))


Fault = Callable[[int], None]


def dies(how: Callable[[], Any], phase: str) -> Fault:
    """The second rank dies so in a phase."""

    def second(rank: int) -> None:
        if rank == 1:
            meet(phase, how)

    return second


def meet(phase: str, happens: Callable[[], Any]) -> None:
    """Have something happen in this rank as soon as it is in a phase, each time."""
    enter = Reporter.phase

    @contextlib.contextmanager
    def enter_and_happen(reporter: Reporter, name: str, *arguments: Any, **named: Any) -> Iterator[None]:
        with enter(reporter, name, *arguments, **named):
            if name == phase:
                happens()
            yield

    Reporter.phase = enter_and_happen  # type: ignore[assignment,method-assign]


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def faulted() -> None:
    ctypes.string_at(0)


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def without_memory() -> None:
    """May have no more address space than it has, so that no larger piece of memory can be had."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def fill_cgroup() -> None:
    """Take more memory than the control group allows that this process moves to, once a sample has seen it there."""
    with open(os.environ["DEATHS_CGROUP"], "w") as file:
        file.write(str(os.getpid()))
    (samples,) = Path(os.readlink("/proc/self/fd/1")).parents[3].glob("telemetry/*.jsonl")
    before = samples.read_bytes().count(b"\n")
    while samples.read_bytes().count(b"\n") < before + 2:
        time.sleep(0.1)
    bytearray(os.urandom(MIB)) * 512


def limit_files(size: int) -> None:
    """No file may grow over so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_events() -> None:
    """Events can't be written any more; the log is shorter."""
    events = max(os.fstat(number).st_size for number in range(3, 64) if _is_events(number))
    limit_files(events + 50)


def _is_events(number: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{number}").endswith(".jsonl")
    except OSError:
        return False


def takes_port(rank: int) -> None:
    """Somebody listens where the ranks are to meet."""
    if rank == 0:
        taken = socket.socket()
        taken.bind(("0.0.0.0", int(os.environ["MASTER_PORT"])))
        taken.listen()
        _held.append(taken)


_held: list[socket.socket] = []

FAULTS: dict[str, Fault] = {
    **{f"killed in {phase}": dies(killed, phase) for phase in ("load", "forward", "save")},
    **{f"faulted in {phase}": dies(faulted, phase) for phase in ("load", "forward", "save")},
    "no memory in load": dies(without_memory, "load"),
    "no memory in forward": dies(without_memory, "forward"),
    "cgroup": dies(fill_cgroup, "forward"),
    "hangs": dies(stopped, "forward"),
    "leaves": dies(lambda: os._exit(0), "load"),
    "port": takes_port,
    "small files": lambda _rank: limit_files(300_000),
    "tiny files": lambda _rank: limit_files(6_000),
    "no events": dies(limit_events, "forward"),
}


if __name__ == "__main__":
    main()
