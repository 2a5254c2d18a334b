"""The screen of presets: how each stands here, what must change, and each key's effect."""

from __future__ import annotations

from typing import Any

import pytest
from support.nvml import Nvml, h200
from support.reviews import CHOSEN
from support.screen import press_together, text_of, until, until_seen
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from qltui.configs import loading, presets
from qltui.facts import gpus
from qltui.runs import store
from qltui.ui.app import QltuiApp
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.presets import Presets
from qltui.ui.screens.review import Review
from qltui.ui.screens.saving import Saving

A40 = {"name": "NVIDIA A40", "total": 46068, "reserved": 450, "capability": (8, 6)}
FSDP2 = "llama3-8b-qlora-fsdp2-4xa40"


@pytest.fixture
def two_a40(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "load_nvml", lambda: Nvml(h200(0, **A40), h200(1, **A40)))


async def chosen(pilot: Pilot[Any], name: str) -> Presets:
    """The screen with the cursor on a preset whose standing is known."""
    screen = pilot.app.screen
    assert isinstance(screen, Presets)
    await until(pilot, lambda: name in screen.outcomes or screen.presets.get(name), f"{name} listed")
    await until(
        pilot, lambda: screen.presets[name].config is None or name in screen.outcomes, f"{name} judged"
    )  # fmt: skip
    menu = screen.query_one(OptionList)
    menu.highlighted = menu.get_option_index(name)
    await until(pilot, lambda: screen.chosen == name, f"{name} chosen")
    await pilot.pause()
    return screen


def words_of(pilot: Pilot[Any]) -> str:
    return " ".join(text_of(pilot).split())


@pytest.mark.usefixtures("two_a40")
async def test_each_says_how_it_stands_here_and_what_would_change(size: tuple[int, int]) -> None:
    async with QltuiApp(Presets).run_test(size=size) as pilot:
        await chosen(pilot, FSDP2)
        await until_seen(pilot, "◆ adapted: 2 changes")
        seen = words_of(pilot)
        assert "here: 2 × NVIDIA A40" in seen
        assert "✓ fits here" in seen
        assert "Llama 3 8B in 4 bits on rows of 4096 tokens" in seen
        assert "Ranks per node 4 → 2 there are 2 GPUs here" in seen
        assert "Accumulation 4 → 8 a step takes 16 rows as it did" in seen
        about = pilot.app.screen.query_one("#about")
        about.scroll_end(animate=False)
        await until_seen(pilot, "rehearsed")
        seen = words_of(pilot)
        assert "qlora × fsdp2" in seen
        assert "for 4xA40" in seen
        assert "on 2 CPU ranks, torch" in seen


async def test_without_gpus_it_says_so_and_shows_the_plan_for_the_machine_that_was_meant(size: tuple[int, int]) -> None:
    async with QltuiApp(Presets).run_test(size=size) as pilot:
        await chosen(pilot, "llama3-8b-qlora-1x24g")
        await until_seen(pilot, "✗ needs a GPU")
        seen = words_of(pilot)
        assert "here: no GPU" in seen
        assert "It needs GPUs, and there is none here" in seen
        assert "On 1x24G, each GPU" in seen


@pytest.mark.usefixtures("two_a40")
async def test_the_review_is_of_the_adapted_run_with_its_changes() -> None:
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        screen = await chosen(pilot, FSDP2)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Review), "the review")
        await until_seen(pilot, "hardware.ranks_per_node: 4 -> 2")
        assert screen.outcomes[FSDP2].here.config.hardware.ranks_per_node == 2


@pytest.mark.usefixtures("two_a40")
async def test_what_must_change_is_shown_before_it_is_launched() -> None:
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        await chosen(pilot, FSDP2)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(pilot.app.screen, Review), "the review")
    assert store.directories() == []


async def test_keys_that_come_together_count_in_their_order() -> None:
    async with QltuiApp(Presets).run_test(size=(80, 24)) as pilot:
        screen = await chosen(pilot, "demo-cpu")
        press_together(pilot, "down", "down", "enter")
        await until_seen(pilot, f"Review · Preset {list(screen.presets)[2]}")


async def edited(pilot: Pilot[Any]) -> NewRun:
    """The form that a copy of the chosen preset is edited in."""
    await pilot.press("e")
    await until(pilot, lambda: isinstance(pilot.app.screen, NewRun), "the form")
    assert isinstance(pilot.app.screen, NewRun)
    return pilot.app.screen


@pytest.mark.usefixtures("two_a40")
async def test_the_form_begins_with_the_adapted_values() -> None:
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        await chosen(pilot, FSDP2)
        form = await edited(pilot)
        assert form.values["hardware.ranks_per_node"] == "2"
        assert form.values["training.gradient_accumulation_steps"] == "8"
        assert form.machine_text == ""


