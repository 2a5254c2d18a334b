"""Training, Model, Hardware and the matrix's own keys, as a user meets them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from points import near
from support.screen import text_of, until, until_seen
from support.wizard import choosing, focused_field, moves, to_step, to_the_matrix
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from engine.config import FIELDS
from qltui.configs.hub import cached_models
from qltui.facts import measured
from qltui.ui import declared
from qltui.ui.screens.field_search import FieldSearch, matching
from qltui.ui.screens.help import Help
from qltui.ui.screens.new_run import NewRun
from qltui.ui.widgets.field_help import FieldHelp
from qltui.ui.widgets.model_facts import ModelFacts

NARROW = (80, 24)
"""Where there is least room."""
ROWS = '{"prompt": "a", "completion": "b"}\n'


def cache_model(cache: Path, name: str) -> None:
    """As the hub's library leaves a model that was fetched."""
    snapshot = cache / f"models--{name.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache with one model in it."""
    folder = tmp_path / "hub"
    cache_model(folder, "someone/fetched-7b")
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return folder


class Hub(http.server.BaseHTTPRequestHandler):
    """Knows one model."""

    def do_GET(self) -> None:
        there = self.path == "/api/models/someone/known"
        self.send_response(200 if there else 401)
        self.end_headers()
        self.wfile.write(b'{"gated": "manual"}' if there else b"{}")

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


