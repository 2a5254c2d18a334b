"""Through the whole app by keys alone and by the mouse alone, from Home to a run on CPU ranks that goes on or ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.models import put_into_hub_cache
from support.runs import DEMO
from support.screen import click_on, text_of, until, until_on, until_seen
from textual.pilot import Pilot

from engine.config.reading import read_file
from engine.events import RunDirectory
from qltui.configs import presets
from qltui.runs import status, store
from qltui.runs.launching import request_stop
from qltui.runs.state import LIVE
from qltui.ui.app import QltuiApp
from qltui.ui.screens.home import Home
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.review import Review
from qltui.ui.widgets.strategy_matrix import COLUMN, ROW

ROWS = 8
SMALL, LARGE = (80, 24), (120, 36)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user stands: a folder with some rows and a model; the model is in the hub's cache too."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "base").symlink_to(DEMO / "model")
    rows = (DEMO / "data" / "train.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "rows.jsonl").write_text("".join(rows[:ROWS]), "utf-8")
    put_into_hub_cache(tmp_path / "hf", "someone/harbour", DEMO / "model")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


@asynccontextmanager
async def at_home(size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
    """The app as it opens; runs that were left are stopped."""
    async with QltuiApp().run_test(size=size) as pilot:
        await until_on(pilot, Home)
        try:
            yield pilot
        finally:
            for run in store.directories():
                if status.read(run)["state"] in LIVE:
                    request_stop(run, now=True)
                    await until(pilot, lambda run=run: status.read(run)["state"] not in LIVE, "the run's end")


def is_at(pilot: Pilot[Any], step: str) -> bool:
    return isinstance(pilot.app.screen, NewRun) and pilot.app.screen.step.name == step


async def until_at(pilot: Pilot[Any], step: str) -> None:
    await until(pilot, lambda: is_at(pilot, step), f"step {step}")


async def started(pilot: Pilot[Any]) -> RunDirectory:
    """The only run, once the monitor of it is open and its supervisor has begun."""
    await until_on(pilot, Monitor)
    (run,) = store.directories()
    await until(pilot, lambda: run.last_attempt() is not None, "its first attempt")
    return run


async def until_finished(pilot: Pilot[Any], run: RunDirectory) -> None:
    """Wait until the monitor says so."""
    await until(pilot, lambda: status.read(run)["state"] not in LIVE, "the run's end", seconds=120)
    assert status.read(run)["state"] == "finished", text_of(pilot)
    await until_seen(pilot, "finished")


async def by_keys(pilot: Pilot[Any]) -> RunDirectory:
    """From Home to a started run of four steps, without the mouse."""
    await pilot.press("n")
    await until_at(pilot, "model")
    await pilot.press(*"./b")
    await until_seen(pilot, "./base/")
    await pilot.press("down", "enter")
    await until_seen(pilot, "parameters")
    await pilot.press("pagedown")
    await until_at(pilot, "data")
    await until_seen(pilot, "rows.jsonl")
    await pilot.press(*"ro", "down", "enter")
    await until_seen(pilot, "learnt")
    await pilot.press("pagedown")
    await until_at(pilot, "hardware")
    await until_seen(pilot, "no GPU, so runs go on CPU ranks")
    await pilot.press("pagedown")
    await until_at(pilot, "method")
    await until_seen(pilot, "single · qlora")
    await pilot.press("left", "left", "enter")
    await until_seen(pilot, "✓ set method.name=lora")
    await pilot.press("pagedown")
    await until_at(pilot, "training")
    await pilot.press("down", *"4")
    await until_seen(pilot, "Optimizer steps; empty: as many as the epochs take.")
    await pilot.press("f2")
    await until_on(pilot, Review)
    await until_seen(pilot, "✓ ready")
    await pilot.press("l")
    return await started(pilot)


async def by_mouse(pilot: Pilot[Any]) -> RunDirectory:
    """From Home to a started run of one epoch, without a key."""
    await click_on(pilot, "New run")
    await until_at(pilot, "model")
    await click_on(pilot, "someone/harbour")
    await until_seen(pilot, "parameters")
    await click_on(pilot, "Data")
    await until_at(pilot, "data")
    await click_on(pilot, "rows.jsonl")
    await until_seen(pilot, "learnt")
    await click_on(pilot, "Hardware")
    await until_at(pilot, "hardware")
    await until_seen(pilot, "no GPU, so runs go on CPU ranks")
    await click_on(pilot, "Method & strategy")
    await until_at(pilot, "method")
    await click_on(pilot, "single", right=ROW + COLUMN)
    await until_seen(pilot, "single · lora")
    await click_on(pilot, "take it")
    await until_seen(pilot, "✓ set method.name=lora")
    await click_on(pilot, "f5 fix")
    await until_seen(pilot, "✓ set data.max_length=512")
    await click_on(pilot, "Training")
    await until_at(pilot, "training")
    await click_on(pilot, "Review")
    await until_on(pilot, Review)
    await until_seen(pilot, "✓ ready")
    await click_on(pilot, "launch  r rehearse")
    return await started(pilot)


async def test_by_keys_alone_to_a_run_that_finishes() -> None:
    async with at_home(SMALL) as pilot:
        run = await by_keys(pilot)
        config = read_file(run.run_yaml)
        assert (config.method.name.value, config.training.max_steps) == ("lora", 4)
        await until_finished(pilot, run)
        assert status.read(run)["step"] == 4
        await pilot.press("q")
        await until_on(pilot, Home)
        await until_seen(pilot, "✓ finished")


async def test_by_the_mouse_alone_to_a_run_that_finishes() -> None:
    async with at_home(LARGE) as pilot:
        run = await by_mouse(pilot)
        config = read_file(run.run_yaml)
        assert (config.model.path, config.data.path) == ("someone/harbour", str(Path("rows.jsonl").absolute()))
        await until_finished(pilot, run)


async def test_by_keys_alone_to_a_run_that_goes_on() -> None:
    async with at_home(LARGE) as pilot:
        await by_keys(pilot)


async def test_by_the_mouse_alone_to_a_run_that_goes_on() -> None:
    async with at_home(SMALL) as pilot:
        await by_mouse(pilot)


@pytest.fixture
def short_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's presets are the demo alone, of four steps."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "demo").symlink_to(DEMO)
    text = (DEMO.parent / "demo-cpu.yaml").read_text("utf-8")
    for long, short in (("max_steps: 120", "max_steps: 4"), ("generate_answers: 128", "generate_answers: 2")):
        assert long in text
        text = text.replace(long, short)
    (folder / "demo-cpu.yaml").write_text(text, "utf-8")
    monkeypatch.setattr(presets, "folder", lambda: folder)


@pytest.mark.usefixtures("short_demo")
async def test_a_preset_is_launched_from_home_by_two_keys_and_finishes() -> None:
    async with at_home(SMALL) as pilot:
        await pilot.press("p", "l")
        run = await started(pilot)
        config = read_file(run.run_yaml)
        assert (config.name, config.training.max_steps, config.hardware.ranks_per_node) == ("demo-cpu", 4, 2)
        await until_finished(pilot, run)
