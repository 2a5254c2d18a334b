"""What is done from the review: kept as a preset, exported, copied, rehearsed."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.reviews import CHOSEN, demo, shown, source
from support.runs import Cli
from support.screen import press_together, until, until_on, until_seen
from support.terminal import Terminal
from textual.widgets import Input

from qltui.cli.commands.rehearse import _document
from qltui.configs import presets
from qltui.configs.loading import load
from qltui.runs import store
from qltui.runs.rehearsal import Outcome, Proof
from qltui.runs.rehearsal_plan import Change
from qltui.runs.state import LIVE
from qltui.ui import clipboard
from qltui.ui.app import QltuiApp
from qltui.ui.screens.exporting import Exporting
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.rehearsing import Rehearsing, outcome_text
from qltui.ui.screens.review import Review
from qltui.ui.screens.saving import Saving
from qltui.ui.widgets.run_files import RunFiles

# Presets, exports, copies


async def test_it_is_kept_as_a_preset(size: tuple[int, int]) -> None:
    async with QltuiApp(demo("training.max_steps=77")).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("p")
        await until_on(pilot, Saving)
        pilot.app.screen.query_one("#name", Input).value = "bad/name"
        await pilot.press("enter")
        await until_seen(pilot, "cannot be called")
        pilot.app.screen.query_one("#name", Input).value = "mine"
        pilot.app.screen.query_one("#description", Input).value = "what I do each day"
        await pilot.press("enter")
        await until_on(pilot, Review)
        await until_seen(pilot, "✓ saved as preset mine")
        saved = {one.name: one for one in presets.presets()}["mine"]
        assert saved.is_mine
        assert saved.description == "what I do each day"
        assert load("mine", []).training.max_steps == 77

        await pilot.press("p")
        await until_on(pilot, Saving)
        pilot.app.screen.query_one("#name", Input).value = "mine"
        pilot.app.screen.query_one("#description", Input).value = "another"
        await pilot.press("enter")
        await until_seen(pilot, "replace it")
        assert load("mine", []).description == "what I do each day"
        await pilot.press("enter")
        await until_seen(pilot, "✓ saved as preset mine")
        assert load("mine", []).description == "another"


async def test_a_preset_called_as_one_of_the_programs_says_how_to_launch_it() -> None:
    async with QltuiApp(demo("training.max_steps=77")).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("p")
        await until_on(pilot, Saving)
        await pilot.press("enter")
        await until_seen(pilot, "✓ saved as preset my:demo-cpu")
        assert load("my:demo-cpu", []).training.max_steps == 77


async def test_leaving_the_question_saves_nothing() -> None:
    async with QltuiApp(demo()).run_test(size=(80, 24)) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("p")
        await until_on(pilot, Saving)
        assert await pilot.click("#leave")
        await until_on(pilot, Review)
        assert not any(one.is_mine for one in presets.presets())


@pytest.mark.parametrize(
    ("program", "size"), [("trl", (120, 36)), ("axolotl", (80, 24)), ("llamafactory", (80, 24))], ids=str
)
async def test_it_is_exported_to_a_file_that_check_reads(
    program: str, cli: Cli, tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "theirs.yaml"
    async with QltuiApp(demo("hardware.device=auto")).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("x")
        await until_on(pilot, Exporting)
        await until_seen(pilot, "model_name_or_path")
        for _ in range(["trl", "axolotl", "llamafactory"].index(program)):
            await pilot.press("right")
            await pilot.pause()
        out = pilot.app.screen.query_one("#out", Input)
        assert program in out.value
        preview = source(pilot)
        assert place.name not in preview
        await pilot.press("w")
        out.value = str(place)
        await until(pilot, lambda: place.name in source(pilot), "the place that is typed in the file")
        assert place.name in shown(pilot).partition("▸")[0], "and in how it is started"
        preview = source(pilot)
        await pilot.press("enter")
        await until_seen(pilot, "✓ wrote")
    assert place.read_text() == preview
    checked = json.loads(cli("check", str(place), "--json", check=False).stdout)
    assert checked["files"][0]["format"] == {"trl": "trainer"}.get(program, program)
    assert not checked["blocked"]


async def test_an_export_writes_over_nothing_without_being_told_to(tmp_path: Path) -> None:
    place = tmp_path / "theirs.yaml"
    place.write_text("precious: true\n")
    async with QltuiApp(lambda: Exporting(load("demo-cpu", []))).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "model_name_or_path")
        pilot.app.screen.query_one("#out", Input).value = str(place)
        await pilot.press("w", "enter")
        await until_seen(pilot, "is there already")
        assert place.read_text() == "precious: true\n"
        await pilot.press("right", "x")  # another place: what was agreed to is forgotten
        pilot.app.screen.query_one("#out", Input).value = str(place)
        await pilot.press("enter")
        await until_seen(pilot, "is there already")
        assert place.read_text() == "precious: true\n"
        await pilot.press("enter")
        await until_seen(pilot, "✓ wrote")
        assert "model_name_or_path" in place.read_text()


@pytest.mark.parametrize("place", ["~nobody-here/x\0.yaml", "x" * 300, "theirs.yaml/x.yaml"])
async def test_a_place_that_cannot_be_written_is_told(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.yaml").touch()
    async with QltuiApp(lambda: Exporting(load("demo-cpu", []))).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "model_name_or_path")
        pilot.app.screen.query_one("#out", Input).value = place
        await pilot.press("w", "enter")
        await until_seen(pilot, "✗")
        assert [path.name for path in tmp_path.rglob("*.yaml")] == ["theirs.yaml"]


async def test_what_another_program_cannot_do_is_said_in_its_place() -> None:
    config = load("demo-cpu", ["strategy=pipeline", "method=lora"])
    async with QltuiApp(lambda: Exporting(config)).run_test(size=(80, 24)) as pilot:
        await until_seen(pilot, "model_name_or_path")
        await pilot.press("left")
        await until_seen(pilot, "▸LLaMA-Factory")
        await until_seen(pilot, "✗ strategy.name")
        await pilot.press("w", "enter")
        assert not list(Path.cwd().glob("demo-cpu-*"))


@pytest.fixture
def xclip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of xclip, which keeps what it is given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "xclip"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/pasted\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":7")
    return tmp_path / "pasted"


async def test_a_file_is_copied_by_a_program_and_kept(home: Path, xclip: Path, size: tuple[int, int]) -> None:
    async with QltuiApp(demo()).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        while pilot.app.screen.query_one(RunFiles).shown != "accelerate.yaml":
            await pilot.press("right")
            await pilot.pause()
        await pilot.press("y")
        await until_seen(pilot, "✓ accelerate.yaml copied with xclip")
        assert xclip.read_text() == source(pilot)
        assert (home / "copied" / "demo-cpu" / "accelerate.yaml").read_text() == source(pilot)
        assert (xclip.parent / "arguments").read_text() == "-selection clipboard\n"


async def test_keys_that_arrive_together_count_in_their_order(home: Path, xclip: Path, size: tuple[int, int]) -> None:
    """What is copied is what was shown when the key was pressed, whatever key came right after it."""
    async with QltuiApp(demo()).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        while pilot.app.screen.query_one(RunFiles).shown != "run.yaml":
            await pilot.press("right")
            await pilot.pause()
        press_together(pilot, "y", "right", "y")
        await until_seen(pilot, "✓ accelerate.yaml copied")
        copied = home / "copied" / "demo-cpu"
        assert sorted(file.name for file in copied.iterdir()) == ["accelerate.yaml", "run.yaml"]


async def test_the_command_of_a_new_run_comes_with_the_file_it_names(home: Path, xclip: Path) -> None:
    async with QltuiApp(lambda: NewRun(CHOSEN)).run_test(size=(120, 36)) as pilot:
        await pilot.press("f2")
        await until_seen(pilot, "✓ ready")
        await pilot.press("left", "y")
        await until_seen(pilot, "✓ the command copied")
    program, verb, file = xclip.read_text().split()
    assert (program, verb) == ("qltui", "launch")
    assert load(file, []).model.path == CHOSEN["model.path"]


async def test_a_file_that_cannot_be_kept_is_told(home: Path, xclip: Path) -> None:
    home.write_text("a file where the state folder should be")
    async with QltuiApp(demo()).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("y")
        await until_seen(pilot, "▲ no file: ")
    assert xclip.read_text().startswith("schema_version")


def test_a_program_that_fails_or_hangs_is_passed_by(home: Path, xclip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "PROGRAM_SECONDS", 0.2)
    environment = {"DISPLAY": ":7", "PATH": str(xclip.parent / "bin")}
    program = xclip.parent / "bin" / "xclip"
    for body in ("exit 1", "exec /bin/sleep 5"):
        program.write_text(f"#!/bin/sh\n{body}\n")
        copied = clipboard.copy("a text", {"a/file": "a text"}, environment)
        assert copied.program is None
        assert copied.sequence is not None
        assert copied.file is not None
        assert copied.file.read_text() == "a text"


def test_what_no_terminal_takes_goes_into_the_file_alone(home: Path) -> None:
    longest = "é" * (clipboard.MOST_BYTES // 2)
    taken, refused = (clipboard.copy(text, {"file": text}, {}) for text in (longest, longest + "e"))
    assert taken.sequence is not None
    assert len(taken.sequence) <= 100_000
    assert refused.sequence is None
    assert refused.file is not None
    assert refused.file.read_text() == longest + "e"


@pytest.fixture
def open_review(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []
    nowhere = tmp_path / "no-programs"
    nowhere.mkdir()

    def start(**environment: str) -> Terminal:
        code = (
            "from qltui.ui.app import QltuiApp; from qltui.ui.screens.review import Review;"
            "QltuiApp(lambda: Review.of_preset('demo-cpu')).run()"
        )
        kept = {
            name: text for name, text in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "TMUX")
        }  # fmt: skip
        everything = {**kept, "QLTUI_HOME": str(tmp_path / "home"), "PATH": str(nowhere), **environment}
        opened.append(Terminal([sys.executable, "-c", code], everything))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize("in_tmux", [False, True])
def test_without_a_program_the_terminal_is_given_the_text(
    open_review: Callable[..., Terminal], tmp_path: Path, in_tmux: bool
) -> None:
    terminal = open_review(**({"TMUX": "/nowhere,1,0"} if in_tmux else {}))
    terminal.read_until("launches it")
    terminal.send("y")
    terminal.read_until("OSC 52")
    text = (tmp_path / "home" / "copied" / "demo-cpu" / "run.yaml").read_bytes()
    plain = b"\x1b]52;c;" + base64.b64encode(text) + b"\x07"
    wrapped = b"\x1bPtmux;\x1b" + plain + b"\x1b\\"
    assert text.startswith(b"schema_version")
    assert (wrapped in terminal.output) == in_tmux
    assert plain in terminal.output


# The rehearsal


async def test_a_rehearsal_is_begun_left_found_again_and_cancelled(home: Path, size: tuple[int, int]) -> None:
    async with QltuiApp(demo()).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("r")
        await until_on(pilot, Rehearsing)
        await until_seen(pilot, "◔ rehearsing")
        await until_seen(pilot, "shrinking")
        await pilot.press("q")
        await until_on(pilot, Review)
        await until_seen(pilot, "◔ rehearsing")
        await pilot.press("r")
        await until_on(pilot, Rehearsing)
        assert len(list((home / "rehearsals").iterdir())) == 1, "the same one"
        await pilot.press("c")
        await until_seen(pilot, "■ rehearsal cancelled")
        await pilot.press("q")
        await until_on(pilot, Review)
        await until_seen(pilot, "■ rehearsal cancelled")
    assert not list((home / "runs").glob(".small-model-*")), "its model is gone"
    assert all(run["state"] not in LIVE for run in store.list_runs())


async def test_a_rehearsal_that_fails_says_why(tmp_path: Path) -> None:
    empty = tmp_path / "rows.jsonl"
    empty.write_text("")
    async with QltuiApp(demo(f"data={empty}")).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "✗ ")
        await pilot.press("r")
        await until_seen(pilot, "✗ rehearsal failed")
        assert "rows.jsonl" in shown(pilot)


def test_all_that_a_rehearsal_tells_is_shown() -> None:
    outcome = Outcome(
        run=store.RunDirectory(Path("demo-1")), ranks=2,
        changed=[Change("training.max_steps", "120", "6", "a few steps show whether it works")],
        proven=[Proof("training", "6 steps"), Proof("adapter audit", "passed: 28 tensors")],
        unproven=["what is learnt"], audits={}, plan={}, failure=None,
    )  # fmt: skip
    text = outcome_text(_document(outcome)).plain
    for line in ("✓ training       6 steps", "✓ adapter audit  passed: 28 tensors", "? what is learnt", "demo-1"):
        assert line in text
    assert "→ training.max_steps  120 → 6: a few steps" in text
