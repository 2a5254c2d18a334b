"""The form as it was left, so that a crash or a lost terminal costs nothing that was typed."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from engine.config import FIELDS, get
from engine.config.reading import parse_assignment, read
from engine.events import read_json, write_json
from qltui.configs.writing import typed_text
from qltui.facts import machine as machines
from qltui.runs.store import runs_home
from qltui.ui.steps import NOT_ASKED

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.config import RunConfig

SCHEMA_VERSION = 1


def draft_path() -> Path:
    """Where the draft lies: the state folder."""
    return runs_home().parent / "draft.json"


def load() -> tuple[dict[str, str], str]:
    """The texts that were typed, by dotted path, and the GPUs that were described; empty where there are none."""
    draft = read_json(draft_path()) or {}
    values, machine = draft.get("values"), draft.get("machine")
    texts = {str(path): str(text) for path, text in values.items()} if isinstance(values, dict) else {}
    try:
        machines.parse(str(machine))
    except machines.UnknownMachine:
        return texts, ""
    return texts, str(machine)


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


class Keeper:
    """Keeps up with what is chosen, from any thread: what was chosen last is what is kept in the end."""

    def __init__(self, chosen: Callable[[], tuple[dict[str, str], str]]) -> None:
        """``chosen`` gives the texts and the described GPUs as they are now."""
        self._chosen = chosen
        self._saving = Lock()
        self.is_behind = False
        """Whether something was chosen since; who changes it says so."""

    def catch_up(self) -> str:
        """Save what is chosen by now, unless it is; why that could not be, else empty."""
        with self._saving:
            if not self.is_behind:
                return ""
            self.is_behind = False
            return keep(*self._chosen())


def read_values(values: dict[str, str]) -> RunConfig:
    """The RunConfig that texts by dotted path stand for; relative paths count from the working directory.

    Raises:
        ConfigError: something is missing or wrong; every problem at once.
    """
    given = dict(parse_assignment(f"{path}={text}") for path, text in values.items())
    return read({}, where="", base=Path.cwd(), assignments=given)
