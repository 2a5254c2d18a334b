"""The ranks of one node as processes: started, watched, and ended so that nothing of them is left. No torch.

Two things end processes. The launcher, their parent, ends the other ranks when one has failed or when it is told to
end. The guard, a small process beside it, waits until the launcher is gone, by whatever end, and then ends what is
left of the attempt: grandchildren such as data loaders, and the ranks themselves if the launcher was killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events import identity, write_json
from engine.events.processes import start_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from engine.nodes import Nodes

MARK = "QLTUI_ATTEMPT_MARK"
"""Environment variable every process of an attempt inherits, by which the guard knows it."""

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

LEFTOVER_SECONDS = 2.0
"""Time what a rank left behind has to end by itself, after SIGTERM."""


class RankProcess(NamedTuple):
    """One rank of this node."""

    rank: int
    local_rank: int
    process: subprocess.Popen[bytes]
    identity: dict[str, Any]
    """pid, start time and host, as they go into ``launch.json``."""


def start_rank(
    rank: int, local_rank: int, command: Sequence[str], environment: Mapping[str, str], log: os.PathLike[str]
) -> RankProcess:
    """Start a rank in a session of its own, so that one signal reaches all it starts and a terminal's reaches none."""
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return RankProcess(rank, local_rank, process, identity(process.pid))


