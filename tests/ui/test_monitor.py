"""The monitor on run directories that grow, break off and go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.screen import text_of, until, until_seen
from support.written_runs import WrittenRun
from textual.pilot import Pilot

from engine.events import identity, read_json, write_json
from qltui.ui.app import QltuiApp
from qltui.ui.screens.monitor import Monitor
from qltui.ui.widgets.line_chart import LineChart
from qltui.ui.widgets.log_tail import LogTail


@asynccontextmanager
async def watching(
    run: WrittenRun, size: tuple[int, int] = (120, 36), readonly: bool = False
) -> AsyncIterator[Pilot[Any]]:
    async with QltuiApp(lambda: Monitor(run.run.path, readonly=readonly)).run_test(size=size) as pilot:
        yield pilot


def log_of(pilot: Pilot[Any]) -> LogTail:
    return pilot.app.screen.query_one(LogTail)


async def test_it_shows_a_run_growing(written_run: WrittenRun, size: tuple[int, int]) -> None:
    async with watching(written_run, size) as pilot:
        await until_seen(pilot, "the first step is still to come")
        for number in range(1, 11):
            written_run.step(number, 2.0 - number / 10)
        await until_seen(pilot, "step 10 / 100")
        assert "● training" in text_of(pilot)
        assert "4,000 tok/s" in text_of(pilot)
        assert "ETA 22 s" in text_of(pilot)
        assert "rank 1" in text_of(pilot)
        assert "256 MiB" in text_of(pilot)
        written_run.step(11, 0.5)
        await until_seen(pilot, "step 11 / 100")


async def test_audits_are_told_in_words(written_run: WrittenRun) -> None:
    written_run.emit("audit", audit="sharding", result="not_applicable")
    written_run.emit("audit", audit="weights", result="failed")
    async with watching(written_run) as pilot:
        await until_seen(pilot, "sharded – not needed   weights ✗ failed   adapter · pending")


async def test_a_resumed_run_goes_on_in_the_same_curve(written_run: WrittenRun) -> None:
    for number in range(1, 9):
        written_run.step(number, 2.0)
    async with watching(written_run) as pilot:
        await until_seen(pilot, "step 8 / 100")
        written_run.log("of the first attempt\n")
        written_run.begin_attempt()
        written_run.log("of the second attempt\n")
        written_run.step(6, 1.0)
        await until_seen(pilot, "attempt 2")
        await until_seen(pilot, "of the second attempt")
        assert "step 6 / 100" in text_of(pilot)
        chart = pilot.app.screen.query_one(LineChart)
        await until(pilot, lambda: chart._line.x == [1, 2, 3, 4, 5, 6], "the steps after the sixth replaced")


async def test_a_failed_run_says_why(written_run: WrittenRun, size: tuple[int, int]) -> None:
    written_run.step(3, 1.0)
    failure = {"rank": 1, "phase": "backward", "error": "OutOfMemoryError", "message": "wanted 2 GiB more"}
    written_run.write_status(state="failed", reason="Rank 1 ran out of memory in backward.", failure=failure)
    async with watching(written_run, size) as pilot:
        await until_seen(pilot, "✗ failed after")
        assert "rank 1, in backward" in text_of(pilot)
        assert "Rank 1 ran out of memory in backward." in text_of(pilot)


async def test_a_finished_run_shows_what_it_learnt(written_run: WrittenRun, size: tuple[int, int]) -> None:
    written_run.step(100, 0.2)
    sample = {"prompt": "Where does the salt go?", "wanted": "To Oakbay.", "before": "Salt.", "after": "To Oakbay."}
    written_run.write_status(
        state="finished", exact_match={"before": 0.1, "after": 0.9}, sample=sample, adapter_dir="/runs/demo/adapter"
    )
    async with watching(written_run, size) as pilot:
        await until_seen(pilot, "✓ finished after")
        for text in ("10 % → 90 %", "Where does the salt go?", "To Oakbay.  ✓ as wanted", "/runs/demo/adapter"):
            assert text in text_of(pilot)


async def test_a_run_whose_processes_are_gone_is_lost(written_run: WrittenRun) -> None:
    written_run.step(3, 1.0)
    written_run.give_up()
    async with watching(written_run) as pilot:
        await until_seen(pilot, "? lost")
        assert "Its processes are gone" in text_of(pilot)


async def test_half_written_and_broken_lines_wait_or_are_passed_over(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    with open(written_run.attempt.events(0), "ab") as file:
        file.write(b'no json\n{"kind": "step", "step": 2, "attempt": 1, "ra')
        file.flush()
        async with watching(written_run) as pilot:
            await until_seen(pilot, "step 1 / 100")
            chart = pilot.app.screen.query_one(LineChart)
            assert chart._line.x == [1]
            file.write(b'nk": 0, "loss": 0.5, "wall": 1}\n')
            file.flush()
            await until(pilot, lambda: chart._line.x == [1, 2], "the second half of the line read")


async def test_what_logs_say_is_text_and_nothing_else(written_run: WrittenRun) -> None:
    written_run.log("[rank0]: [/data/x] [bold]not bold[/bold]\n\x1b]0;title\x07\x1b[2Jwiped\x1b[31m red\n")
    written_run.log("10%\r20%\r30% done\n", rank=1)
    async with watching(written_run) as pilot:
        await until_seen(pilot, "[rank0]: [/data/x] [bold]not bold[/bold]")
        await until_seen(pilot, "r1  30% done")
        assert "r0  wiped red" in text_of(pilot)
        assert "\x1b" not in text_of(pilot)
        assert "10%" not in text_of(pilot)


async def test_foreign_text_in_the_status_is_no_markup_either(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    written_run.emit("warning", message="[/] \x1b[2J[b]careful")
    written_run.write_status(state="failed", reason="[/oops] \x1b[2J[red]why", name="[x]\x1b[1m")
    async with watching(written_run) as pilot:
        await until_seen(pilot, "[/oops] [red]why")
        assert "[/] [b]careful" in text_of(pilot)
        assert "\x1b" not in text_of(pilot)


async def test_the_log_follows_is_held_and_filtered(written_run: WrittenRun) -> None:
    written_run.log("".join(f"line {number}\n" for number in range(100)))
    written_run.log("only rank one\n", rank=1)
    async with watching(written_run) as pilot:
        await until_seen(pilot, "only rank one")
        await pilot.press("p")
        await until_seen(pilot, "held still")
        written_run.log("unseen\n")
        await until(pilot, lambda: log_of(pilot).virtual_size.height == 102, "the line read")
        assert "unseen" not in text_of(pilot)
        await pilot.press("p")
        await until_seen(pilot, "unseen")
        await pilot.press("r", "r")
        await until_seen(pilot, "Log [4] · rank 1")
        assert "unseen" not in text_of(pilot)
        assert "only rank one" in text_of(pilot)


async def test_scrolling_back_holds_the_log(written_run: WrittenRun) -> None:
    written_run.log("".join(f"line {number}\n" for number in range(100)))
    async with watching(written_run) as pilot:
        await until_seen(pilot, "line 99")
        log_of(pilot).focus()
        await pilot.press("pageup")
        await until_seen(pilot, "held still")
        await pilot.press("end")
        await until_seen(pilot, "following")


async def test_number_keys_hide_and_show_panels(written_run: WrittenRun, size: tuple[int, int]) -> None:
    async with watching(written_run, size) as pilot:
        await until_seen(pilot, "Log [4]")
        await pilot.press("1", "2", "4")
        await until(pilot, lambda: "Loss [1]" not in text_of(pilot), "the loss hidden")
        assert "Memory [2]" not in text_of(pilot)
        assert "Log [4]" not in text_of(pilot)
        await pilot.press("1", "3")
        await until_seen(pilot, "Loss [1]")
        assert ("Trends [3]" in text_of(pilot)) is (size == (80, 24))


async def test_the_loss_axis_can_be_logarithmic(written_run: WrittenRun) -> None:
    for number in range(1, 5):
        written_run.step(number, 10.0**-number)
    async with watching(written_run) as pilot:
        await until_seen(pilot, "step 4 / 100")
        await pilot.press("l")
        await until_seen(pilot, "log scale")


async def test_stopping_asks_first_and_then_asks_the_run(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    request = written_run.run.request_json
    async with watching(written_run) as pilot:
        await until_seen(pilot, "step 1 / 100")
        await pilot.press("s")
        await until_seen(pilot, "Stop demo?")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, Monitor), "the question closed")
        assert not request.exists()
        await pilot.press("s")
        await until_seen(pilot, "Stop demo?")
        await pilot.press("y")
        await until(pilot, request.exists, "a request")
    written = read_json(request)
    assert written is not None
    assert (written["action"], written["now"], written["attempt"]) == ("stop", False, 1)


async def test_a_checkpoint_can_be_asked_for(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    async with watching(written_run) as pilot:
        await until_seen(pilot, "step 1 / 100")
        await pilot.press("k")
        await until(pilot, written_run.run.request_json.exists, "a request")
    written = read_json(written_run.run.request_json)
    assert written is not None
    assert (written["action"], written["attempt"]) == ("checkpoint", 1)


async def test_readonly_has_no_keys_that_ask_anything_of_the_run(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    async with watching(written_run, readonly=True) as pilot:
        await until_seen(pilot, "step 1 / 100")
        assert "read only" in text_of(pilot)
        assert "stop and save" not in text_of(pilot)
        assert "checkpoint" not in text_of(pilot)
        await pilot.press("s", "k")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Monitor)
        assert not written_run.run.request_json.exists()


async def test_leaving_says_that_the_run_goes_on(written_run: WrittenRun, capsys: pytest.CaptureFixture[str]) -> None:
    written_run.step(1, 1.0)
    async with watching(written_run) as pilot:
        await until_seen(pilot, "step 1 / 100")
        await pilot.press("q")
    assert "demo goes on. Watch it again: qltui watch demo-20260102-030405" in capsys.readouterr().err


async def test_gpus_show_what_telemetry_says_of_them(written_run: WrittenRun) -> None:
    gpu = {"memory_total": 2**34, "utilization": 97, "power_watts": 287.4, "temperature": 71, "name": "A40"}
    written_run.run.telemetry.mkdir()
    sample = written_run.run.telemetry / "host.jsonl"
    write_json(sample, {"gpus": [gpu, {**gpu, "utilization": None}], "ranks": [], "host": identity()["host"]})
    sample.write_text(sample.read_text().replace("\n", "") + "\n")
    written_run.step(1, 1.0)
    async with watching(written_run) as pilot:
        await until_seen(pilot, "97 % · 287 W · 71 °C")


async def test_a_folder_that_is_no_run_does_no_harm(written_run: WrittenRun) -> None:
    written_run.run.status_json.write_text("{half")
    for file in written_run.attempt.events_dir.iterdir():
        file.unlink()
    async with watching(written_run) as pilot:
        await until_seen(pilot, "step 0")
