"""What the monitor shows of GPUs: eight, one that is lost, several nodes, fields nobody tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.screen import click_on, text_of, until, until_seen
from support.written_runs import WrittenRun, a40, on_eight_gpus
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from qltui.runs.devices import Device, devices
from qltui.runs.recent import Pace
from qltui.ui.app import QltuiApp
from qltui.ui.screens.monitor import Monitor
from qltui.ui.theme import QLTUI_THEME, completed
from qltui.ui.widgets.gpu_rows import GpuRows

GIB = 2**30


@pytest.fixture
def eight(home: Path) -> WrittenRun:
    return on_eight_gpus(home)


def line_of(pilot: Pilot[Any], beginning: str) -> str:
    return next(line for line in text_of(pilot).splitlines() if beginning in line)


async def test_eight_gpus(eight: WrittenRun, size: tuple[int, int]) -> None:
    async with QltuiApp(lambda: Monitor(eight.run.path)).run_test(size=size) as pilot:
        await until_seen(pilot, "step 24 / 100")
        await until_seen(pilot, "GPUs [2]")
        await until_seen(pilot, "0 A40")
        assert "8.0/45.0 98 % 287/300 W 71°" in line_of(pilot, "0 A40")
        assert "71 % 287/300 W 91° ▲ hot" in line_of(pilot, "3 A40")
        assert "░" in line_of(pilot, "5 A40")
        assert re.search("▓·?│·", line_of(pilot, "2 A40")), "where the planned peak is"
        assert " ? %" in line_of(pilot, "6 A40")
        assert "lost: the driver does not answer" in text_of(pilot)
        await until_seen(pilot, "✗ GPU 7 does not answer")
        assert "backward" in text_of(pilot)
        assert "plan" in line_of(pilot, "+14 %"), "8 GiB where 7 were planned"
        assert "9.0" in text_of(pilot).splitlines()[2]


async def test_a_gpu_that_is_lost_and_comes_back(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    written_run.sample(a40(0), a40(1))
    async with QltuiApp(lambda: Monitor(written_run.run.path)).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "1 A40")
        written_run.sample(a40(0), a40(1, lost=True, memory_used=None))
        await until_seen(pilot, "lost: the driver does not answer")
        written_run.sample(a40(0, utilization=55), a40(1))
        await until(pilot, lambda: "lost:" not in text_of(pilot), "the GPU back")
        assert "55 %" in text_of(pilot)


async def test_the_longest_of_eight_rows_fit_the_smallest_panel(eight: WrittenRun) -> None:
    async with QltuiApp(lambda: Monitor(eight.run.path)).run_test(size=(72, 20)) as pilot:
        await until_seen(pilot, "0 A40")
        assert max(len(line.rstrip()) for line in text_of(pilot).splitlines()) <= 72


class Rows(App[None]):
    """The widget alone."""

    def __init__(self, found: list[Device]) -> None:
        super().__init__()
        self.found = found
        self.register_theme(QLTUI_THEME)
        self.theme = QLTUI_THEME.name

    def get_css_variables(self) -> dict[str, str]:
        return completed(self.current_theme, super().get_css_variables())

    def compose(self) -> ComposeResult:
        yield GpuRows()

    def on_mount(self) -> None:
        self.query_one(GpuRows).show(self.found, 9 * GIB)


def of_nodes(nodes: int, each: int) -> list[Device]:
    ranks = [
        {"rank": rank, "node": rank // each, "host": f"n{rank // each}", "memory_allocated": GIB, "step_time": 1.0}
        for rank in range(nodes * each)
    ]
    gpus = [a40(rank % each, host=f"n{rank // each}", temperature=60 + rank % each) for rank in range(nodes * each)]
    return devices({"ranks": ranks}, gpus, {}, {9: Pace(1.4, 1.4, 0.0), 10: Pace(1.0, 1.0, 0.0)})


async def test_nodes_fold_and_unfold_by_key_and_by_mouse() -> None:
    async with Rows(of_nodes(8, 8)).run_test(size=(90, 24)) as pilot:
        await until_seen(pilot, "▸ node 7")
        assert "8 GPUs  8.0/45.0 GiB  98 %  60–67°" in line_of(pilot, "node 0")
        assert "1.00–1.40x  ▲ 1 amiss" in line_of(pilot, "node 1")
        assert "A40" not in text_of(pilot)
        await pilot.press("down", "enter")
        await until_seen(pilot, "▾ node 1")
        assert "1.40x ▲ slow" in line_of(pilot, "1 A40")
        assert "▲" not in line_of(pilot, "2 A40")
        await click_on(pilot, "node 3")
        await until_seen(pilot, "▾ node 3")
        await pilot.press("enter")
        await until_seen(pilot, "▸ node 3")


async def test_more_rows_than_room_are_scrolled() -> None:
    async with Rows(of_nodes(8, 8)).run_test(size=(90, 5)) as pilot:
        await until_seen(pilot, "▸ node 4")
        assert "node 5" not in text_of(pilot)
        await pilot.press(*["down"] * 7)
        await until_seen(pilot, "▸ node 7")
        assert "node 0" not in text_of(pilot)
        await pilot.press(*["up"] * 9)
        await until_seen(pilot, "▸ node 0")


async def test_one_node_has_no_line_of_its_own() -> None:
    async with Rows(of_nodes(1, 4)).run_test(size=(100, 12)) as pilot:
        await until_seen(pilot, "3 A40")
        assert "node" not in text_of(pilot)
        assert "0 A40" in text_of(pilot)
        await pilot.press("enter")
        await until_seen(pilot, "3 A40")


async def test_names_of_gpus_are_text_and_nothing_else() -> None:
    found = [device._replace(name="[red]\x1b[2J evil") for device in of_nodes(1, 2)]
    async with Rows(found).run_test(size=(100, 12)) as pilot:
        await until_seen(pilot, "[red]")
        assert "\x1b" not in text_of(pilot)
