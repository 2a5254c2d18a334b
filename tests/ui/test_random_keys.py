"""Anything a person, a cat or a terminal can do to the app, in any order: it never crashes.

``QLTUI_RANDOM_STEPS=5000 python -m pytest tests/ui/test_random_keys.py`` runs as many steps; each time other ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.written_runs import WrittenRun
from textual import events
from textual.pilot import Pilot

from qltui.runs import launching
from qltui.runs.rehearsal_job import RehearsalJob
from qltui.ui.app import QltuiApp

STEPS = int(os.environ.get("QLTUI_RANDOM_STEPS", "0"))
"""Of a long run; 0 for the short one."""
AT_ONCE = 60
"""Steps of one life of the app."""
KEYS = (
    *"abcdefghijklmnopqrstuvwxyz0123456789?/.~ -",
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab", "shift+tab", "enter", "escape"),
    *("backspace", "delete", "space", "ctrl+p", "ctrl+u", "ctrl+k", "ctrl+w", "ctrl+x", "ctrl+v"),
    *(f"f{number}" for number in range(1, 13)),
)
LIKELY = ("n", "p", "r", "d", "pagedown", "enter", "escape", "down", "tab", "f2", "f3")
"""Keys that lead somewhere, tried more often."""
SIZES = ((120, 36), (80, 24), (72, 20), (40, 10), (1, 1), (300, 100), (100, 30), (200, 5))
ODD = (
    "",
    "\n",
    "[bold]",
    "[/x]",
    "\x1b[31m",
    "😀👩‍👩‍👧",
    "ｗｉｄｅ",
    "\u202eright to left",
    "a" * 5000,
    "{}",
    "~/",
    "../..",
    "\x00",
)

key = st.sampled_from(KEYS).map(lambda name: ("key", name))
likely = st.sampled_from(LIKELY).map(lambda name: ("key", name))
click = st.tuples(st.integers(0, 130), st.integers(0, 40)).map(lambda place: ("click", place))
resize = st.sampled_from(SIZES).map(lambda size: ("resize", size))
paste = st.sampled_from(ODD).map(lambda text: ("paste", text))
step = st.one_of(likely, key, key, click, resize, paste)


async def do(pilot: Pilot[Any], kind: str, what: Any) -> None:
    """One step."""
    if kind == "key":
        await pilot.press(what)
    elif kind == "resize":
        await pilot.resize_terminal(*what)
    elif kind == "paste":
        pilot.app.post_message(events.Paste(what))
        await pilot.pause()
    elif what[0] < pilot.app.size.width and what[1] < pilot.app.size.height:
        await pilot.click(offset=what)


async def live(steps: list[tuple[str, Any]]) -> None:
    """One life of the app, with runs to look at; it may be left before the last step."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Path(folder)
        for name, value in {"QLTUI_HOME": home, "XDG_CONFIG_HOME": home / "config", "HOME": home}.items():
            patch.setenv(name, str(value))
        patch.chdir(home)
        run = WrittenRun(home)
        for number in range(1, 20):
            run.step(number, float("nan") if number == 5 else 2 - number / 20)
        run.log("[a line] of \x1b[31mthe log\n")
        (home / "draft.json").write_text(json.dumps({"values": {"model.path": "Qwen/Qwen3-8B"}, "machine": "4xA40"}))
        app = QltuiApp()
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            for kind, what in steps:
                if not app.is_running or app._exit:
                    break
                print(f"{kind} {what!r} on {app.screen}")
                await do(pilot, kind, what)
        assert app.return_code in (0, None)


@pytest.fixture(autouse=True)
def nothing_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random keys do find the way to a launch: it is refused, as any other that cannot be."""
    from engine.config import ConfigError, Problem

    def refuse(*_: Any, **__: Any) -> Any:
        raise ConfigError([Problem("", "", "is not launched by random keys.")])

    for name in ("launch", "resume"):
        monkeypatch.setattr(launching, name, refuse)
    # A rehearsal takes half a minute of both cores, and there may be many.
    monkeypatch.setattr(RehearsalJob, "_start", lambda _job, _file: subprocess.Popen(["sleep", "1"]))


@pytest.mark.skipif(bool(STEPS), reason="the long run is asked for")
@settings(
    max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
@given(st.lists(step, min_size=30, max_size=AT_ONCE))
def test_no_sequence_of_keys_crashes_the_app(steps: list[tuple[str, Any]]) -> None:
    asyncio.run(live(steps))


@pytest.mark.skipif(not STEPS, reason="QLTUI_RANDOM_STEPS asks for it")
@pytest.mark.timeout(0)
def test_thousands_of_steps() -> None:
    done = 0
    while done < STEPS:
        seed = random.SystemRandom().randrange(2**32)
        chance = random.Random(seed)
        steps = [_step(chance) for _ in range(AT_ONCE)]
        print(f"seed {seed}, {done} steps done", flush=True)
        asyncio.run(live(steps))
        done += AT_ONCE


def _step(chance: random.Random) -> tuple[str, Any]:
    kind = chance.choices(["likely", "key", "click", "resize", "paste"], [4, 8, 3, 1, 1])[0]
    choices: dict[str, Any] = {"likely": LIKELY, "key": KEYS, "resize": SIZES, "paste": ODD}
    if kind == "click":
        return kind, (chance.randrange(130), chance.randrange(40))
    return ("key" if kind == "likely" else kind), chance.choice(choices[kind])
