"""The Data step with the real helper process: columns mapped, and all that a path may turn out to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.screen import text_of, until, until_seen
from support.wizard import choosing, focused_field, to_step
from textual.widgets import Select, Static

from qltui.ui.screens.new_run import NewRun
from qltui.ui.widgets.column_mapping import ColumnMapping, Role
from qltui.ui.widgets.data_preview import DataPreview

DEMO = Path(__file__).parents[2] / "presets" / "demo"
MODEL = str(DEMO / "model")
TEN_GB = 10 * 1000**3


def shown(screen: NewRun) -> str:
    """All lines of the preview, those out of sight too."""
    return "\n".join(str(line.content) for line in screen.query_one(DataPreview).query(Static))


def choices(screen: NewRun) -> dict[str, object]:
    """What each of the format's columns is taken from."""
    return {role.role: select.value for role in screen.query(Role) for select in role.query(Select)}


async def test_without_a_model_it_is_said_what_is_wanted_to_show_rows(home: Path) -> None:
    rows = str(DEMO / "data" / "train.jsonl")
    async with choosing(home, machine="", model__path="", data__path=rows) as (pilot, screen):
        await to_step(pilot, "data")
        await until(pilot, lambda: "Choose a model to see the rows" in shown(screen), "what is wanted")
        await screen._set({"model.path": MODEL})
        await until(pilot, lambda: "learnt" in shown(screen), "the rows")


async def test_without_a_tokenizer_rows_stand_as_in_the_file_and_the_reason_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    rows = str(DEMO / "data" / "train.jsonl")
    async with choosing(home, machine="", model__path="org/model", data__path=rows) as (pilot, screen):
        await to_step(pilot, "data")
        await until(pilot, lambda: "as in the file" in shown(screen), "the rows")
        looking = [worker for worker in pilot.app.workers if worker.group == "preview"]
        await until(pilot, lambda: all(worker.is_finished for worker in looking), "all that is asked answered")
        assert '{"messages": [{"role": "user"' in shown(screen)
        assert shown(screen).count("the hub cannot be reached") == 1


async def test_columns_are_mapped_by_choosing_them(home: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"question": "Where to?", "reply": "Gullhaven.", "other": "x"}\n' * 20)
    async with choosing(home, (80, 24), machine="", model__path=MODEL, data__path=str(data)) as (pilot, screen):
        await to_step(pilot, "data")
        await until_seen(pilot, "columns: question, reply, other; choose a format")
        assert "fit no format" in shown(screen)
        await screen._set({"data.format": "prompt_completion"})
        await until(pilot, lambda: list(choices(screen)) == ["prompt", "completion"], "the format's columns")
        assert set(choices(screen).values()) == {Select.NULL}
        for role, keys in (("prompt", ["down", "enter"]), ("completion", ["down", "down", "enter"])):
            select = next(one for one in screen.query(Role) if one.role == role).query_one(Select)
            select.focus()
            await pilot.press("enter", *keys)
            await until(pilot, lambda select=select: select.value is not Select.NULL, f"{role} chosen")
        assert choices(screen) == {"prompt": "question", "completion": "reply"}
        await until(pilot, lambda: screen.values.get("data.columns") == "{prompt: question, completion: reply}", "set")
        await until(pilot, lambda: "[<|bos|>Where to?]" in shown(screen) and "Gullhaven." in shown(screen), "the rows")
        assert pilot.app.focused is select, "the cursor stays"
        await screen._set({"data.format": ""})
        await until(pilot, lambda: "prompt_completion" in shown(screen), "found by its columns")
        await pilot.press("f8", "f8")
        await until(pilot, lambda: choices(screen)["completion"] is Select.NULL, "taken back")
        await screen._set({"data.loss_on": "all"})
        await pilot.press("pagedown")
        await until(pilot, lambda: screen.step.name == "hardware", "another step")
        await pilot.pause(0.5)
        assert not screen.query_one(ColumnMapping).display, "an answer that comes late shows nothing elsewhere"


async def test_whatever_a_path_turns_out_to_be_is_said_in_a_line(home: Path, tmp_path: Path) -> None:
    binary, latin, wide, huge, gone, nothing = (
        tmp_path / f"{name}.jsonl" for name in ("binary", "latin", "wide", "huge", "gone", "nothing")
    )
    row = '{"prompt": "Where?", "completion": "Gullhaven."}\n'
    binary.write_bytes(os.urandom(4000))
    latin.write_bytes('{"prompt": "Où?", "completion": "Là-bas."}\n'.encode("latin-1"))
    wide.write_text('{"prompt": "どこへ？🙂👩‍👩‍👧", "completion": "港へ。🚢"}\n' * 3, "utf-8")
    gone.write_text(row)
    nothing.write_text("")
    with huge.open("w") as file:
        file.write(row * 2000)
        file.truncate(TEN_GB)
    async with choosing(home, (80, 24), machine="", model__path=MODEL, data__path=str(gone)) as (pilot, screen):
        await to_step(pilot, "data")

        async def at(path: Path | str, *expected: str) -> None:
            await screen._set({"data.path": str(path)})
            await until(pilot, lambda: all(part in shown(screen) for part in expected), f"{path}: {expected}")

        await until(pilot, lambda: "Gullhaven." in shown(screen), "the rows")
        gone.unlink()
        await until(pilot, lambda: focused_field(pilot) == "data.path", "the cursor in the path")
        await pilot.press("end", "x", "backspace")
        await until(pilot, lambda: "✗ " in shown(screen) and "gone.jsonl" in shown(screen), "vanished while typed")
        assert "Gullhaven." not in shown(screen)
        assert not screen.query_one(ColumnMapping).display
        await at(binary, "✗ ", "binary.jsonl")
        await at(latin, "✗ ", "latin.jsonl")
        await at(nothing, "✗ ", "nothing.jsonl")
        await at(tmp_path / "gone.jsonl" / "below", "✗ ")
        await at(tmp_path, "✗ ")
        await at(wide, "どこへ？🙂", "港へ。🚢")
        await until_seen(pilot, "prompt ←")
        await at(huge, "Gullhaven.", "tokens")
        assert "draft saved" in text_of(pilot)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
async def test_a_folder_that_cannot_be_read_is_no_crash(home: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    async with choosing(home, machine="", model__path=MODEL, data__path=f"{closed}/rows.jsonl") as (pilot, screen):
        await to_step(pilot, "data")
        await until(pilot, lambda: "✗ " in shown(screen), "the reason")
        await pilot.press("end", "x")
        await until(pilot, lambda: "rows.jsonlx" in shown(screen), "typing goes on")
