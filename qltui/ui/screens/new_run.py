"""A new run from a form, one section at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from engine.config import FIELDS, ConfigError
from engine.config.reading import load_yaml, localise, parse_assignment, read
from engine.config.schema import as_text, flatten
from qltui.ui import draft, words
from qltui.ui.screens.page import Page
from qltui.ui.widgets.config_form import ConfigForm, problem_with
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from engine.config import Field, RunConfig

NOT_ASKED = ("schema_version", "parent")
"""Fields that the program fills in."""

ORDER = ("model", "data", "method", "strategy", "hardware", "precision", "training", "run", "recovery", "tracking")
"""Sections as one thinks of them; 'run' holds the fields that stand in none."""


HINT = Content.styled("○ marks what must be filled in, ✗ what cannot stay as it is", "$muted")


def sections() -> dict[str, list[Field]]:
    """The fields that are asked for, by section."""
    found: dict[str, list[Field]] = {name: [] for name in ORDER}
    for path, field in FIELDS.items():
        if path not in NOT_ASKED:
            found.setdefault(path.partition(".")[0] if "." in path else "run", []).append(field)
    return found


def read_values(values: dict[str, str]) -> RunConfig:
    """The RunConfig that texts by dotted path stand for; relative paths count from the working directory.

    Raises:
        ConfigError: something is missing or wrong; every problem at once.
    """
    given = dict(parse_assignment(f"{path}={text}") for path, text in values.items())
    return read({}, where="", base=Path.cwd(), assignments=given)


def values_of_preset(name: str) -> dict[str, str]:
    """What a preset says, as the form holds it."""
    from qltui.configs import presets

    path = presets.path(name)
    values = {}
    for key, value in flatten(load_yaml(path), FIELDS):
        field = FIELDS[key]
        if key not in NOT_ASKED and value is not None:
            values[key] = localise(value, path.parent) if field.is_path else as_text(value)
    return values


class NewRun(Page):
    """The form; what is typed is kept as a draft at once."""

    CSS_PATH = "new_run.tcss"
    BINDINGS = [
        Binding("f2", "review", "review", id="new-run.review", tooltip="Check it all and show what would run"),
        Binding("pagedown", "section(1)", "next", id="new-run.next", priority=True, tooltip="Next section"),
        Binding("pageup", "section(-1)", "previous", id="new-run.previous", priority=True, tooltip="Section before"),
        Binding("f3", "advanced", "advanced", id="new-run.advanced", tooltip="Show or hide advanced fields"),
        Binding("f1", "help", "help", id="new-run.help", tooltip="All keys of this screen"),
        Binding("escape", "back", "back", id="new-run.back", tooltip="Back; the draft is kept"),
        Binding("f8", "clear", "clear", id="new-run.clear", show=False, tooltip="Empty the form"),
    ]

    def __init__(self, values: dict[str, str] | None = None) -> None:
        """Open the draft, or a form with ``values``, texts by dotted path."""
        super().__init__()
        kept = draft.load() if values is None else values
        self.values = {path: text for path, text in kept.items() if path in FIELDS and path not in NOT_ASKED}
        self._sections = sections()

    @classmethod
    def from_preset(cls, name: str) -> NewRun:
        """A form that begins with what a preset says."""
        return cls(values_of_preset(name))

    def compose(self) -> ComposeResult:
        yield TitleBar("New run", "draft" if self.values else "")
        with Horizontal(id="form-area"):
            yield OptionList(id="sections")
            yield ConfigForm(id="form")
        yield Static(id="verdict", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        menu = self.query_one(OptionList)
        for name in self._sections:
            menu.add_option(Option(self._section_prompt(name), id=name))
        menu.highlighted = 0
        menu.focus()
        self._say(HINT)

    def _section_prompt(self, name: str) -> Content:
        problems = self._problems(name)
        wrong = any(path in self.values for path in problems)
        mark, colour = ("✗", "$error") if wrong else ("○", "$accent") if problems else (" ", "$muted")
        return Content.assemble((f"{mark} ", colour), name.capitalize())

    def _problems(self, section: str) -> dict[str, str]:
        """What is wrong in a section, by path."""
        found = {}
        for field in self._sections[section]:
            text = self.values.get(field.path, "")
            if (text or field.required) and (problem := problem_with(field, text)):
                found[field.path] = problem
        return found

    @on(OptionList.OptionHighlighted, "#sections")
    async def _show_section(self, event: OptionList.OptionHighlighted) -> None:
        await self._open(event.option_id or ORDER[0])

    @on(OptionList.OptionSelected, "#sections")
    def _enter_section(self) -> None:
        self.focus_next()

    async def _open(self, section: str) -> None:
        form = self.query_one(ConfigForm)
        await form.show(self._sections[section], self.values)

    @on(ConfigForm.Changed)
    def _keep(self, event: ConfigForm.Changed) -> None:
        if event.text.strip():
            self.values[event.path] = event.text
        else:
            self.values.pop(event.path, None)
        section = event.path.partition(".")[0] if "." in event.path else "run"
        self.query_one(OptionList).replace_option_prompt(section, self._section_prompt(section))
        self._say(HINT)
        self._save()

    def _save(self) -> None:
        try:
            draft.save(self.values)
        except OSError as error:
            self.query_one(TitleBar).say("New run", f"▲ draft not saved: {words.plain(error.strerror)}")
        else:
            self.query_one(TitleBar).say("New run", "draft saved")

    def _say(self, text: Content | str) -> None:
        self.query_one("#verdict", Static).update(text)

    def action_section(self, step: int) -> None:
        """Go to the next section, or back."""
        menu = self.query_one(OptionList)
        menu.highlighted = ((menu.highlighted or 0) + step) % menu.option_count
        menu.focus()

    async def action_advanced(self) -> None:
        """Show or hide the advanced fields."""
        await self.query_one(ConfigForm).toggle_advanced()

    async def action_clear(self) -> None:
        """Empty the form."""
        self.values.clear()
        self._save()
        menu = self.query_one(OptionList)
        for name in self._sections:
            menu.replace_option_prompt(name, self._section_prompt(name))
        await self._open(list(self._sections)[menu.highlighted or 0])

    async def action_review(self) -> None:
        """Show what would run, or the first field that stands in the way."""
        for index, name in enumerate(self._sections):
            for path, problem in self._problems(name).items():
                self._say(Content.assemble(("✗ ", "bold $error"), (FIELDS[path].label, "bold"), f" {problem}"))
                menu = self.query_one(OptionList)
                with self.prevent(OptionList.OptionHighlighted):
                    menu.highlighted = index
                await self._open(name)
                await self.query_one(ConfigForm).go_to(path)
                return
        try:
            config = read_values(self.values)
        except ConfigError as error:
            self._say(Content(f"✗ {error}"))
            return
        from qltui.ui.screens.review import Review

        self.app.push_screen(Review(f"New run {config.name}", lambda: config))
