"""The wizard opened on a draft, and ways to its steps."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from qltui.ui.app import QltuiApp
from qltui.ui.screens.new_run import NewRun
from qltui.ui.steps import STEPS
from qltui.ui.widgets.config_form import FieldRow
from qltui.ui.widgets.strategy_matrix import StrategyMatrix
from support.screen import until

LLAMA = {"model.path": "meta-llama/Llama-3.1-8B", "data.path": "rows.jsonl"}


@asynccontextmanager
async def choosing(
    home: Path, size: tuple[int, int] = (120, 36), machine: str = "4xA40", **values: str
) -> AsyncIterator[tuple[Pilot[Any], NewRun]]:
    """The wizard with a draft, on a described machine; ``data__path`` stands for ``data.path``."""
    home.mkdir(exist_ok=True)
    texts = {**LLAMA, **{path.replace("__", "."): text for path, text in values.items()}}
    (home / "draft.json").write_text(json.dumps({"schema_version": 1, "values": texts, "machine": machine}))
    async with QltuiApp(NewRun).run_test(size=size) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, NewRun)
        await until(pilot, lambda: screen.outlook is not None, "what the choices come to")
        yield pilot, screen


async def to_step(pilot: Pilot[Any], name: str) -> None:
    """Go on to a step."""
    screen = pilot.app.screen
    assert isinstance(screen, NewRun)
    place = [step.name for step in STEPS].index(name)
    await pilot.press(*["pagedown"] * (place - STEPS.index(screen.step)))
    await until(pilot, lambda: screen.step.name == name, f"step {name}")


def focused_field(pilot: Pilot[Any]) -> str:
    """Path of the field with the cursor."""
    around = pilot.app.focused.ancestors_with_self if pilot.app.focused else ()
    return next((one.field.path for one in around if isinstance(one, FieldRow)), "")


async def to_the_matrix(pilot: Pilot[Any]) -> StrategyMatrix:
    """Go on to the matrix, with the cursor in it."""
    await to_step(pilot, "method")
    matrix = pilot.app.screen.query_one(StrategyMatrix)
    await until(pilot, lambda: pilot.app.focused is matrix, "the cursor in the matrix")
    return matrix


def moves(matrix: StrategyMatrix, row: str, column: str) -> list[str]:
    """The keys from the square with the cursor to another."""
    places = [[square.place for square in line] for line in matrix._squares]
    assert matrix.square is not None
    (y, x), (to_y, to_x) = (
        next((y, line.index(place)) for y, line in enumerate(places) if place in line)
        for place in (matrix.square.place, (row, column))
    )
    return ["down"] * (to_y - y) + ["up"] * (y - to_y) + ["right"] * (to_x - x) + ["left"] * (x - to_x)
