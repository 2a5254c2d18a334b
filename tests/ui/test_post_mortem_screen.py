"""The post-mortem screen, where it is opened from, and what its keys do."""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.died import OOM, die, out_of_memory
from support.screen import text_of, until, until_on, until_seen
from support.written_runs import WrittenRun
from textual.pilot import Pilot

from engine.events import RunDirectory, read_json, write_json
from qltui.configs.loading import load
from qltui.configs.writing import run_yaml
from qltui.runs import recovery
from qltui.runs.diagnosis.own_runs import diagnose_run
from qltui.runs.foreign.follow import ForeignFollower
from qltui.ui import app as application
from qltui.ui.app import QltuiApp
from qltui.ui.clipboard import copied_folder
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.post_mortem import PostMortem
from qltui.ui.screens.runs import Runs
from qltui.ui.screens.text_at import TextAt
from qltui.ui.widgets.diagnosis_lists import DiagnosisList
from qltui.ui.widgets.footer import Footer


@pytest.fixture
def died(home: Path) -> WrittenRun:
    return out_of_memory(home)


def footer(pilot: Pilot[Any]) -> str:
    return " ".join(f"{key.shown} {key.what}" for key in pilot.app.screen.query_one(Footer).shown)


async def until_read(pilot: Pilot[Any]) -> None:
    """Wait until the end is shown and the cursor is on its first fix."""
    await until_seen(pilot, "in backward")
    fixes = pilot.app.screen.query_one("#fix-list", DiagnosisList)
    await until(pilot, lambda: fixes.has_focus and fixes.highlighted == 0, "the cursor")


def joined(pilot: Pilot[Any]) -> str:
    """What is on screen, as running text."""
    return " ".join(re.sub(r"[│╭╮╰╯─▊▎]", " ", text_of(pilot)).split())


async def test_it_shows_cause_memory_fixes_and_evidence(died: WrittenRun) -> None:
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=(120, 50)) as pilot:
        await until_seen(pilot, "on rank 1, in backward")
        await pilot.pause()
        seen = joined(pilot)
        found = diagnose_run(died.run)
        for text in ("failed at step 12", f"confidence: {found.confidence}", found.explanation):
            assert text in seen
        for text in ("Memory by phase, rank 1", "plan 17.0", "24.8 GiB", "memory ends at 23.7 GiB", "planned"):
            assert text in seen
        assert "█ 2.0 GiB asked for ▓ 21.1 GiB used ▒ 1.7 GiB held" in seen
        for place, fix in enumerate(found.fixes, 1):
            assert f"{place} {fix.title.split()[0]}" in seen
        for one in found.evidence:
            assert f"{one.file}:{one.line}" in seen


async def test_a_dead_run_opens_with_it_from_the_list_others_with_their_monitor(home: Path) -> None:
    finished = WrittenRun(home, "well")
    finished.write_status(state="finished", exit_code=0)
    out_of_memory(home, "ill")
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "2 runs")
        for name, screen in (("name:ill", PostMortem), ("name:well", Monitor)):
            await pilot.press("slash", *name.partition(":")[2], "enter")
            await until_seen(pilot, "1 of 2 runs")
            await pilot.press("enter")
            await until_on(pilot, screen)
            await pilot.press("q")
            await until_on(pilot, Runs)
            await pilot.press("escape")
            await until_seen(pilot, "2 runs")


@pytest.mark.parametrize(("state", "screen"), [("failed", PostMortem), ("finished", Monitor), ("stopped", Monitor)])
def test_watching_opens_with_it(
    written_run: WrittenRun, state: str, screen: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written_run.write_status(state=state)
    first: list[Any] = []
    monkeypatch.setattr(QltuiApp, "run", lambda app: first.append(app._modes["first"]()))
    application.watch(written_run.run.path)
    assert [type(one) for one in first] == [screen]


async def test_a_monitor_tells_that_its_run_died_and_stays(written_run: WrittenRun, size: tuple[int, int]) -> None:
    written_run.step(3, 1.0)
    async with QltuiApp(lambda: Monitor(written_run.run.path)).run_test(size=size) as pilot:
        await until_seen(pilot, "● training")
        assert "why" not in footer(pilot)
        await pilot.press("d")
        assert isinstance(pilot.app.screen, Monitor)
        die(written_run)
        await until_seen(pilot, "▲ it failed:")
        assert isinstance(pilot.app.screen, Monitor)
        title = diagnose_run(written_run.run).title
        assert f"it failed: {title} on rank 1, in backward. Press d for why" in joined(pilot)
        await until(pilot, lambda: "d why" in footer(pilot), "its key")
        await pilot.press("d")
        await until_on(pilot, PostMortem)
        await pilot.press("m")
        await until_on(pilot, Monitor)
        assert len(pilot.app.screen_stack) == 1


async def test_there_and_back_between_both(died: WrittenRun) -> None:
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "in backward")
        for _ in range(2):
            await pilot.press("m")
            await until_on(pilot, Monitor)
            await until_seen(pilot, "it failed:")
            await pilot.press("d")
            await until_on(pilot, PostMortem)
        assert len(pilot.app.screen_stack) == 1


