"""What may be meant by what is typed: models of the table, files and folders; Enter or a click takes one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from qltui.facts.models import known
from qltui.ui import words

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 40
"""Suggestions shown at once."""
MOST_ENTRIES = 4000
"""Of a folder, that are looked at."""
PATHS = ("model.path", "data.path", "data.eval_path")
"""Fields that are suggested something for."""


class Suggestions(OptionList):
    """Values for one field."""

    DEFAULT_CSS = """
    Suggestions { height: 1fr; min-height: 4; border: none; border-top: solid $rule; padding: 0 1; }
    """

    class Taken(Message):
        """A value was chosen for a field."""

        def __init__(self, path: str, value: str) -> None:
            super().__init__()
            self.path = path
            self.value = value

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._path = ""

    def show(self, path: str, text: str) -> None:
        """Suggest values of the field ``path`` that go on with ``text``."""
        self._path = path
        self.clear_options()
        found = list(suggested(path, text))
        self.add_options(Option(Content(words.plain(value)), id=value) for value in dict.fromkeys(found))
        self.display = bool(found) and found != [text.strip()]  # nothing else is meant

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.Taken(self._path, event.option_id))


def suggested(path: str, text: str) -> Iterable[str]:
    """Values of a field that go on with what was typed, the likeliest first."""
    text = text.strip()
    if path == "model.path":
        yield from matching_models(text)
    if path in PATHS and (path != "model.path" or text.startswith((".", "/", "~"))):
        yield from matching_files(text, folders_alone=path == "model.path")


def matching_models(text: str) -> list[str]:
    """Names of the table with all words of ``text`` in them, in any case."""
    wanted = text.lower().replace("/", " ").split()
    return [name for name in known.names() if all(word in name.lower() for word in wanted)][:MOST]


def matching_files(text: str, *, folders_alone: bool) -> list[str]:
    """Files and folders whose path begins with ``text``; none where they cannot be read."""
    folder, _, begin = text.rpartition("/")
    shown = f"{folder}/" if "/" in text else ""
    found: list[str] = []
    try:
        with os.scandir(Path(shown or ".").expanduser()) as entries:
            for number, entry in enumerate(entries):
                if number >= MOST_ENTRIES:
                    break
                if not entry.name.startswith(begin or "") or (entry.name.startswith(".") and not begin):
                    continue
                is_folder = entry.is_dir()
                if is_folder or not folders_alone:
                    found.append(f"{shown}{entry.name}{'/' if is_folder else ''}")
    except (OSError, ValueError, RuntimeError):
        return []
    return sorted(found, key=lambda name: (not name.endswith("/"), name))[:MOST]
