"""Screens that are opened from others, and dialogs over them, as they were when somebody last looked at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

from support.album import album
from support.screen import until, until_on, until_seen
from support.wizard import moves, to_the_matrix

from qltui.cli.commands.rehearse import _document
from qltui.configs.loading import load
from qltui.runs.rehearsal import Outcome, Proof
from qltui.runs.rehearsal_job import RehearsalJob
from qltui.runs.rehearsal_plan import Change
from qltui.runs.store import RunDirectory
from qltui.ui.screens.explanation import Explanation
from qltui.ui.screens.exporting import Exporting
from qltui.ui.screens.field_search import FieldSearch
from qltui.ui.screens.help import Help
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.rehearsing import Rehearsing
from qltui.ui.screens.saving import Saving

CHOSEN = {"model.path": "meta-llama/Llama-3.1-8B", "method.name": "int8", "training.learning_rate": "1e-4"}
PRESET = "llama3-8b-qlora-fsdp2-4xa40"
LINES = [
    "the model: 4 of 32 layers, 64 of 4096 hidden, as Llama 3",
    "2 CPU ranks, fsdp2, qlora: training 6 steps",
    "step 3 of 6, loss 4.1",
]
OUTCOME = Outcome(
    run=RunDirectory(Path("llama3-8b-qlora-fsdp2-4xa40-rehearsal")), ranks=2,
    changed=[Change("training.max_steps", "120", "6", "a few steps show whether it works")],
    proven=[
        Proof("training", "6 steps on 2 CPU ranks"), Proof("sharding audit", "passed: 0.5 of 2"),
        Proof("stop and resume", "stopped at step 3, resumed, ended at step 6"),
        Proof("adapter", "reopened by PEFT; 56 tensors are equal to those that were trained"),
    ],
    unproven=["memory and time: they are planned, not measured", "what is learnt"], audits={}, plan={}, failure=None,
)  # fmt: skip


class Recorded(NamedTuple):
    """A rehearsal at a moment that can be looked at again."""

    outcome: dict[str, Any] | None = None
    seconds: float = 21.0
    lines: list[str] = LINES
    is_cancelled: bool = False
    name: str = PRESET

    @property
    def is_running(self) -> bool:
        return self.outcome is None


async def test_rehearsals(home: Path, size: tuple[int, int]) -> None:
    async with album(size) as (taken, app):
        for name, job in (("rehearsing", Recorded()), ("rehearsed", Recorded(_document(OUTCOME), 74.0))):
            await app.push_screen(Rehearsing(cast(RehearsalJob, job)))
            await taken.take(name)


async def test_presets_and_exports(home: Path, size: tuple[int, int]) -> None:
    async with album(size) as (taken, app):
        app.push_screen(Saving(load(PRESET), "4xA40"))
        await until_on(taken.pilot, Saving)
        await taken.take("saving")
        await taken.pilot.press("enter", "escape")
        await app.push_screen(Exporting(load(PRESET)))
        await until_seen(taken.pilot, "model_name_or_path")
        await taken.take("exporting")


async def test_the_wizards_dialogs(home: Path, size: tuple[int, int]) -> None:
    async with album(size, lambda: NewRun(CHOSEN, "4xA40")) as (taken, app):
        screen = app.screen
        assert isinstance(screen, NewRun)
        await until(taken.pilot, lambda: screen.outlook is not None, "what the choices come to")
        await taken.pilot.press("f3", *"rate")
        await until_on(taken.pilot, FieldSearch)
        await taken.take("field-search")
        await taken.pilot.press("enter")
        await until(taken.pilot, lambda: screen.step.name == "training", "the field's step")
        await taken.pilot.press("f1")
        await until_on(taken.pilot, Help)
        await taken.take("help-field")
        await taken.pilot.press("escape", *["pageup"] * 4)
        matrix = await to_the_matrix(taken.pilot)
        await until(taken.pilot, lambda: matrix.square is not None, "the squares")
        await taken.pilot.press(*moves(matrix, "fsdp2", "qlora"))
        for key, dialog, name in (
            ("f1", Help, "help-matrix"), ("w", Explanation, "matrix-why"), ("e", Explanation, "matrix-evidence"),
        ):  # fmt: skip
            await taken.pilot.press(key)
            await until_on(taken.pilot, dialog)
            await taken.take(name)
            await taken.pilot.press("escape")