async def offered_as_machine(pilot: Pilot[Any]) -> str:
    """What the dialog that saves the run under review says it is planned for."""
    await until(pilot, lambda: isinstance(pilot.app.screen, Review), "the review")
    await until_seen(pilot, "p preset")
    await until_seen(pilot, "✓ ready")
    await pilot.press("p")
    await until(pilot, lambda: isinstance(pilot.app.screen, Saving), "the dialog")
    return pilot.app.screen.query_one("#machine", Input).value


@pytest.mark.usefixtures("two_a40")
@pytest.mark.parametrize(
    ("name", "machine"), [(FSDP2, "2xA40"), ("llama3-8b-qlora-1x24g", "1x24G"), ("demo-cpu", "cpu")]
)
async def test_a_preset_saved_anew_is_for_the_machine_it_was_made_to_fit(name: str, machine: str) -> None:
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        await chosen(pilot, name)
        await pilot.press("enter")
        assert await offered_as_machine(pilot) == machine


@pytest.mark.usefixtures("two_a40")
@pytest.mark.parametrize(
    ("device", "described", "machine"), [("cpu", "", "cpu"), ("auto", "", "2xA40"), ("auto", "3x47G", "3x47G")]
)
async def test_what_is_filled_in_is_for_the_machine_it_was_filled_in_for(
    device: str, described: str, machine: str
) -> None:
    values = CHOSEN | {"hardware.device": device}
    async with QltuiApp(lambda: NewRun(values, described)).run_test(size=(120, 36)) as pilot:
        await pilot.press("f2")
        assert await offered_as_machine(pilot) == machine


async def test_what_cannot_run_here_is_edited_for_the_machine_that_was_meant() -> None:
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        await chosen(pilot, FSDP2)
        form = await edited(pilot)
        assert (form.machine_text, form.values["hardware.ranks_per_node"]) == ("4xA40", "4")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
async def test_a_preset_of_ones_own_is_edited_whatever_its_file_looks_like(device: str) -> None:
    demo = presets.folder() / "demo"
    own = presets.user_folder() / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        f"model: {demo}/model\ndata: {demo}/data/train.jsonl\nmethod: lora\nstrategy: ddp\n"
        f"hardware: {{device: {device}, ranks_per_node: 2, planned_for: 2x24G}}\n"
    )
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        await chosen(pilot, "mine")
        form = await edited(pilot)
        ranks = form.values.get("hardware.ranks_per_node")
        assert (form.values["model.path"], form.values["hardware.device"]) == (f"{demo}/model", "cpu")
        assert ranks == ("2" if device == "cpu" else None), "what was adapted to be left open is"


async def test_what_was_saved_meanwhile_is_listed_on_return() -> None:
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        screen = await chosen(pilot, FSDP2)
        await pilot.press("question_mark")
        await until(pilot, lambda: pilot.app.screen is not screen, "the help")
        presets.save("later", loading.load("demo-cpu"), "saved meanwhile", "cpu")
        await pilot.press("escape")
        await until(pilot, lambda: "later" in screen.outcomes, "the new one judged")
        assert screen.chosen == FSDP2


async def test_a_launch_that_is_refused_says_why(size: tuple[int, int]) -> None:
    async with QltuiApp(Presets).run_test(size=size) as pilot:
        await chosen(pilot, "llama3-8b-qlora-1x24g")
        await pilot.press("l")
        await until_seen(pilot, "✗ not launched: hardware.device: cuda is asked for")
        await pilot.press("down")
        await until(pilot, lambda: "not launched" not in text_of(pilot), "the refusal of another preset gone")
    assert store.directories() == []


async def test_own_presets_are_marked_and_a_broken_one_hides_no_other(size: tuple[int, int]) -> None:
    presets.save("demo-cpu", loading.load("demo-cpu", ["training.max_steps=7"]), "My own", "cpu")
    broken = presets.user_folder() / "broken.yaml"
    broken.write_text("modell: x\n")
    async with QltuiApp(Presets).run_test(size=size) as pilot:
        screen = await chosen(pilot, "broken")
        await until_seen(pilot, "✗ This file cannot be used.")
        assert all(text in words_of(pilot) for text in ("broken · yours", "✗ cannot be read", "modell:"))
        await pilot.press("enter", "l", "e")
        assert pilot.app.screen is screen, "there is nothing to do with it"
        await chosen(pilot, "my:demo-cpu")
        await until_seen(pilot, "My own")
        form = await edited(pilot)
        assert form.values["training.max_steps"] == "7"


async def test_numbers_go_to_presets_and_clicks_show_and_review() -> None:
    async with QltuiApp(Presets).run_test(size=(120, 36)) as pilot:
        screen = await chosen(pilot, "demo-cpu")
        await pilot.press("3")
        assert screen.chosen == presets.bundled()[2]
        await pilot.click(OptionList, offset=(6, 1))
        await until(pilot, lambda: screen.chosen == presets.bundled()[1], "the second one")
        assert pilot.app.screen is screen
        await pilot.click(OptionList, offset=(6, 1))
        await until(pilot, lambda: isinstance(pilot.app.screen, Review), "the review")
