"""What the monitor asks of a run, and how it is left."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.screen import click_on, press_together, text_of, until, until_on, until_seen
from support.written_runs import WrittenRun
from textual.pilot import Pilot

from engine.events import read_json
from qltui.configs.writing import write_text
from qltui.runs import launching
from qltui.ui import clipboard
from qltui.ui.app import QltuiApp
from qltui.ui.screens.chat import Chat
from qltui.ui.screens.leaving import Leaving
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.runs import Runs
from qltui.ui.screens.samples import Samples


@asynccontextmanager
async def watching(
    run: WrittenRun, size: tuple[int, int] = (120, 36), readonly: bool = False
) -> AsyncIterator[Pilot[Any]]:
    async with QltuiApp(lambda: Monitor(run.run.path, readonly=readonly)).run_test(
        size=size, notifications=True
    ) as pilot:
        await until_seen(pilot, "step 1 / 100")
        yield pilot


@pytest.fixture
def live(written_run: WrittenRun) -> WrittenRun:
    """A run after its first step."""
    written_run.step(1, 1.0)
    return written_run


@pytest.fixture
def ended(live: WrittenRun) -> WrittenRun:
    live.write_status(state="stopped", reason="Stopped as asked, saved at step 1.")
    return live


def asked(run: WrittenRun) -> dict[str, Any]:
    """The request that was left for the run."""
    written = read_json(run.run.request_json)
    assert written is not None
    return {key: written.get(key) for key in ("action", "now", "attempt")}


async def test_stopping_asks_first_and_then_asks_the_run(live: WrittenRun) -> None:
    async with watching(live) as pilot:
        await pilot.press("s")
        await until_seen(pilot, "Stop demo?")
        await pilot.press("n")
        await until_on(pilot, Monitor)
        assert not live.run.request_json.exists()
        await pilot.press("s")
        await until_seen(pilot, "Stop demo?")
        await pilot.press("y")
        await until(pilot, live.run.request_json.exists, "a request")
    assert asked(live) == {"action": "stop", "now": False, "attempt": 1}


async def test_killing_asks_first(live: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "send_signal", lambda *_: True)  # the launcher is this process
    async with watching(live) as pilot:
        await pilot.press("x")
        await until_seen(pilot, "Kill demo?")
        await pilot.press("n")
        await until_on(pilot, Monitor)
        assert not live.run.request_json.exists()
        await pilot.press("x")
        await until_seen(pilot, "checkpoint is lost")
        await pilot.press("y")
        await until(pilot, live.run.request_json.exists, "a request")
    assert asked(live) == {"action": "stop", "now": True, "attempt": 1}


async def test_a_checkpoint_can_be_asked_for(live: WrittenRun) -> None:
    async with watching(live) as pilot:
        await pilot.press("k")
        await until_seen(pilot, "Asked to save a checkpoint")
    assert asked(live) == {"action": "checkpoint", "now": None, "attempt": 1}


async def test_an_ended_run_is_resumed(ended: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    resumed: list[Path] = []
    monkeypatch.setattr(launching, "resume", lambda run: resumed.append(run.path))
    async with watching(ended) as pilot:
        await until_seen(pilot, "u resume")
        assert "s stop" not in text_of(pilot)
        await pilot.press("u")
        await until_seen(pilot, "It goes on from its newest checkpoint")
    assert resumed == [ended.run.path]


async def test_what_refuses_is_told(ended: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: object) -> None:
        raise launching.LaunchRefused("GPU 0 is in use by [/bold] the live run other.")

    monkeypatch.setattr(launching, "resume", refuse)
    async with watching(ended) as pilot:
        await until_seen(pilot, "u resume")
        await pilot.press("u")
        await until_seen(pilot, "GPU 0 is in use by [/bold]")


async def test_a_finished_run_is_not_resumed_but_changed(live: WrittenRun) -> None:
    live.write_status(state="finished")
    config = "name: demo\nmodel: /models/some\ndata: /data/rows.jsonl\ntraining: {learning_rate: 3.0e-5}\n"
    write_text(live.run.run_yaml, config)
    async with watching(live) as pilot:
        await until_seen(pilot, "c change")
        assert "u resume" not in text_of(pilot)
        await pilot.press("c")
        await until_on(pilot, NewRun)
        await until_seen(pilot, "▸Model◂")
        form = pilot.app.screen
        assert isinstance(form, NewRun)
        assert form.values["model.path"] == "/models/some"
        assert float(form.values["training.learning_rate"]) == 3e-5


async def test_a_configuration_that_cannot_be_opened_is_told(ended: WrittenRun) -> None:
    ended.run.run_yaml.write_text("training: {learning_rate: [/x]}\n")
    async with watching(ended) as pilot:
        await until_seen(pilot, "c change")
        await pilot.press("c")
        await until_seen(pilot, "can't be opened")
        assert isinstance(pilot.app.screen, Monitor)


async def test_the_command_is_copied_into_a_file_at_least(live: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "_by_program", lambda *_: None)
    async with watching(live) as pilot:
        await pilot.press("y")
        await until_seen(pilot, "the command")
    written = clipboard.copied_folder() / live.run.path.name / "command.sh"
    assert shlex.split(written.read_text()) == ["qltui", "launch", str(live.run.run_yaml)]


# Leaving


async def test_leaving_a_live_run_asks_and_leaves_it_running_by_default(
    live: WrittenRun, capsys: pytest.CaptureFixture[str], size: tuple[int, int]
) -> None:
    async with watching(live, size) as pilot:
        await pilot.press("q")
        await until_on(pilot, Leaving)
        for answer in ("Leave it running", "Stop and save", "Kill"):
            assert answer in text_of(pilot)
        await pilot.press("enter")
    assert "demo goes on.\nWatch it again: qltui watch demo-20260102-030405" in capsys.readouterr().err
    assert not live.run.request_json.exists()


async def test_leaving_keys_that_come_together_leave(live: WrittenRun) -> None:
    async with watching(live) as pilot:
        press_together(pilot, "q", "q")
        await until(pilot, lambda: pilot.app._exit, "left")
    assert not live.run.request_json.exists()


async def test_leaving_can_be_thought_better_of(live: WrittenRun) -> None:
    async with watching(live) as pilot:
        await pilot.press("q")
        await until_on(pilot, Leaving)
        await pilot.press("escape")
        await until_on(pilot, Monitor)
        assert not live.run.request_json.exists()


@pytest.mark.parametrize(("keys", "now"), [(["s"], False), (["x"], True), (["down", "enter"], False)])
async def test_leaving_by_keys_may_end_the_run(
    live: WrittenRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: list[str], now: bool
) -> None:
    monkeypatch.setattr(launching, "send_signal", lambda *_: True)
    async with watching(live) as pilot:
        await pilot.press("q")
        await until_on(pilot, Leaving)
        await pilot.press(*keys)
        await until(pilot, live.run.request_json.exists, "a request")
        await until(pilot, lambda: not pilot.app.is_running or pilot.app._exit, "left")
    assert asked(live) == {"action": "stop", "now": now, "attempt": 1}
    assert "qltui status demo-20260102-030405" in capsys.readouterr().err


async def test_leaving_by_mouse_may_end_the_run(live: WrittenRun) -> None:
    async with watching(live) as pilot:
        await click_on(pilot, "q leave")
        await until_on(pilot, Leaving)
        await click_on(pilot, "Stop and save")
        await until(pilot, live.run.request_json.exists, "a request")
    assert asked(live)["now"] is False


async def test_a_run_that_cannot_be_stopped_is_not_left(live: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(run: object, now: bool) -> None:
        raise launching.LaunchRefused("The request can't be written.")

    monkeypatch.setattr(launching, "request_stop", refuse)
    async with watching(live) as pilot:
        await pilot.press("q")
        await until_on(pilot, Leaving)
        await pilot.press("s")
        await until_seen(pilot, "The request can't be written.")
        assert isinstance(pilot.app.screen, Monitor)


async def test_an_ended_run_is_left_without_a_question(ended: WrittenRun) -> None:
    async with watching(ended) as pilot:
        await until_seen(pilot, "u resume")
        await pilot.press("q")
        await until(pilot, lambda: pilot.app._exit, "left")


async def test_readonly_asks_nothing_of_the_run_and_leaves_at_once(
    live: WrittenRun, capsys: pytest.CaptureFixture[str]
) -> None:
    async with watching(live, readonly=True) as pilot:
        assert "read only" in text_of(pilot)
        for word in ("stop", "checkpoint", "resume", "change"):
            assert f" {word} " not in text_of(pilot).splitlines()[-1]
        titles = [command.title for command in pilot.app.get_system_commands(pilot.app.screen)]
        assert not {"Stop", "Kill", "Checkpoint", "Resume", "Change"} & set(titles)
        await pilot.press("s", "k", "x", "u", "c")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Monitor)
        await pilot.press("q")
        await until(pilot, lambda: pilot.app._exit, "left")
    assert not live.run.request_json.exists()
    assert "goes on" in capsys.readouterr().err


async def test_answers_to_prompts_are_shown_with_what_they_were(live: WrittenRun, size: tuple[int, int]) -> None:
    told = (0, "before", "I [b]know[/b] not."), (4, "during", "To\x1b[31m sea."), (8, "during", "To\x1b[31m sea.")
    for step, when, answer in told:
        live.writers[0].step = step
        live.emit("prompted", number=1, prompt="Where to?", answer=answer, when=when)
    async with watching(live, size) as pilot:
        await pilot.press("v")
        await until_on(pilot, Samples)
        await until_seen(pilot, "Where to?")
        seen = text_of(pilot)
        parts = ("step 8", "as before it", "step 4", "To sea.", "before      I [b]know[/b] not.")
        places = [seen.index(part) for part in parts]
        assert places == sorted(places), "the newest first"
        await pilot.press("v")
        await until_on(pilot, Monitor)


async def test_without_prompts_there_is_nothing_to_show(live: WrittenRun) -> None:
    async with watching(live) as pilot:
        await pilot.press("v")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Monitor)


async def test_the_model_is_talked_to_from_the_monitor_and_the_list(live: WrittenRun) -> None:
    async with watching(live) as pilot:
        await pilot.press("a")
        await until_on(pilot, Chat)
        await until_seen(pilot, "✗ ")  # this run has no model
        await pilot.press("escape")
        await until_on(pilot, Monitor)
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "demo")
        await pilot.press("a")
        await until_on(pilot, Chat)