async def test_the_global_batch_follows_every_key_and_is_divided_by_the_planner(
    home: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(ROWS * 1000)
    async with choosing(
        home, size, data__path=str(data), strategy__name="ddp", training__gradient_accumulation_steps="4"
    ) as (pilot, screen):
        await to_step(pilot, "training")
        await until_seen(pilot, "= 1 micro × 4 accumulated × 4 ranks")
        assert "62 steps an epoch · about " in text_of(pilot)
        entry = screen.query_one("#batch Input", Input)
        assert entry.value == "16"
        await screen.go_to("training.micro_batch_size")
        await pilot.press("2")
        await until_seen(pilot, "= 2 micro × 4 accumulated × 4 ranks")
        assert "31 steps an epoch" in text_of(pilot)
        await pilot.press("backspace", "0")
        await until_seen(pilot, "not known until the field that is wrong is mended")
        await pilot.press("backspace")
        entry.focus()
        await pilot.press(*"64", "enter")
        await until_seen(pilot, "✓ set training.micro_batch_size=")
        await until(pilot, lambda: screen.outlook and screen.outlook.batch and screen.outlook.batch.rows == 64, "64")
        outlook = screen.outlook
        assert outlook is not None
        assert outlook.batch is not None
        assert outlook.batch.micro > 1, "the card has room for more than a row"
        assert outlook.advice is not None
        assert outlook.advice.fit is not None
        assert outlook.advice.fit.is_safe
        await pilot.press("f8")
        await until_seen(pilot, "= 1 micro × 4 accumulated × 4 ranks")


async def test_what_ranks_cannot_divide_is_taken_as_near_as_it_goes(home: Path) -> None:
    async with choosing(home, machine="cpu", strategy__name="ddp", hardware__ranks_per_node="2") as (pilot, screen):
        await to_step(pilot, "training")
        entry = screen.query_one("#batch Input", Input)
        entry.focus()
        await pilot.press(*"7", "tab")
        await until_seen(pilot, "= 1 micro × 4 accumulated × 2 ranks")
        await until(pilot, lambda: entry.value == "8", "what it came to")


async def test_any_field_is_found_by_a_word(home: Path) -> None:
    async with choosing(home, NARROW) as (pilot, screen):
        await pilot.press("f3", *"clip")
        await until_seen(pilot, "training.max_grad_norm")
        await pilot.press("enter")
        await until(pilot, lambda: screen.step.name == "training", "its step")
        await until(pilot, lambda: focused_field(pilot) == "training.max_grad_norm", "the cursor in it")
        await pilot.press("f3", *"nothing is called so", "enter")
        await until_seen(pilot, "no field is called so")
        await pilot.press("escape")
        assert pilot.app.screen is screen
        await screen.go_to("training.epochs")
        button = next(one for one in screen.query("#find") if one.parent.parent.display)
        button.scroll_visible(animate=False)
        await pilot.pause()
        assert await pilot.click(button)
        await until(pilot, lambda: isinstance(pilot.app.screen, FieldSearch), "the search, by the mouse")
        assert await pilot.click(OptionList, offset=(4, 0))
        await until(pilot, lambda: focused_field(pilot) == "model.path", "the first field of all")


def test_the_search_ranks_names_before_meanings() -> None:
    found = [field.path for field in matching("rank")]
    assert found[0] == "hardware.ranks_per_node"
    assert "method.lora.rank" in found
    assert found.index("method.lora.rank") < found.index("strategy.name")
    assert len(matching("")) > 50
    rates = [field.path for field in matching("rate")]
    assert rates[0] == "training.learning_rate"
    assert rates.index("strategy.name") > 0, "the letters alone are no word of it"
    assert matching("max_length")[0].path == "data.max_length"


async def test_the_field_with_the_cursor_is_explained_and_keeps_it_when_mended(home: Path) -> None:
    async with choosing(home, NARROW, data__path="org/rows", data__max_length="999999") as (pilot, screen):
        await to_step(pilot, "training")
        await screen.go_to("data.max_length")
        await until_seen(pilot, "default 2048 · at least 8 · data.max_length or max_length")
        assert "Rows are cut at this length." in str(screen.query_one(FieldHelp).content)
        await until_seen(pilot, "▲ beyond-context-length")
        await pilot.press("up")
        await until(pilot, lambda: focused_field(pilot) == "method.lora.alpha", "the field before")
        await pilot.press("down", "f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help), "help")
        told = str(pilot.app.screen.query_one(Static).content)
        for part in ("Rows are cut at this length.", "a whole number, at least 8, tokens", "default   2048"):
            assert part in told
        assert "beyond-context-length" in told, "the rules that speak of it"
        assert "Step before" in told
        await pilot.press("f1", "f5")
        await until(pilot, lambda: screen.values.get("data.max_length") != "999999", "mended")
        assert focused_field(pilot) == "data.max_length"
        entry = pilot.app.focused
        assert isinstance(entry, Input)
        await until(pilot, lambda: entry.value == screen.values.get("data.max_length", ""), "the new value shown")


def test_every_field_tells_its_values_and_bounds() -> None:
    for field in FIELDS.values():
        assert all(told for _, told in declared.table(field)), field.path
    assert declared.values(FIELDS["training.gradient_checkpointing"]) == "none, all, a whole number, at least 1"
    assert declared.values(FIELDS["data.eval_fraction"]) == "a number, at least 0, less than 1"
    assert declared.default(FIELDS["method.lora.use_dora"]) == "default off"
    assert declared.default(FIELDS["model.path"]) == "must be given"
    assert declared.names(FIELDS["training.max_steps"]) == "training.max_steps or max_steps"


async def test_the_matrix_says_why_not_shows_evidence_and_help(home: Path) -> None:
    async with choosing(home, NARROW, method__name="full", training__optimizer="adamw_8bit") as (pilot, screen):
        matrix = await to_the_matrix(pilot)
        await until(pilot, lambda: matrix.square is not None, "squares")

        async def explained(*parts: str) -> None:
            await until(pilot, lambda: pilot.app.screen is not screen, "more")
            told = str(pilot.app.screen.query_one(Static).content)
            for part in parts:
                assert part in told
            await pilot.press("escape")
            assert pilot.app.screen is screen

        await pilot.press(*moves(matrix, "fsdp2", "full"), "w")
        await explained("engine-adamw-8bit-fsdp2", "source  ")
        await pilot.press("up", "up")
        assert await pilot.click("#why")
        await explained("✗ does not fit", "weights   ", "the card has")
        await pilot.press("down", "down", "right", "right", "right", "e")
        proven = ("2 x NVIDIA H200", "torch 2.11.0", "✓ passed: as it is", "2 CPU ranks", "GiB", "docs/verified.md")
        await explained(*proven)
        assert await pilot.click("#evidence")
        await explained(*proven)
        await pilot.press("f1")
        await explained("★ the planner's choice", "× a rule blocks it", "Take the square", "Where it was run")
        await pilot.press("down", "down", "down")
        assert await pilot.click("#take")
        await until(pilot, lambda: screen.values.get("strategy.name") == "zero3", "taken by the mouse")
        assert pilot.app.focused is matrix


def test_all_that_the_app_shows_as_measured_was_measured() -> None:
    assert measured.FILE.read_text("utf-8") == near.as_json(), "out of date: run `python -m points.near` in tests"
    found = measured.near("fsdp2", "qlora", 20 * 2**30)
    assert [one.method for one in found] == ["qlora"] * 4
    assert abs(found[0].allocated - 20 * 2**30) < abs(found[-1].allocated - 20 * 2**30)


async def test_nodes_are_told(home: Path) -> None:
    async with choosing(home, NARROW, machine="2n8xH100-80") as (pilot, screen):
        await to_step(pilot, "hardware")
        await until_seen(pilot, "described: 2 nodes of 8 x H100 SXM, 16 GPUs")
        assert "takes hardware.nodes=2 and hardware.hosts" in text_of(pilot)
        assert screen.query_one("#machine Input", Input).value == "2n8xH100-80", "what was described before"
        assert "79.1 GiB a GPU" in text_of(pilot)


async def test_models_on_disk_are_suggested_first_and_told(home: Path, cache: Path, size: tuple[int, int]) -> None:
    async with choosing(home, size) as (pilot, screen):
        await until(pilot, lambda: "○ not on disk: a launch fetches about 15.0 GiB" in facts(screen), "what it takes")
        await screen._set({"model.path": ""})
        await until_seen(pilot, "● on disk")
        options = screen.query_one("#suggestions", OptionList)
        assert options.get_option_at_index(0).id == "someone/fetched-7b"
        assert "○ not on disk" in text_of(pilot)
        await pilot.press(*"fetched")
        await until(pilot, lambda: options.option_count == 1, "what goes on")
        await pilot.press("down")
        await until(pilot, lambda: pilot.app.focused is options, "the cursor among the suggestions")
        await pilot.press("up")
        await until(pilot, lambda: focused_field(pilot) == "model.path", "and back")
        await pilot.press("down", "enter")
        await until(pilot, lambda: screen.values.get("model.path") == "someone/fetched-7b", "taken")
        await until(pilot, lambda: "● on disk, in the hub's cache" in facts(screen), "where it is")


async def test_the_hub_is_asked_when_told_to_and_else_what_is_here_is_offered(
    home: Path, cache: Path, hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with choosing(home, NARROW, model__path="someone/known") as (pilot, screen):
        assert "the hub has it" not in facts(screen), "nobody asked for it"
        await ask(pilot, screen)
        await until(pilot, lambda: "✓ the hub has it, for those who accepted" in facts(screen), "there")
        await pilot.press("x")
        await ask(pilot, screen)
        await until(pilot, lambda: "✗ the hub shows no such model" in facts(screen), "not there")
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        await pilot.press("y")
        await ask(pilot, screen)
        await until(pilot, lambda: "▲ the hub cannot be reached" in facts(screen), "no network")
        assert "on disk: someone/fetched-7b" in facts(screen)
        options = screen.query_one("#suggestions", OptionList)
        assert [option.id for option in options.options] == ["someone/fetched-7b"]
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        await pilot.press("z")
        await until(pilot, lambda: "HF_HUB_OFFLINE forbids fetching it" in facts(screen), "said at once")
        assert "on disk: someone/fetched-7b" in facts(screen)


def test_a_broken_cache_of_the_hub_holds_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file"))
    assert cached_models() == []


async def ask(pilot: Pilot[Any], screen: NewRun) -> None:
    """Take the last suggestion, which asks the hub, and go back to the field."""
    options = screen.query_one("#suggestions", OptionList)
    await until(pilot, lambda: any((one.id or "").startswith("ask the hub") for one in options.options), "the offer")
    options.focus()
    await pilot.press("end", "enter")
    screen.query_one("#form Input", Input).focus()
    await pilot.press("end")


def facts(screen: NewRun) -> str:
    return str(screen.query_one(ModelFacts).content)
