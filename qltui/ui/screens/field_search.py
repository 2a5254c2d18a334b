"""Any field by a word of it: Enter goes there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.config import FIELDS
from qltui.ui import declared, words
from qltui.ui.steps import NOT_ASKED, step_of
from qltui.ui.widgets.config_form import FLAG_WORDS
from qltui.ui.widgets.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult

    from engine.config import Field

LABEL, VALUE = 22, 16


class FieldSearch(ModalScreen[str]):
    """Returns the path of the field that was chosen; None if none was."""

    CSS = """
    FieldSearch {
        & Input { background: $panel; padding: 0 1; height: 1; margin-bottom: 1; }
        & OptionList { height: auto; max-height: 16; background: $surface; border: none; padding: 0; }
        &.-short OptionList { max-height: 9; }
        & #about { height: 3; margin-top: 1; }
        & .dialog { width: 84; }
    }
    """
    BINDINGS = [
        Binding("escape,f3", "dismiss", "close", id="field-search.close", tooltip="Back to the form"),
        Binding("down", "move(1)", "down", show=False, id="field-search.down", priority=True, tooltip="Next one"),
        Binding("up", "move(-1)", "up", show=False, id="field-search.up", priority=True, tooltip="One before"),
    ]

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__()
        self._values = values

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Find a field"
            entry = Entry(placeholder="a word of its name or meaning", compact=True)
            yield entry
            yield OptionList(markup=False)
            yield Static(id="about", markup=False)

    def on_mount(self) -> None:
        self._find("")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._find(event.value)

    def _find(self, text: str) -> None:
        found = self.query_one(OptionList)
        found.clear_options()
        found.add_options(Option(line(field, self._values), id=field.path) for field in matching(text))
        found.highlighted = 0 if found.option_count else None
        if not found.option_count:
            self.query_one("#about", Static).update(Content.styled("no field is called so", "$muted"))

    @on(OptionList.OptionHighlighted)
    def _tell(self, event: OptionList.OptionHighlighted) -> None:
        field = FIELDS[event.option_id or ""]
        about = Content.styled(f"{step_of(field.path).title}: {declared.line(field)}", "$muted")
        self.query_one("#about", Static).update(Content(f"{field.meaning}\n") + about)

    def action_move(self, by: int) -> None:
        """Move in the list while the cursor stays where one types."""
        found = self.query_one(OptionList)
        if found.option_count:
            found.highlighted = ((found.highlighted or 0) + by) % found.option_count

    @on(Input.Submitted)
    def _take(self, event: Input.Submitted) -> None:
        found = self.query_one(OptionList)
        if found.highlighted is not None:
            self.dismiss(found.get_option_at_index(found.highlighted).id)

    @on(OptionList.OptionSelected)
    def _click(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)


def matching(text: str) -> list[Field]:
    """Fields with every word of ``text`` in label, path or meaning.

    Those come first whose label begins with it, then those with words that begin so in label or path ("rate" is a word
    of the learning rate, and not of the strategy), then those with it anywhere in these.
    """
    wanted = text.lower().split()
    found: list[tuple[int, Field]] = []
    for path, field in FIELDS.items():
        name = f"{field.label} {path}".lower()
        whole = f"{name} {field.meaning} {' '.join(field.choices)}".lower()
        if path not in NOT_ASKED and all(word in whole for word in wanted):
            parts = re.split(r"[^a-z0-9]+", name)
            ranks = (
                bool(wanted) and field.label.lower().startswith(wanted[0]),
                all(any(part.startswith(word) for part in parts) for word in wanted),
                all(word in name for word in wanted),
                True,
            )
            found.append((ranks.index(True), field))
    return [field for _, field in sorted(found, key=lambda one: one[0])]


def line(field: Field, values: Mapping[str, str]) -> Content:
    """A field in a line: what it is called, what it is, where it stands."""
    value = values.get(field.path, "")
    text = value or field.default_text
    shown = words.plain(FLAG_WORDS.get(text, text))[: VALUE - 2].ljust(VALUE)
    return Content.assemble(
        (field.label.ljust(LABEL), "bold"), (shown, "$accent" if value else "$muted"), (field.path, "$muted")
    )
