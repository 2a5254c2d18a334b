"""Which presets were rehearsed on CPU ranks, when, with which versions, and what that proved.

``rehearsed.json`` beside this file is what ``tests/rehearse_presets.py`` wrote.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("rehearsed.json")


class Rehearsed(NamedTuple):
    """What came of a preset's rehearsal, which went well."""

    content: str
    """Of the preset that was rehearsed: ``qltui.configs.presets.content``."""
    date: str
    """YYYY-MM-DD."""
    ranks: int
    versions: dict[str, str]
    proven: list[dict[str, str]]
    """``what`` and ``detail`` of each thing that was seen to work."""
    unproven: list[str]
    audits: dict[str, str]

    @property
    def summary(self) -> str:
        """In a few words: ``2 CPU ranks, torch 2.13.0, 2026-11-22``."""
        ranks = f"{self.ranks} CPU rank{'s' * (self.ranks > 1)}"
        return f"{ranks}, torch {self.versions['torch'].partition('+')[0]}, {self.date}"


def rehearsed(file: Path = FILE) -> dict[str, Rehearsed]:
    """By the preset's name; empty where nothing was."""
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_bytes())["presets"]
    return {name: Rehearsed(**{field: one[field] for field in Rehearsed._fields}) for name, one in found.items()}
