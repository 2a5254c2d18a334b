"""Pictures of the real app on a real run: ``python screenshots/make.py [RUN_DIR]``; without one, of a new ``demo-cpu``.

Writes an SVG of every screen, and a PNG where ``rsvg-convert`` is installed. The monitor is shown twice: as the run
ended, and as it was half way, for which the run's own events are replayed up to there into a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from engine.events import EventReader, RunDirectory, identity, read_json, write_json
from qltui.configs import presets
from qltui.configs.loading import load
from qltui.runs import status, store
from qltui.runs.rehearsal_job import RehearsalJob
from qltui.runs.state import LIVE, RunState
from qltui.runs.status import ranks_of
from qltui.ui.app import QltuiApp
from qltui.ui.screens.chat import Chat
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.post_mortem import PostMortem
from qltui.ui.screens.rehearsing import Rehearsing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.screen import Screen

SIZES = {"120x36": (120, 36), "80x24": (80, 24)}
HALF_WAY = 0.55
"""Share of the steps that the picture of a run at work shows."""
KILLED_AT = 20
"""Step after which the run of the post-mortem is killed."""
SETTLE_SECONDS = 1.5
"""Time a screen gets to read what it shows."""

CHOSEN = {"model.path": "meta-llama/Llama-3.1-8B-Instruct", "data.path": "HuggingFaceH4/deita-10k-v0-sft"}
DEMO = {"model.path": "presets/demo/model", "data.path": "presets/demo/data/train.jsonl"}
READS = 8
"""Pauses, by a key that does nothing, in which rows are read."""
BLOCKED = {"training.optimizer": "adamw_8bit", "strategy.name": "fsdp2"}
QUESTION = "Where does Cora Storm travel?"
KEY_NAMES = {" ": "space", "?": "question_mark"}
ANSWERS = 24
"""Such pauses, in which a model is loaded and answers."""
OTHER_RATES = {"demo-lower-rate": "5.0e-5", "demo-higher-rate": "1.0e-3"}
MACHINE = "4xA40"
"""What the pictures of the wizard show."""

CELL_WIDTH = 12.2
"""Of Rich's SVG export."""
DOT_RADIUS, DOT_PITCH = 1.45, 6.1


def replay(run: RunDirectory, share: float) -> Path:
    """A copy of a run as it was after ``share`` of its steps; it looks alive."""
    copy = RunDirectory(store.runs_home() / time.strftime("demo-cpu-%Y%m%d-%H%M%S"))
    attempt = run.attempts()[0]
    copied = copy.new_attempt()
    shutil.copy(run.run_yaml, copy.run_yaml)
    steps = [event["step"] for event in EventReader(attempt.events(0)).read() if event["kind"] == "step"]
    last = steps[int(len(steps) * share)]
    written = json.loads(run.status_json.read_text("utf-8"))
    state = RunState({**written, "id": copy.id, "run_dir": str(copy.path), "attempt": 1})
    begun = now = 0.0
    for rank in ranks_of(attempt.events_dir):
        events = [event for event in EventReader(attempt.events(rank)).read() if event["step"] <= last]
        if rank == 0:
            begun, now = events[0]["wall"], events[-1]["wall"]
        copied.events(rank).write_text("".join(json.dumps(event) + "\n" for event in events), "utf-8")
        lines = attempt.log(rank).read_text("utf-8", "replace").splitlines(keepends=True)
        copied.log(rank).write_text("".join(lines[: int(len(lines) * share)]), "utf-8")
        for event in events:
            state.apply(event)
    if run.telemetry.is_dir():
        shutil.copytree(run.telemetry, copy.telemetry)
    write_json(copied.launch_json, json.loads(attempt.launch_json.read_text("utf-8")))
    moment = copied.launch_json.stat().st_mtime - (now - begun)
    os.utime(copied.launch_json, (moment, moment))
    state.identity["supervisor"] = identity()
    write_json(copy.status_json, state.status())
    return copy.path


async def picture(first: Callable[[], Screen[None]] | None, keys: Sequence[str], size: tuple[int, int]) -> str:
    """The app after some keys, as SVG."""
    app = QltuiApp(first) if first else QltuiApp()
    async with app.run_test(size=size) as pilot:
        await pilot.pause(SETTLE_SECONDS)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(SETTLE_SECONDS / 2)
        return with_drawn_dots(app.export_screenshot(title="qltui"))


def with_drawn_dots(svg: str) -> str:
    """The same picture with braille drawn as dots and no space dropped: few fonts have braille in the right width.

    A text with lines, blocks or braille in it is put down cell by cell, for renderers that do not stretch it to its
    given length.
    """
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)
    return re.sub(
        r'<text class="([^"]+)" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*[\u2500-\u28ff][^<]*)</text>', _cells, svg
    )


def _cells(match: re.Match[str]) -> str:
    """One text as its characters, each in its place."""
    style, left, base = match[1], float(match[2]), float(match[3])
    drawn, column = [], 0
    for character in html.unescape(match[4]):
        x = left + column * CELL_WIDTH
        if "\u2800" <= character <= "\u28ff":
            drawn.append(_dots(character, style, x, base))
        elif not character.isspace():
            drawn.append(f'<text class="{style}" x="{x:.1f}" y="{base}">{html.escape(character)}</text>')
        column += cell_len(character)
    return "".join(drawn)


def _dots(character: str, style: str, left: float, base: float) -> str:
    """A braille character as dots."""
    circles = []
    bits = ord(character) - 0x2800
    # Bits 0-2 and 6 are the left column from top to bottom, 3-5 and 7 the right one.
    for bit, (across, down) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]):
        if bits >> bit & 1:
            x = left + (0.25 + 0.5 * across) * CELL_WIDTH
            y = base - 14.5 + down * DOT_PITCH
            circles.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT_RADIUS}"/>')
    return f'<g class="{style}">{"".join(circles)}</g>'


