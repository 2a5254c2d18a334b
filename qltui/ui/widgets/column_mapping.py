"""Which column of the data is which of the format's: choices filled with the file's own columns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.containers import Grid, Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Select, Static

from engine.config.choices import DataFormat
from engine.config.formats import ROW_FORMATS
from qltui.configs.writing import typed_text
from qltui.ui import words
from qltui.ui.widgets.choice import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult

    from engine.config import RunConfig
    from engine.config.inspection import Preview


class Role(Horizontal):
    """One of the format's columns, and the choice of the file's."""

    def __init__(self, name: str, columns: list[str], chosen: str | None, *, required: bool) -> None:
        super().__init__()
        self.role = name
        self._columns, self._chosen, self._required = columns, chosen, required

    def compose(self) -> ComposeResult:
        yield Static(f"{self.role} ←", classes="label", markup=False)
        options = [(Content(words.plain(column)), column) for column in self._columns]
        prompt = "choose" if self._required else "none"
        yield Choice(options, value=self._chosen or Select.NULL, prompt=prompt, compact=True)


class ColumnMapping(Grid):
    """A choice for each column that the format wants or may have."""

    DEFAULT_CSS = """
    ColumnMapping {
        grid-size: 2;
        grid-gutter: 0 2;
        grid-rows: 1;
        height: auto;
        & Role { height: 1; }
        & .label { width: 13; }
        & .hint { column-span: 2; color: $muted; text-wrap: nowrap; text-overflow: ellipsis; }
        & Select { width: 1fr; }
        & SelectCurrent { background: $panel; padding: 0 1; }
    }
    """

    class Changed(Message):
        """Other columns were chosen; the text of ``data.columns``, empty for those of the format's own names."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[object, ...] = ()
        self._others: dict[str, str] = {}
        """What is mapped that the format does not ask for."""
        self._chosen: dict[str, str] = {}
        """The columns as they stand; what a choice says of itself when it is first shown is no change."""
        self._filling = asyncio.Lock()

    async def show(self, preview: Preview, config: RunConfig) -> None:
        """Show how the columns of the previewed data are taken."""
        row_format = preview.format or config.data.format
        given = config.data.columns
        if row_format is DataFormat.AUTO:
            await self._say_what_there_is(preview)
            return
        required, optional, _ = ROW_FORMATS[row_format]
        roles = [*required, *optional]
        chosen = {role: theirs for role in roles if (theirs := given.get(role, role)) in preview.columns}
        self._others = {ours: theirs for ours, theirs in given.items() if ours not in roles}
        self._chosen = chosen
        shown = (tuple(roles), preview.columns)
        async with self._filling:
            if shown == self._shown:
                self._choose(chosen)
                return
            self._shown = shown
            await self.remove_children()
            await self.mount(
                *(Role(role, preview.columns, chosen.get(role), required=role in required) for role in roles)
            )

    async def _say_what_there_is(self, preview: Preview) -> None:
        shown: tuple[object, ...] = ((), preview.columns)
        async with self._filling:
            if shown != self._shown:
                self._shown = shown
                await self.remove_children()
                told = f"columns: {', '.join(map(words.plain, preview.columns))}; choose a format, then which is which"
                await self.mount(Static(told, classes="hint", markup=False))

    def _choose(self, chosen: Mapping[str, str]) -> None:
        for role, select in self._choices():
            if select.value != (wanted := chosen.get(role.role, Select.NULL)):
                with select.prevent(Select.Changed):
                    select.value = wanted

    def _choices(self) -> list[tuple[Role, Select[str]]]:
        """The choices that stand by now."""
        return [(role, select) for role in self.query(Role) for select in role.query(Select)]

    @on(Select.Changed)
    def _changed(self, event: Select.Changed) -> None:
        event.stop()
        if len(choices := self._choices()) < len(self.query(Role)):
            return  # the first that stands says so while others do not
        chosen = {role.role: str(select.value) for role, select in choices if select.value is not Select.NULL}
        if chosen != self._chosen:
            self._chosen = chosen
            mapped = {ours: theirs for ours, theirs in chosen.items() if ours != theirs}
            columns = {**self._others, **mapped}
            self.post_message(self.Changed(typed_text(columns) if columns else ""))
