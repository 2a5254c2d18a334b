"""The ways through the app, and what every screen owes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.screen import press_together, text_of, until_on, until_seen
from support.written_runs import WrittenRun
from textual.binding import Binding
from textual.screen import Screen

from engine.events import read_json
from qltui.ui.app import QltuiApp
from qltui.ui.screens.annotating import Annotating
from qltui.ui.screens.comparing import Comparing
from qltui.ui.screens.confirm import Confirm
from qltui.ui.screens.doctor import Doctor
from qltui.ui.screens.exporting import Exporting
from qltui.ui.screens.help import Help
from qltui.ui.screens.home import Home
from qltui.ui.screens.leaving import Leaving
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.overlaying import Overlay
from qltui.ui.screens.post_mortem import PostMortem
from qltui.ui.screens.presets import Presets
from qltui.ui.screens.rehearsing import Rehearsing
from qltui.ui.screens.review import Review
from qltui.ui.screens.runs import Runs
from qltui.ui.screens.saving import Saving

SCREENS = (
    Annotating, Comparing, Confirm, Doctor, Exporting, Help, Home, Monitor, NewRun, Overlay, Presets, Rehearsing,
    Review, Runs, Saving,
)  # fmt: skip
TAKEN = {"ctrl+a", "ctrl+b", "ctrl+s", "ctrl+j", "ctrl+z"}
"""Keys that tmux, screen, terminals and shells need."""


async def test_a_preset_can_be_edited_first() -> None:
    async with QltuiApp().run_test(size=(120, 36)) as pilot:
        await pilot.press("p")
        await until_seen(pilot, "demo-cpu")
        await pilot.press("e")
        await until_on(pilot, NewRun)
        screen = pilot.app.screen
        assert isinstance(screen, NewRun)
        assert screen.values["training.max_steps"].isdigit()
        assert Path(screen.values["data.path"]).is_file()


async def test_the_menu_opens_places_and_runs(written_run: WrittenRun, size: tuple[int, int]) -> None:
    written_run.step(7, 1.0)
    async with QltuiApp().run_test(size=size) as pilot:
        await until_seen(pilot, "step 7 / 100")
        await pilot.press("down", "down", "enter")
        await until_on(pilot, Runs)
        await pilot.press("q")
        await until_on(pilot, Home)
        await pilot.press("down", "down", "enter")
        await until_on(pilot, Monitor)
        await until_seen(pilot, "step 7 / 100")
        await pilot.press("q")
        await until_on(pilot, Leaving)
        await pilot.press("q")
        await until_on(pilot, Home)


async def test_runs_are_listed_live_first_and_opened(home: Path, size: tuple[int, int]) -> None:
    ended, live = WrittenRun(home, "older"), WrittenRun(home, "newer")
    ended.write_status(state="failed")
    live.step(5, 0.5)
    async with QltuiApp(Runs).run_test(size=size) as pilot:
        await until_seen(pilot, "older")
        seen = text_of(pilot)
        assert seen.index("newer") < seen.index("older")
        assert "● training" in seen
        assert "✗ failed" in seen
        await pilot.press("enter")
        await until_on(pilot, Monitor)
        await until_seen(pilot, "newer")


async def test_the_first_screen_opens_a_run_that_died_where_it_says_why(home: Path) -> None:
    WrittenRun(home, "older").write_status(state="failed")
    WrittenRun(home, "newer").step(5, 0.5)
    async with QltuiApp(Home).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "older")
        await pilot.press("end", "enter")
        await until_on(pilot, PostMortem)
        await pilot.press("escape", "end", "up", "enter")
        await until_on(pilot, Monitor)


async def test_keys_that_come_together_open_the_run_they_lead_to(home: Path) -> None:
    WrittenRun(home, "older").write_status(state="finished")
    WrittenRun(home, "newer").step(5, 0.5)
    async with QltuiApp(Runs).run_test(size=(80, 24)) as pilot:
        await until_seen(pilot, "older")
        press_together(pilot, "down", "enter")
        await until_on(pilot, Monitor)
        await until_seen(pilot, "older")


async def test_a_run_is_stopped_from_the_list_after_a_question(written_run: WrittenRun) -> None:
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "● training")
        await pilot.press("s")
        await until_seen(pilot, "Stop demo?")
        await pilot.press("y")
        await until_seen(pilot, "saves and stops after its current step")
    written = read_json(written_run.run.request_json)
    assert written is not None
    assert written["action"] == "stop"


async def test_what_cannot_be_resumed_says_why(written_run: WrittenRun) -> None:
    written_run.run.run_yaml.write_text("model: {path: [}")
    written_run.write_status(state="stopped")
    async with QltuiApp(Runs).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "■ stopped")
        await pilot.press("r")
        await until_seen(pilot, "✗ demo-20260102-030405:")
        assert "is not valid YAML" in " ".join(text_of(pilot).split())


async def test_no_runs_says_what_to_do() -> None:
    async with QltuiApp(Runs).run_test(size=(80, 24)) as pilot:
        await until_seen(pilot, "No runs yet")


async def test_doctor_tells_the_machine(size: tuple[int, int]) -> None:
    async with QltuiApp(Doctor).run_test(size=size) as pilot:
        await until_seen(pilot, "textual")
        await until_seen(pilot, "8.2.8")


async def test_help_lists_the_keys_of_the_screen(written_run: WrittenRun, size: tuple[int, int]) -> None:
    async with QltuiApp(lambda: Monitor(written_run.run.path)).run_test(size=size) as pilot:
        await pilot.press("question_mark")
        await until_seen(pilot, "Save a checkpoint and stop the run")
        await pilot.press("end")
        await until_seen(pilot, "Next rank in the log, or all")
        await pilot.press("escape")
        await until_on(pilot, Monitor)


async def test_the_command_palette_goes_to_places() -> None:
    async with QltuiApp().run_test(size=(120, 36)) as pilot:
        await pilot.press("ctrl+p", *"doctor")
        await until_seen(pilot, "What this machine has")
        await pilot.press("enter")
        await until_on(pilot, Doctor)


@pytest.mark.parametrize("screen", SCREENS)
def test_every_key_has_an_id_and_a_word_and_is_free(screen: type[Screen[Any]]) -> None:
    bindings = [binding for binding in screen.BINDINGS if isinstance(binding, Binding)]
    assert len(bindings) == len(screen.BINDINGS)
    for binding in bindings:
        assert binding.id, binding
        assert binding.tooltip or not binding.show, binding
        assert not TAKEN & set(binding.key.split(",")), binding
    assert len({binding.id for binding in bindings}) == len(bindings)


def test_style_sheets_name_no_colour_of_their_own() -> None:
    import re

    folder = Path(__file__).parents[2] / "qltui" / "ui"
    for sheet in folder.rglob("*.tcss"):
        assert not re.search(r"#[0-9a-fA-F]{3,8}\s*;|rgb\(|hsl\(", sheet.read_text()), sheet
