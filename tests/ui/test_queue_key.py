"""A run that other runs' GPUs stand in the way of is queued with a key, from the review and from the presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.nvml import Nvml, h200
from support.reviews import demo, shown
from support.screen import text_of, until, until_on, until_seen
from support.small_runs import config
from textual.pilot import Pilot

from engine.events import RunDirectory, identity, write_json
from qltui.configs import loading, presets
from qltui.facts import gpus
from qltui.runs import launching, status, store
from qltui.ui.app import QltuiApp
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.presets import Presets

ON_GPUS = ("hardware.device=cuda", "hardware.ranks_per_node=2", "name=mine")


@pytest.fixture
def holder(home: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A live run on one of two GPUs; a run that is started here finds none, so no supervisor is."""
    monkeypatch.setattr(gpus, "load_nvml", lambda: Nvml(h200(0), h200(1)))
    run = launching.create(config("holder", ranks=1, device="cuda"))
    write_json(run.status_json, {**status.read_written(run), "supervisor": identity()})
    monkeypatch.setattr(launching, "start", lambda _: None)
    return run


def footer(pilot: Pilot[Any]) -> str:
    return text_of(pilot).splitlines()[-1]


async def test_the_review_offers_the_queue_before_the_launch(holder: RunDirectory, size: tuple[int, int]) -> None:
    async with QltuiApp().run_test(size=size) as pilot:
        pilot.app.push_screen(demo(*ON_GPUS)())
        await until_seen(pilot, "w queues it: it starts by itself")
        reason = f"GPUs wanted: 2, free: 1; the others are in use by the live run {holder.id}."
        await until(pilot, lambda: reason in shown(pilot), "what it would wait for")
        await until(pilot, lambda: "w queue" in footer(pilot), "the key")
        assert "launch" not in footer(pilot)
        await pilot.press("l", "w")
        await until_on(pilot, Monitor)
        await until_seen(pilot, f"waits for {holder.id}")
        (queued,) = [run for run in store.directories() if run.id != holder.id]
        assert status.read(queued)["state"] == "queued"
        assert status.read(queued)["waiting_for"]["id"] == holder.id


async def test_the_queue_is_offered_where_a_preset_is_refused(holder: RunDirectory) -> None:
    presets.save("mine", loading.load("demo-cpu", ON_GPUS), "on both GPUs", "cpu")
    async with QltuiApp(Presets).run_test(size=(80, 24)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, Presets)
        await until(pilot, lambda: "mine" in screen.presets, "the presets")
        assert "w queue" not in text_of(pilot)
        while screen.chosen != "mine":
            await pilot.press("down")
        await pilot.press("l")
        await until_seen(pilot, "w queues it")
        await until(pilot, lambda: "w queue" in footer(pilot), "the key")
        await pilot.press("up", "down")
        await until(pilot, lambda: "w queue" not in footer(pilot), "the offer gone")
        await pilot.press("l")
        await until_seen(pilot, "w queues it")
        await pilot.press("w")
        await until_on(pilot, Monitor)
        await until_seen(pilot, f"waits for {holder.id}")


async def test_nothing_is_queued_that_may_start(home: Path) -> None:
    async with QltuiApp(demo()).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("w")
        await pilot.pause()
        assert "w queue" not in text_of(pilot)
    assert store.directories() == []