class Signals:
    """Signals as something to wait for, a child's end among them. To be made in the main thread."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *ENDING_SIGNALS):
            if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
                signal.signal(number, lambda *_: None)

    def wait(self, seconds: float | None) -> bytes:
        """Numbers of the signals that came; empty after ``seconds`` without any."""
        select.select([self._reading], [], [], seconds)
        try:
            return os.read(self._reading, 4096)
        except BlockingIOError:
            return b""


class Watch:
    """Waits until every rank of this node has ended, and records how each did."""

    def __init__(
        self, ranks: Iterable[RankProcess], record: Path, signals: Signals, grace: float, nodes: Nodes | None = None
    ) -> None:
        """``record`` is the file of how they ended, ``nodes`` the others of a run that has several.

        ``grace`` is the time in seconds that healthy ranks have to end once one has failed, here or on another node.
        """
        self._running = list(ranks)
        self._record = record
        self._nodes = nodes
        self._signals = signals
        self._grace = grace
        self._records: dict[int, dict[str, Any]] = {}
        self._first: int | None = None
        self._launcher_signal: str | None = None
        self._asked = False
        """Those that still run were told to end."""

    def wait(self) -> dict[int, int]:
        """Return code of each rank, negative for a signal. Without a failure there is no time limit."""
        deadline: float | None = None
        while self._running:
            came = self._signals.wait(self._patience(deadline))
            ending = [number for number in came if number in ENDING_SIGNALS]
            if ending and self._launcher_signal is None:
                self._launcher_signal = signal.Signals(ending[0]).name
            self._collect()
            if self._nodes is not None:
                self._nodes.beat()
            if deadline is None and self._is_over():
                for rank in self._running:
                    rank.process.terminate()
                self._asked = True
                deadline = time.monotonic() + self._grace
            elif deadline is not None and time.monotonic() >= deadline:
                for rank in self._running:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(rank.process.pid, signal.SIGKILL)
                deadline = time.monotonic() + self._grace
        return {rank: record["returncode"] for rank, record in sorted(self._records.items())}

    def settle(self) -> None:
        """Wait until the other nodes have ended too, or are lost; a signal that comes meanwhile ends them."""
        assert self._nodes is not None
        while not self._nodes.is_settled():
            came = self._signals.wait(self._nodes.pace.beat / 2)
            ending = [number for number in came if number in ENDING_SIGNALS]
            if ending and self._launcher_signal is None:
                self._launcher_signal = signal.Signals(ending[0]).name
                self._write()
            self._nodes.beat()

    def _patience(self, deadline: float | None) -> float | None:
        """Seconds to wait for a signal; None without a limit."""
        left = [] if deadline is None else [max(0.0, deadline - time.monotonic())]
        return min([*left, *([self._nodes.pace.beat / 2] if self._nodes is not None else [])], default=None)

    def _is_over(self) -> bool:
        """Whether the ranks that still run are to end."""
        return (
            self._first is not None
            or self._launcher_signal is not None
            or (self._nodes is not None and self._nodes.is_over)
        )

    def _collect(self) -> None:
        """Record the ranks that have ended since the last look."""
        ended = [rank for rank in self._running if rank.process.poll() is not None]
        if not ended:
            return
        # Seen at once, one ended by a signal is the cause and one that exits with an error lost its peer.
        ended.sort(key=lambda rank: rank.process.returncode >= 0)
        for rank in ended:
            self._running.remove(rank)
            code = rank.process.returncode
            self._records[rank.rank] = {"returncode": code, "time": time.time(), "asked_to_end": self._asked}
            if code != 0 and self._first is None:
                self._first = rank.rank
        self._write()

    def _write(self) -> None:
        exits = {
            "ranks": {
                str(rank): {
                    "code": None if record["returncode"] < 0 else record["returncode"],
                    "signal": -record["returncode"] if record["returncode"] < 0 else None,
                    "time": record["time"],
                    "asked_to_end": record["asked_to_end"],
                }
                for rank, record in sorted(self._records.items())
            },
            "first": self._first,
            "launcher_signal": self._launcher_signal,
            "running": len(self._running),
        }
        write_record(self._record, exits)


def write_record(path: Path, exits: Mapping[str, Any]) -> None:
    """Write how ranks ended; a full disk must not stop the watch over those that still run."""
    try:
        write_json(path, exits)
    except OSError as error:
        print(f"cannot write {path}: {error}", flush=True)


class Guard:
    """The process that outlives the launcher and leaves nothing of the attempt running.

    It shares the launcher's claim on the run, so the run can't be launched again before all is cleared away.
    """

    def __init__(self, mark: str) -> None:
        """Start it, before any rank; ``mark`` is the value of :data:`MARK` the ranks will have."""
        reading, self._writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._writing)
                _stand_guard(reading, mark)
            finally:
                os._exit(0)
        os.close(reading)

    def watch_over(self, rank: RankProcess) -> None:
        """Tell it the session of a rank."""
        os.write(self._writing, f"{rank.process.pid}\n".encode())

    def close(self) -> None:
        """Have everything left ended; returns when it is."""
        os.close(self._writing)
        os.waitpid(self._pid, 0)


def _stand_guard(reading: int, mark: str) -> None:
    signal.set_wakeup_fd(-1)
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    told = b""
    while data := os.read(reading, 4096):  # ends when no one holds the other end: the launcher is gone
        told += data
    sessions = {int(line) for line in told.split()}
    _signal_all(_members(mark, sessions), signal.SIGTERM)
    deadline = time.monotonic() + LEFTOVER_SECONDS
    while list(_members(mark, sessions)) and time.monotonic() < deadline:
        time.sleep(0.02)
    deadline = time.monotonic() + LEFTOVER_SECONDS  # what survives SIGKILL so long is stuck in the kernel
    while (left := list(_members(mark, sessions))) and time.monotonic() < deadline:
        _signal_all(left, signal.SIGKILL)
        time.sleep(0.02)


def _signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _members(mark: str, sessions: set[int]) -> Iterator[int]:
    """Processes of the attempt that still run: in a rank's session, or bearing the mark (if they left it)."""
    wanted = f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or start_time(int(name)) is None:
            continue
        try:
            if os.getsid(int(name)) in sessions:
                yield int(name)
                continue
            with open(f"/proc/{name}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    yield int(name)
        except (ProcessLookupError, OSError):  # gone meanwhile, or another user's
            continue
