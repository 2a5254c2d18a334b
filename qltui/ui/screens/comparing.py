"""What two runs have done otherwise, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message

from qltui.runs.comparison import ABSENT, Comparison, Difference, compare
from qltui.ui import words
from qltui.ui.screens.page import HELP, Page
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.runs_columns import fitted
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from textual.app import ComposeResult

LEAST = 10
"""Columns that a value gets at least."""


class Comparing(Page):
    """Fields that differ, versions and machines, results; each field with what it means."""

    CSS = """
    Comparing {
        & VerticalScroll { padding: 1 2 0 2; }
        & Line { height: auto; }
    }
    """
    BINDINGS = [
        Binding("m", "meanings", "meanings", id="comparing.meanings",
                tooltip="What the fields mean, or the values alone"),
        HELP,
        Binding("q,escape,d", "back", "back", id="comparing.back", key_display="q", tooltip="Back to the runs"),
    ]  # fmt: skip

    class Compared(Message):
        """The runs were read."""

        def __init__(self, found: Comparison) -> None:
            super().__init__()
            self.found = found

    def __init__(self, run_paths: Sequence[Path]) -> None:
        super().__init__()
        self._paths = list(run_paths)
        self._found: Comparison | None = None
        self._meanings = True

    def compose(self) -> ComposeResult:
        yield TitleBar("Differences")
        with VerticalScroll():
            yield Line("reading …", id="told", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
        self._compare()

    @work(thread=True, group="compare", exit_on_error=False)
    def _compare(self) -> None:
        from engine.events import RunDirectory

        self.post_message(self.Compared(compare([RunDirectory(path) for path in self._paths])))

    @on(Compared)
    def _show(self, event: Compared) -> None:
        self._found = event.found
        fields = len(event.found.fields)
        self.query_one(TitleBar).say("Differences", f"{fields} field{'s' * (fields != 1)}")
        self._lay_out()

    def on_resize(self) -> None:
        """The values get what room there is."""
        self._lay_out()

    def _lay_out(self) -> None:
        if self._found is not None:
            width = self.query_one(VerticalScroll).scrollable_content_region.width
            self.query_one("#told", Line).update(Content("\n").join(told(self._found, width, self._meanings)))

    def action_meanings(self) -> None:
        """Show or hide what the fields mean."""
        self._meanings = not self._meanings
        self._lay_out()


def told(found: Comparison, width: int, meanings: bool) -> list[Content]:
    """A comparison as lines of this width."""
    rows = [*found.fields, *found.circumstances]
    names = [*(one.path for one in rows), *(figure.name for figure in found.figures)]
    label = min(max(map(len, names), default=0), max(width // 3, 20)) + 2
    room = max((width - label) // len(found.runs), LEAST)

    def line(name: str, values: Sequence[str], style: str) -> Content:
        cells = [(fitted(words.plain(value) or "(not said)", room - 2, False) + "  ", style) for value in values]
        return Content.assemble((fitted(words.plain(name), label - 2, False) + "  ", "$accent"), *cells)

    def section(title: str, differences: Sequence[Difference], meanings: bool) -> list[Content]:
        lines = [Content(""), Content.styled(title, "bold")]
        for one in differences:
            lines.append(line(one.path, one.values, "$foreground"))
            if any(value != ABSENT and len(words.plain(value)) > room - 2 for value in one.values):
                lines += [Content(f"  {place}: {words.plain(value)}") for place, value in enumerate(one.values, 1)]
            if meanings:
                lines.append(Content.styled(f"  {words.plain(one.meaning)}", "$muted"))
        return lines

    heads = [f"{place} {words.plain(run['name'])}" for place, run in enumerate(found.runs, 1)]
    ids = [words.plain(run["id"]) for run in found.runs]
    lines = [line("", heads, "bold"), line("", ids, "$muted")]
    lines += [Content.styled(f"✗ {words.plain(problem)}", "$error") for problem in found.problems]
    if found.fields:
        lines += section("Fields that differ", found.fields, meanings)
    elif not found.problems:
        lines += [Content(""), Content("No field of their configurations differs.")]
    if found.circumstances:
        lines += section("Versions and machine", found.circumstances, False)
    lines += [Content(""), Content.styled("Results", "bold")]
    lines += [line(figure.name, figure.texts, "$foreground") for figure in found.figures]
    return lines
