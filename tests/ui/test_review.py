"""The review: what it shows is what a launch writes and starts, and each of its keys does what it says."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.runs import Cli
from support.screen import text_of, until, until_on, until_seen
from support.terminal import Terminal
from textual.pilot import Pilot
from textual.widgets import Input

from engine.config import ConfigError, Problem, RunConfig
from engine.events import read_json
from qltui.cli.commands.rehearse import _document
from qltui.configs import presets
from qltui.configs.loading import load
from qltui.runs import status, store
from qltui.runs.assessment import assess
from qltui.runs.launching import request_stop
from qltui.runs.prospect import MOMENT, prospect
from qltui.runs.rehearsal import Outcome, Proof
from qltui.runs.rehearsal_plan import Change
from qltui.runs.state import LIVE
from qltui.ui import clipboard
from qltui.ui.app import QltuiApp
from qltui.ui.screens.confirm import Confirm
from qltui.ui.screens.exporting import Exporting
from qltui.ui.screens.home import Home
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.presets import Presets
from qltui.ui.screens.rehearsing import Rehearsing, outcome_text
from qltui.ui.screens.review import Review
from qltui.ui.screens.saving import Saving
from qltui.ui.widgets.run_files import RunFiles
from qltui.ui.widgets.source_text import SourceText
from qltui.ui.widgets.tab_line import Tab

DEMO = Path(__file__).parents[2] / "presets" / "demo"
CHOSEN = {
    "model.path": str(DEMO / "model"), "data.path": str(DEMO / "data" / "train.jsonl"), "hardware.device": "cpu",
    "strategy.name": "single",
}  # fmt: skip
LLAMA = {"model.path": "meta-llama/Llama-3.1-8B", "data.path": str(DEMO / "data" / "train.jsonl")}


def demo(*assignments: str, **options: Any) -> Callable[[], Review]:
    """The review of the demo with some fields set."""
    return lambda: Review("demo", lambda: load("demo-cpu", assignments), "qltui launch demo-cpu", **options)


def shown(pilot: Pilot[Any]) -> str:
    """All that is on screen, in one line and without frames."""
    return " ".join(text_of(pilot).replace("│", " ").split())


def source(pilot: Pilot[Any]) -> str:
    return pilot.app.screen.query_one(SourceText).text


@pytest.fixture
def no_clipboard(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "TMUX"):
        monkeypatch.delenv(name, raising=False)


# What it shows


async def test_from_home_to_the_review_of_a_preset(size: tuple[int, int]) -> None:
    async with QltuiApp().run_test(size=size) as pilot:
        await pilot.press("p")
        await until_seen(pilot, "demo-cpu")
        await pilot.press("enter")
        await until_on(pilot, Review)
        await until_seen(pilot, "✓ ready")
        for text in ("qlora · base in nf4", "ddp · cpu, 2 ranks", "120 steps", "✓ nothing found"):
            assert text in shown(pilot)
        await pilot.press("escape", "escape")
        await until_on(pilot, Home)


async def test_a_launch_writes_and_starts_what_was_shown(home: Path) -> None:
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "demo-cpu")
        await pilot.press("enter")
        await until_seen(pilot, "✓ ready")
        texts = {}
        for name in ("run.yaml", "accelerate.yaml", "plan.json", "command"):
            await until(pilot, lambda name=name: pilot.app.screen.query_one(RunFiles).shown == name, name)
            texts[name] = source(pilot)
            await pilot.press("right")
        await pilot.press("l")
        await until_on(pilot, Monitor)
        (run,) = store.directories()
        attempt = await launched(pilot, run)
        request_stop(run, now=True)
        for name in ("run.yaml", "accelerate.yaml"):
            assert (run.path / name).read_text() == texts[name]
        assert without_time(read_json(run.plan_json)) == without_time(json.loads(texts["plan.json"]))
        argv = " ".join(attempt["argv"])
        assert argv in texts["command"].replace(f"demo-cpu-{MOMENT}", run.id)
        assert "qltui launch demo-cpu" in texts["command"]
        await until(pilot, lambda: status.read(run)["state"] not in LIVE, "the run's end")


async def launched(pilot: Pilot[Any], run: Any) -> dict[str, Any]:
    """What launch.json says, once it is there."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        attempt = run.last_attempt()
        found[:] = [said] if attempt and (said := read_json(attempt.launch_json)) else []
        return bool(found)

    await until(pilot, there, "launch.json")
    return found[0]


def without_time(plan: dict[str, Any] | None) -> dict[str, Any]:
    """A plan without the moment it was made at, and what of the machine changes from moment to moment."""
    assert plan is not None
    machine = {name: value for name, value in plan["machine"].items() if name not in ("host_available", "disk_free")}
    return {**plan, "written": 0, "machine": machine}


