"""The review: what it shows is what a launch writes and starts, what stands in the way, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.reviews import CHOSEN, demo, shown, source
from support.screen import text_of, until, until_on, until_seen
from textual.pilot import Pilot

from engine.config import ConfigError, Problem, RunConfig
from engine.events import read_json
from qltui.configs.loading import load
from qltui.runs import status, store
from qltui.runs.assessment import assess
from qltui.runs.launching import request_stop
from qltui.runs.prospect import MOMENT, prospect
from qltui.runs.state import LIVE
from qltui.ui.app import QltuiApp
from qltui.ui.screens.confirm import Confirm
from qltui.ui.screens.home import Home
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.presets import Presets
from qltui.ui.screens.review import Review
from qltui.ui.widgets.run_files import RunFiles
from qltui.ui.widgets.source_text import SourceText
from qltui.ui.widgets.tab_line import Tab

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
        first = "run.yaml" if size[0] == 120 else "overview"
        await until(pilot, lambda: pilot.app.screen.query_one(RunFiles).shown == first, first)
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
    changes = ["strategy.name: fsdp2 -> ddp, because there is no second GPU"]
    async with QltuiApp(demo(changes=changes)).run_test(size=size) as pilot:
        await until_seen(pilot, "→ strategy.name: fsdp2 -> ddp")


async def test_long_paths_give_up_folders_and_no_part_of_a_name(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = tmp_path / "a-project-of-mine" / "its-data-of-the-last-year"
    folder.mkdir(parents=True)
    rows = folder / "rows-that-are-trained-on.jsonl"
    rows.write_text((Path(CHOSEN["data.path"])).read_text())
    async with QltuiApp(demo(f"data={rows}")).run_test(size=size) as pilot:
        await until_seen(pilot, rows.name)
        (line,) = [line for line in text_of(pilot).splitlines() if "data  " in line and rows.name in line]
        assert "/…/" in line and f"/{rows.name}" in line


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
