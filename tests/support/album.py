"""Screens compared with how they were when somebody last looked at them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from qltui.ui.app import QltuiApp
from qltui.ui.screens.home import Home
from support.snapshots import differs, settled

FOLDER = Path(__file__).parents[1] / "snapshots"
NOW = 1_800_000_000.0


class Album:
    """Compares screens with those that were kept, and tells of all that differ."""

    def __init__(self, pilot: Pilot[Any], size: tuple[int, int]) -> None:
        self.pilot, self.size = pilot, size
        self.found: list[str] = []

    async def take(self, name: str) -> None:
        """Compare what is on screen with what was kept by this name."""
        file = FOLDER / f"{name}-{self.size[0]}x{self.size[1]}.txt"
        if told := differs(file, await settled(self.pilot)):
            self.found.append(told)


@asynccontextmanager
async def album(size: tuple[int, int], first: Any = Home) -> AsyncIterator[tuple[Album, QltuiApp]]:
    app = QltuiApp(first)
    async with app.run_test(size=size) as pilot:
        taken = Album(pilot, size)
        yield taken, app
    assert not taken.found, "\n\n".join(taken.found)
