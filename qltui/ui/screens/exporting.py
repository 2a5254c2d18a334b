"""A run as a file of another program: looked at first, then written to a place that is asked for."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Label, Static

from engine.config import ConfigError
from qltui.configs.export.exporting import PROGRAMS, export
from qltui.configs.export.placing import placed, write
from qltui.ui import words
from qltui.ui.screens.page import HELP, Page
from qltui.ui.widgets.entry import Entry
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.review_verdict import problem_text
from qltui.ui.widgets.run_files import RunFiles
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult

    from engine.config import Problem, RunConfig
    from qltui.configs.export.exporting import Exported

HINT = ("← → next program   w the place it is written to, where Enter writes it", "$muted")
TITLES = {program.title: name for name, program in PROGRAMS.items()}


class Exporting(Page):
    """Programs behind tabs, each with the file it would get; writes none over another without being told to."""

    CSS_PATH = "exporting.tcss"
    BINDINGS = [
        Binding("w", "place", "write", id="exporting.write", tooltip="Say where it is written"),
        Binding("right", "tab(1)", "next program", id="exporting.next", show=False, tooltip="The next program"),
        Binding("left", "tab(-1)", "program before", id="exporting.previous", show=False, tooltip="The program before"),
        HELP,
        Binding("q,escape", "back", "back", id="back", tooltip="Back to the review"),  # while one types, escape alone
    ]

    class Made(Message):
        """Each program's file is known, or why it gets none."""

        def __init__(self, made: dict[str, Exported | list[Problem]]) -> None:
            super().__init__()
            self.made = made

    class Placed(Message):
        """What a program's file would be in the place that is typed."""

        def __init__(self, program: str, out: str, exported: Exported) -> None:
            super().__init__()
            self.program = program
            self.out = out
            self.exported = exported

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self._config = config
        self._made: dict[str, Exported | list[Problem]] = {}
        self._agreed: set[Path] = set()
        """Files that are there and may be written over."""

    def compose(self) -> ComposeResult:
        yield TitleBar(Content(f"Export · {words.plain(self._config.name)}"), "for another program")
        yield Static(id="verdict", markup=False)
        yield RunFiles(id="files", classes="panel")
        with Horizontal(id="place"):
            yield Label("Write to")
            yield Entry(id="out", compact=True)
            yield Button("Write", id="write", variant="primary", compact=True)
        yield Static(id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._make()

    @work(thread=True, group="export", exit_on_error=False)
    def _make(self) -> None:
        """Export for every program; it looks at the data."""
        made: dict[str, Exported | list[Problem]] = {}
        for name in PROGRAMS:
            try:
                one = export(self._config, name)
                made[name] = one if one.companions else export(self._config, name, file=self._place(name))
            except ConfigError as error:
                made[name] = error.problems
        self.post_message(self.Made(made))

    @on(Made)
    async def _show(self, event: Made) -> None:
        self._made = event.made
        await self._show_files()
        self.query_one("#source").focus()

    async def _show_files(self) -> None:
        made = {title: self._made[name] for title, name in TITLES.items()}
        await self.query_one(RunFiles).show(
            {title: "" if isinstance(one, list) else one.text for title, one in made.items()}
        )

    @property
    def _program(self) -> str:
        return TITLES[self.query_one(RunFiles).shown]

    @on(RunFiles.Turned)
    def _turned(self) -> None:
        made = self._made[self._program]
        in_folder = not isinstance(made, list) and bool(made.companions)
        self.query_one("#out", Input).value = self._place(self._program, in_folder=in_folder)
        self.query_one("#write", Button).disabled = isinstance(made, list)
        self._tell(made)
        self._elsewhere()

    def _tell(self, made: Exported | list[Problem]) -> None:
        self.query_one("#verdict", Static).update(
            Content("\n").join(map(problem_text, made) if isinstance(made, list) else _lines(made))
        )

    def _place(self, program: str, *, in_folder: bool = False) -> str:
        """Where it is written unless another place is typed."""
        return f"{self._config.name}-{program}{'/' if in_folder else '.yaml'}"

    async def action_tab(self, by: int) -> None:
        """Show the next program, or the one before."""
        await self.query_one(RunFiles).turn(by)

    def action_place(self) -> None:
        """Put the cursor where the place is asked for."""
        self.query_one("#out").focus()

    @on(Input.Changed)
    def _elsewhere(self) -> None:
        """Another place was not agreed to; the file names itself by where it will lie."""
        self._agreed.clear()
        self._say(HINT)
        out = self.query_one("#out", Input).value.strip()
        if out and self._made and not isinstance(self._made[self._program], list):
            self._look_at(self._program, out)

    @work(thread=True, group="place", exit_on_error=False)
    def _look_at(self, program: str, out: str) -> None:
        with suppress(ConfigError):  # told when it is to be written
            self.post_message(self.Placed(program, out, placed(self._config, program, out).exported))

    @on(Placed)
    async def _show_placed(self, event: Placed) -> None:
        if event.program == self._program and event.out == self.query_one("#out", Input).value.strip():
            self._made[event.program] = event.exported
            self._tell(event.exported)
            await self._show_files()

    @on(Input.Submitted)
    @on(Button.Pressed, "#write")
    def _write(self) -> None:
        out = self.query_one("#out", Input).value.strip()
        if not out:
            self._say(("✗ ", "bold $error"), "say where: a file, or a folder that ends with /")
            return
        try:
            files = placed(self._config, self._program, out).files
        except ConfigError as error:
            self._say(("✗ ", "bold $error"), words.plain(error))
            return
        there = {path for path in files if os.path.exists(path)}
        if there - self._agreed:
            self._agreed = there
            names = ", ".join(words.path(path) for path in sorted(there))
            self._say(("▲ is there already: ", "bold $warning"), names, ("  Enter again writes over it", "$muted"))
            return
        for path, text in files.items():
            try:
                write(path, text)
            except OSError as error:
                self._say(("✗ ", "bold $error"), f"{words.path(path)} can't be written ({error.strerror}).")
                return
        self._agreed.clear()
        self._say(("✓ wrote ", "bold $success"), ", ".join(words.path(path.absolute()) for path in files))
        self.query_one("#source").focus()

    def _say(self, *parts: str | tuple[str, str]) -> None:
        self.query_one("#said", Static).update(Content.assemble(*parts))


def _lines(exported: Exported) -> list[Content]:
    """How it is started, what else belongs to it, and what is another there."""
    start = exported.text.splitlines()[1].removeprefix("# ")
    lines = [Content.assemble(("✓ ", "bold $success"), start)]
    if exported.companions:
        beside = f"written to a folder (NAME/) it comes with {', '.join(exported.companions)}"
        lines.append(Content.assemble(("→ ", "$accent"), beside))
    if exported.notes:
        fields = ", ".join(note.partition(":")[0] for note in exported.notes)
        lines.append(Content.assemble(("▲ ", "bold $warning"), f"the file says why another value stands for {fields}"))
    return lines