def pictures(run_dir: Path, live_dir: Path) -> dict[str, tuple[Callable[[], Screen[None]] | None, list[str]]]:
    """Name of each picture, with the screen it begins with (None: home) and the keys pressed there."""
    return {
        "monitor": (lambda: Monitor(live_dir), []),
        "finished": (lambda: Monitor(run_dir), []),
        "post-mortem": (lambda: PostMortem(killed_run()), ["f13", "f13"]),
        "home": (None, []),
        "presets": (None, ["p"]),
        "review": (lambda: NewRun(CHOSEN, MACHINE), ["f2", *["f13"] * READS]),
        "review-file": (lambda: NewRun({**CHOSEN, **BLOCKED}, MACHINE), ["f2", *["f13"] * READS, "right", "right"]),
        "rehearsal": (lambda: Rehearsing(rehearsal()), []),
        "new-run": (lambda: NewRun(CHOSEN, MACHINE), []),
        "data": (lambda: NewRun(DEMO, MACHINE), ["pagedown", *["f13"] * READS]),
        "matrix": (lambda: NewRun(CHOSEN, MACHINE), ["pagedown", "pagedown", "pagedown"]),
        "findings": (lambda: NewRun({**CHOSEN, **BLOCKED}, MACHINE), ["pagedown", "pagedown", "pagedown", "f4"]),
        "runs": (None, ["r"]),
        "runs-overlay": (None, ["r", "down", *["space"] * 3, "l"]),
        "chat": (lambda: Chat(run_dir, both=True), [*typed(QUESTION), "enter", *["f13"] * ANSWERS]),
        "doctor": (None, ["d"]),
    }


def typed(text: str) -> list[str]:
    """The keys that write a text."""
    return [KEY_NAMES.get(character, character) for character in text]


@cache
def rehearsal() -> RehearsalJob:
    """A rehearsal of ``demo-cpu``, done now and waited for."""
    job = RehearsalJob(load("demo-cpu", []))
    while job.is_running:
        time.sleep(SETTLE_SECONDS)
    return job


def demo_run(*options: str) -> Path:
    """The directory of a run of ``demo-cpu``, done now and waited for."""
    subprocess.run([sys.executable, "-m", "qltui", "launch", "demo-cpu", "--wait", *options], check=True)
    return store.directories()[0].path


@cache
def killed_run() -> Path:
    """A run of ``demo-cpu`` whose second rank is killed after some steps, as the kernel does without memory."""
    subprocess.run([sys.executable, "-m", "qltui", "launch", "demo-cpu", "--name", "demo-killed"], check=True)
    run = store.directories()[0]
    while (told := status.read(run))["state"] in LIVE and told["step"] < KILLED_AT:
        time.sleep(0.2)
    attempt = run.last_attempt()
    launch = read_json(attempt.launch_json) if attempt else None
    if launch and launch["ranks"]:
        os.kill(launch["ranks"][1]["pid"], signal.SIGKILL)
    while status.is_live(run):
        time.sleep(0.2)
    return run.path


def demos_at_other_rates() -> list[Path]:
    """More runs of ``demo-cpu``, to be laid over it, done now and waited for."""
    return [demo_run("--name", name, "--set", f"training.learning_rate={rate}") for name, rate in OTHER_RATES.items()]


def place(run: RunDirectory) -> Path:
    """A copy of a run among the runs of the pictures' own home."""
    copy = store.runs_home() / run.id
    if copy != run.path:
        shutil.copytree(run.path, copy)
        status = (copy / "status.json").read_text("utf-8")
        (copy / "status.json").write_text(status.replace(str(run.path), str(copy)), "utf-8")
    return copy


def make(run_dir: Path | None, beside: Sequence[Path], out: Path, only: Sequence[str]) -> None:
    """Make the pictures in the environment as it is."""
    if not only or "runs-overlay" in only:
        for other in beside or demos_at_other_rates():
            place(RunDirectory(other))
    run = RunDirectory(place(RunDirectory(run_dir or demo_run())))
    live = replay(run, HALF_WAY)
    for name, (first, keys) in pictures(run.path, live).items():
        if only and name not in only:
            continue
        for tag, size in SIZES.items():
            svg = out / f"{name}-{tag}.svg"
            svg.write_text(asyncio.run(picture(first, keys, size)), "utf-8")
            if shutil.which("rsvg-convert"):
                subprocess.run(["rsvg-convert", "-z", "1.3", "-o", svg.with_suffix(".png"), svg], check=True)
            print(svg, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path, nargs="?", help="directory of a run that has finished (a new demo-cpu)")
    parser.add_argument(
        "--beside", type=Path, nargs="*", default=[], metavar="RUN_DIR",
        help="finished runs that are laid over it (new ones, at other learning rates)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder the pictures go to")
    parser.add_argument("--only", nargs="*", default=[], help="names of the pictures to make")
    arguments = parser.parse_args()
    run_dir = arguments.run_dir.resolve() if arguments.run_dir else None
    beside = [path.resolve() for path in arguments.beside]
    out = arguments.out.resolve()
    # A home of their own, so that the pictures show no runs and no paths of whoever makes them.
    home = Path(tempfile.gettempdir()) / "you"
    home.mkdir()
    try:
        shutil.copytree(presets.folder(), home / "qltui" / "presets")
        presets.PACKAGE = home / "qltui" / "qltui"
        os.environ["HOME"] = str(home)
        os.chdir(home / "qltui")
        for name in ("QLTUI_HOME", "XDG_STATE_HOME"):
            os.environ.pop(name, None)
        make(run_dir, beside, out, arguments.only)
    finally:
        shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
