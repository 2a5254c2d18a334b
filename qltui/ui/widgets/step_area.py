"""The page of the open step: its form, and what stands above and below it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding
from textual.containers import Vertical

from qltui.ui.steps import STEPS, step_of
from qltui.ui.widgets.column_mapping import ColumnMapping
from qltui.ui.widgets.config_form import ConfigForm, FieldRow
from qltui.ui.widgets.data_preview import DataPreview
from qltui.ui.widgets.field_help import FieldHelp
from qltui.ui.widgets.global_batch import GlobalBatch
from qltui.ui.widgets.machine_choice import MachineChoice
from qltui.ui.widgets.model_facts import ModelFacts
from qltui.ui.widgets.strategy_choice import StrategyChoice
from qltui.ui.widgets.suggestions import PATHS, Suggestions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual import events
    from textual.app import ComposeResult
    from textual.widget import Widget

    from qltui.configs.hub import HubAnswer
    from qltui.runs.outlook import Outlook
    from qltui.ui.steps import Step

ABOVE = {"hardware": "#machine", "method": "#strategy", "training": "#batch"}
"""What stands above the form, by step."""
FIRST = {"hardware": "#machine Input", "method": "#matrix"}
"""Where the cursor begins, if not in the first field."""
SETTLED = 0.3
"""Seconds on a step, after which the next is made ready."""
BELOW = ("#facts", "#suggestions", "#mapping", "#preview")
"""What stands below it where there is something to tell."""
WITH_MORE_BELOW = ("model", "data")
"""Steps whose form leaves room for that."""


class StepArea(Vertical):
    """Shows one step at a time; what is chosen in it comes as the messages of its parts."""

    DEFAULT_CSS = """
    StepArea {
        width: 1fr;
        padding: 0 1;
        & .label.-current { color: $primary; text-style: bold; }
        & Input:focus { background: $primary 20%; }
        & ConfigForm { height: 1fr; }
    }
    """

    BINDINGS: ClassVar[list[Binding | tuple[str, str] | tuple[str, str, str]]] = [
        Binding("down", "down", show=False, id="step.down", tooltip="To what is suggested, else to the next field"),
        Binding("up", "up", show=False, id="step.up", tooltip="To the field before"),
    ]

    def compose(self) -> ComposeResult:
        yield MachineChoice(id="machine")
        yield StrategyChoice(id="strategy")
        yield GlobalBatch(id="batch")
        yield ConfigForm(id="form")
        yield ModelFacts(id="facts")
        yield Suggestions(id="suggestions")
        yield ColumnMapping(id="mapping")
        yield DataPreview(id="preview")
        yield FieldHelp(id="field-help")

    async def open(self, step: Step, values: dict[str, str], path: str = "") -> None:
        """Show a step with the cursor in the field at ``path``, else where one begins."""
        for name, above in ABOVE.items():
            self.query_one(above).display = step.name == name
        for below in BELOW:
            self.query_one(below).display = False
        form = self.query_one(ConfigForm)
        # No class: with one, every field of every step would be styled anew, a quarter of a second.
        shares_room = step.name in WITH_MORE_BELOW
        form.styles.height, form.styles.max_height = ("auto", "60%") if shares_room else ("1fr", None)
        await form.show(step.front, step.more, values)
        if path or step.name not in FIRST:
            await form.go_to(path or step.front[0].path)
        else:
            self.screen.set_focus(self.query_one(FIRST[step.name]))
        self.query_one(FieldHelp).show(_row_of(self.screen.focused))  # now: later, all would be laid out once more
        self.suggest(step, next((field.path for field in step.front if field.path in PATHS), ""), values)
        self._prepare_the_next(step, dict(values))

    @work(exclusive=True, group="prepare", exit_on_error=False)
    async def _prepare_the_next(self, step: Step, values: dict[str, str]) -> None:
        await asyncio.sleep(SETTLED)
        following = STEPS[(STEPS.index(step) + 1) % len(STEPS)]
        await self.query_one(ConfigForm).prepare(following.front, following.more, values)

    async def fill(self, step: Step, values: dict[str, str]) -> None:
        """Show the values of a step that is open."""
        await self.query_one(ConfigForm).show(step.front, step.more, values)
        self.suggest(step, self.query_one(Suggestions).path, values)

    def suggest(self, step: Step, path: str, values: Mapping[str, str]) -> None:
        """Offer what a field may mean, if it is one of those."""
        if path in PATHS and step_of(path) == step:
            self.query_one(Suggestions).show(path, values.get(path, ""))

    def show(self, step: Step, outlook: Outlook, values: Mapping[str, str], *, described: bool) -> None:
        """Tell what the choices come to."""
        if step.name == "method":
            self.query_one(StrategyChoice).show(outlook, is_open="strategy.name" not in values)
        elif step.name == "hardware":
            self.query_one(MachineChoice).show(outlook.machine, described=described)
        elif step.name == "training":
            self.query_one(GlobalBatch).show(outlook.batch)
        self.query_one(ConfigForm).tell(outlook.findings)
        self._tell_of_the_model(step, outlook, values.get("model.path", ""))
        preview = self.query_one(DataPreview)
        preview.display = step.name == "data" and bool(values.get("data.path")) and outlook.config is not None
        if preview.display and outlook.config is not None:
            if values.get("model.path"):
                preview.show(outlook.config)
            else:
                preview.wait_for_a_model()
        self._show_mapping()

    def _tell_of_the_model(self, step: Step, outlook: Outlook, name: str) -> None:
        facts = self.query_one(ModelFacts)
        facts.display = step.name == "model" and bool(name) and outlook.config is not None
        if facts.display:
            facts.show(outlook, name, self.query_one(Suggestions).cached)

    def answered(self, name: str, answer: HubAnswer) -> None:
        """Tell what the hub says of a model; where it cannot be had, offer what is on disk."""
        self.query_one(ModelFacts).answered(name, answer)
        if not answer.is_there:
            self.query_one(Suggestions).offer_what_is_here(name)

    @on(DataPreview.Answered)
    async def _map(self, event: DataPreview.Answered) -> None:
        event.stop()
        if event.preview is not None:
            await self.query_one(ColumnMapping).show(event.preview, event.config)
        self._show_mapping()

    def _show_mapping(self) -> None:
        """Beside a preview alone: an answer may come when another step is open."""
        preview = self.query_one(DataPreview)
        has_columns = preview.answer is not None and bool(preview.answer.columns)
        self.query_one(ColumnMapping).display = preview.display and has_columns

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Set the label of what has the cursor apart, and tell what the field means."""
        self.query(".label.-current").remove_class("-current")
        for around in event.widget.ancestors:
            if around is self:
                break
            if labels := around.query(".label"):
                labels.first().add_class("-current")
                break
        self.query_one(FieldHelp).show(_row_of(event.widget))

    def action_down(self) -> None:
        """To what is suggested for the field with the cursor, else to the next field."""
        suggestions, row = self.query_one(Suggestions), _row_of(self.screen.focused)
        if suggestions.display and row is not None and row.field.path == suggestions.path:
            suggestions.enter()
        else:
            self.screen.focus_next()

    def action_up(self) -> None:
        """To the field before."""
        self.screen.focus_previous()

    @on(Suggestions.Left)
    async def _back(self, event: Suggestions.Left) -> None:
        event.stop()
        await self.query_one(ConfigForm).go_to(event.path)


def _row_of(widget: Widget | None) -> FieldRow | None:
    """The field that a widget is part of."""
    around = widget.ancestors_with_self if widget else ()
    return next((one for one in around if isinstance(one, FieldRow)), None)
