"""Presets: what is known to work, one key from its review."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from qltui.ui.screens.page import BACK, HELP, Page
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from textual.app import ComposeResult


class Presets(Page):
    """A list of presets; Enter opens the review of one."""

    CSS_PATH = "presets.tcss"
    BINDINGS = [
        Binding(
            "enter",
            "review",
            "review",
            id="presets.review",
            priority=True,
            tooltip="Show what would run, before it runs",
        ),
        Binding("e", "edit", "edit a copy", id="presets.edit", tooltip="Open the form with this preset's values"),
        HELP,
        BACK,
    ]

    class Read(Message):
        """The presets are known, or why they cannot be read."""

        def __init__(self, presets: list[tuple[str, str]], problem: str = "") -> None:
            super().__init__()
            self.presets = presets
            self.problem = problem

    def compose(self) -> ComposeResult:
        yield TitleBar("Presets", "Enter shows what would run")
        menu = OptionList(id="presets", classes="panel")
        menu.border_title = "Presets"
        yield menu
        yield Static(id="problem", classes="problem", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self._read()

    @work(thread=True, group="presets", exit_on_error=False)
    def _read(self) -> None:
        from engine.config import ConfigError
        from qltui.configs import presets

        try:
            self.post_message(self.Read([(one.name, one.description) for one in presets.presets()]))
        except ConfigError as error:
            self.post_message(self.Read([], str(error)))

    @on(Read)
    def _show(self, event: Read) -> None:
        self.query_one("#problem", Static).update(event.problem)
        menu = self.query_one(OptionList)
        width = max((len(name) for name, _ in event.presets), default=0) + 3
        for name, description in event.presets:
            menu.add_option(Option(Content.assemble((name.ljust(width), "bold"), (description, "$muted")), id=name))
        menu.highlighted = 0 if event.presets else None

    @property
    def chosen(self) -> str | None:
        """Name of the preset under the cursor."""
        option = self.query_one(OptionList).highlighted_option
        return option.id if option else None

    @on(OptionList.OptionSelected)
    def action_review(self) -> None:
        """Show what the chosen preset would run."""
        if self.chosen:
            from qltui.ui.screens.review import Review

            self.app.push_screen(Review.of_preset(self.chosen))

    def action_edit(self) -> None:
        """Open the form with the chosen preset's values."""
        if self.chosen:
            from qltui.ui.screens.new_run import NewRun

            self.app.push_screen(NewRun.from_preset(self.chosen))
