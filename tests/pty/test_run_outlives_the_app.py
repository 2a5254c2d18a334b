"""`demo-cpu` really trains while everything that can happen to the app and its terminal happens."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from support.runs import Cli, events, wait_for
from support.terminal import Terminal

from engine.events import RunDirectory

QLTUI = [sys.executable, "-m", "qltui"]


@pytest.mark.timeout(420)
def test_demo_is_undisturbed_by_what_happens_to_the_app(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "home")
    terminals: list[Terminal] = []

    def open_app(*arguments: str) -> Terminal:
        terminals.append(Terminal([*QLTUI, *arguments], cli.environment))
        return terminals[-1]

    def steps() -> int:
        done = events(run, "step") if run.attempts() else []
        return done[-1]["step"] if done else 0

    try:
        # The app that launched it loses its terminal.
        launching = open_app("launch", "demo-cpu", "--watch")
        folder = wait_for(lambda: list((tmp_path / "home" / "runs").glob("demo-cpu*")), 30, "a run")[0]
        run = RunDirectory(folder)
        launching.read_until("Loss", 60)
        launching.hang_up()
        launching.wait()
        # Opened again with `watch`, then killed.
        watching = open_app("watch", run.id)
        watching.read_until("Loss", 60)
        wait_for(lambda: steps() >= 2, 120, "steps")
        watching.kill(signal.SIGKILL)
        watching.wait()
        seen = steps()
        # A terminal that stops reading: the app may stall, the run must not.
        stalled = open_app("watch", run.id)
        stalled.read_until("Loss", 60)
        wait_for(lambda: steps() >= seen + 3, 60, "steps after the app was killed")
        before = steps()
        time.sleep(4)
        assert steps() > before, "training stopped while the terminal did not read"
        stalled.read_for(2)
        assert stalled.alive()
        stalled.send("qq")
        stalled.wait()

        status = cli.wait(run.id, 240)
        assert status["state"] == "finished", status["reason"]
        assert status["attempt"] == 1
        assert [event["step"] for event in events(run, "step")] == list(range(1, status["total_steps"] + 1))
        assert status["exact_match"]["after"] >= 2 * status["exact_match"]["before"]
    finally:
        for terminal in terminals:
            terminal.close()
        cli("stop", "last", "--now", check=False)
