"""Time from a key to the screen that shows it, with all panels of the wizard live.

    python tests/benchmarks/key_to_paint.py [--rounds 3]

The real app in a pseudo-terminal; each key counts until the bytes that show its effect have arrived: the letter in its
field, the name of the matrix's square, the focus elsewhere, the title of the step. In the app, a task that sleeps 5 ms
over and over tells by how much it wakes too late: the lag of the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.painted import Painted  # noqa: E402
from support.terminal import Terminal  # noqa: E402

PAINT_BUDGET_MS, LAG_BUDGET_MS = 50, 20
SIZES = ((120, 36), (80, 24))
SAMPLE_SECONDS = 0.005
GIVE_UP_SECONDS = 5
DRAFT = {
    "model.path": "meta-llama/Llama-3.1-8B", "data.path": str(ROOT / "presets/demo/data/train.jsonl"),
    "method.name": "int8", "strategy.name": "fsdp2", "training.optimizer": "adamw_8bit",
}  # fmt: skip
MACHINE = "4xA40"
STEPS = {
    "Model": "model.path", "Data": "data.path", "Hardware": "Plan for GPUs", "Method": "QLoRA",
    "Training": "Global batch",
}  # fmt: skip
"""By the title of each step, what is seen on it alone."""
FIELDS = {"Model": ("-8B", "-Instruct-of-another-maker"), "Training": ("", "7391846")}
"""By step: the end of what its first field holds, and what is typed there and taken back."""


def app(samples: Path) -> None:
    """The app as a user starts it, its event loop watched; at its end writes (time, lag) in seconds to ``samples``."""
    from qltui.ui import terminal
    from qltui.ui.app import QltuiApp

    found: list[tuple[float, float]] = []

    class Watched(QltuiApp):
        CSS_PATH = ROOT / "qltui/ui/app.tcss"

        def on_ready(self) -> None:
            super().on_ready()
            self.watching = asyncio.create_task(watch())

    async def watch() -> None:
        while True:
            begin = time.monotonic()
            await asyncio.sleep(SAMPLE_SECONDS)
            end = time.monotonic()
            found.append((end, end - begin - SAMPLE_SECONDS))

    terminal.prepare()
    Watched().run()
    samples.write_text(json.dumps(found))


class Typist:
    """Presses keys and waits for what they show."""

    def __init__(self, terminal: Terminal, screen: Painted) -> None:
        self.terminal, self.screen = terminal, screen
        self.taken: dict[str, list[float]] = {}
        """Milliseconds by kind of key."""

    def read(self, seconds: float) -> bool:
        """Draw what comes in this time; whether anything came."""
        if not select.select([self.terminal.master], [], [], seconds)[0]:
            return False
        self.take(os.read(self.terminal.master, 65536))
        return True

    def take(self, data: bytes) -> None:
        """Draw what came."""
        self.screen.feed(data)

    def rest(self, seconds: float) -> None:
        """Keep reading."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def wait(self, shown: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + GIVE_UP_SECONDS
        while not shown():
            self.read(0.5)
            if time.monotonic() > end and not shown():
                sys.exit(f"never shown: {what}. On screen:\n{self.screen.text}")

    def press(self, keys: str, shown: Callable[[], bool], kind: str = "") -> None:
        """Press a key, and wait for what it shows; it counts if it has a kind."""
        begin = time.monotonic()
        self.terminal.send(keys)
        self.wait(shown, f"{kind} {keys!r}")
        if kind:
            self.taken.setdefault(kind, []).append((time.monotonic() - begin) * 1000)

    def shows(self, title: str) -> bool:
        """Whether a step is on screen with its own."""
        text = self.screen.text
        return f"▸{title}" in text and STEPS[title] in text

    def says(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.screen.text


PGDN, PGUP, DOWN, UP, TAB, BACKSPACE = "\x1b[6~", "\x1b[5~", "\x1b[B", "\x1b[A", "\t", "\x7f"


def type_a_word(typist: Typist, step: str, pause: float, kind: str) -> None:
    """Letter by letter into the field with the cursor, and back. The first, not unique, does not count."""
    before, word = FIELDS[step]
    typist.press(word[0], lambda: True)
    typist.rest(0.3)
    for length in range(2, len(word) + 1):
        typist.press(word[length - 1], typist.says(before + word[:length]), kind)
        typist.rest(pause)
    for length in range(len(word), 1, -1):
        gone = before + word[:length]
        typist.press(BACKSPACE, lambda gone=gone: gone not in typist.screen.text, kind)
        typist.rest(pause)
    typist.press(BACKSPACE, lambda: True)
    typist.rest(0.3)


def type_in(typist: Typist, step: str) -> None:
    """At a typist's speed, then at that of a key held down."""
    type_a_word(typist, step, 0.1, f"letter in {step}, 10 a second")
    type_a_word(typist, step, 0.01, f"letter in {step}, held down")


def wander(typist: Typist, times: int, pause: float) -> None:
    """Up and down in the matrix."""
    for _ in range(times):
        for key, there in ((DOWN, "zero1 · int8"), (UP, "fsdp2 · int8")):
            typist.press(key, typist.says(there), "arrow in the matrix")
            typist.rest(pause)


def tab(typist: Typist, times: int, pause: float, width: int) -> None:
    """From field to field; shown as soon as the form changes, which nothing else does then."""
    typist.rest(1)
    for _ in range(times):
        part = slice(2, -3), slice(0, width)
        before = typist.screen.styles(*part)
        typist.press(TAB, lambda before=before, part=part: typist.screen.styles(*part) != before, "tab")
        typist.rest(pause)


def session(columns: int, rows: int, rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """Milliseconds to the paint by kind of key, and every lag in milliseconds while keys were pressed."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "state"
        folder.mkdir()
        draft = {"schema_version": 1, "values": DRAFT, "machine": MACHINE}
        (folder / "draft.json").write_text(json.dumps(draft))
        samples = Path(home) / "samples.json"
        environment = {**os.environ, "HOME": home, "QLTUI_HOME": str(folder), "COLORTERM": "truecolor"}
        terminal = Terminal([sys.executable, __file__, "--app", str(samples)], environment, columns, rows)
        try:
            typist = Typist(terminal, Painted(columns, rows))
            typist.wait(typist.says("Doctor"), "home")
            typist.press("n", typist.says("▸Model◂"))
            typist.rest(3)
            begin = time.monotonic()
            for _ in range(rounds):
                walk(typist, columns)
            end = time.monotonic()
            terminal.send("\x11")
            terminal.wait()
        finally:
            terminal.close()
        lags = [lag * 1000 for moment, lag in json.loads(samples.read_text()) if begin <= moment <= end]
        return typist.taken, lags


def walk(typist: Typist, columns: int) -> None:
    """Through the steps and back, with keys pressed in each."""
    form = 70 if columns >= 116 else columns
    typist.press("\x1b[F", lambda: True)  # to the end of the field
    typist.rest(0.3)
    type_in(typist, "Model")
    tab(typist, 1, 0.2, form)
    for title in list(STEPS)[1:]:
        typist.press(PGDN, lambda title=title: typist.shows(title), "pgdn")
        typist.rest(0.7)
        if title == "Method":
            typist.wait(typist.says("fsdp2 · int8"), "the matrix")
            wander(typist, 15, 0.1)
        if title == "Training":
            type_in(typist, title)
            tab(typist, 5, 0.2, form)
    for title in list(STEPS)[-2::-1]:
        typist.press(PGUP, lambda title=title: typist.shows(title), "pgup")
        typist.rest(0.7)


def told(name: str, values: list[float]) -> str:
    """A line of quantiles."""
    return f"{name:34} {len(values):6} " + " ".join(f"{quantile(values, share):7.1f}" for share in (50, 95, 99, 100))


def quantile(values: list[float], share: int) -> float:
    """The value that ``share`` percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) * share // 100, len(ordered) - 1)]


def interpreter() -> Iterator[float]:
    """Milliseconds of ``python -c pass``, which the figures can be compared with."""
    for _ in range(10):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        yield (time.monotonic() - begin) * 1000


def go_first() -> bool:
    """Go before other work of a shared machine; whether that is allowed."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    return os.sched_getscheduler(0) == os.SCHED_RR


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="times through the wizard at each size (3)")
    parser.add_argument("--app", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.app:
        app(arguments.app)
        return 0
    priority = "real time" if go_first() else "that of all"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {sys.version.split()[0]}, priority {priority}, "
        f"python -c pass: {statistics.median(interpreter()):.0f} ms"
    )
    kept = True
    for columns, rows in SIZES:
        taken, lags = session(columns, rows, arguments.rounds)
        every = [value for values in taken.values() for value in values]
        print(f"\n{columns}x{rows}, milliseconds{'':17} count     p50     p95     p99     max")
        for kind, values in taken.items():
            print(told(kind, values))
        print(told("every key", every))
        print(told("lag of the event loop", lags))
        kept &= quantile(every, 95) <= PAINT_BUDGET_MS and quantile(lags, 99) <= LAG_BUDGET_MS
    print(f"\nbudget: every key p95 {PAINT_BUDGET_MS} ms, lag p99 {LAG_BUDGET_MS} ms: {'kept' if kept else 'MISSED'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
