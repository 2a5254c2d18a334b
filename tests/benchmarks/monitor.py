"""What the monitor takes: keys, event loop, processor, bytes and memory, while a run floods it.

    python tests/benchmarks/monitor.py [--only 160x50 64-gpus] [--rate 500] [--flood 4000]

A process of its own writes a run as engine and supervisor do: 2,000 steps done and two more a second, telemetry of all
GPUs once a second, 500 log lines a second spread over the ranks. The app shows it in a pseudo-terminal that is read.
First nobody presses a key: processor and bytes. Then keys of every kind at uneven times, each counted until the bytes
have come that show its effect, while a task in the app that sleeps 5 ms over and over tells by how much it wakes too
late. At last memory over 200,000 log lines, 4,000 a second (``--flood 500`` takes 400 s). All takes under 5 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.key_to_paint import Typist, go_first, interpreter, quantile  # noqa: E402
from benchmarks.monitor_feed import FAST, LINES, fed  # noqa: E402
from support.painted import Painted  # noqa: E402
from support.terminal import Terminal  # noqa: E402

QUIET_SECONDS, KEY_SECONDS = 15, 25
SETTLE_SECONDS = 4
BEAT_SECONDS = 0.005
STAMP = re.compile(rb"line@\d+ (\d{10}\.\d{4})")
ESCAPE = "\x1b"


class Budget(NamedTuple):
    """What may be taken."""

    wire: float
    """KiB a second."""
    key: float = 33
    """Milliseconds, 95 % of keys."""
    lag: float = 16
    """Milliseconds, 99 % of beats."""
    processor: float = 10
    """Percent of a core."""
    growth: float = 5
    """MiB, over 200,000 log lines."""


class Case(NamedTuple):
    """One way to watch."""

    name: str
    columns: int
    rows: int
    budget: Budget
    gpus: int = 8
    nodes: int = 1
    low: bool = False


CASES = (
    Case("160x50", 160, 50, Budget(40)),
    Case("80x24", 80, 24, Budget(15)),
    Case("64-gpus", 160, 50, Budget(40), gpus=64, nodes=8),
    Case("low-160x50", 160, 50, Budget(4), low=True),
    Case("low-80x24", 80, 24, Budget(4), low=True),
)


# The app


def app(run: Path, samples: Path) -> None:
    """The monitor as a user opens it; SIGUSR1 begins and ends watching its event loop, whose lags go to ``samples``."""
    from qltui.ui import app as program

    found: list[float] = []
    ready = program.QltuiApp.on_ready

    async def beat() -> None:
        while True:
            begin = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            found.append(time.monotonic() - begin - BEAT_SECONDS)

    def on_ready(self: program.QltuiApp) -> None:
        ready(self)
        tasks: list[asyncio.Task[None]] = []

        def toggle() -> None:
            if tasks:
                tasks.pop().cancel()
            else:
                tasks.append(asyncio.create_task(beat()))

        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, toggle)

    program.QltuiApp.on_ready = on_ready  # type: ignore[method-assign]
    program.watch(run)
    samples.write_text(json.dumps(found))


class Watched(Typist):
    """The app in a pseudo-terminal, with what it sends counted and its log lines' delays taken."""

    def __init__(self, terminal: Terminal, screen: Painted) -> None:
        super().__init__(terminal, screen)
        self.sent = 0
        self.delays: list[float] = []
        self.computed: dict[str, list[float]] = {}
        """Milliseconds of processor between a key and its paint, by kind of key."""
        self._newest, self._tail = 0.0, b""

    def take(self, data: bytes) -> None:
        """Count what came and draw it."""
        super().take(data)
        self.sent += len(data)
        self._tail = (self._tail + data)[-65536:]
        newest = max((float(found) for found in STAMP.findall(self._tail)), default=0.0)
        if newest > self._newest:
            self._newest = newest
            self.delays.append(time.time() - newest)

    def press(self, keys: str, shown: Callable[[], bool], kind: str = "") -> None:
        """Press a key, and wait for what it shows."""
        used = self.processor()
        super().press(keys, shown, kind)
        self.computed.setdefault(kind, []).append((self.processor() - used) * 1000)

    def processor(self) -> float:
        """Seconds the app has computed, all its threads."""
        return time.clock_gettime(~self.terminal.pid << 3 | 2)  # clock_getcpuclockid(3), which Python does not have

    def resident(self) -> float:
        """MiB."""
        pages = int(Path(f"/proc/{self.terminal.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def watched(command: list[str], home: Path, columns: int, rows: int, **environment: str) -> Iterator[Watched]:
    """A program in a pseudo-terminal."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("QLTUI_")}
    kept |= {"HOME": str(home), "QLTUI_HOME": str(home), "COLORTERM": "truecolor", **environment}
    terminal = Terminal(command, kept, columns, rows)
    try:
        yield Watched(terminal, Painted(columns, rows))
        terminal.send("\x11")
        terminal.wait()
    finally:
        terminal.close()


class Key(NamedTuple):
    """A key and how its effect is told from what comes anyway."""

    keys: str
    kind: str
    part: Callable[[Watched], object]
    """What of the screen is another afterwards and changes by nothing else."""


def title(text: str) -> Callable[[Watched], object]:
    """Whether, and how often, the screen has a text."""
    return lambda watched: watched.screen.text.count(text)


def log_title(watched: Watched) -> object:
    return re.findall(r"held still|following", watched.screen.text)


def place_of(text: str) -> Callable[[Watched], object]:
    """Where on the screen a text first is."""
    return lambda watched: watched.screen.text.find(text)


HEALTH = Key("h", "health", title("How the run fares"))
CLOSED = (HEALTH._replace(kind="health closed"), HEALTH._replace(keys=ESCAPE, kind="health, escape"))
"""The two ways, in turn."""
IN_LARGE = (
    Key("p", "hold the log", log_title), Key("p", "follow the log", log_title),
    Key("l", "logarithmic axis", title(" log ")), Key("l", "linear axis", title(" log ")),
    Key("g", "next chart", place_of("─ ▸ ")), Key("3", "hide phases", title("Phases [3]")),
    Key("3", "show phases", title("Phases [3]")), HEALTH,
)  # fmt: skip
IN_SMALL = (
    Key("m", "log and phases", title("Log [4]")), Key("p", "hold the log", log_title),
    Key("p", "follow the log", log_title), Key("m", "charts", title("Log [4]")),
    Key("l", "logarithmic axis", title(" log ")), Key("l", "linear axis", title(" log ")), HEALTH,
)  # fmt: skip


class Figures(NamedTuple):
    """What was measured of one case."""

    processor: float
    wire: float
    keys: dict[str, list[float]]
    computed: dict[str, list[float]]
    lags: list[float]
    delays: list[float]
    memory: list[float]


def measure(case: Case, rate: int, quiet: float, typed: float, flooding: int) -> Figures:
    """Watch a run as the case says; ``flooding`` it with so many lines a second in the end, 0 not."""
    with tempfile.TemporaryDirectory() as place:
        home, samples = Path(place), Path(place) / "lags.json"
        command = [sys.executable, __file__, "--app"]
        low = {"QLTUI_LOW_BANDWIDTH": "1"} if case.low else {}
        with fed(home, case.gpus, case.nodes, rate, flooding) as (run, writer):
            with watched([*command, str(run), str(samples)], home, case.columns, case.rows, **low) as app:
                app.wait(app.says("Loss"), "the charts")
                app.rest(SETTLE_SECONDS)
                sent, used, begin = app.sent, app.processor(), time.monotonic()
                app.delays.clear()
                app.rest(quiet)
                seconds = time.monotonic() - begin
                wire, processor = (app.sent - sent) / 1024 / seconds, (app.processor() - used) * 100 / seconds
                delays = list(app.delays)
                os.kill(app.terminal.pid, signal.SIGUSR1)
                keys = IN_LARGE if case.rows >= 30 else IN_SMALL
                press_all(app, [key for closed in CLOSED for key in (*keys, closed)], typed)
                os.kill(app.terminal.pid, signal.SIGUSR1)
                resident = flood(app, writer, flooding) if flooding else []
            lags = [lag * 1000 for lag in json.loads(samples.read_text())]
    return Figures(processor, wire, app.taken, app.computed, lags, delays, resident)


def press_all(app: Watched, keys: Sequence[Key], seconds: float) -> None:
    """Press keys one after another, at uneven times so that they meet whatever the app does by itself."""
    chance, end = random.Random(5), time.monotonic() + seconds
    while time.monotonic() < end:
        for key in keys:
            before = key.part(app)
            app.press(key.keys, lambda key=key, before=before: key.part(app) != before, key.kind)
            app.rest(0.03 + 0.25 * chance.random())


def flood(app: Watched, writer: subprocess.Popen[bytes], rate: int) -> list[float]:
    """MiB once what is kept is kept, and at every second of the lines after it."""
    app.rest(5)
    writer.send_signal(signal.SIGUSR1)
    app.rest(10_000 / rate)
    found, end = [app.resident()], time.monotonic() + LINES / rate
    while time.monotonic() < end:
        app.rest(1)
        found.append(app.resident())
    return found


# What is told


def told(case: Case, found: Figures) -> bool:
    """Print the figures of a case beside their budgets; whether all were kept."""
    every, kept = [value for values in found.keys.values() for value in values], True

    def line(name: str, value: float, budget: float, unit: str, more: str = "") -> None:
        nonlocal kept
        kept &= value <= budget
        print(f"  {name:34} {value:7.1f} {unit:8} budget {budget:g}{'' if value <= budget else '  MISSED'}{more}")

    low = ", low bandwidth" if case.low else ""
    print(f"\n{case.columns}x{case.rows}, {case.gpus} GPUs on {case.nodes} node(s){low}")
    line("key to paint, p95", quantile(every, 95), case.budget.key, "ms", f"  ({len(every)} keys)")
    line("lag of the event loop, p99", quantile(found.lags, 99), case.budget.lag, "ms")
    line("processor", found.processor, case.budget.processor, "%")
    line("bytes sent a second", found.wire, case.budget.wire, "KiB")
    if found.memory:
        growth = max(found.memory) - found.memory[0]
        line(f"memory over {LINES:,} log lines", growth, case.budget.growth, "MiB", f"  (from {found.memory[0]:.1f})")
    print(f"  lag p50 {quantile(found.lags, 50):.1f}, max {max(found.lags):.1f} ms; ", end="")
    if found.delays:
        shares = [quantile(found.delays, share) for share in (50, 95)]
        print(f"log line until sent p50 {shares[0]:.2f}, p95 {shares[1]:.2f} s; ", end="")
    print(f"key p50 {quantile(every, 50):.1f} ms")
    for kind, values in found.keys.items():
        shares = [quantile(values, share) for share in (50, 95)]
        used = quantile(found.computed[kind], 50)
        print(
            f"    {kind:20} {len(values):4} {shares[0]:6.1f} {shares[1]:6.1f} ms (p50, p95), {used:5.1f} of processor"
        )
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES], help="of the cases these alone")
    parser.add_argument("--rate", type=int, default=500, help="log lines a second (500)")
    parser.add_argument("--quiet", type=float, default=QUIET_SECONDS, help=f"seconds without keys ({QUIET_SECONDS})")
    parser.add_argument("--typed", type=float, default=KEY_SECONDS, help=f"seconds of keys ({KEY_SECONDS})")
    parser.add_argument("--flood", type=int, default=FAST, help=f"log lines a second while memory is taken ({FAST})")
    parser.add_argument("--no-memory", action="store_true", help="leave out the 200,000 lines, which take a minute")
    parser.add_argument("--app", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.app:
        app(*arguments.app)
        return 0
    priority = "real time" if go_first() else "that of all"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {sys.version.split()[0]}, priority {priority}, "
        f"python -c pass: {quantile(list(interpreter()), 50):.0f} ms"
    )
    kept = True
    for case in CASES:
        if not arguments.only or case.name in arguments.only:
            flooding = arguments.flood if case is CASES[0] and not arguments.no_memory else 0
            kept &= told(case, measure(case, arguments.rate, arguments.quiet, arguments.typed, flooding))
    print(f"\nbudgets: {'kept' if kept else 'MISSED'}; load at the end {os.getloadavg()[0]:.1f}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
