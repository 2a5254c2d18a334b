"""Whoever leaves in the moment of launching gets to the run, or is told of it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.reviews import CHOSEN, demo
from support.screen import text_of, until, until_on, until_seen

from qltui.runs import launching, status, store
from qltui.runs.launching import request_stop
from qltui.runs.state import LIVE
from qltui.ui.app import QltuiApp
from qltui.ui.screens.help import Help
from qltui.ui.screens.home import Home
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.presets import Presets
from qltui.ui.screens.review import Review


@contextmanager
def nobody_launches(home: Path) -> Iterator[None]:
    """Launches wait, as they do for another one that is under way."""
    home.mkdir(exist_ok=True)
    with open(home / "launch.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def test_whoever_left_the_review_is_told(home: Path, size: tuple[int, int]) -> None:
    async with QltuiApp().run_test(size=size, notifications=True) as pilot:
        await pilot.app.push_screen(demo()())
        await until_seen(pilot, "✓ ready")
        with nobody_launches(home):
            await pilot.press("l")
            await until_seen(pilot, "… launching")
            await pilot.press("q")
            await until_on(pilot, Home)
        await until_seen(pilot, "ctrl+p, Runs")
        assert isinstance(pilot.app.screen, Home)
        (run,) = store.directories()
        assert [run.id in told.message for told in pilot.app._notifications] == [True]
        request_stop(run, now=True)
        await until(pilot, lambda: status.read(run)["state"] not in LIVE, "the run's end")


async def test_a_form_that_was_gone_back_to_stays(home: Path) -> None:
    async with QltuiApp().run_test(size=(120, 36), notifications=True) as pilot:
        await pilot.app.push_screen(NewRun(CHOSEN))
        await pilot.press("f2")
        await until_seen(pilot, "✓ ready")
        with nobody_launches(home):
            await pilot.press("l", "pageup")
            await until_on(pilot, NewRun)
        await until_seen(pilot, "ctrl+p, Runs")
        assert isinstance(pilot.app.screen, NewRun)
        (run,) = store.directories()
        request_stop(run, now=True)


async def test_under_a_dialog_the_monitor_waits_for_its_end(home: Path) -> None:
    async with QltuiApp().run_test(size=(120, 36), notifications=True) as pilot:
        await pilot.app.push_screen(NewRun(CHOSEN))
        await pilot.press("f2")
        await until_seen(pilot, "✓ ready")
        with nobody_launches(home):
            await pilot.press("l", "question_mark")
            await until_on(pilot, Help)
        await until_seen(pilot, "ctrl+p, Runs")
        assert isinstance(pilot.app.screen, Help)
        await pilot.press("escape")
        await until_on(pilot, Monitor)
        assert not any(isinstance(screen, Review | NewRun) for screen in pilot.app.screen_stack)
        (run,) = store.directories()
        request_stop(run, now=True)


async def test_a_refusal_is_told_to_whoever_left(home: Path) -> None:
    async with QltuiApp().run_test(size=(120, 36), notifications=True) as pilot:
        await pilot.app.push_screen(Presets())
        await until_seen(pilot, "demo-cpu")
        with nobody_launches(home):
            await pilot.press("l")
            await until_seen(pilot, "… launching demo-cpu")
            await pilot.press("q")
            await until_on(pilot, Home)
            (home / "runs").rmdir()
            (home / "runs").write_text("a file where the runs should be")
        await until_seen(pilot, "demo-cpu: ")


async def test_after_an_error_nobody_foresaw_it_can_be_launched_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_assessed: object, **_options: object) -> None:
        raise RuntimeError("out of the blue")

    async with QltuiApp().run_test(size=(120, 36), notifications=True) as pilot:
        await pilot.app.push_screen(demo()())
        await until_seen(pilot, "✓ ready")
        with monkeypatch.context() as patch:
            patch.setattr(launching, "launch", broken)
            await pilot.press("l")
            await until_seen(pilot, "out of the blue")
        assert "(l launch)" not in text_of(pilot)
        await pilot.press("l")
        await until_on(pilot, Monitor)
        (run,) = store.directories()
        request_stop(run, now=True)
