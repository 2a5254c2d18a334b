"""The wizard as a user goes through it: choices, what they come to, what mends them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.screen import text_of, until, until_seen
from support.wizard import LLAMA, choosing, to_the_matrix
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from qltui.ui.screens.review import Review
from qltui.ui.widgets.data_preview import DataPreview
from qltui.ui.widgets.strategy_matrix import StrategyMatrix

DEMO = Path(__file__).parents[2] / "presets" / "demo"


async def test_fit_and_findings_are_always_in_view(home: Path, size: tuple[int, int]) -> None:
    async with choosing(home, size, training__optimizer="adamw_8bit", strategy__name="fsdp2") as (pilot, _):
        await until_seen(pilot, "of 44.3 GiB")
        assert "1 block" in text_of(pilot)
        if size[0] < 116:
            assert "has no kernels" not in text_of(pilot)
            await pilot.press("f4")
        await until_seen(pilot, "has no kernels")
        await until_seen(pilot, "engine-adamw-8bit-fsdp2")


async def test_the_finding_is_mended_by_a_key_and_taken_back_by_another(home: Path, size: tuple[int, int]) -> None:
    async with choosing(home, size, training__optimizer="adamw_8bit", strategy__name="fsdp2") as (pilot, screen):
        before = dict(screen.values)
        await pilot.press("f5")
        await until(pilot, lambda: screen.values != before, "a value changed")
        await until_seen(pilot, "✓ set training.optimizer=adamw")
        await until(pilot, lambda: "block" not in text_of(pilot), "no block left")
        await pilot.press("f8")
        await until(pilot, lambda: screen.values == before, "the values as before")
        await until_seen(pilot, "1 block")


async def test_a_square_is_chosen_by_keys(home: Path, size: tuple[int, int]) -> None:
    async with choosing(home, size) as (pilot, screen):
        matrix = await to_the_matrix(pilot)
        await until(pilot, lambda: matrix.square is not None and matrix.square.place == ("ddp", "qlora"), "cursor")
        await pilot.press("left", "left")
        assert matrix.square is not None
        assert matrix.square.place == ("ddp", "lora")
        await until_seen(pilot, "ddp · lora")
        await pilot.press("enter")
        await until(pilot, lambda: screen.values.get("strategy.name") == "ddp", "the strategy set")
        assert screen.values["method.name"] == "lora"
        await pilot.press("f8")
        await until(pilot, lambda: "strategy.name" not in screen.values, "taken back")


async def test_a_square_is_chosen_by_the_mouse(home: Path) -> None:
    async with choosing(home) as (pilot, screen):
        matrix = await to_the_matrix(pilot)
        await until(pilot, lambda: matrix.square is not None, "squares")
        assert await pilot.click(StrategyMatrix, offset=(17 + 3 * 13 + 2, 4))
        assert matrix.square is not None
        assert matrix.square.place == ("fsdp2", "qlora")
        assert "strategy.name" not in screen.values, "the first click moves the cursor"
        await pilot.click(StrategyMatrix, offset=(17 + 3 * 13 + 2, 4), times=1)
        await until(pilot, lambda: screen.values.get("strategy.name") == "fsdp2", "the strategy set")


async def test_the_cursor_goes_with_what_a_fix_chooses_unless_it_looked_elsewhere(home: Path) -> None:
    async with choosing(home, strategy__name="zero1") as (pilot, screen):
        matrix = await to_the_matrix(pilot)

        def stands_on(strategy: str) -> bool:
            return matrix.square is not None and matrix.square.place == (strategy, "qlora")

        await until(pilot, lambda: stands_on("zero1"), "the chosen square")
        await pilot.press("f5")
        await until(pilot, lambda: stands_on("ddp"), "the square that the fix chose")
        await pilot.press("down", "f8")
        await until(pilot, lambda: "◂" in row_of(pilot, "zero1"), "taken back")
        assert screen.values["strategy.name"] == "zero1"
        assert stands_on("pipeline")


def row_of(pilot: Pilot[Any], name: str) -> str:
    """The line of the matrix that begins with a name."""
    return next(line for line in text_of(pilot).splitlines() if line.split()[:1] == [name])


async def test_a_blocked_square_says_why_and_is_not_taken(home: Path) -> None:
    async with choosing(home) as (pilot, screen):
        matrix = await to_the_matrix(pilot)
        await until(pilot, lambda: matrix.square is not None, "squares")
        await pilot.press("down", "left", "left", "left", "enter")
        assert matrix.square is not None
        assert matrix.square.place == ("pipeline", "full")
        await until_seen(pilot, "✗ ")
        await until_seen(pilot, "pipeline")
        assert "strategy.name" not in screen.values


async def test_the_cursor_begins_on_the_planners_choice_with_its_reason(home: Path) -> None:
    async with choosing(home) as (pilot, screen):
        await to_the_matrix(pilot)
        await until_seen(pilot, "★")
        assert screen.outlook is not None
        assert screen.outlook.best == "ddp"
        await until_seen(pilot, "It fits on one GPU, so ddp")
        assert "strategy.name" not in screen.values, "it is offered, not taken"
        await pilot.press("enter")
        await until_seen(pilot, "✓ set strategy.name=ddp")


async def test_another_machine_is_described(home: Path, size: tuple[int, int]) -> None:
    async with choosing(home, size, machine="") as (pilot, screen):
        await pilot.press("pagedown", "pagedown")
        entry = screen.query_one("#machine Input", Input)
        await until(pilot, lambda: pilot.app.focused is entry, "the cursor in the line")
        await pilot.press(*"2x24")
        await until_seen(pilot, "✗")
        await pilot.press("G")
        await until_seen(pilot, "described: 2 x 24 GB")
        await until(pilot, lambda: screen.outlook is not None and screen.outlook.machine.gpus == 2, "planned for it")
    draft = json.loads((home / "draft.json").read_text())
    assert draft["machine"] == "2x24G"


async def test_models_are_suggested_while_typing(home: Path, size: tuple[int, int]) -> None:
    async with choosing(home, size, model__path="") as (pilot, screen):
        await pilot.press(*"qwen3-8")
        await until_seen(pilot, "Qwen/Qwen3-8B")
        screen.query_one("#suggestions", OptionList).focus()
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.values.get("model.path", "").startswith("Qwen/Qwen3-8"), "the model taken")


async def test_the_model_is_told_in_a_line(home: Path, size: tuple[int, int]) -> None:
    async with choosing(home, size) as (pilot, screen):
        await until_seen(pilot, "✓ 8.03 B parameters, 32 layers, up to 131,072 tokens")
        await pilot.press("x")
        await until_seen(pilot, "? not known on this machine")
        assert screen.outlook is not None


async def test_files_are_suggested_while_typing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answers.jsonl").write_text("{}\n")
    (tmp_path / "archive").mkdir()
    async with choosing(home, data__path="") as (pilot, screen):
        await pilot.press("pagedown")
        await until_seen(pilot, "archive/")
        await pilot.press(*"ans")
        await until(pilot, lambda: "archive/" not in text_of(pilot), "only what goes on")
        screen.query_one("#suggestions", OptionList).focus()
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.values.get("data.path") == "answers.jsonl", "the file taken")


async def test_rows_are_shown_as_the_model_will_see_them(home: Path, size: tuple[int, int]) -> None:
    values = {"model__path": str(DEMO / "model"), "data__path": str(DEMO / "data" / "train.jsonl")}
    async with choosing(home, size, machine="", **values) as (pilot, screen):
        await pilot.press("pagedown")
        preview = screen.query_one(DataPreview)
        await until(pilot, lambda: "learnt" in shown(preview), "the first rows")
        assert "messages" in shown(preview)
        assert "[<|bos|><|user|>" in shown(preview), "what is not learnt stands between brackets"
        await until(pilot, lambda: "none is cut" in shown(preview), "how long the rows are")
        await screen._set({"data.max_length": "16"})
        await until(pilot, lambda: "cut to 16" in shown(preview), "the rows at another length")


async def test_data_that_cannot_be_read_is_said_in_a_line(home: Path) -> None:
    async with choosing(home, machine="", model__path=str(DEMO / "model"), data__path="/no/such.jsonl") as (
        pilot,
        screen,
    ):
        await pilot.press("pagedown")
        await until(pilot, lambda: "✗ " in shown(screen.query_one(DataPreview)), "the reason")
        assert "/no/such.jsonl" in shown(screen.query_one(DataPreview))


def shown(preview: DataPreview) -> str:
    """All its lines, those out of sight too."""
    return "\n".join(str(line.content) for line in preview.query(Static))


async def test_a_path_too_long_to_exist_is_no_crash(home: Path) -> None:
    async with choosing(home, model__path="/" + "a" * 5000, data__path="b" * 5000) as (pilot, screen):
        await until_seen(pilot, "? not known on this machine")
        assert screen.outlook is not None
        assert screen.outlook.config is not None


async def test_steps_are_clicked(home: Path) -> None:
    async with choosing(home) as (pilot, screen):
        await pilot.click("#step-training")
        await until(pilot, lambda: screen.step.name == "training", "the step")
        await pilot.click("#step-review")
        await until(pilot, lambda: isinstance(pilot.app.screen, Review), "the review")


async def test_after_the_last_step_comes_the_review(home: Path, size: tuple[int, int]) -> None:
    async with choosing(home, size) as (pilot, _):
        await pilot.press(*["pagedown"] * 5)
        await until(pilot, lambda: isinstance(pilot.app.screen, Review), "the review")


async def test_a_machine_without_gpus_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with choosing(home, machine="") as (pilot, screen):
        assert screen.outlook is not None
        if screen.outlook.machine.cards:
            pytest.skip("this machine has GPUs")
        await until_seen(pilot, "Describe GPUs under Hardware")


async def test_a_value_that_cannot_be_is_told_where_it_stands_and_in_the_panel(home: Path) -> None:
    async with choosing(home, training__micro_batch_size="0") as (pilot, screen):
        assert screen.outlook is not None
        assert screen.outlook.config is None
        await until_seen(pilot, "Nothing is planned until")
        await until_seen(pilot, "Training ✗")


async def test_clearing_can_be_taken_back(home: Path) -> None:
    async with choosing(home) as (pilot, screen):
        await pilot.press("f9")
        await until(pilot, lambda: screen.values == {}, "empty")
        await pilot.press("f8")
        await until(pilot, lambda: screen.values == LLAMA, "as before")
