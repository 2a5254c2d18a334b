"""A form made from the declaration of RunConfig: nothing is said here that a field does not say of itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Select, Static

from engine.config.cells import not_built
from engine.config.reading import parse_assignment
from engine.config.schema import ConfigError, Field, as_text, convert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.widget import Widget

CHOSEN = ("choice", "flag")
"""Kinds of fields whose value is picked from a list; all others are typed."""

FLAG_WORDS = {"true": "on", "false": "off"}
"""A flag's values and how they read. A list and not a tick box, whose tick is told by its colour alone."""


def problem_with(field: Field, text: str) -> str | None:
    """Why ``text`` cannot be a field's value, or None if it can. Empty text means the default."""
    if not text.strip():
        return "must be given." if field.required else None
    try:
        _, value = parse_assignment(f"{field.path}={text}")
        value = convert(field, value)
    except ConfigError as error:
        return error.problems[0].message
    except ValueError as error:
        return str(error)
    return not_built(field.path, value)


def help_text(field: Field) -> str:
    """A field's line of help: what it means, its unit, its default."""
    parts = [field.unit] if field.unit else []
    if field.required:
        parts.append("required")
    elif field.default_text and field.kind not in CHOSEN:
        parts.append(f"default {field.default_text}")
    return f"{field.meaning}  {', '.join(parts)}".rstrip()


class FieldRow(Vertical):
    """One field: its label, a widget that suits its kind, its help, and what is wrong with what was typed."""

    class Changed(Message):
        """The text of a field is another now; '' where it stands at its default."""

        def __init__(self, row: FieldRow, text: str) -> None:
            super().__init__()
            self.row = row
            self.text = text

    def __init__(self, field: Field, text: str) -> None:
        super().__init__(classes="field")
        self.field = field
        self._text = text

    def compose(self) -> ComposeResult:
        with Horizontal(classes="entry"):
            yield Static(self.field.label, classes="label", markup=False)
            yield self._widget()
        yield Static(help_text(self.field), classes="help", markup=False)
        yield Static(classes="problem", markup=False)

    def on_mount(self) -> None:
        self._judge(self._text)

    def _widget(self) -> Widget:
        field, text = self.field, self._text
        if field.kind in CHOSEN:
            choices = FLAG_WORDS if field.kind == "flag" else {choice: choice for choice in field.choices}
            chosen = text if text in choices else field.default_text
            options = [(word, value) for value, word in choices.items()]
            return Select(options, value=chosen, allow_blank=False, compact=True)
        entry = Input(text, placeholder=field.default_text, compact=True, select_on_focus=False)
        entry.cursor_blink = False  # every blink travels over the line
        return entry

    @on(Input.Changed)
    @on(Select.Changed)
    def _changed(self, event: Input.Changed | Select.Changed) -> None:
        event.stop()
        text = as_text(event.value)
        if self.field.kind in CHOSEN and text == self.field.default_text:
            text = ""
        if text == self._text:
            return
        self._text = text
        self._judge(text)
        self.post_message(self.Changed(self, text))

    def _judge(self, text: str) -> None:
        problem = problem_with(self.field, text)
        line = self.query_one(".problem", Static)
        # An empty form is not scolded: what is missing is told when it is reviewed.
        line.display = bool(problem) and bool(text.strip())
        line.update(f"✗ {problem}")
        self.set_class(line.display, "-wrong")


class ConfigForm(VerticalScroll):
    """Fields with their texts; those few people need are folded away until asked for."""

    DEFAULT_CSS = """
    ConfigForm {
        & .field { height: auto; margin-bottom: 1; }
        & .entry { height: 1; }
        & .label { width: 22; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
        & .field:focus-within .label { color: $primary; }
        & Input { width: 1fr; background: $panel; padding: 0 1; height: 1; }
        & Input:focus { background: $boost; }
        & Select { width: 1fr; }
        & SelectCurrent { background: $panel; padding: 0 1; }
        & .help { width: 100%; color: $muted; padding-left: 22; height: auto; }
        & .problem { width: 100%; color: $error; padding-left: 22; display: none; }
        & .-wrong .label { color: $error; }
        & #fold { margin-bottom: 1; background: $background; color: $accent; }
    }
    """

    class Changed(Message):
        """A field's text is another now; '' where it stands at its default."""

        def __init__(self, path: str, text: str) -> None:
            super().__init__()
            self.path = path
            self.text = text

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=False)
        self._advanced: list[FieldRow] = []
        self.unfolded = False
        """Whether advanced fields are shown."""
        self._filling = asyncio.Lock()
        """Keys and messages come by different pumps: one form is filled at a time."""

    async def show(self, fields: Sequence[Field], values: dict[str, str]) -> None:
        """Show these fields in place of those before; ``values`` holds the texts of those not at their default."""
        async with self._filling:
            await self._show(fields, values)

    async def _show(self, fields: Sequence[Field], values: dict[str, str]) -> None:
        await self.remove_children()
        rows = [FieldRow(field, values.get(field.path, "")) for field in fields if not field.advanced]
        self._advanced = [FieldRow(field, values.get(field.path, "")) for field in fields if field.advanced]
        await self.mount(*rows)
        if self._advanced:
            await self.mount(Button(id="fold", compact=True))
            await self._fold()
        self.scroll_home(animate=False)

    async def toggle_advanced(self) -> None:
        """Show or hide the advanced fields."""
        async with self._filling:
            self.unfolded = not self.unfolded
            if self._advanced:
                await self._fold()

    async def _fold(self) -> None:
        count = len(self._advanced)
        mark = "▾" if self.unfolded else "▸"
        self.query_one("#fold", Button).label = Content(f"{mark} {count} advanced field{'s' * (count != 1)}")
        if self.unfolded and not self._advanced[0].is_attached:
            await self.mount(*self._advanced)
        for row in self._advanced:
            row.display = self.unfolded

    @on(Button.Pressed, "#fold")
    async def _fold_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        await self.toggle_advanced()

    @on(FieldRow.Changed)
    def _row_changed(self, event: FieldRow.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.row.field.path, event.text))

    async def go_to(self, path: str) -> None:
        """Put the cursor into a field, unfolding it if need be."""
        if any(row.field.path == path for row in self._advanced) and not self.unfolded:
            await self.toggle_advanced()
        for row in self.query(FieldRow):
            if row.field.path == path:
                row.query_one("Input, Select").focus()
