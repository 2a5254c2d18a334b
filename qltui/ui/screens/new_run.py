"""A new run, step by step: what is chosen, whether it fits, and what the rules say of it, always in view."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from engine.config import FIELDS, ConfigError
from qltui.configs import hub
from qltui.runs.batching import divided
from qltui.runs.outlook import mended, outlook, read_choices, texts_of
from qltui.ui import draft, words
from qltui.ui.chosen import Chosen
from qltui.ui.screens.page import Page
from qltui.ui.steps import STEPS, step_of
from qltui.ui.widgets.column_mapping import ColumnMapping
from qltui.ui.widgets.config_form import ConfigForm
from qltui.ui.widgets.findings_panel import FindingsPanel, counted
from qltui.ui.widgets.fit_panel import FitPanel
from qltui.ui.widgets.folded_line import FoldedLine
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.global_batch import GlobalBatch
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.machine_choice import MachineChoice
from qltui.ui.widgets.step_area import StepArea
from qltui.ui.widgets.step_bar import REVIEW, StepBar
from qltui.ui.widgets.strategy_matrix import StrategyMatrix
from qltui.ui.widgets.suggestions import Suggestions
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from qltui.advice.findings import Finding
    from qltui.facts.machine import Machine
    from qltui.runs.outlook import Outlook
    from qltui.ui.steps import Step

HINT = Content.styled("○ marks what must be filled in, ✗ what cannot stay as it is", "$muted")
WIDE_ENOUGH = 116
"""Columns from which the panel stands beside the form."""
PAUSE = 0.05
"""Seconds that a key gets to be painted before what it comes to is looked at."""


class NewRun(Page):
    """The wizard; what is chosen is kept as a draft at once."""

    CSS_PATH = "new_run.tcss"
    BINDINGS: ClassVar[list[Binding | tuple[str, str] | tuple[str, str, str]]] = [
        Binding("pageup", "step(-1)", "back", id="new-run.previous", priority=True, tooltip="Step before"),
        Binding("pagedown", "step(1)", "next", id="new-run.next", priority=True, tooltip="Next step"),
        Binding("f2", "review", "review", id="new-run.review", tooltip="Check it all and show what would run"),
        Binding("f5", "mend", "fix", id="new-run.mend", tooltip="Apply what mends the finding"),
        Binding("f8", "undo", "undo", id="new-run.undo", tooltip="Take the last fix or choice back"),
        Binding("f1", "help", "help", id="new-run.help", tooltip="What the cursor is on, and all keys"),
        Binding("f3", "find", "find", id="new-run.find", show=False, tooltip="Find any field by a word of it"),
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

    class Divided(Message):
        """How the rows that were wanted for a step are divided."""

        def __init__(self, changes: dict[str, str]) -> None:
            super().__init__()
            self.changes = changes

    def __init__(self, values: dict[str, str] | None = None, machine: str = "") -> None:
        """Open the draft, or a form with ``values``, texts by dotted path, planned for a ``machine`` as described."""
        super().__init__()
        kept, machine = draft.load() if values is None else (values, machine)
        self.chosen = Chosen(kept)
        self.machine_text = machine
        """GPUs as described; empty for those of this machine."""
        self.step: Step = STEPS[0]
        self.outlook: Outlook | None = None
        self._here: Machine | None = None
        self._asked = 0
        self._looking = False
        self._kept = draft.Keeper(lambda: (dict(self.values), self.machine_text))

    @property
    def values(self) -> dict[str, str]:
        """The texts that are chosen, by dotted path."""
        return self.chosen.values

    def compose(self) -> ComposeResult:
        yield TitleBar("New run", "draft" if self.values else "")
        yield StepBar()
        with Horizontal(id="area"):
            yield StepArea(id="step")
            with Vertical(id="panels"):
                with Vertical(id="fit-area", classes="panel") as fit_area:
                    fit_area.border_title = "Fit · per GPU"
                    yield FitPanel(id="fit")
                with Vertical(id="findings-area", classes="panel") as findings_area:
                    findings_area.border_title = "Findings"
                    yield FindingsPanel(id="findings")
        yield FoldedLine(id="folded", markup=False)
        yield Line(id="verdict", markup=False)
        yield Footer()

    async def on_mount(self) -> None:
        self.query_one(MachineChoice).fill(self.machine_text)
        await self._open(self.step)
        self._say(HINT)
        self._look()

    def on_resize(self, event: events.Resize) -> None:
        """The panel stands beside the form where there is room."""
        self.set_class(event.size.width >= WIDE_ENOUGH, "-beside")

    # Steps

    async def _open(self, step: Step, path: str = "") -> None:
        """Show a step, with the cursor in its first field or the one at ``path``."""
        self.step = step
        await self._area.open(step, self.values, path)
        self._mark_steps()
        if self.outlook is not None:
            self._tell(self.outlook)

    async def go_to(self, path: str) -> None:
        """Put the cursor into a field, on the open step where that asks for it too."""
        here = any(field.path == path for field in self.step.front)
        await self._open(self.step if here else step_of(path), path)

    @property
    def _area(self) -> StepArea:
        return self.query_one(StepArea)

    def _mark_steps(self) -> None:
        self.query_one(StepBar).show(self.step.name, self.chosen.standing())

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
        self.chosen.type(event.path, event.text)
        self._area.suggest(self.step, event.path, self.values)
        self._changed()

    @on(Suggestions.Taken)
    async def _take(self, event: Suggestions.Taken) -> None:
        await self._set({event.path: event.value})
        await self.go_to(event.path)

    @on(Suggestions.AskHub)
    def _ask_hub(self, event: Suggestions.AskHub) -> None:
        self._say(Content.styled(f"… asking the hub for {words.plain(event.name)}", "$muted"))
        self._ask(event.name)

    @work(thread=True, exclusive=True, group="hub", exit_on_error=False)
    def _ask(self, name: str) -> None:
        answer = hub.ask(name, self.values.get("model.revision"))
        self.app.call_from_thread(self._answered, name, answer)

    def _answered(self, name: str, answer: hub.HubAnswer) -> None:
        self._area.answered(name, answer)
        self._say(HINT)
        if self.outlook is not None:
            self._tell(self.outlook)

    @on(ColumnMapping.Changed)
    async def _map(self, event: ColumnMapping.Changed) -> None:
        await self._set({"data.columns": event.text})

    @on(GlobalBatch.Wanted)
    def _want(self, event: GlobalBatch.Wanted) -> None:
        if self.outlook is not None:
            self._divide(dict(self.values), self.outlook.machine, event.rows)

    @work(thread=True, exclusive=True, group="divide", exit_on_error=False)
    def _divide(self, values: dict[str, str], machine: Machine, rows: int) -> None:
        try:
            config = read_choices(values, Path.cwd())
        except ConfigError:
            return  # told where it is typed
        self.post_message(self.Divided(texts_of(divided(config, machine, rows, described=bool(self.machine_text)))))

    @on(Divided)
    async def _divided(self, event: Divided) -> None:
        await self._set(event.changes)
        self._say_set(event.changes)

    @on(StrategyMatrix.Chosen)
    async def _choose(self, event: StrategyMatrix.Chosen) -> None:
        if event.square.blocks:
            self._say(Content.assemble(("✗ ", "bold $error"), words.plain(event.square.why)))
            return
        texts = texts_of(event.square.patch)
        changes = {path: text for path, text in texts.items() if text != self.chosen.text_of(path)}
        if changes:
            await self._set(changes)
            self._say_set(changes)

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
        self._say_set(changes)

    def _say_set(self, changes: dict[str, str]) -> None:
        told = ", ".join(f"{path}={text}" if text else f"{path} empty" for path, text in changes.items())
        self._say(Content.assemble(("✓ set ", "bold $success"), words.plain(told), ("  F8 takes it back", "$muted")))

    async def _set(self, changes: dict[str, str]) -> None:
        self.chosen.set(changes)
        await self._refill()

    async def action_undo(self) -> None:
        """Take the last fix or choice back."""
        if not self.chosen.undo():
            self._say(Content.styled("nothing to take back", "$muted"))
            return
        await self._refill()
        self._say(Content.styled("taken back", "$muted"))

    async def action_clear(self) -> None:
        """Empty the form; F8 brings it back."""
        self.chosen.clear()
        await self._refill()

    async def _refill(self) -> None:
        await self._area.fill(self.step, self.values)
        self._changed()

    def _changed(self) -> None:
        """Keep the draft, and look what it all comes to now."""
        self._mark_steps()
        self._say(HINT)
        self._kept.is_behind = True
        self._look()

    # What it comes to

    def _look(self) -> None:
        self._asked += 1
        if not self._looking:
            self._looking = True
            self._keep_looking()

    @work(group="look", exit_on_error=False)
    async def _keep_looking(self) -> None:
        """Look in a thread, one at a time, until what was looked at is what is chosen."""
        try:
            number = 0
            while number != self._asked:
                if self._kept.is_behind:
                    self._tell_kept(await asyncio.to_thread(self._kept.catch_up))
                await asyncio.sleep(PAUSE)
                number = self._asked
                await asyncio.to_thread(self._look_at, dict(self.values), self.machine_text, number)
        finally:
            self._looking = False

    def _tell_kept(self, problem: str) -> None:
        told = f"▲ draft not saved: {words.plain(problem)}" if problem else "draft saved"
        self.query_one(TitleBar).say("New run", told)

    def on_unmount(self) -> None:
        """Lose nothing of the last moment."""
        self._kept.catch_up()

    def _look_at(self, values: dict[str, str], described: str, number: int) -> None:
        from qltui.facts import machine as machines
        from qltui.runs.store import runs_home

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
        self._tell(event.outlook)
        self.query_one(FoldedLine).show(event.outlook)

    def _tell(self, outlook: Outlook) -> None:
        self._area.show(self.step, outlook, self.values, described=bool(self.machine_text))

    def action_aside(self) -> None:
        """Unfold fit and findings where they have no room beside the form, or fold them."""
        self.toggle_class("-unfolded")

    def action_find(self) -> None:
        """Find any field by a word of it."""
        from qltui.ui.screens.field_search import FieldSearch

        def go(path: str | None) -> None:
            if path:
                self.call_later(self.go_to, path)

        self.app.push_screen(FieldSearch(self.values), go)

    def _say(self, text: Content | str) -> None:
        self.query_one("#verdict", Static).update(text)

    async def action_review(self) -> None:
        """Show what would run, or the first field that stands in the way."""
        for step in STEPS:
            for path, problem in self.chosen.problems(step).items():
                await self._open(step, path)
                self._say(Content.assemble(("✗ ", "bold $error"), (FIELDS[path].label, "bold"), f" {problem}"))
                return
        try:
            config = draft.read_values(self.values)
        except ConfigError as error:
            self._say(Content(f"✗ {error}"))
            return
        from qltui.ui.screens.review import Review

        self.app.push_screen(Review(config.name, lambda: config, machine=self.machine_text, wizard=self))