def test_deepspeed_is_shown_as_it_will_be(home: Path) -> None:
    from qltui.runs import launching

    assessed = assess(load("demo-cpu", ["strategy=zero3"]))
    files = prospect(assessed).files
    run = launching.create(assessed.config)
    assert files["deepspeed.json"] == run.deepspeed_json.read_text()
    assert list(files) == ["run.yaml", "accelerate.yaml", "deepspeed.json", "plan.json"]


def test_a_live_run_of_that_name_is_told_before_the_launch(home: Path) -> None:
    from qltui.runs import launching

    config = load("demo-cpu", [])
    launching.create(config)
    found = prospect(assess(config))
    assert "A run named demo-cpu is live" in found.refusal
    assert "run.yaml" in found.files


@pytest.mark.parametrize("strategy", ["ddp", "zero3"])
async def test_the_review_names_the_files_of_the_strategy(strategy: str, size: tuple[int, int]) -> None:
    async with QltuiApp(demo(f"strategy={strategy}")).run_test(size=size) as pilot:
        await until_seen(pilot, "accelerate.yaml")
        assert ("deepspeed.json" in text_of(pilot)) == (strategy == "zero3")


async def test_files_are_turned_by_keys_and_by_the_mouse(size: tuple[int, int]) -> None:
    async with QltuiApp(demo()).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        first = pilot.app.screen.query_one(RunFiles).shown
        assert first == ("run.yaml" if size[0] == 120 else "overview")
        await pilot.press("right")
        await until(pilot, lambda: pilot.app.screen.query_one(RunFiles).shown != first, "the next file")
        await pilot.press("left")
        await until(pilot, lambda: pilot.app.screen.query_one(RunFiles).shown == first, "the file before")
        tab = next(tab for tab in pilot.app.screen.query(Tab) if tab.tab == "plan.json")
        assert await pilot.click(tab)
        await until_seen(pilot, '"schema_version": 1')
        assert "▸plan.json◂" in text_of(pilot)


async def test_a_file_is_read_to_its_end(size: tuple[int, int]) -> None:
    async with QltuiApp(demo()).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        if size[0] < 100:
            await pilot.press("right")
        await until_seen(pilot, "schema_version: 1")
        assert "report_to" not in text_of(pilot)
        await pilot.press("end")
        await until_seen(pilot, "report_to: []")


async def test_the_overview_stands_beside_the_files_where_there_is_room() -> None:
    async with QltuiApp(demo()).run_test(size=(80, 24)) as pilot:
        await until_seen(pilot, "▸overview◂")
        assert "schema_version" not in text_of(pilot)
        await pilot.resize_terminal(120, 36)
        await until_seen(pilot, "▸run.yaml◂")
        assert "120 steps" in text_of(pilot)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "120 steps" not in text_of(pilot), "the file alone")
        assert "▸run.yaml◂" in text_of(pilot)


async def test_what_was_changed_for_this_machine_is_told_first(size: tuple[int, int]) -> None:
    notes = ["strategy.name: fsdp2 -> ddp, because there is no second GPU"]
    async with QltuiApp(demo(notes=notes)).run_test(size=size) as pilot:
        await until_seen(pilot, "→ strategy.name: fsdp2 -> ddp")


async def test_a_described_machine_is_planned_for_and_asked_about_before_a_launch(size: tuple[int, int]) -> None:
    def review() -> Review:
        return Review("llama", lambda: load("demo-cpu", ["model=meta-llama/Llama-3.1-8B"]), machine="4xA40")

    async with QltuiApp(review).run_test(size=size) as pilot:
        await until_seen(pilot, "▲ planned for 4xA40")
        await until_seen(pilot, "of 44.3 GiB")

    async with QltuiApp(demo(machine="4xA40")).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("l")
        await until_on(pilot, Confirm)
        await until_seen(pilot, "here: no GPU")
        await pilot.press("n")
        await until_on(pilot, Review)
        assert not store.directories()


# What stands in the way


async def test_a_refused_launch_says_why_and_leaves_nothing(home: Path, size: tuple[int, int]) -> None:
    home.write_text("a file where the state folder should be")
    async with QltuiApp(demo()).run_test(size=size) as pilot:
        await until_seen(pilot, "✓ ready")
        await pilot.press("l")
        await until_seen(pilot, "✗ not launched")
        assert "QLTUI_HOME" in shown(pilot)
    assert home.is_file()


