"""Presets: what is known to work, launched with one key; what must change on this machine is told first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from qltui.ui import words
from qltui.ui.screens.launching_page import QUEUE, LaunchingPage
from qltui.ui.screens.page import BACK, HELP
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.lists import Choices
from qltui.ui.widgets.preset_detail import PresetDetail, standing
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from pathlib import Path

    from textual import events
    from textual.app import ComposeResult

    from engine.config import RunConfig
    from qltui.configs.presets import Preset
    from qltui.facts.machine import Machine
    from qltui.facts.rehearsed import Rehearsed
    from qltui.runs.adaptation import Outcome

WIDE_ENOUGH = 116
"""Columns from which the detail stands beside the list."""
STANDING = 20
"""Columns of how a preset stands."""
NUMBERED = 9
"""Presets that have a key of their own."""


class Presets(LaunchingPage):
    """A list of presets with how each stands on this machine; what the chosen one is stands beside or below."""

    CSS_PATH = "presets.tcss"
    BINDINGS = [
        QUEUE,
        Binding("enter", "review", "review", id="presets.review", tooltip="Show what would run, before it runs"),
        Binding("l", "launch", "launch", id="presets.launch", tooltip="Start it; changes are shown first"),
        Binding("e", "edit", "edit a copy", id="presets.edit", tooltip="Open the form with this preset's values"),
        *(
            Binding(
                str(number), f"choose({number})", f"preset {number}", id=f"presets.choose-{number}", show=False,
                tooltip="Go to the preset of that number",
            )
            for number in range(1, NUMBERED + 1)
        ),
        HELP,
        BACK,
    ]  # fmt: skip

    class Read(Message):
        """The presets are known."""

        def __init__(self, presets: list[Preset]) -> None:
            super().__init__()
            self.presets = presets

    class Surveyed(Message):
        """This machine is known, and which presets were rehearsed as they are."""

        def __init__(self, rehearsed: dict[str, Rehearsed], machine: str) -> None:
            super().__init__()
            self.rehearsed = rehearsed
            self.machine = machine

    class Judged(Message):
        """What becomes of one of them here is known."""

        def __init__(self, name: str, outcome: Outcome) -> None:
            super().__init__()
            self.name = name
            self.outcome = outcome

    def __init__(self) -> None:
        super().__init__()
        self.presets: dict[str, Preset] = {}
        self.outcomes: dict[str, Outcome] = {}
        self._rehearsed: dict[str, Rehearsed] = {}
        self._clicked: str | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar("Presets")
        with Container(id="area"):
            with Vertical(id="list", classes="panel") as area:
                area.border_title = "Presets"
                yield Choices(id="presets")
            with VerticalScroll(id="about", classes="panel"):
                yield PresetDetail(id="detail")
        yield Static(id="problem", classes="problem", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def on_screen_resume(self) -> None:
        """One may have been saved meanwhile."""
        self._read()

    def on_resize(self, event: events.Resize) -> None:
        """The detail stands beside the list where there is room."""
        self.set_class(event.size.width >= WIDE_ENOUGH, "-beside")

    # What there is, and how it stands

    @work(thread=True, group="presets", exit_on_error=False)
    def _read(self) -> None:
        from qltui.configs import presets
        from qltui.facts import machine as machines
        from qltui.facts.rehearsed import rehearsed
        from qltui.runs.adaptation import outcome
        from qltui.runs.store import runs_home

        found = presets.presets()
        if found == list(self.presets.values()):
            return
        self.post_message(self.Read(found))
        here = machines.here(runs_home())
        proven = rehearsed()
        as_they_are = {
            one.name: proven[one.name] for one in found
            if one.name in proven and not one.is_mine and presets.content(one.path) == proven[one.name].content
        }  # fmt: skip
        self.post_message(self.Surveyed(as_they_are, _in_words(here)))
        for one in found:
            if one.config is not None:
                self.post_message(self.Judged(one.name, outcome(one.config, here)))

    @on(Read)
    def _list(self, event: Read) -> None:
        self.presets = {one.name: one for one in event.presets}
        menu = self.query_one(OptionList)
        names, chosen = list(self.presets), self.chosen
        menu.set_options([Option(self._line(name), id=name) for name in names])
        menu.highlighted = names.index(chosen) if chosen in self.presets else 0

    @on(Surveyed)
    def _survey(self, event: Surveyed) -> None:
        self._rehearsed = event.rehearsed
        self.query_one(TitleBar).say("Presets", event.machine)
        self._show()

    @on(Judged)
    def _judge(self, event: Judged) -> None:
        if event.name not in self.presets:
            return  # removed meanwhile
        self.outcomes[event.name] = event.outcome
        self.query_one(OptionList).replace_option_prompt(event.name, self._line(event.name))
        if event.name == self.chosen:
            self._show()

    def _line(self, name: str) -> Content:
        """A row: its key, the preset, its machine, how it stands here."""
        place = list(self.presets).index(name) + 1
        preset = self.presets[name]
        widest = max(len(_title(one)) for one in self.presets.values())
        machines = max(len(one.hardware) for one in self.presets.values())
        stands = standing(preset, self.outcomes.get(name))
        return Content.assemble(
            (f"{place if place <= NUMBERED else '':<2} ", "$accent"), (_title(preset).ljust(widest), "bold"), "  ",
            (preset.hardware.ljust(machines), "$muted"), "  ", stands, " " * (STANDING - len(stands.plain)),
        )  # fmt: skip

    @on(OptionList.OptionHighlighted)
    def _move(self) -> None:
        self._tell("")
        self.may_wait = None
        self._show()

    def _show(self) -> None:
        """What the chosen preset is, as far as it is known."""
        preset = self.presets.get(self.chosen or "")
        if preset is None:
            return
        self.query_one("#about").border_title = words.plain(preset.name)
        self.query_one(PresetDetail).show(preset, self.outcomes.get(preset.name), self._rehearsed.get(preset.name))
        self.refresh_bindings()
        self.call_after_refresh(self.query_one(OptionList).scroll_to_highlight)  # once the list is laid out

    @property
    def chosen(self) -> str | None:
        """Name of the preset under the cursor."""
        option = self.query_one(OptionList).highlighted_option
        return option.id if option else None

    # What can be done with it

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are grey where the preset cannot be read."""
        if action in ("review", "launch", "edit") and self.is_mounted:
            preset = self.presets.get(self.chosen or "")
            return True if preset is not None and preset.config is not None else None
        return super().check_action(action, parameters)

    def action_choose(self, number: int) -> None:
        """Go to the preset of that number."""
        if number <= len(self.presets):
            self.query_one(OptionList).highlighted = number - 1

    @on(OptionList.OptionSelected)
    def _click(self, event: OptionList.OptionSelected) -> None:
        """A click shows a preset, another one on it reviews it."""
        if event.option_id == self._clicked:
            self.action_review()
        self._clicked = event.option_id

    def action_review(self) -> None:
        """Show what the chosen preset would run here."""
        from qltui.ui.screens.review import Review

        preset = self.presets.get(self.chosen or "")
        if preset is None or preset.config is None:
            return
        found = self.outcomes.get(preset.name)
        if found is None or not found.here.changes:
            self.app.push_screen(Review.of_preset(preset.name))
            return
        adapted: RunConfig = found.here.config
        changes = [str(one) for one in found.here.changes]
        command = f"qltui launch {preset.name} --adapt"
        self.app.push_screen(Review(f"Preset {preset.name}, adapted", lambda: adapted, command, changes=changes))

    def action_edit(self) -> None:
        """Open the form with the chosen preset's values, as they would run here."""
        from qltui.ui import draft
        from qltui.ui.screens.new_run import NewRun

        preset = self.presets.get(self.chosen or "")
        if preset is None or preset.config is None:
            return
        found = self.outcomes.get(preset.name)
        values = draft.values_of(found.here.config if found else preset.config)
        elsewhere = found is not None and found.planned is not None
        self.app.push_screen(NewRun(values, machine=preset.hardware if elsewhere else ""))

    def action_launch(self) -> None:
        """Start the chosen preset; one that must change is reviewed first."""
        preset = self.presets.get(self.chosen or "")
        if preset is None or preset.config is None or self.launching:
            return
        found = self.outcomes.get(preset.name)
        if found is not None and found.here.changes:
            self.action_review()
            return
        self._tell(f"… launching {preset.name}")
        self.launch(preset.config)

    def started(self, path: Path) -> None:
        """Open the monitor; from there one comes back to the presets."""
        from qltui.ui.screens.monitor import Monitor

        self._tell("")
        self.app.push_screen(Monitor(path))

    def refused(self, reason: str) -> None:
        """Say why."""
        self._tell(f"✗ not launched: {words.plain(reason)}")
        self.refresh_bindings()

    def _tell(self, text: str) -> None:
        line = self.query_one("#problem", Static)
        line.update(text)
        line.set_class(bool(text), "-told")


def _title(preset: Preset) -> str:
    return words.plain(preset.name) + (" · yours" if preset.is_mine else "")


def _in_words(machine: Machine) -> str:
    """The GPUs of this machine."""
    cards = [card.name for card in machine.cards]
    kinds = [f"{cards.count(name)} × {name}" for name in dict.fromkeys(cards)]
    return f"here: {', '.join(kinds)}" if kinds else "here: no GPU"
