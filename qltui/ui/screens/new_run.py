"""A new run, step by step: what is chosen, whether it fits, and what the rules say of it, always in view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Footer, Static

from engine.config import FIELDS, ConfigError
from engine.config.reading import load_yaml, localise, parse_assignment, read
from engine.config.schema import as_text, flatten
from qltui.runs.outlook import mended, outlook
from qltui.ui import draft, words
from qltui.ui.screens.page import Page
from qltui.ui.steps import NOT_ASKED, STEPS, step_of
from qltui.ui.widgets.config_form import ConfigForm, problem_with
from qltui.ui.widgets.data_preview import DataPreview
from qltui.ui.widgets.findings_panel import FindingsPanel, counted
from qltui.ui.widgets.fit_panel import FitPanel, verdict, why_not
from qltui.ui.widgets.machine_choice import MachineChoice
from qltui.ui.widgets.step_bar import REVIEW, StepBar
from qltui.ui.widgets.strategy_choice import StrategyChoice
from qltui.ui.widgets.strategy_matrix import StrategyMatrix
from qltui.ui.widgets.suggestions import PATHS, Suggestions
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from engine.config import RunConfig
    from qltui.advice.findings import Finding
    from qltui.facts.machine import Machine
    from qltui.runs.outlook import Outlook
    from qltui.ui.steps import Step

HINT = Content.styled("○ marks what must be filled in, ✗ what cannot stay as it is", "$muted")
WIDE_ENOUGH = 116
"""Columns from which the panel stands beside the form."""
STEPS_BACK = 100
"""Changes that can be undone."""


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
    """The wizard; what is chosen is kept as a draft at once."""

    CSS_PATH = "new_run.tcss"
    BINDINGS: ClassVar[list[Binding | tuple[str, str] | tuple[str, str, str]]] = [
        Binding("pageup", "step(-1)", "back", id="new-run.previous", priority=True, tooltip="Step before"),
        Binding("pagedown", "step(1)", "next", id="new-run.next", priority=True, tooltip="Next step"),
        Binding("f2", "review", "review", id="new-run.review", tooltip="Check it all and show what would run"),
        Binding("f5", "mend", "fix", id="new-run.mend", tooltip="Apply what mends the finding"),
        Binding("f8", "undo", "undo", id="new-run.undo", tooltip="Take the last fix or choice back"),
        Binding("f1", "help", "help", id="new-run.help", tooltip="All keys of this screen"),
        Binding(
            "f3", "advanced", "advanced", id="new-run.advanced", show=False, tooltip="Show or hide advanced fields"
        ),
        Binding("f4", "aside", "fit", id="new-run.aside", show=False, tooltip="Unfold fit and findings, or fold them"),
        Binding("f9", "clear", "clear", id="new-run.clear", show=False, tooltip="Empty the form"),
        Binding("escape", "back", "leave", id="new-run.back", show=False, tooltip="Back; the draft is kept"),
    ]

    class Looked(Message):
        """What the choices come to is known."""

        def __init__(self, outlook: Outlook, number: int) -> None:
            super().__init__()
            self.outlook = outlook
            self.number = number

    def __init__(self, values: dict[str, str] | None = None, machine: str = "") -> None:
        """Open the draft, or a form with ``values``, texts by dotted path, planned for a ``machine`` as described."""
        super().__init__()
        kept, machine = draft.load() if values is None else (values, machine)
        self.values = {path: text for path, text in kept.items() if path in FIELDS and path not in NOT_ASKED}
        self.machine_text = machine
        """GPUs as described; empty for those of this machine."""
        self.step: Step = STEPS[0]
        self.outlook: Outlook | None = None
        self._before: list[dict[str, str]] = []
        self._here: Machine | None = None
        self._asked = 0

    @classmethod
    def from_preset(cls, name: str) -> NewRun:
        """A form that begins with what a preset says."""
        return cls(values_of_preset(name))

    def compose(self) -> ComposeResult:
        yield TitleBar("New run", "draft" if self.values else "")
        yield StepBar()
        with Horizontal(id="area"):
            with Vertical(id="step"):
                yield MachineChoice(id="machine")
                yield StrategyChoice(id="strategy")
                yield ConfigForm(id="form")
                yield Static(id="facts", markup=False)
                yield Suggestions(id="suggestions")
                yield DataPreview(id="preview")
            with Vertical(id="panels"):
                with Vertical(id="fit-area", classes="panel") as fit_area:
                    fit_area.border_title = "Fit · per GPU"
                    yield FitPanel(id="fit")
                with Vertical(id="findings-area", classes="panel") as findings_area:
                    findings_area.border_title = "Findings"
                    yield FindingsPanel(id="findings")
        yield Static(id="folded", markup=False)
        yield Static(id="verdict", markup=False)
        yield Footer()

    async def on_mount(self) -> None:
        self.query_one(MachineChoice).text = self.machine_text
        await self._open(self.step)
        self._say(HINT)
        self._look()

    def on_resize(self, event: events.Resize) -> None:
        """The panel stands beside the form where there is room."""
        self.set_class(event.size.width >= WIDE_ENOUGH, "-beside")

    # Steps

    async def _open(self, step: Step) -> None:
        """Show a step, with the cursor in its first field."""
        self.step = step
        self.query_one(MachineChoice).display = step.name == "hardware"
        self.query_one(StrategyChoice).display = step.name == "method"
        self.query_one(Suggestions).display = False
        self.query_one("#facts").display = False
        self.query_one(DataPreview).display = False
        form = self.query_one(ConfigForm)
        await form.show(step.fields, self.values)
        self._mark_steps()
        first = {"hardware": "#machine Input", "method": "#matrix"}.get(step.name)
        if first is not None:
            self.call_after_refresh(self.query_one(first).focus)  # once it is shown
        else:
            await form.go_to(step.fields[0].path)
        self._suggest(next((field.path for field in step.fields if field.path in PATHS), ""))
        if self.outlook is not None:
            self._tell_of_the_step(self.outlook)

    def _mark_steps(self) -> None:
        standing = {}
        for step in STEPS:
            problems = self._problems(step)
            wrong = any(path in self.values for path in problems)
            standing[step.name] = "wrong" if wrong else "missing" if problems else "done"
        self.query_one(StepBar).show(self.step.name, standing)

    def _problems(self, step: Step) -> dict[str, str]:
        """What is wrong in a step, by path."""
        found = {}
        for field in step.fields:
            text = self.values.get(field.path, "")
            if (text or field.required) and (problem := problem_with(field, text)):
                found[field.path] = problem
        return found

    async def action_step(self, by: int) -> None:
        """Go to the next step, or back; after the last comes the review."""
        place = STEPS.index(self.step) + by
        if place >= len(STEPS):
            await self.action_review()
        else:
            await self._open(STEPS[max(place, 0)])

    @on(StepBar.Asked)
    async def _go(self, event: StepBar.Asked) -> None:
        if event.step == REVIEW:
            await self.action_review()
        else:
            await self._open(next(step for step in STEPS if step.name == event.step))

    # Choices

    @on(ConfigForm.Changed)
    def _typed(self, event: ConfigForm.Changed) -> None:
        if event.text.strip():
            self.values[event.path] = event.text
        else:
            self.values.pop(event.path, None)
        self._suggest(event.path)
        self._changed()

    def _suggest(self, path: str) -> None:
        """Offer what a field may mean, if it is one of those."""
        if path in PATHS and step_of(path) is self.step:
            self.query_one(Suggestions).show(path, self.values.get(path, ""))

    @on(Suggestions.Taken)
    async def _take(self, event: Suggestions.Taken) -> None:
        await self._set({event.path: event.value})
        await self.query_one(ConfigForm).go_to(event.path)

    @on(StrategyMatrix.Chosen)
    async def _choose(self, event: StrategyMatrix.Chosen) -> None:
        if event.square.blocks:
            self._say(Content.assemble(("✗ ", "bold $error"), words.plain(event.square.why)))
            return
        await self._set({path: as_text(value) for path, value in event.square.patch.items()})

    @on(MachineChoice.Changed)
    def _describe(self, event: MachineChoice.Changed) -> None:
        self.machine_text = event.text
        self._changed()

    @on(FindingsPanel.Mend)
    async def _mend(self, event: FindingsPanel.Mend) -> None:
        await self._fix(event.finding)

    async def action_mend(self) -> None:
        """Apply what mends the finding with the cursor, or the first that can be mended."""
        finding = self.query_one(FindingsPanel).wanted
        if finding is None:
            self._say(Content.styled("nothing to mend by itself", "$muted"))
        else:
            await self._fix(finding)

    async def _fix(self, finding: Finding) -> None:
        if not finding.fix:
            self._say(Content("▲ No value mends this by itself; its message says what to do."))
            return
        changes = {path: text for path, text in mended({}, finding).items() if path in FIELDS}
        await self._set(changes)
        told = ", ".join(f"{path}={text}" for path, text in changes.items())
        self._say(Content.assemble(("✓ set ", "bold $success"), words.plain(told), ("  F8 takes it back", "$muted")))

    async def _set(self, changes: dict[str, str]) -> None:
        """Change fields at once, so that it can be undone at once."""
        self._before = [*self._before, dict(self.values)][-STEPS_BACK:]
        for path, text in changes.items():
            if text == FIELDS[path].default_text or not text:
                self.values.pop(path, None)
            else:
                self.values[path] = text
        await self._refill()

    async def action_undo(self) -> None:
        """Take the last fix or choice back."""
        if not self._before:
            self._say(Content.styled("nothing to take back", "$muted"))
            return
        self.values = self._before.pop()
        await self._refill()
        self._say(Content.styled("taken back", "$muted"))

    async def action_clear(self) -> None:
        """Empty the form; F8 brings it back."""
        self._before.append(dict(self.values))
        self.values = {}
        await self._refill()

    async def _refill(self) -> None:
        await self.query_one(ConfigForm).show(self.step.fields, self.values)
        self._changed()

    def _changed(self) -> None:
        """Keep the draft, and look what it all comes to now."""
        self._mark_steps()
        self._say(HINT)
        try:
            draft.save(self.values, self.machine_text)
        except OSError as error:
            self.query_one(TitleBar).say("New run", f"▲ draft not saved: {words.plain(error.strerror)}")
        else:
            self.query_one(TitleBar).say("New run", "draft saved")
        self._look()

    # What it comes to

    def _look(self) -> None:
        self._asked += 1
        self._look_at(dict(self.values), self.machine_text, self._asked)

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def _look_at(self, values: dict[str, str], described: str, number: int) -> None:
        from qltui.facts import machine as machines
        from qltui.runs.store import runs_home

        if number != self._asked:
            return
        if described:
            try:
                machine = machines.parse(described)
            except machines.UnknownMachine:
                return  # told where it is typed
        else:
            self._here = self._here or machines.here(runs_home())
            machine = self._here
        found = outlook(values, machine, described=bool(described), base=Path.cwd())
        self.post_message(self.Looked(found, number))

    @on(Looked)
    async def _show(self, event: Looked) -> None:
        if event.number != self._asked:
            return
        self.outlook = event.outlook
        self.query_one(FitPanel).show(event.outlook)
        self.query_one("#findings-area").border_title = f"Findings · {counted(event.outlook.findings)}"
        await self.query_one(FindingsPanel).show(event.outlook.findings)
        self.query_one(StrategyChoice).show(event.outlook)
        self.query_one(MachineChoice).show(event.outlook.machine, described=bool(self.machine_text))
        self._tell_of_the_step(event.outlook)
        self._fold(event.outlook)

    def _tell_of_the_step(self, outlook: Outlook) -> None:
        """What is known of the model, or of the data."""
        self._tell_of_the_model(outlook)
        preview = self.query_one(DataPreview)
        given = all(self.values.get(path) for path in ("model.path", "data.path"))
        preview.display = self.step.name == "data" and given and outlook.config is not None
        if preview.display and outlook.config is not None:
            preview.show(outlook.config)

    def _tell_of_the_model(self, outlook: Outlook) -> None:
        """What the model is made of, in a line."""
        line = self.query_one("#facts", Static)
        model, given = outlook.architecture, self.values.get("model.path")
        line.display = self.step.name == "model" and bool(given) and outlook.config is not None
        if model is None:
            line.update(Content.styled("? not known on this machine: give a folder with its config.json", "$muted"))
            return
        known = "" if model.known else ", estimated from its numbers"
        told = f"{model.parameters / 1e9:.2f} B parameters{known}, {model.depth} layers"
        line.update(Content.assemble(("✓ ", "$success"), f"{told}, up to {model.context_length:,} tokens"))

    def _fold(self, outlook: Outlook) -> None:
        """Fit and findings in a line, for where they have no room."""
        fitted = outlook.advice.fit if outlook.advice else None
        line = verdict(fitted) if fitted and fitted.capacity else Content.styled(why_not(outlook)[0], "$muted")
        counts = (("  ·  findings: ", "$muted"), counted(outlook.findings), ("  F4 for more", "$muted"))
        self.query_one("#folded", Static).update(Content.assemble(line, *counts))

    def action_aside(self) -> None:
        """Unfold fit and findings where they have no room beside the form, or fold them."""
        self.toggle_class("-unfolded")

    async def action_advanced(self) -> None:
        """Show or hide the advanced fields."""
        await self.query_one(ConfigForm).toggle_advanced()

    def _say(self, text: Content | str) -> None:
        self.query_one("#verdict", Static).update(text)

    async def action_review(self) -> None:
        """Show what would run, or the first field that stands in the way."""
        for step in STEPS:
            for path, problem in self._problems(step).items():
                await self._open(step)
                await self.query_one(ConfigForm).go_to(path)
                self._say(Content.assemble(("✗ ", "bold $error"), (FIELDS[path].label, "bold"), f" {problem}"))
                return
        try:
            config = read_values(self.values)
        except ConfigError as error:
            self._say(Content(f"✗ {error}"))
            return
        from qltui.ui.screens.review import Review

        self.app.push_screen(Review(f"New run {config.name}", lambda: config))
