"""A form made from the declaration of RunConfig: nothing is said here that a field does not say of itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Select, Static

from engine.config.reading import parse_assignment
from engine.config.schema import ConfigError, Field, as_text, convert
from qltui.ui import declared, words
from qltui.ui.widgets.choice import Choice
from qltui.ui.widgets.entry import Entry
from qltui.ui.widgets.findings_panel import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult
    from textual.widget import Widget

    from qltui.advice.findings import Finding

CHOSEN = ("choice", "flag")
"""Kinds of fields whose value is picked from a list; all others are typed."""
NUMBERS = ("integer", "number")

BETWEEN_ROWS = 0.03
"""Seconds between fields that are made ready, in which keys are seen to."""

FLAG_WORDS = {"true": "on", "false": "off"}
"""A flag's values and how they read. A list and not a tick box, whose tick is told by its colour alone."""


def problem_with(field: Field, text: str) -> str | None:
    """Why ``text`` cannot be a field's value, or None if it can. Empty text means the default."""
    if not text.strip():
        return "must be given." if field.required else None
    try:
        _, value = parse_assignment(f"{field.path}={text}")
        convert(field, value)
    except ConfigError as error:
        return error.problems[0].message
    except ValueError as error:
        return str(error)
    return None


class FieldRow(Vertical):
    """One field: its label, a widget that suits its kind, its unit, and below what is wrong with what was typed."""

    class Changed(Message):
        """The text of a field is another now; '' where it stands at its default."""

        def __init__(self, row: FieldRow, text: str) -> None:
            super().__init__()
            self.row = row
            self.text = text

    def __init__(self, field: Field, text: str) -> None:
        super().__init__(classes=f"field {'-number' if field.kind in NUMBERS else '-chosen' * (field.kind in CHOSEN)}")
        self.field = field
        self.finding: Finding | None = None
        """The gravest of those about this field."""
        self._text = text
        self._problem: Static | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(classes="entry"):
            yield Static(self.field.label, classes="label", markup=False)
            yield self._widget()
            yield Static(self._note(), classes="note", markup=False)

    def on_mount(self) -> None:
        self._judge(self._text)

    @property
    def text(self) -> str:
        """'' where it stands at its default."""
        return self._text

    def set_text(self, text: str) -> None:
        """Show another value, which nobody has typed."""
        if text == self._text:
            return
        self._text = text
        if not self.is_mounted:
            return
        widget = self.query_one("Input, Select")
        if isinstance(widget, Select):
            widget.value = text if text in self._choices() else self.field.default_text
        elif isinstance(widget, Input):
            widget.value = text
        self._judge(text)

    def mark(self, finding: Finding | None) -> None:
        """Show that a rule has something to say of this field; None for nothing."""
        if finding != self.finding:
            self.finding = finding
            self.query_one(".note", Static).update(self._note())

    def help_lines(self) -> list[Content]:
        """All that is declared of it, and the rules that speak of it."""
        field = self.field
        lines = [
            Content.styled(field.label, "bold"), Content(field.meaning), Content(""),
            *(Content.assemble((f"{what:<10}", "$muted"), told) for what, told in declared.table(field)),
        ]  # fmt: skip
        if rules := declared.rules(field):
            lines += [Content(""), Content.styled("Rules that speak of it (docs/rules.md)", "bold")]
            lines += [Content.assemble((f"{rule.id}  ", "$accent"), words.plain(rule.case)) for rule in rules]
        return lines

    def _note(self) -> Content:
        note = Content.styled(self.field.unit, "$muted")
        if self.finding is not None:
            mark, colour = MARKS[self.finding.severity]
            note = Content.assemble(note, " " * bool(self.field.unit), (f"{mark} {self.finding.rule}", colour))
        return note

    def _choices(self) -> dict[str, str]:
        return FLAG_WORDS if self.field.kind == "flag" else {choice: choice for choice in self.field.choices}

    def _widget(self) -> Widget:
        field, text = self.field, self._text
        if field.kind in CHOSEN:
            choices = self._choices()
            chosen = text if text in choices else field.default_text
            options = [(word, value) for value, word in choices.items()]
            return Choice(options, value=chosen, allow_blank=False, compact=True)
        placeholder = "required" if field.required else field.default_text
        return Entry(text, placeholder=placeholder, compact=True, select_on_focus=False)

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
        """Say below what is wrong. An empty form is not scolded: what is missing is told when it is reviewed."""
        problem = problem_with(self.field, text) if text.strip() else None
        self.set_class(bool(problem), "-wrong")
        if self._problem is None and problem:
            self._problem = Static(classes="problem", markup=False)
            self.mount(self._problem)
        if self._problem is not None:
            self._problem.display = bool(problem)
            self._problem.update(f"✗ {problem}")


