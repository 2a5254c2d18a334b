"""The form as it was left, so that a crash or a lost terminal costs nothing that was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config import FIELDS, get
from engine.events import read_json, write_json
from qltui.configs.writing import typed_text
from qltui.runs.store import runs_home
from qltui.ui.steps import NOT_ASKED

if TYPE_CHECKING:
    from pathlib import Path

    from engine.config import RunConfig

SCHEMA_VERSION = 1


def draft_path() -> Path:
    """Where the draft lies: the state folder."""
    return runs_home().parent / "draft.json"


def load() -> tuple[dict[str, str], str]:
    """The texts that were typed, by dotted path, and the GPUs that were described; empty where there is no draft."""
    draft = read_json(draft_path()) or {}
    values, machine = draft.get("values"), draft.get("machine")
    texts = {str(path): str(text) for path, text in values.items()} if isinstance(values, dict) else {}
    return texts, machine if isinstance(machine, str) else ""


def keep(values: dict[str, str], machine: str = "") -> str:
    """Keep the texts, and the GPUs that are described; why they are not kept, empty where they are."""
    try:
        save(values, machine)
    except OSError as error:
        return str(error.strerror)
    return ""


def save(values: dict[str, str], machine: str = "") -> None:
    """Keep the texts, and the GPUs that are described.

    Raises:
        OSError: the state folder cannot be written.
    """
    path = draft_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(path, {"schema_version": SCHEMA_VERSION, "values": values, "machine": machine})


def values_of(config: RunConfig) -> dict[str, str]:
    """What a configuration says otherwise than the defaults, as the form holds it."""
    told = {path: get(config, path) for path in FIELDS if path not in NOT_ASKED}
    return {path: typed_text(value) for path, value in told.items() if value != FIELDS[path].default}