@pytest.mark.parametrize(
    ("assignment", "rule", "forced"),
    [
        ("training.optimizer=adamw_8bit", "engine-adamw-8bit-fsdp2", "cannot be forced: the engine itself refuses it"),
        ("strategy=single", "one-rank-strategies", "`--force one-rank-strategies` launches it all the same"),
    ],
)
async def test_what_a_rule_blocks_is_not_launched(
    home: Path, size: tuple[int, int], assignment: str, rule: str, forced: str
) -> None:
    async with QltuiApp(demo("strategy=fsdp2", assignment)).run_test(size=size) as pilot:
        for text in (f"✗ {rule} stops it; {forced}", f"✗ block {rule}", " why ", " source ", " fix ", " force "):
            await until(pilot, lambda text=text: text in shown(pilot), text)
        await pilot.press("l")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Review)
    assert not home.exists()


def refuse(problems: list[Problem]) -> RunConfig:
    raise ConfigError(problems)


async def test_every_reason_can_be_read(home: Path, size: tuple[int, int]) -> None:
    """However many there are: what has no room is scrolled to."""
    problems = [Problem("", f"field.{number}", "is wrong for a reason that takes a line.") for number in range(60)]
    async with QltuiApp(lambda: Review("many", lambda: refuse(problems))).run_test(size=size) as pilot:
        await until_seen(pilot, "field.0")
        assert "field.59" not in text_of(pilot)
        await pilot.press("end")
        await until_seen(pilot, "field.59")


async def test_a_preset_that_is_none_is_told_inline() -> None:
    async with QltuiApp(lambda: Review.of_preset("demo-cpux")).run_test(size=(80, 24)) as pilot:
        await until_seen(pilot, "✗ demo-cpux")
        assert "Did you mean demo-cpu?" in text_of(pilot)
        await pilot.press("r", "p", "x", "y", "e", "l")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Review), "nothing can be done with what cannot be read"


# Back to the form


async def test_back_to_training_and_forth_again_loses_nothing() -> None:
    async with QltuiApp(lambda: NewRun(CHOSEN)).run_test(size=(80, 24)) as pilot:
        form = pilot.app.screen
        assert isinstance(form, NewRun)
        await pilot.press("f2")
        await until_on(pilot, Review)
        await until_seen(pilot, "✓ ready")
        assert "▸Review◂" in text_of(pilot)
        await pilot.press("pageup")
        await until_on(pilot, NewRun)
        await until(pilot, lambda: form.step.name == "training", "the step before")
        assert form.values == CHOSEN
        await pilot.press("pagedown")
        await until_on(pilot, Review)
        await until_seen(pilot, "✓ ready")


async def test_pgup_reads_backwards_before_it_goes_back() -> None:
    async with QltuiApp(lambda: NewRun(CHOSEN)).run_test(size=(120, 36)) as pilot:
        await pilot.press("f2")
        await until_seen(pilot, "✓ ready")
        await pilot.press("end")
        read = pilot.app.screen.query_one(SourceText)
        await until(pilot, lambda: read.scroll_y > 0, "the end of the file")
        while read.scroll_y > 0:
            await pilot.press("pageup")
            await pilot.pause()
        assert isinstance(pilot.app.screen, Review)
        await pilot.press("pageup")
        await until_on(pilot, NewRun)


async def test_a_click_on_a_step_goes_there() -> None:
    async with QltuiApp(lambda: NewRun(CHOSEN)).run_test(size=(120, 36)) as pilot:
        form = pilot.app.screen
        assert isinstance(form, NewRun)
        await pilot.press("f2")
        await until_seen(pilot, "✓ ready")
        assert await pilot.click("#step-data")
        await until_on(pilot, NewRun)
        await until(pilot, lambda: form.step.name == "data", "the step that was clicked")


async def test_the_field_that_stops_it_is_a_key_away() -> None:
    async with QltuiApp().run_test(size=(80, 24)) as pilot:
        await pilot.app.push_screen(demo("strategy=single")())
        await until_seen(pilot, "✗ one-rank-strategies")
        await pilot.press("e")
        await until_on(pilot, NewRun)
        form = pilot.app.screen
        assert isinstance(form, NewRun)
        assert form.values["hardware.ranks_per_node"] == "2"
        await until(pilot, lambda: form.step.name == "hardware", "the step of the field")


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
        await pilot.press("w")
        out.value = str(place)
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
        unproven=["what is learnt"], audits={}, failure=None,
    )  # fmt: skip
    text = outcome_text(_document(outcome)).plain
    for line in ("✓ training       6 steps", "✓ adapter audit  passed: 28 tensors", "? what is learnt", "demo-1"):
        assert line in text
    assert "→ training.max_steps  120 → 6: a few steps" in text
