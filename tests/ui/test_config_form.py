"""The form: made of the declaration, checked as one types, kept as a draft."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.screen import text_of, until, until_seen
from textual.pilot import Pilot
from textual.widgets import Input, Select

from engine.config import FIELDS
from qltui.ui import draft
from qltui.ui.app import QltuiApp
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.review import Review
from qltui.ui.steps import NOT_ASKED, STEPS
from qltui.ui.widgets.choice import Choice
from qltui.ui.widgets.config_form import ConfigForm, FieldRow, problem_with
from qltui.ui.widgets.entry import Entry


@asynccontextmanager
async def filling_in(size: tuple[int, int] = (120, 36)) -> AsyncIterator[Pilot[Any]]:
    async with QltuiApp(NewRun).run_test(size=size) as pilot:
        await until_seen(pilot, "Local Hugging Face model folder")
        yield pilot


async def open_step(pilot: Pilot[Any], name: str) -> None:
    order = [step.name for step in STEPS]
    for _ in range(order.index(name)):
        await pilot.press("pagedown")
    expected = STEPS[order.index(name)].front[0].path
    await until(pilot, lambda: expected in rows(pilot), f"step {name}")


def rows(pilot: Pilot[Any]) -> dict[str, FieldRow]:
    return {row.field.path: row for row in pilot.app.screen.query_one(ConfigForm).rows if row.is_attached}


async def type_into(pilot: Pilot[Any], path: str, text: str) -> None:
    rows(pilot)[path].query_one(Input).focus()
    await pilot.press(*text)


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("training.learning_rate", "2e-4", None),
        ("training.learning_rate", "fast", "Expected `float`, got `str`"),
        ("training.learning_rate", "-1", "> 0"),
        ("training.micro_batch_size", "0", ">= 1"),
        ("training.gradient_checkpointing", "12", None),
        ("training.max_steps", "", None),
        ("training.max_steps", "null", None),
        ("data.columns", "{instruction: question}", None),
        ("data.columns", "{instruction", "is not valid YAML"),
        ("method.lora.target_modules", "[q_proj, v_proj]", None),
        ("name", "a/b", "is not allowed"),
        ("model.path", "", "must be given."),
        ("strategy.name", "fsdp2", None),
        ("hardware.nodes", "0", "Expected int >= 1"),
    ],
)
def test_a_text_is_judged_with_its_reason(path: str, text: str, reason: str | None) -> None:
    problem = problem_with(FIELDS[path], text)
    if reason is None:
        assert problem is None
    else:
        assert problem is not None
        assert reason.replace("`", "") in problem


def test_every_field_stands_in_one_section() -> None:
    asked = [field.path for step in STEPS for field in step.fields]
    assert sorted([*asked, *NOT_ASKED]) == sorted(FIELDS)


def test_a_step_shows_all_that_it_asks_for_once_and_may_show_what_others_ask() -> None:
    for step in STEPS:
        shown = [field.path for field in (*step.front, *step.more)]
        assert len(shown) == len(set(shown)), step.name
        assert {field.path for field in step.fields} <= set(shown), step.name
    training = next(step for step in STEPS if step.name == "training")
    assert {"method.lora.rank", "data.max_length"} <= {field.path for field in training.front}
    assert len(training.front) <= 10


async def test_every_field_of_every_section_is_shown_by_its_kind() -> None:
    kinds = {"choice": Choice, "flag": Choice}
    async with filling_in() as pilot:
        form = pilot.app.screen.query_one(ConfigForm)
        form.unfolded = True
        for step in STEPS:
            await form.show(step.front, step.more, {})
            assert sorted(rows(pilot)) == sorted({field.path for field in (*step.front, *step.fields)}), step.name
            for row in rows(pilot).values():
                assert row.query_one("Input, Select").__class__ is kinds.get(row.field.kind, Entry)


async def test_advanced_fields_are_folded_until_asked_for(size: tuple[int, int]) -> None:
    count = sum(field.advanced for field in STEPS[0].fields)
    async with filling_in(size) as pilot:
        assert f"▸ {count} advanced fields" in text_of(pilot)
        assert "model.revision" not in rows(pilot)
        assert await pilot.click("#fold")
        await until_seen(pilot, f"▾ {count} advanced fields")
        assert rows(pilot)["model.revision"].display


async def test_what_is_wrong_is_said_under_its_field_while_typing(size: tuple[int, int]) -> None:
    async with filling_in(size) as pilot:
        await open_step(pilot, "training")
        await type_into(pilot, "training.micro_batch_size", "0")
        await until_seen(pilot, "✗ Expected int >= 1 (given: ")
        assert "▸Training◂ ✗" in text_of(pilot)
        await pilot.press("backspace", "4")
        await until(pilot, lambda: "✗ Expected" not in text_of(pilot), "the complaint gone")
        assert "▸Training◂ ✓" in text_of(pilot)


async def test_what_is_typed_survives_the_app(home: Path) -> None:
    async with filling_in() as pilot:
        await type_into(pilot, "model.path", "some/model")
        await until_seen(pilot, "draft saved")
    kept = json.loads((home / "draft.json").read_text())
    assert kept["values"] == {"model.path": "some/model"}
    async with filling_in() as pilot:
        assert rows(pilot)["model.path"].query_one(Input).value == "some/model"


async def test_a_draft_that_cannot_be_saved_is_said_and_nothing_else_happens(home: Path) -> None:
    home.write_text("a file where the state folder should be")
    async with filling_in() as pilot:
        await type_into(pilot, "model.path", "x")
        await until_seen(pilot, "draft not saved")
        await pilot.press("y")
        await until(pilot, lambda: rows(pilot)["model.path"].query_one(Input).value == "xy", "typing goes on")


@pytest.mark.parametrize("machine", ["9xNoSuchCard", "", 4, None, ["4xA40"]])
def test_a_draft_for_no_machine_is_for_this_one(machine: object, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "draft.json").write_text(json.dumps({"values": {"name": "kept"}, "machine": machine}))
    assert draft.load() == ({"name": "kept"}, "")


@pytest.mark.parametrize("content", ["{half", '{"values": 3}', '{"values": {"no.such.field": "1"}}'])
async def test_a_broken_draft_is_an_empty_form(home: Path, content: str) -> None:
    home.mkdir()
    (home / "draft.json").write_text(content)
    async with filling_in() as pilot:
        assert rows(pilot)["model.path"].query_one(Input).value == ""


async def test_review_leads_to_the_first_field_that_stands_in_the_way(size: tuple[int, int]) -> None:
    async with filling_in(size) as pilot:
        await type_into(pilot, "model.path", "some/model")
        await pilot.press("f2")
        await until_seen(pilot, "✗ Data must be given.")
        await until(pilot, lambda: "data.path" in rows(pilot), "the section of the data")
        focused = rows(pilot)["data.path"].query_one(Input)
        await until(pilot, lambda: pilot.app.focused is focused, "the cursor in the field")


async def test_a_filled_in_form_is_reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    async with filling_in() as pilot:
        await type_into(pilot, "model.path", "./missing")
        await open_step(pilot, "data")
        await type_into(pilot, "data.path", "rows.jsonl")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(pilot.app.screen, Review), "the review")
        await until_seen(pilot, "✗ model.path")
        assert "rows.jsonl" in text_of(pilot)
        await pilot.press("l")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Review)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, NewRun)


async def test_a_choice_and_a_flag_are_kept_when_they_leave_their_default() -> None:
    async with filling_in() as pilot:
        await open_step(pilot, "method")
        screen = pilot.app.screen
        assert isinstance(screen, NewRun)
        rows(pilot)["method.name"].query_one(Select).value = "lora"
        rows(pilot)["method.quantization.double_quantization"].query_one(Select).value = "false"
        wanted = {"method.name": "lora", "method.quantization.double_quantization": "false"}
        await until(pilot, lambda: screen.values == wanted, "both values kept")
        rows(pilot)["method.name"].query_one(Select).value = "qlora"
        await until(pilot, lambda: "method.name" not in screen.values, "the default forgotten")
