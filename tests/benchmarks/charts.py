"""What charts cost: four side by side at 160x50, with 2,000 points each and with 20,000, the most that is kept.

    python tests/benchmarks/charts.py [--rounds 60]

First the drawing alone: a frame is a new point in each chart, drawn and compared with what is on screen. Then the app
in a pseudo-terminal: keys that zoom, move and inspect a large chart, each counted until the bytes that show its effect
have arrived, while points come in twice a second.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import random
import resource
import select
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.key_to_paint import Typist, go_first, interpreter, quantile  # noqa: E402
from support.painted import Painted  # noqa: E402
from support.terminal import Terminal  # noqa: E402

COLUMNS, ROWS = 160, 50
SIZES = (2_000, 20_000)
RAW = 1_000_000
BUDGET_MS = 33
FEED_SECONDS = 0.5
KEYS = (("+", "zoom in"), ("\x1b[D", "move left"), ("\x1b[1;2D", "move the cursor line"), ("l", "logarithmic axis"),
        ("s", "another smoothing"), ("-", "zoom out"))  # fmt: skip
PAUSE = 0.15
WATCHED_SECONDS = 6

Series = dict[str, list[tuple[float, float]]]


def series(steps: int) -> Series:
    """Four curves that look like a run's, and the time of each step."""
    chance = random.Random(7)
    found: Series = {
        "loss": [(n, 0.8 + 1.6 * math.exp(-n / steps * 5) + chance.gauss(0, 0.05)) for n in range(steps)],
        "learning_rate": [(n, 1e-4 * (1 + math.cos(math.pi * n / steps))) for n in range(steps)],
        "grad_norm": [(n, abs(chance.gauss(0.5, 0.1))) for n in range(steps)],
        "tokens_per_second": [(n, chance.gauss(41_000, 900)) for n in range(steps)],
        "wall": [(n, 1.7e9 + 2.0 * n) for n in range(steps)],
    }
    found["loss"][steps // 3] = (steps // 3, 5.0)
    return found


def grow(found: Series) -> None:
    """One more step."""
    for points in found.values():
        points.append((points[-1][0] + 1, points[-1][1]))


async def frames(steps: int, rounds: int) -> tuple[float, list[float]]:
    """Milliseconds until all points are taken over and drawn, and those of each frame after that."""
    from textual.screen import Screen

    from qltui.ui.app import QltuiApp
    from qltui.ui.widgets.chart_grid import Charts

    class Alone(Screen[None]):
        def compose(self) -> object:
            yield Charts()

    found = series(steps)
    app = QltuiApp(Alone)
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause()
        charts = app.screen.query_one(Charts)
        begin = time.perf_counter()
        charts.show(found, {})
        first = (time.perf_counter() - begin) * 1000
        taken = []
        for _ in range(rounds):
            grow(found)
            await pilot.pause()
            begin = time.perf_counter()
            charts.show(found, {})
            taken.append((time.perf_counter() - begin) * 1000)
        return first, taken


def app(steps: int) -> None:
    """The app with charts alone, the first of them large, fed as a run feeds it."""
    from textual import on

    from qltui.ui import terminal
    from qltui.ui.app import QltuiApp
    from qltui.ui.screens.chart import ChartScreen
    from qltui.ui.screens.page import Page
    from qltui.ui.widgets.chart_grid import Charts

    found = series(steps)

    class Fed(Page):
        def compose(self) -> object:
            yield Charts()

        def on_mount(self) -> None:
            self.feed()
            self.set_interval(FEED_SECONDS, self.feed)

        def feed(self) -> None:
            grow(found)
            self.query_one(Charts).show(found, {})

        @on(Charts.Opened)
        def open_one(self, event: Charts.Opened) -> None:
            self.app.push_screen(ChartScreen(event.charts, event.chart, Path("run")))

    class Watched(QltuiApp):
        CSS_PATH = ROOT / "qltui/ui/app.tcss"

    terminal.prepare()
    Watched(Fed).run()


def written(typist: Typist) -> float:
    """Bytes that come in a second while nobody presses a key."""
    count, end = 0, time.monotonic() + WATCHED_SECONDS
    while (left := end - time.monotonic()) > 0:
        if select.select([typist.terminal.master], [], [], left)[0]:
            data = os.read(typist.terminal.master, 65536)
            typist.screen.feed(data)
            count += len(data)
    return count / WATCHED_SECONDS


def keys(steps: int, rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """Milliseconds from a key to its paint, by what the key does; bytes a second of all charts and of a large one."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "HOME": home, "QLTUI_HOME": home, "COLORTERM": "truecolor"}
        terminal = Terminal([sys.executable, __file__, "--app", str(steps)], environment, COLUMNS, ROWS)
        typist = Typist(terminal, Painted(COLUMNS, ROWS))
        try:
            typist.wait(typist.says("Tokens/s"), "the charts")
            typist.rest(1)
            sent = [written(typist)]
            typist.press("\r", typist.says("all of the run"))
            typist.rest(1)
            sent.append(written(typist))
            for number in range(rounds):
                for key, what in KEYS:
                    before = said(typist)
                    shown: Callable[[], bool] = lambda before=before: said(typist) != before  # noqa: E731
                    typist.press(key, shown, what)
                    typist.rest(PAUSE + number % 7 / 100)
                typist.press("0", typist.says("all of the run"))
                typist.rest(PAUSE)
            terminal.send("\x11")
            terminal.wait()
        finally:
            terminal.close()
        return typist.taken, sent


def said(typist: Typist) -> str:
    """What tells in words how the chart is drawn: its heading, and the values at the cursor line."""
    lines = typist.screen.text.splitlines()
    return lines[1] + lines[-2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="frames, and times that each key is pressed (60)")
    parser.add_argument("--app", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.app:
        app(arguments.app)
        return 0
    priority = "real time" if go_first() else "that of all"
    plain = quantile(list(interpreter()), 50)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {sys.version.split()[0]}, priority {priority}, python -c pass: {plain:.0f} ms, {COLUMNS}x{ROWS}"
    )
    kept = True
    for steps in SIZES:
        first, taken = asyncio.run(frames(steps, arguments.rounds))
        shares = " ".join(f"{quantile(taken, share):.1f}" for share in (50, 95, 100))
        print(f"\n4 charts x {steps:,} points: first drawn after {first:.0f} ms; a frame {shares} ms (p50, p95, max)")
        every: list[float] = []
        taken_by, sent = keys(steps, arguments.rounds // 4)
        print(f"  on the wire {sent[0] / 1024:.1f} KiB/s with all charts, {sent[1] / 1024:.1f} with a large one")
        for what, values in taken_by.items():
            print(f"  {what:22} {quantile(values, 50):6.1f} {quantile(values, 95):6.1f} ms (p50, p95)")
            every += values
        print(f"  {'every key':22} {quantile(every, 50):6.1f} {quantile(every, 95):6.1f} ms (budget p95 {BUDGET_MS})")
        kept &= quantile(every, 95) <= BUDGET_MS
    first, taken = asyncio.run(frames(RAW, arguments.rounds))
    print(
        f"\n4 charts x {RAW:,} points, drawing alone: first {first:.0f} ms, a frame {quantile(taken, 50):.1f} ms (p50)"
    )
    print(f"\nmost memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