class FormPage(Vertical):
    """The fields of a step."""

    DEFAULT_CSS = """
    FormPage { height: auto; }
    """

    def __init__(self, front: list[Field], more: list[Field], values: dict[str, str]) -> None:
        super().__init__()
        self._front = [FieldRow(field, values.get(field.path, "")) for field in front]
        self.more = [FieldRow(field, values.get(field.path, "")) for field in more]
        """Those that are folded away."""

    @property
    def rows(self) -> list[FieldRow]:
        """All of them."""
        return [*self._front, *self.more]

    async def build(self, pause: float) -> None:
        """Make what is shown at first, with so many seconds between one field and the next."""
        for row in self._front if pause else ():
            await self.mount(row)
            await asyncio.sleep(pause)
        await self.mount(*(row for row in self._front if not row.is_attached))
        if self.more:
            buttons = Button(id="fold", compact=True), Button("F3 finds any field", id="find", compact=True)
            await self.mount(Horizontal(*buttons, classes="buttons"))

    async def fold(self, *, unfolded: bool) -> None:
        """Show or hide what few people need."""
        count = len(self.more)
        mark = "▾" if unfolded else "▸"
        self.query_one("#fold", Button).label = Content(f"{mark} {count} advanced field{'s' * (count != 1)}")
        if unfolded and not self.more[0].is_attached:
            await self.mount(*self.more)
        for row in self.more:
            row.display = unfolded


class ConfigForm(VerticalScroll, inherit_bindings=False):
    """Fields with their texts, a line each; those few people need are folded away until asked for.

    Arrows are left to who holds it: it scrolls with the cursor.
    """

    DEFAULT_CSS = """
    ConfigForm {
        & .field { height: auto; }
        & .entry { height: 1; }
        & .label { width: 22; text-wrap: nowrap; text-overflow: ellipsis; }
        & Input { width: 1fr; background: $panel; padding: 0 1; height: 1; }
        & .-number Input { width: 16; }
        & Select { width: 1fr; }
        & .-chosen Select { width: 34; }
        & SelectCurrent { background: $panel; padding: 0 1; }
        & .note { width: auto; padding-left: 1; }
        & .-number .note, & .-chosen .note { width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
        & .problem { width: 100%; color: $error; padding-left: 22; height: auto; }
        & .-wrong .label { color: $error; }
        & .buttons { height: 1; margin-top: 1; }
        & .buttons Button { background: $background; color: $accent; }
        & .buttons #find { color: $muted; margin-left: 2; }
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
        self._pages: dict[tuple[str, ...], FormPage] = {}
        """By the paths of their fields: to build one takes longer than a key may."""
        self._page: FormPage | None = None
        self._findings: Sequence[Finding] = ()
        self.unfolded = False
        """Whether those are shown."""
        self._filling = asyncio.Lock()
        """Keys and messages come by different pumps: one form is filled at a time."""

    async def show(self, front: Iterable[Field], more: Iterable[Field], values: dict[str, str]) -> None:
        """Show these fields, ``more`` folded away; ``values`` holds the texts of those not at their default."""
        async with self._filling:
            page = await self._built(list(front), list(more), values)
            for row in page.rows:
                row.set_text(values.get(row.field.path, ""))
            if page is not self._page:
                if self._page is not None:
                    if self.screen.focused is not None and self._page in self.screen.focused.ancestors:
                        self.screen.set_focus(None)
                    self._page.display = False
                self._page = page
                page.display = True
                self.tell(self._findings)
                self.scroll_home(animate=False)
            await self._fold()

    async def prepare(self, front: Iterable[Field], more: Iterable[Field], values: dict[str, str]) -> None:
        """Build what will be shown, in small bits, so that it is there at once when it is."""
        async with self._filling:
            await self._built(list(front), list(more), values, pause=BETWEEN_ROWS)

    async def _built(self, front: list[Field], more: list[Field], values: dict[str, str], pause: float = 0) -> FormPage:
        paths = tuple(field.path for field in (*front, *more))
        if (there := self._pages.get(paths)) is not None:
            return there
        page = FormPage(front, more, values)
        page.display = False
        await self.mount(page)
        await page.build(pause)
        self._pages[paths] = page
        return page

    @property
    def rows(self) -> list[FieldRow]:
        """Of the fields that :meth:`show` was asked for."""
        return self._page.rows if self._page else []

    @property
    def _more(self) -> list[FieldRow]:
        return self._page.more if self._page else []

    def tell(self, findings: Sequence[Finding]) -> None:
        """Mark the fields that findings are about; the gravest come first."""
        self._findings = findings
        about = {finding.field: finding for finding in reversed(findings)}
        for row in self.rows:
            if row.is_mounted:
                row.mark(about.get(row.field.path))

    async def toggle_more(self) -> None:
        """Show or hide what is folded away."""
        async with self._filling:
            self.unfolded = not self.unfolded
            await self._fold()

    async def _fold(self) -> None:
        if self._page is not None and self._page.more:
            await self._page.fold(unfolded=self.unfolded)
            self.tell(self._findings)

    @on(Button.Pressed, "#fold")
    async def _fold_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        await self.toggle_more()

    @on(Button.Pressed, "#find")
    async def _find_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        await self.run_action("screen.find")

    @on(FieldRow.Changed)
    def _row_changed(self, event: FieldRow.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.row.field.path, event.text))

    async def go_to(self, path: str) -> None:
        """Put the cursor into a field, unfolding it if need be."""
        if any(row.field.path == path for row in self._more) and not self.unfolded:
            await self.toggle_more()
        for row in self.rows:
            if row.field.path == path:
                self.screen.set_focus(row.query_one("Input, Select"))
