"""The list of runs: filtered, sorted, marked, laid over each other, compared, noted about and deleted."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.runs import write_run
from support.screen import click_on, text_of, until, until_on, until_seen
from support.written_runs import WrittenRun
from textual.pilot import Pilot

from engine.events import RunDirectory, write_json
from qltui.runs import notes
from qltui.ui.app import QltuiApp
from qltui.ui.clipboard import copied_folder
from qltui.ui.screens.annotating import Annotating
from qltui.ui.screens.comparing import Comparing
from qltui.ui.screens.confirm import Confirm
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.overlaying import AXES, KINDS, Overlay, OverlayChart
from qltui.ui.screens.runs import Runs
from qltui.ui.widgets.runs_table import RunsTable


@pytest.fixture
def three(home: Path) -> list[WrittenRun]:
    """Three runs that have ended, the newest first: gamma, beta, alpha."""
    runs = []
    for number, (name, state) in enumerate((("alpha", "finished"), ("beta", "failed"), ("gamma", "stopped"))):
        run = WrittenRun(home, name)
        for step in range(1, 11):
            run.step(step, 3.0 - number - step / 20)
        run.emit("evaluation", loss=2.5 - number, when="during")
        reason = "rank 1 failed in backward: no memory" if state == "failed" else None
        run.write_status(state=state, reason=reason, eta_seconds=None)
        folder = home / name
        folder.mkdir()
        made = write_run(folder, name=name, **{"training.learning_rate": 10.0 ** -(number + 2)})
        run.run.run_yaml.write_text(made.read_text())
        os.utime(run.run.run_yaml, (time.time() - 100 + number,) * 2)
        runs.append(run)
    return runs


def listed(pilot: Pilot[Any]) -> list[str]:
    return [run["name"] for run in pilot.app.screen.query_one(RunsTable).runs]


async def test_runs_are_filtered_as_one_types(three: list[WrittenRun], size: tuple[int, int]) -> None:
    notes.annotate(three[0].run, tag=["baseline"])
    async with QltuiApp(Runs).run_test(size=size) as pilot:
        await until(pilot, lambda: listed(pilot) == ["gamma", "beta", "alpha"], "all of them")
        await pilot.press("slash", *"tag:base")
        await until_seen(pilot, "1 of 3 runs")
        assert listed(pilot) == ["alpha"]
        await pilot.press("enter", "down")  # the words stay, the cursor is in the list again
        await until_seen(pilot, "only tag:base")
        await pilot.press("slash", *" -finished")
        await until_seen(pilot, "None of 3 runs fits")
        await pilot.press("escape")
        await until(pilot, lambda: len(listed(pilot)) == 3, "all again")
        assert isinstance(pilot.app.screen, Runs)


async def test_runs_are_sorted_by_keys_and_by_clicks_and_the_cursor_stays_with_its_run(
    three: list[WrittenRun],
) -> None:
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(listed(pilot)) == 3, "all of them")
        await pilot.press("down", "t", "t")
        assert listed(pilot) == ["alpha", "beta", "gamma"]
        await pilot.press("T")
        assert listed(pilot) == ["gamma", "beta", "alpha"]
        await until_seen(pilot, "by name, falling")
        await click_on(pilot, "loss ")
        await until(pilot, lambda: listed(pilot) == ["gamma", "beta", "alpha"], "the lowest loss first")
        await click_on(pilot, "loss▲")
        await until(pilot, lambda: listed(pilot) == ["alpha", "beta", "gamma"], "the highest loss first")
        chosen = pilot.app.screen.query_one(RunsTable).chosen
        assert chosen is not None
        assert chosen["name"] == "beta"


async def test_the_run_under_the_cursor_is_told_of(three: list[WrittenRun], size: tuple[int, int]) -> None:
    plan = {"memory": {"phases": {"backward": {"weights": 2**30, "activations": 2**30}}}}
    write_json(three[1].run.plan_json, plan)
    notes.annotate(three[1].run, "too long a sequence", ["oom"])
    async with QltuiApp(Runs).run_test(size=size) as pilot:
        await until(pilot, lambda: len(listed(pilot)) == 3, "all of them")
        if size[0] < 110:
            await until_seen(pilot, "i detail")
            await pilot.press("i")
        await pilot.press("down")
        await until_seen(pilot, "no memory")
        seen = text_of(pilot)
        for said in ("1.5000", "257 MiB, 2.0 GiB planned", "#oom", "too long a sequence", "Loss 1.5000"):
            assert said in seen


async def test_marked_runs_are_laid_over_each_other(three: list[WrittenRun], size: tuple[int, int]) -> None:
    async with QltuiApp(Runs).run_test(size=size) as pilot:
        await until(pilot, lambda: len(listed(pilot)) == 3, "all of them")
        await pilot.press("space", "space", "l")
        await until_on(pilot, Overlay)
        await until_seen(pilot, "0.5000 at step 10")
        chart = pilot.app.screen.query_one(OverlayChart)
        assert [one.line.mark for one in chart.shown] == ["1", "2"]
        assert "1 ━ gamma" in text_of(pilot)
        assert "2 ━ beta" in text_of(pilot)
        for axis in (*AXES[1:], AXES[0]):
            await pilot.press("x")
            await until_seen(pilot, f"by {axis}")
            assert [len(one.curve) for one in chart.shown] == [10, 10]
            if axis == "tokens":
                assert chart.whole == (1000.0, 10_000.0)  # a thousand in each step
        await pilot.press("shift+left")
        await until_seen(pilot, "step 10")
        await pilot.press("shift+left")
        await until_seen(pilot, "1.5500")
        for kind in (*KINDS[1:], KINDS[0]):
            await pilot.press("tab")
            await until_seen(pilot, f"─ {kind.title} ─")
        await pilot.press("q")
        await until_on(pilot, Runs)


async def test_an_overlay_goes_on_with_a_live_run(written_run: WrittenRun) -> None:
    written_run.step(1, 2.0)
    async with QltuiApp(lambda: Overlay([written_run.run.path])).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "2.0000 at step 1")
        written_run.step(2, 1.25)
        await until_seen(pilot, "1.2500 at step 2")


async def test_what_two_runs_did_otherwise_is_shown(three: list[WrittenRun], size: tuple[int, int]) -> None:
    async with QltuiApp(Runs).run_test(size=size) as pilot:
        await until(pilot, lambda: len(listed(pilot)) == 3, "all of them")
        await pilot.press("d")
        await until_seen(pilot, "continues no run that is kept here")
        await pilot.press("space", "d")  # the cursor is on the next one
        await until_on(pilot, Comparing)
        await until_seen(pilot, "1 field")
        seen = text_of(pilot)
        assert "training.learning_rate" in seen
        assert "Highest rate of the schedule." in seen
        assert "evaluation loss" in seen
        await pilot.press("m")
        await until(pilot, lambda: "Highest rate" not in text_of(pilot), "the values alone")


async def test_a_note_and_tags_are_typed(three: list[WrittenRun], size: tuple[int, int]) -> None:
    async with QltuiApp(Runs).run_test(size=size) as pilot:
        await until(pilot, lambda: len(listed(pilot)) == 3, "all of them")
        await pilot.press("n")
        await until_on(pilot, Annotating)
        await pilot.press(*"good one", "tab", *"paper state:x", "enter")
        await until_seen(pilot, "is no tag")
        await pilot.press(*["backspace"] * 7, "f2")
        await until_seen(pilot, "Noted about gamma-20260102-030405.")
    assert notes.read(three[2].run).fields() == {"note": "good one", "tags": ["paper"]}


async def test_marked_runs_are_deleted_after_a_question_and_live_ones_are_not(
    three: list[WrittenRun], written_run: WrittenRun
) -> None:
    alpha, beta, gamma = (run.run.path for run in three)
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: listed(pilot)[:1] == ["demo"], "the live one first")
        await pilot.press("x")
        await until_seen(pilot, "✗ demo-20260102-030405 is live")
        await pilot.press("space", "space", "down", "space", "x")  # demo, gamma, alpha
        await until_on(pilot, Confirm)
        await until_seen(pilot, "Delete 2 runs?")
        assert "Not deleted: demo-20260102-030405" in text_of(pilot)
        await pilot.press("n", "x")
        assert gamma.exists()
        await until_on(pilot, Confirm)
        await pilot.press("y")
        await until_seen(pilot, "Deleted 2 runs")
        await until(pilot, lambda: listed(pilot) == ["demo", "beta"], "what is left")
    assert [path.exists() for path in (alpha, beta, gamma, written_run.run.path)] == [False, True, False, True]


async def test_a_run_is_opened_in_the_form(three: list[WrittenRun]) -> None:
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(listed(pilot)) == 3, "all of them")
        await pilot.press("c")
        await until_on(pilot, NewRun)
        screen = pilot.app.screen
        assert isinstance(screen, NewRun)
        assert screen.values["training.learning_rate"] == "0.0001"


async def test_the_command_that_merges_is_copied_where_there_is_an_adapter(three: list[WrittenRun]) -> None:
    """Not of runs that have saved none, nor of those that trained every weight."""
    alpha, beta, gamma = three
    gamma.write_status(state="finished", adapter_dir=str(gamma.run.adapter), method="qlora")
    beta.write_status(state="finished", adapter_dir=str(beta.run.model), method="full")
    async with QltuiApp(Runs).run_test() as pilot:
        await until(pilot, lambda: listed(pilot) == ["gamma", "beta", "alpha"], "all of them")
        screen = pilot.app.screen
        await until(pilot, lambda: screen.check_action("merge", ()), "the key on the first run")
        await pilot.press("m")
        copied = copied_folder() / gamma.run.id / "merge.sh"
        await until(pilot, copied.exists, "the copy")
        assert copied.read_text() == f"qltui merge {gamma.run.id} --out {gamma.run.id}-merged\n"
        for run in (beta, alpha):
            await pilot.press("down")
            await until(pilot, lambda path=str(run.run.path): screen.chosen["run_dir"] == path, "the next run")
            assert screen.check_action("merge", ()) is None


async def test_no_more_than_eight_runs_are_marked(home: Path) -> None:
    for number in range(9):
        WrittenRun(home, f"run{number}").write_status(state="finished")
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(listed(pilot)) == 9, "all of them")
        await pilot.press(*["space"] * 9)
        await until_seen(pilot, "8 runs can be marked at most")
        assert len(pilot.app.screen.query_one(RunsTable).marks) == 8
        await pilot.press("u", "l")
        await until_seen(pilot, "1 run over each other")


@pytest.mark.parametrize("content", [b"", b"{", b'{"state": [], "step": "x", "name": 5, "loss": "a", "created": {}}'])
async def test_damaged_runs_are_in_the_list_and_break_nothing(
    home: Path, content: bytes, size: tuple[int, int]
) -> None:
    broken = WrittenRun(home, "broken")
    broken.run.status_json.write_bytes(content)
    broken.run.run_yaml.write_bytes(b"\xff\xfe")
    broken.run.plan_json.write_bytes(b'{"memory": {"phases": {"backward": {"weights": "x"}}}}')
    half = RunDirectory(home / "runs" / "half")
    half.attempts_dir.mkdir(parents=True)
    WrittenRun(home, "sound").write_status(state="finished")
    async with QltuiApp(Runs).run_test(size=size) as pilot:
        await until_seen(pilot, "sound")
        for key in ("i", "down", "space", "down", "space", "l", "x", "x", "tab", "q", "d", "q", "t", "t", "T"):
            await pilot.press(key)
            await pilot.pause(0.05)
        await until_seen(pilot, "half")
        assert "broken" in text_of(pilot)


async def test_a_run_on_another_host_says_what_is_not_known(written_run: WrittenRun) -> None:
    away = {"host": "elsewhere", "pid": 1, "start_time": 1}
    write_json(written_run.attempt.launch_json, {"world_size": 2, "launcher": away, "ranks": []})
    written_run.write_status(supervisor=away)
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "● training ?")
        await until_seen(pilot, "elsewhere")
