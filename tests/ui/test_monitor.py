"""The monitor on run directories that grow, break off and go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.screen import press_together, text_of, until, until_seen
from support.written_runs import WrittenRun
from textual.pilot import Pilot

from engine.events import identity
from qltui.ui.app import QltuiApp
from qltui.ui.screens.monitor import Monitor
from qltui.ui.widgets.chart_grid import Charts
from qltui.ui.widgets.log_tail import LogTail


@asynccontextmanager
async def watching(
    run: WrittenRun, size: tuple[int, int] = (120, 36), readonly: bool = False
) -> AsyncIterator[Pilot[Any]]:
    async with QltuiApp(lambda: Monitor(run.run.path, readonly=readonly)).run_test(size=size) as pilot:
        yield pilot


def log_of(pilot: Pilot[Any]) -> LogTail:
    return pilot.app.screen.query_one(LogTail)


def steps_drawn(pilot: Pilot[Any]) -> list[float]:
    """Where the curve of the loss has points."""
    followed = pilot.app.screen.query_one(Charts).chart("loss").followed
    return list(followed[0].curve.x) if followed else []


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
    written_run.emit("audit", audit="weights", result="failed", detail="rank 1 computes with 3 of 9 tensors")
    async with watching(written_run) as pilot:
        await until_seen(pilot, "sharded – not needed   weights ✗ failed   adapter · pending")
        await pilot.press("h")
        await until_seen(pilot, "rank 1 computes with 3 of 9 tensors")


async def test_audits_that_passed_tell_their_figures(written_run: WrittenRun) -> None:
    share = "bfloat16 parameters: 3.9 GiB of 15.6 GiB (25%); optimizer states: 0.1 GiB of 0.4 GiB (26%)"
    frozen = "1252 frozen tensors computed with as loaded, byte for byte, on 4 ranks"
    written_run.step(7, 1.0)
    for rank in range(2):
        written_run.emit("audit", rank, audit="sharding", result="passed", detail=share)
        written_run.emit("audit", rank, audit="weights", result="passed", detail=frozen)
    written_run.emit("audit", audit="adapter", result="passed", detail="28 tensors, equal to memory")
    async with watching(written_run) as pilot:
        await until_seen(pilot, "sharded ✓ 26 % each   weights ✓ 1,252 exact   adapter ✓ step 7")
        await pilot.press("h")
        await until_seen(pilot, "28 tensors, equal to memory")


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
        await until(pilot, lambda: steps_drawn(pilot) == [1, 2, 3, 4, 5, 6], "the steps after the sixth replaced")


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


async def test_a_run_whose_supervisor_alone_is_gone_goes_on(written_run: WrittenRun) -> None:
    written_run.step(3, 1.0)
    written_run.write_status(supervisor={**identity(), "start_time": 1})
    async with watching(written_run) as pilot:
        await until_seen(pilot, "✗ its supervisor is gone, its ranks are not")
        await until_seen(pilot, "● training")
        assert "Give it another supervisor (u)" in " ".join(text_of(pilot).split())


async def test_a_verdict_is_told_and_taken_back(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    written_run.step(2, float("nan"))
    async with watching(written_run) as pilot:
        await until_seen(pilot, "✗ the loss is no number (nan) since step 2")
        await pilot.press("h")
        await until_seen(pilot, "next  stop it")
        await pilot.press("escape")
        written_run.step(3, 1.0)
        await until_seen(pilot, "too early to judge")


async def test_half_written_and_broken_lines_wait_or_are_passed_over(written_run: WrittenRun) -> None:
    written_run.step(1, 1.0)
    with open(written_run.attempt.events(0), "ab") as file:
        file.write(b'no json\n{"kind": "step", "step": 2, "attempt": 1, "ra')
        file.flush()
        async with watching(written_run) as pilot:
            await until_seen(pilot, "step 1 / 100")
            assert steps_drawn(pilot) == [1]
            file.write(b'nk": 0, "loss": 0.5, "wall": 1}\n')
            file.flush()
            await until(pilot, lambda: steps_drawn(pilot) == [1, 2], "the second half of the line read")


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
        await until_seen(pilot, "held still, 1 new")
        assert "unseen" not in text_of(pilot)
        await pilot.press("p")
        await until_seen(pilot, "unseen")
        await pilot.press("r", "r")
        await until_seen(pilot, "Log [4] · rank 1")
        assert "unseen" not in text_of(pilot)
        assert "only rank one" in text_of(pilot)


async def test_what_is_typed_in_one_go_after_a_slash_is_searched_for(
    written_run: WrittenRun, size: tuple[int, int]
) -> None:
    written_run.log("".join(f"line {number} of glue/mill\n" for number in range(9)))
    written_run.step(1, 1.0)
    async with watching(written_run, size) as pilot:
        await until_seen(pilot, "step 1 / 100")
        pilot.app.screen.query_one(Charts).chart("loss").focus()
        await pilot.pause()
        press_together(pilot, "slash", *"gl", "slash", *"1mp", "backspace", "backspace", "backspace", "backspace")
        await until(pilot, lambda: log_of(pilot).searched == "gl", "each key in the log's line, and no other")
        assert "─ log " not in text_of(pilot)
        press_together(pilot, *"ue", "slash", "m", "enter", "escape")
        await until(pilot, lambda: log_of(pilot).has_focus and not log_of(pilot).searched, "the search ended")
        await until_seen(pilot, "following")
        assert log_of(pilot).following


async def test_scrolling_back_holds_the_log(written_run: WrittenRun) -> None:
    written_run.log("".join(f"line {number}\n" for number in range(100)))
    async with watching(written_run) as pilot:
        await until_seen(pilot, "line 99")
        log_of(pilot).focus()
        await until(pilot, lambda: log_of(pilot).has_focus, "focus on the log")
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
        assert "no phase has ended yet" in text_of(pilot)
        await pilot.press("1", "3")
        await until_seen(pilot, "Loss [1]")
        assert "no phase has ended yet" not in text_of(pilot)


async def test_a_short_terminal_has_a_key_for_the_rest(written_run: WrittenRun) -> None:
    written_run.log("loading\n")
    async with watching(written_run, (80, 24)) as pilot:
        await until_seen(pilot, "r0  loading")
        written_run.step(1, 1.0)
        await until(pilot, lambda: "Log [4]" not in text_of(pilot), "room for the chart once there is a step")
        assert "Loss [1]" in text_of(pilot)
        await pilot.press("m")
        await until_seen(pilot, "r0  loading")
        assert "Loss [1]" not in text_of(pilot)
        await pilot.press("m")
        await until_seen(pilot, "Loss [1]")
    async with watching(written_run, (120, 36)) as pilot:
        await until_seen(pilot, "step 1 / 100")
        assert "m more" not in text_of(pilot)
        assert "Log [4]" in text_of(pilot)


async def test_the_loss_axis_can_be_logarithmic(written_run: WrittenRun) -> None:
    for number in range(1, 5):
        written_run.step(number, 10.0**-number)
    async with watching(written_run) as pilot:
        await until_seen(pilot, "step 4 / 100")
        await pilot.press("l")
        await until_seen(pilot, "─ log ")


async def test_a_folder_that_is_no_run_does_no_harm(written_run: WrittenRun) -> None:
    written_run.run.status_json.write_text("{half")
    for file in written_run.attempt.events_dir.iterdir():
        file.unlink()
    async with watching(written_run) as pilot:
        await until_seen(pilot, "step 0")
