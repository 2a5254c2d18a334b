"""The first screen: where to go, and what goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.binding import Binding
from textual.containers import Center, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from qltui.ui.screens.page import HELP, Page
from qltui.ui.widgets.footer import Footer

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from qltui.runs.shelf import Shelf

LOGO = """\
┏━┓╻  ╺┳╸╻ ╻╻
┃┓┃┃   ┃ ┃ ┃┃
┗┻┛┗━╸ ╹ ┗━┛╹"""

PLACES = (
    ("n", "new_run", "New run", "Fill in a form, review it, launch it"),
    ("p", "presets", "Presets", "Launch something that is known to work"),
    ("r", "runs", "Runs", "All runs, the live ones first"),
    ("d", "doctor", "Doctor", "What this machine has, and what is missing"),
)
"""Key, name, title and line of help of each place."""

RUNS_SHOWN = 3
"""Runs that the home screen names, live ones first."""


class Home(Page):
    """A menu of places, with the newest runs under it."""

    CSS_PATH = "home.tcss"
    BINDINGS = [
        *(
            Binding(key, f"app.go('{name}')", title.lower(), id=f"home.{name}", tooltip=help_text)
            for key, name, title, help_text in PLACES
        ),
        HELP,
        Binding("q", "back", "quit", id="home.quit", tooltip="End the app; runs go on"),
    ]

    class RunsRead(Message):
        """The newest runs are known."""

        def __init__(self, runs: list[dict[str, Any]]) -> None:
            super().__init__()
            self.runs = runs

    def __init__(self) -> None:
        super().__init__()
        self._shelf: Shelf | None = None
        self._shown: dict[str, dict[str, Any]] = {}
        """The runs in the list, by their folders."""

    def compose(self) -> ComposeResult:
        with Center(id="middle"), Vertical(id="column"):
            yield Static(LOGO, id="logo", markup=False)
            yield Static("Fine-tune language models from a terminal", id="motto", markup=False)
            yield OptionList(*(_place_option(*place) for place in PLACES), id="menu")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self.call_after_refresh(self._read_runs)
        self.set_interval(2, self._poll)

    @on(OptionList.OptionSelected)
    async def _open(self, event: OptionList.OptionSelected) -> None:
        chosen = event.option_id or ""
        if chosen in {name for _, name, _, _ in PLACES}:
            await self.run_action(f"app.go('{chosen}')")
        else:
            from qltui.ui.screens.post_mortem import first_look

            self.app.push_screen(first_look(Path(chosen), self._shown.get(chosen, {})))

    def _poll(self) -> None:
        if self.is_current:
            self._read_runs()

    @work(thread=True, exclusive=True, group="runs", exit_on_error=False)
    def _read_runs(self) -> None:
        from qltui.runs.shelf import Shelf

        if self._shelf is None:
            self._shelf = Shelf()
        runs, _ = self._shelf.read()
        self.post_message(self.RunsRead(runs[:RUNS_SHOWN]))

    @on(RunsRead)
    def _show_runs(self, event: RunsRead) -> None:
        from qltui.ui.widgets.run_line import run_line

        menu = self.query_one(OptionList)
        self._shown = {str(status["run_dir"]): status for status in event.runs}
        lines = {str(status["run_dir"]): run_line(status) for status in event.runs}
        if [option.id for option in menu.options[len(PLACES) :]] == list(lines):
            for run_dir, line in lines.items():
                if menu.get_option(run_dir).prompt != line:
                    menu.replace_option_prompt(run_dir, line)
            return
        chosen = menu.highlighted or 0
        menu.set_options(
            [
                *(_place_option(*place) for place in PLACES),
                None,
                *(Option(line, id=run_dir) for run_dir, line in lines.items()),
            ]
        )
        menu.highlighted = min(chosen, menu.option_count - 1)


def _place_option(key: str, name: str, title: str, help_text: str) -> Option:
    prompt = Content.assemble((f"{key}  ", "bold $accent"), (title.ljust(10), "bold"), (help_text, "$muted"))
    return Option(prompt, id=name)