async def test_evidence_and_log_open_where_it_is_told(died: WrittenRun, size: tuple[int, int]) -> None:
    died.log("".join(f"more {number}\n" for number in range(2000)), rank=1)
    found = diagnose_run(died.run)
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=size) as pilot:
        await until_read(pilot)
        await pilot.press(*["down"] * len(found.fixes), "enter")
        await until_on(pilot, TextAt)
        await until_seen(pilot, f"▶ {found.evidence[0].line}")
        await pilot.press("q", "o")
        await until_on(pilot, TextAt)
        await until_seen(pilot, "rank1.log")
        await until_seen(pilot, "more 1999")
        await pilot.press("q")
        await until_on(pilot, PostMortem)


async def test_the_cursor_is_always_in_view(died: WrittenRun) -> None:
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=(80, 24)) as pilot:
        await until_read(pilot)
        for _ in range(9):
            await pilot.press("down")
        await until_seen(pilot, "failed phase=backward")
        for _ in range(9):
            await pilot.press("up")
        await until_seen(pilot, "failed at step 12")
        await until_seen(pilot, "in backward")


async def test_the_report_and_the_bundle(died: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    for display in ("DISPLAY", "WAYLAND_DISPLAY", "TMUX"):
        monkeypatch.delenv(display, raising=False)
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=(120, 36), notifications=True) as pilot:
        await until_read(pilot)
        await pilot.press("y", "b")
        copied = copied_folder() / died.run.id / "diagnosis.txt"
        await until(pilot, copied.is_file, "the copy")
        assert "(cuda_oom, " in copied.read_text()
        await until_seen(pilot, "masked")
        archive = next(died.run.path.glob("*.tar.gz"))
        with tarfile.open(archive) as files:
            assert "diagnosis.json" in files.getnames()


async def test_a_fix_is_applied_by_its_key_and_its_run_watched(
    died: WrittenRun, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = WrittenRun(home, "next")
    asked: list[tuple[str, int]] = []

    def apply(run: RunDirectory, number: int) -> RunDirectory:
        asked.append((run.id, number))
        if len(asked) == 1:
            raise recovery.CannotApply("no room on this machine")
        return new.run

    monkeypatch.setattr(recovery, "apply", apply)
    fixes = [{"title": "less at once", "patch": {"training.micro_batch_size": 1}, "effect": "18.2 → 11.4 GiB"}]
    write_json(died.attempt.diagnosis_json, {**diagnose_run(died.run).as_json(), "fixes": fixes})
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=(120, 36), notifications=True) as pilot:
        await until_seen(pilot, "in backward")
        await until_seen(pilot, "[1] apply + resume")
        await pilot.press("1")
        await until_seen(pilot, "Not applied: no room on this machine")
        await pilot.press("1")
        await until_on(pilot, Monitor)
        assert asked == [(died.run.id, 1)] * 2
        screen = pilot.app.screen
        assert isinstance(screen, Monitor) and screen.run_path == new.run.path
        await until_seen(pilot, f"{new.run.id} continues it")


async def test_a_command_is_copied_and_a_step_has_no_key(died: WrittenRun) -> None:
    fixes = [
        {"title": "look", "command": "nvidia-smi", "effect": "", "patch": {}},
        {"title": "think", "command": "", "effect": "", "patch": {}},
    ]
    write_json(died.attempt.diagnosis_json, {**diagnose_run(died.run).as_json(), "fixes": fixes})
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "[1] copy command")
        assert "[2]" not in text_of(pilot)
        await pilot.press("2", "1")
        copied = copied_folder() / died.run.id / "command.sh"
        await until(pilot, copied.is_file, "the copy")
        assert copied.read_text() == "nvidia-smi\n"


