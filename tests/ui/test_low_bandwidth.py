"""Over a slow line the log shows a few of many lines, and all of them where one looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.written_runs import WrittenRun

from qltui.cli.main import main
from qltui.runs.logs import LogLine
from qltui.ui import bandwidth, preferences
from qltui.ui.app import QltuiApp
from qltui.ui.screens.monitor import Monitor
from qltui.ui.widgets.log_rows import LogRows
from qltui.ui.widgets.log_tail import LogTail


def lines(begin: int, end: int, text: str = "line") -> list[LogLine]:
    return [LogLine(0, f"{text} {number}", "log", number * 10, number * 10 + 10) for number in range(begin, end)]


def test_folded_rows_are_counted_and_bad_ones_stay() -> None:
    log = LogRows()
    log.add(lines(0, 10))
    log.fold(4)
    log.add([*lines(10, 50), *lines(50, 51, "ERROR"), *lines(51, 100)])
    log.fold(4)
    assert [log.text(row)[1] for row in log.rows] == [
        "… 6 lines more", "line 6", "line 7", "line 8", "line 9",
        "… 86 lines more", "ERROR 50", "line 97", "line 98", "line 99",
    ]  # fmt: skip
    log.lay_out()
    assert len(log.rows) == 100


def test_lines_let_go_take_their_fold_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qltui.runs.log_book.LINES_KEPT", 20)
    log = LogRows()
    for begin in range(0, 200, 10):
        log.add(lines(begin, begin + 10))
        log.fold(4)
    assert len(log.rows) <= 15
    assert log.text(log.rows[-1])[1] == "line 199"


async def test_the_log_is_whole_where_it_is_held_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bandwidth.ENVIRONMENT, "1")
    run = WrittenRun(tmp_path, ranks=1)
    run.step(1, 2.0)
    run.log("".join(f"line {number}\n" for number in range(300)))
    async with QltuiApp(lambda: Monitor(run.run.path)).run_test(size=(120, 36)) as pilot:
        log = pilot.app.screen.query_one(LogTail)
        for _ in range(100):
            await pilot.pause(0.05)
            if log.virtual_size.height:
                break
        assert log.virtual_size.height == bandwidth.LOW.log_rows + 1
        await pilot.press("p")
        assert log.virtual_size.height == 300
        assert log.scroll_offset.y == log.max_scroll_y


def test_the_environment_outranks_what_was_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(bandwidth.ENVIRONMENT, raising=False)
    assert bandwidth.rates() == bandwidth.FULL
    preferences.keep_low_bandwidth(True)
    preferences.keep_theme("nord")
    assert bandwidth.rates() == bandwidth.LOW
    monkeypatch.setenv(bandwidth.ENVIRONMENT, "0")
    assert bandwidth.rates() == bandwidth.FULL


@pytest.mark.parametrize("words", [["--low-bandwidth", "watch", "nothing"], ["watch", "nothing", "--low-bandwidth"]])
def test_the_command_line_sets_the_environment(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path))
    monkeypatch.setenv(bandwidth.ENVIRONMENT, "0")
    assert main(words) == 1
    assert bandwidth.is_low()
