"""The log panel: levels, search, filter, wrapping, folded bars, and the file behind what is kept."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.screen import text_of, until, until_seen
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from qltui.runs.log_book import LINES_KEPT
from qltui.runs.logs import RunLogs
from qltui.ui.theme import QLTUI_THEME
from qltui.ui.widgets.log_panel import LogPanel
from qltui.ui.widgets.log_tail import LogTail


class LogApp(App[None]):
    def __init__(self, paths: dict[int, Path]) -> None:
        super().__init__()
        self.register_theme(QLTUI_THEME)
        self.theme = QLTUI_THEME.name
        self.logs = RunLogs({rank: str(path) for rank, path in paths.items()})

    def compose(self) -> ComposeResult:
        yield LogPanel()

    def on_mount(self) -> None:
        self.query_one(LogPanel).styles.border = ("round", "white")
        self.watch(self.query_one(LogTail), "told", self.show_title)

    def show_title(self, told: str) -> None:
        self.query_one(LogPanel).border_title = told.replace("[", "\\[")

    def read(self) -> None:
        self.query_one(LogTail).add(self.logs.read(2000))


@asynccontextmanager
async def showing(*logs: Path, size: tuple[int, int] = (80, 20)) -> AsyncIterator[tuple[Pilot[Any], LogTail]]:
    app = LogApp(dict(enumerate(logs)))
    async with app.run_test(size=size) as pilot:
        app.read()
        app.query_one(LogTail).focus()
        await pilot.pause()
        yield pilot, app.query_one(LogTail)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "rank0.log"


async def type_in(pilot: Pilot[Any], text: str) -> None:
    await pilot.press(*("space" if character == " " else character for character in text))


async def test_search_marks_counts_and_goes_from_match_to_match(log: Path) -> None:
    log.write_text("".join(f"line {number}{' needle' * (number % 50 == 0)}\n" for number in range(200)))
    async with showing(log) as (pilot, tail):
        await pilot.press("slash")
        await type_in(pilot, "Need")
        await until_seen(pilot, "“Need” not found")
        await pilot.press("backspace", "backspace", "backspace", "backspace")
        await type_in(pilot, "need")
        await until_seen(pilot, "“need” 4/4")
        await pilot.press("enter")
        assert "line 150 needle" in text_of(pilot)
        assert "held still" in text_of(pilot)
        await pilot.press("N")
        await until_seen(pilot, "“need” 3/4")
        assert "line 100 needle" in text_of(pilot)
        await pilot.press("n", "n")
        await until_seen(pilot, "“need” 1/4")
        assert "line 0 needle" in text_of(pilot)
        styles = {segment.text: segment.style for segment in tail.render_line(0) if segment.style}
        assert styles["need"].reverse
        await pilot.press("escape")
        await until(pilot, lambda: tail.searched == "", "the search ended")


async def test_filter_and_levels_choose_lines(log: Path) -> None:
    log.write_text(
        "all well\n[rank0]: Traceback (most recent call last):\n[rank0]:   File 'x.py'\n[rank0]: ValueError: no\n"
        "x.py:1: UserWarning: mind\n  warnings.warn()\nafter\n"
    )
    async with showing(log) as (pilot, _):
        await pilot.press("e")
        await until_seen(pilot, "warnings and errors")
        shown = re.findall(r"r0  (.*?) *│", text_of(pilot))
        assert shown == [
            "✗ [rank0]: Traceback (most recent call last):", "✗ [rank0]:   File 'x.py'", "✗ [rank0]: ValueError: no",
            "▲ x.py:1: UserWarning: mind", "▲   warnings.warn()",
        ]  # fmt: skip
        await pilot.press("e")
        await until(pilot, lambda: "UserWarning" not in text_of(pilot), "errors alone")
        await pilot.press("e", "f")
        await type_in(pilot, "well")
        await pilot.press("enter")
        await until_seen(pilot, "only “well”")
        assert re.findall(r"r0  (.*?) *│", text_of(pilot)) == ["all well"]
        with open(log, "a") as file:
            file.write("not this\nas well")
        pilot.app.read()  # type: ignore[attr-defined]
        await until_seen(pilot, "as well")
        assert "not this" not in text_of(pilot)
        await pilot.press("escape")
        await until_seen(pilot, "not this")


async def test_a_bar_is_one_line_that_changes_in_place(log: Path) -> None:
    async with showing(log) as (pilot, tail):
        for done in range(0, 101, 10):
            with open(log, "ab") as file:
                file.write(f"\r{done:3}%|{'#' * (done // 10):<10}| {done}/100 [00:01<00:01]".encode())
            pilot.app.read()  # type: ignore[attr-defined]
            await until_seen(pilot, f" {done}/100 [")
            assert tail.virtual_size.height == 1
        with open(log, "ab") as file:
            file.write(b"\n100%|##########| 100/100 [00:01<00:00]\n 50%|#####     | 1/2 [00:01<00:00]\ndone\n")
        pilot.app.read()  # type: ignore[attr-defined]
        await until_seen(pilot, "done")
        assert tail.virtual_size.height == 3


async def test_long_lines_are_cut_or_wrapped(log: Path) -> None:
    log.write_text("x" * 100 + "END\n" + "漢" * 60 + "FIN\n")
    async with showing(log) as (pilot, tail):
        assert "END" not in text_of(pilot)
        assert text_of(pilot).count("…") == 2
        await pilot.press("w")
        await until_seen(pilot, "END")
        await until_seen(pilot, "FIN")
        assert "…" not in text_of(pilot)
        assert tail.virtual_size.height == 4


async def test_times_stand_in_a_column(log: Path) -> None:
    log.write_text("[2026-11-22 18:25:05,416] [WARNING] careful\nwithout\n2026-11-22T18:26:00Z later\n")
    async with showing(log) as (pilot, _):
        assert "18:25:05 r0  ▲ [WARNING] careful" in text_of(pilot)
        assert "         r0  without" in text_of(pilot)
        assert "18:26:00 r0  later" in text_of(pilot)


async def test_scrolling_up_reads_on_in_the_file(log: Path) -> None:
    count = 12_000
    log.write_text("".join(f"line {number} of many\n" for number in range(count)))
    async with showing(log) as (pilot, tail):
        here = tail.virtual_size.height
        assert here <= LINES_KEPT
        await pilot.press("home", "home")
        await until(pilot, lambda: tail.virtual_size.height > here, "older lines read")
        assert "held still" in text_of(pilot)
        for _ in range(30):
            if "line 0 of many" in text_of(pilot):
                break
            await pilot.press("home", "home")
            await pilot.pause(0.05)
        assert "r0  line 0 of many" in text_of(pilot)
        await pilot.press("end")
        await until_seen(pilot, f"line {count - 1} of many")
        assert "following" in text_of(pilot)
        assert tail.virtual_size.height <= LINES_KEPT


async def test_held_still_nothing_moves_and_the_wheel_holds(log: Path) -> None:
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    async with showing(log) as (pilot, tail):
        where = {"x": 5, "y": 5, "delta_x": 0, "delta_y": 0, "button": 0, "shift": False, "meta": False, "ctrl": False}
        for _ in range(3):
            tail.post_message(events.MouseScrollUp(tail, **where))  # type: ignore[arg-type]
        await until_seen(pilot, "held still")
        before = text_of(pilot).splitlines()[1:-1]
        with open(log, "a") as file:
            file.write("".join(f"more {number}\n" for number in range(LINES_KEPT)))
        pilot.app.read()  # type: ignore[attr-defined]
        await until_seen(pilot, "held still, 2,000 new")
        assert text_of(pilot).splitlines()[1:-1] == before
        await pilot.press("end")
        await until_seen(pilot, f"more {LINES_KEPT - 1}")


async def test_a_search_backwards_goes_on_in_the_file(log: Path) -> None:
    log.write_text("".join(f"line {number}{' needle' * (number in (7, 6_000))}\n" for number in range(15_000)))
    async with showing(log) as (pilot, _):
        await pilot.press("slash")
        await type_in(pilot, "needle")
        await until_seen(pilot, "not found yet, N looks further back")
        await pilot.press("enter", "N")
        await until_seen(pilot, "line 6000 needle")
        assert "“needle” 1/1" in text_of(pilot)
        await pilot.press("N")
        await until_seen(pilot, "line 7 needle")
        await pilot.press("N")
        await until(pilot, lambda: "…" not in text_of(pilot), "the start of the file")
        assert "line 7 needle" in text_of(pilot)
        await pilot.press("escape", "end")
        await until_seen(pilot, "line 14999")


async def test_the_end_is_shown_where_the_first_lines_are_more_than_fit(log: Path) -> None:
    app = LogApp({0: log})
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.pause(0.2)  # laid out empty: no scrollbar is there yet
        log.write_text("".join(f"line {number}\n" for number in range(100)))
        app.read()
        await pilot.pause(0.1)
        assert "line 99" in text_of(pilot)
