"""The review of the demo, and what is read on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from qltui.configs.loading import load
from qltui.ui.screens.review import Review
from qltui.ui.widgets.source_text import SourceText
from support.screen import text_of

DEMO = Path(__file__).parents[2] / "presets" / "demo"
CHOSEN = {
    "model.path": str(DEMO / "model"), "data.path": str(DEMO / "data" / "train.jsonl"), "hardware.device": "cpu",
    "strategy.name": "single",
}  # fmt: skip
"""A form that is ready to be reviewed."""


def demo(*assignments: str, **options: Any) -> Callable[[], Review]:
    """The review of the demo with some fields set."""
    return lambda: Review("demo", lambda: load("demo-cpu", assignments), "qltui launch demo-cpu", **options)


def shown(pilot: Pilot[Any]) -> str:
    """All that is on screen, in one line and without frames."""
    return " ".join(text_of(pilot).replace("│", " ").split())


def source(pilot: Pilot[Any]) -> str:
    """The text of the file that is shown, what has no room included."""
    return pilot.app.screen.query_one(SourceText).text
