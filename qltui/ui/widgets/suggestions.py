"""What may be meant by what is typed: models on disk or well known, files and folders; Enter or a click takes one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on, work
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from qltui.configs import hub
from qltui.facts.models import known
from qltui.ui import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST = 40
"""Suggestions shown at once."""
MOST_ENTRIES = 4000
"""Of a folder, that are looked at."""
PATHS = ("model.path", "data.path", "data.eval_path")
"""Fields that are suggested something for."""
ON_DISK, ELSEWHERE = "● on disk", "○ not on disk"
ASK = "ask the hub for "


class Suggestion(NamedTuple):
    """A value, and what is known of it."""

    value: str
    note: str = ""


class Suggestions(OptionList):
    """Values for one field."""

    DEFAULT_CSS = """
    Suggestions {
        height: 1fr;
        min-height: 4;
        border: none;
        border-top: solid $rule;
        padding: 0 1;
        &:focus { border: none; border-top: solid $primary; }
    }
    """
    BINDINGS: ClassVar[list[Binding | tuple[str, str] | tuple[str, str, str]]] = [
        Binding("up", "up", show=False, id="suggestions.up", tooltip="One before; from the first, back to the field"),
    ]

    class Taken(Message):
        """A value was chosen for a field."""

        def __init__(self, path: str, value: str) -> None:
            super().__init__()
            self.path = path
            self.value = value

    class Left(Message):
        """The cursor goes back to the field."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    class AskHub(Message):
        """The hub is to be asked for a model."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.path = ""
        """The field that is suggested something for."""
        self._text = ""
        self._cached: list[str] = []
        self._asked = ""
        """The model that the hub did not answer for: what is on disk is offered in its place."""

    def on_mount(self) -> None:
        self.look_around()

    @work(thread=True, exclusive=True, group="hub-cache", exit_on_error=False)
    def look_around(self) -> None:
        """Read the hub's cache, which may lie on a slow disk."""
        cached = hub.cached_models()
        self.app.call_from_thread(self._know, cached)

    def _know(self, cached: list[str]) -> None:
        if cached != self._cached:
            self._cached = cached
            if self.path:
                self.show(self.path, self._text)

    @property
    def cached(self) -> Sequence[str]:
        """Models in the hub's cache."""
        return self._cached

    def offer_what_is_here(self, name: str) -> None:
        """Offer models on disk in place of ``name``, which cannot be had."""
        self._asked = name
        self.show(self.path, self._text)

    def show(self, path: str, text: str) -> None:
        """Suggest values of the field ``path`` that go on with ``text``."""
        self.path, self._text = path, text
        self.clear_options()
        found = list(dict.fromkeys(suggested(path, text, self._cached)))
        if path == "model.path" and text.strip() == self._asked and self._asked:
            found = [Suggestion(name, ON_DISK) for name in self._cached]
        found = [one for one in found if one.value != text.strip()]  # that is there already
        column = max((len(one.value) for one in found), default=0) + 3
        self.add_options(
            Option(Content.assemble(words.plain(one.value).ljust(column), (one.note, "$muted")), id=one.value)
            for one in found
        )
        self.display = bool(found)

    def enter(self) -> None:
        """Take the cursor, to the first one."""
        self.highlighted = 0
        self.screen.set_focus(self)  # now: the next key may be here already

    def action_up(self) -> None:
        """From the first one back to the field."""
        if self.highlighted:
            self.action_cursor_up()
        else:
            self.post_message(self.Left(self.path))

    @on(OptionList.OptionSelected)
    def _take(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is None:
            return
        if event.option_id.startswith(ASK):
            self.post_message(self.AskHub(event.option_id.removeprefix(ASK)))
        else:
            self.post_message(self.Taken(self.path, event.option_id))


def suggested(path: str, text: str, cached: Sequence[str] = ()) -> Iterable[Suggestion]:
    """Values of a field that go on with what was typed, the likeliest first; ``cached`` names models on disk."""
    text = text.strip()
    if path == "model.path" and not text.startswith((".", "/", "~")):
        yield from matching_models(text, cached)
    if path in PATHS and (path != "model.path" or "/" in text or text.startswith((".", "~"))):
        for name in matching_files(text, folders_alone=path == "model.path"):
            yield Suggestion(name)
    if path == "model.path" and "/" in text and hub.is_hub_id(text) and text not in cached and not os.path.isdir(text):
        yield Suggestion(ASK + text)


def matching_models(text: str, cached: Sequence[str] = ()) -> list[Suggestion]:
    """Models with all words of ``text`` in their names, in any case: those on disk first, then those of the table."""
    wanted = text.lower().replace("/", " ").split()
    here = set(cached)
    names = [*cached, *(name for name in known.names() if name not in here)]
    found = [name for name in names if all(word in name.lower() for word in wanted)]
    return [Suggestion(name, ON_DISK if name in here else ELSEWHERE) for name in found[:MOST]]


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
