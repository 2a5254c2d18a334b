"""The form as it was left, so that a crash or a lost terminal costs nothing that was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.events import read_json, write_json
from qltui.runs.store import runs_home

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1


def draft_path() -> Path:
    """Where the draft lies: the state folder."""
    return runs_home().parent / "draft.json"


def load() -> dict[str, str]:
    """The texts that were typed, by dotted path; empty if there is no draft or none that can be read."""
    draft = read_json(draft_path()) or {}
    values = draft.get("values")
    return {str(path): str(text) for path, text in values.items()} if isinstance(values, dict) else {}


def save(values: dict[str, str]) -> None:
    """Keep the texts.

    Raises:
        OSError: the state folder cannot be written.
    """
    path = draft_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(path, {"schema_version": SCHEMA_VERSION, "values": values})