async def test_its_configuration_is_edited(died: WrittenRun) -> None:
    died.run.run_yaml.write_text(run_yaml(load("demo-cpu", [])))
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "in backward")
        await pilot.press("e")
        await until_on(pilot, NewRun)


async def test_a_stopped_run_says_so_and_offers_to_go_on(written_run: WrittenRun, size: tuple[int, int]) -> None:
    written_run.step(5, 1.0)
    written_run.write_status(state="stopped", reason="Stopped as asked, saved at step 5.")
    async with QltuiApp(lambda: Monitor(written_run.run.path)).run_test(size=size) as pilot:
        await until_seen(pilot, "■ stopped")
        assert "it failed" not in text_of(pilot)
        await pilot.press("d")
        await until_on(pilot, PostMortem)
        await until_seen(pilot, "Stopped as asked, saved at step 5.")
        assert "u resume" in footer(pilot)


async def test_a_finished_run_has_no_such_key(written_run: WrittenRun) -> None:
    written_run.step(5, 1.0)
    written_run.write_status(state="finished", exit_code=0)
    async with QltuiApp(lambda: Monitor(written_run.run.path)).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "✓ finished")
        await pilot.pause(0.5)
        await pilot.press("d")
        assert isinstance(pilot.app.screen, Monitor)
        await pilot.app.push_screen(PostMortem(written_run.run.path))
        await until_seen(pilot, "It finished as it should")
        assert "u resume" not in footer(pilot)


async def test_a_run_that_goes_on_again_says_so(written_run: WrittenRun) -> None:
    async with QltuiApp(lambda: PostMortem(written_run.run.path)).run_test(size=(80, 24)) as pilot:
        await until_seen(pilot, "goes on")
        await pilot.press("b", "o", "y", "1")
        assert isinstance(pilot.app.screen, PostMortem)


@pytest.mark.parametrize("left", ["no logs", "nothing", "garbage"])
async def test_a_damaged_run(died: WrittenRun, left: str) -> None:
    for path in [path for path in died.run.path.rglob("*") if path.is_file()]:
        if left == "garbage":
            path.write_bytes(b'\x00{"ranks": [[]]}\n[1')
        elif left == "nothing" or path.suffix in (".log", ".jsonl"):
            path.unlink()
    os.utime(died.attempt.path, (1000, 1000))
    os.utime(died.run.path, (1000, 1000))
    async with QltuiApp(lambda: PostMortem(died.run.path)).run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "reading the logs" not in text_of(pilot), "an answer")
        await pilot.press("b", "o", "y")
        await pilot.pause(0.2)
        assert pilot.app._exception is None


async def test_a_foreign_log_that_failed(tmp_path: Path, size: tuple[int, int]) -> None:
    log = tmp_path / "train.log"
    traceback = f'Traceback (most recent call last):\n  File "x.py", line 9, in backward\n{OOM}\n'
    log.write_text("{'loss': 1.5, 'epoch': 0.1}\n" * 5 + traceback)
    os.utime(log, (1_000_000_000, 1_000_000_000))
    follower = ForeignFollower(log)
    async with QltuiApp(lambda: Monitor(log, readonly=True, source=follower)).run_test(size=size) as pilot:
        await until_seen(pilot, "▲ it failed:")
        await pilot.press("d")
        await until_on(pilot, PostMortem)
        await until_seen(pilot, "train.log")
        await until_seen(pilot, "Fixes, best first")
        assert "apply + resume" not in text_of(pilot)
        assert not {"u resume", "e edit"} & set(re.findall(r"\w \w+", footer(pilot)))
        await pilot.press("o")
        await until_on(pilot, TextAt)
        await until_seen(pilot, "▶ 8")


async def test_a_foreign_log_that_still_grows_is_not_judged(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("{'loss': 1.5, 'epoch': 0.1}\n" * 5 + f"Traceback (most recent call last):\n{OOM}\n")
    async with QltuiApp(lambda: Monitor(log, readonly=True, source=ForeignFollower(log))).run_test() as pilot:
        await until_seen(pilot, "started elsewhere")
        await pilot.pause(0.6)
        assert "it failed" not in text_of(pilot)


def test_nothing_is_written_into_a_run_that_is_looked_at(died: WrittenRun) -> None:
    before = set(died.run.path.rglob("*"))
    diagnose_run(died.run)
    assert set(died.run.path.rglob("*")) == before
    assert read_json(died.attempt.diagnosis_json) is None
