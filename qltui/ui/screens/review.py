"""What would run, before it runs: the files, the command, the plan, and everything that stands in the way."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from engine.config import FIELDS
from engine.config.ranks import uses_gpu
from qltui.ui import draft, words
from qltui.ui.screens.launching_page import QUEUE, LaunchingPage
from qltui.ui.steps import STEPS
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.reading import Reading
from qltui.ui.widgets.review_files import OVERVIEW, ReviewFiles
from qltui.ui.widgets.review_overview import ReviewOverview
from qltui.ui.widgets.review_verdict import job_line, problem_text, verdict_lines
from qltui.ui.widgets.run_files import RunFiles
from qltui.ui.widgets.step_bar import REVIEW, StepBar
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from textual import events
    from textual.app import ComposeResult

    from engine.config import Problem, RunConfig
    from qltui.runs.prospect import Foresight
    from qltui.runs.rehearsal_job import RehearsalJob
    from qltui.ui.screens.new_run import NewRun

WIDE_ENOUGH = 100
"""Columns from which the overview has room beside the files: those of the app's ``-wide``."""
LOOK_SECONDS = 1.0
"""How often it is told how a rehearsal goes."""
HINT = Content.styled("← → next file   e edit it in the form   ? all keys", "$muted")


class Review(LaunchingPage):
    """Shows a RunConfig that ``load`` makes, with all that is known of it, and launches it."""

    CSS_PATH = "review.tcss"
    BINDINGS = [
        QUEUE,
        Binding("l,enter", "launch", "launch", id="review.launch", tooltip="Start the run and open its monitor"),
        Binding("r", "rehearse", "rehearse", id="review.rehearse", tooltip="Try it first: a small model on CPU ranks"),
        Binding("p", "save", "preset", id="review.save", tooltip="Keep it as a preset of yours"),
        Binding("x", "export", "export", id="review.export", tooltip="Write it for TRL, Axolotl or LLaMA-Factory"),
        Binding("y", "copy", "copy", id="review.copy", tooltip="Copy the file, or the command, that is shown"),
        Binding("q,escape", "back", "back", id="back", key_display="q", tooltip="Back to the screen before"),
        Binding("e", "edit", "edit", id="review.edit", show=False, tooltip="Change it in the form, at what stops it"),
        Binding("right", "tab(1)", "next file", id="review.next", show=False, tooltip="Show the next file"),
        Binding("left", "tab(-1)", "file before", id="review.previous", show=False, tooltip="Show the file before"),
        Binding(
            "pageup", "to_the_form", "step before", id="review.up", show=False,
            tooltip="A page up; from the top back to the step before",
        ),
        Binding("question_mark,f1", "help", "help", id="help", key_display="?", show=False, tooltip="All keys"),
    ]  # fmt: skip

    class Checked(Message):
        """What would run is known; or why it cannot even be read."""

        def __init__(self, known: Foresight | None, problems: Sequence[Problem] = ()) -> None:
            super().__init__()
            self.known = known
            self.problems = list(problems)

    def __init__(
        self, title: str, load: Callable[[], RunConfig], command: str = "", *, changes: Sequence[str] = (),
        machine: str = "", wizard: NewRun | None = None,
    ) -> None:  # fmt: skip
        """Review what ``load`` gives.

        Args:
            command: does the same from a shell; without one it is ``qltui launch`` of a copy of run.yaml.
            changes: what was changed for this machine, a line each.
            machine: GPUs it is planned for, as described; empty for those of this machine.
            wizard: the form it comes from, one screen below: changes are made there.
        """
        super().__init__()
        self._title = title
        self._load = load
        self._command = command
        self._changes = list(changes)
        self._machine = machine
        self._wizard = wizard
        self._known: Foresight | None = None
        self._job: RehearsalJob | None = None

    @classmethod
    def of_preset(cls, name: str) -> Review:
        """The review of a preset."""

        def load() -> RunConfig:
            from qltui.configs.loading import load as load_target

            return load_target(name, [])

        return cls(f"Preset {name}", load, f"qltui launch {shlex.quote(name)}")

    def compose(self) -> ComposeResult:
        yield TitleBar(Content(f"Review · {self._title}"))
        if self._wizard is not None:
            yield StepBar()
        with Reading(id="verdicts"):
            yield Static("… checking model, data and machine", id="verdict", markup=False)
        with Horizontal(id="what"):
            yield ReviewFiles(self._command, id="files", classes="panel")
            yield ReviewOverview(id="overview")
        yield Static(HINT, id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#files").border_title = "What will be written"
        if self._wizard is not None:
            self.query_one(StepBar).show(REVIEW, {step.name: "done" for step in STEPS})
        self.set_interval(LOOK_SECONDS, self._look_at_the_rehearsal)
        self._check()

    async def on_resize(self, event: events.Resize) -> None:
        """The overview stands beside the files where there is room, else behind a tab of its own."""
        await self._show_files()

    def on_screen_resume(self) -> None:
        """A rehearsal may have gone on, or ended, meanwhile."""
        self._tell()

    def _look_at_the_rehearsal(self) -> None:
        if self._job is not None and self._job.is_running and self.is_current:
            self._tell()

    # What is known

    @work(thread=True, group="check", exit_on_error=False)
    def _check(self) -> None:
        from engine.config import ConfigError
        from qltui.runs.prospect import foresee

        try:
            self.post_message(self.Checked(foresee(self._load(), self._machine)))
        except ConfigError as error:
            self.post_message(self.Checked(None, error.problems))

    @on(Checked)
    async def _show(self, event: Checked) -> None:
        self._known = event.known
        if event.known is None:
            self.add_class("-unreadable")
            self.query_one("#verdicts").focus()
            self._say_verdict([problem_text(problem) for problem in event.problems])
        else:
            known = event.known
            self.may_wait = known.here.config if known.prospect.may_wait and not known.here.refusals else None
            self.query_one(ReviewOverview).show(known.planned)
            self._tell()
            await self._show_files()
        self.refresh_bindings()

    def _tell(self) -> None:
        """Whether it can be launched, and what should be known before."""
        if self._known is None:
            return
        known = self._known
        lines = verdict_lines(known.planned, known.here, self._machine, known.prospect, self._changes)
        if self._job is not None:
            lines.append(job_line(self._job))
        self._say_verdict(lines)

    def _say_verdict(self, lines: list[Content]) -> None:
        self.query_one("#verdict", Static).update(Content("\n").join(lines))

    def _say(self, *parts: Content | str | tuple[str, str]) -> None:
        self.query_one("#said", Static).update(Content.assemble(*parts))

    # Files

    async def _show_files(self) -> None:
        if self._known is None:
            return
        known, overview = self._known, self.app.size.width < WIDE_ENOUGH
        await self._files.show_run(known.planned.config.name, known.prospect, overview=overview)

    @on(RunFiles.Turned)
    def _turned(self, event: RunFiles.Turned) -> None:
        self.set_class(event.name == OVERVIEW, "-overview")
        self.query_one("#overview" if event.name == OVERVIEW else "#source").focus()

    async def action_tab(self, by: int) -> None:
        """Show the next file, or the one before."""
        await self._files.turn(by)

    @property
    def _files(self) -> ReviewFiles:
        return self.query_one(ReviewFiles)

    def action_copy(self) -> None:
        """Copy the file that is shown; else the command."""
        self._files.copy_shown()

    @on(ReviewFiles.Told)
    def _tell_of_the_copy(self, event: ReviewFiles.Told) -> None:
        self._say(event.text)

    # What is done with it

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what cannot be done yet, or at all."""
        if action == "launch":
            return self.may_wait is None and (True if self._may_launch else None)
        if action in ("rehearse", "save", "export", "copy", "edit"):
            return True if self._known is not None and not self.launching else None
        return super().check_action(action, parameters)

    @property
    def _may_launch(self) -> bool:
        return self._known is not None and not self._known.here.refusals and not self.launching

    def action_launch(self) -> None:
        """Start the run; ask before one is started on another machine than it is planned for."""
        if not self._may_launch or self._known is None:
            return
        config = self._known.here.config
        if not self._machine:
            self._start(config)
            return
        from qltui.ui.screens.confirm import Confirm

        cards = self._known.here.machine.gpus
        there = f"{cards} GPU{'s' if cards > 1 else ''}" if cards else "no GPU: it would run on CPU ranks"
        question = Confirm("Launch it on this machine?", f"It is planned for {self._machine}; here: {there}.", "Launch")
        self.app.push_screen(question, lambda agreed: self._start(config) if agreed else None)

    def _start(self, config: RunConfig) -> None:
        self.launch(config)
        self._say("… launching")
        self.refresh_bindings()

    def started(self, path: Path) -> None:
        """Open the monitor."""
        from qltui.ui.screens.monitor import Monitor

        if self._wizard is not None:
            self.app.pop_screen()  # what was filled in is launched: from the run one goes back to where one began
        self.app.switch_screen(Monitor(path))

    def refused(self, reason: str) -> None:
        """Say why, and let it be tried again."""
        self._say(("✗ not launched  ", "bold $error"), words.plain(reason))
        self.refresh_bindings()

    def action_rehearse(self) -> None:
        """Rehearse it, or show the rehearsal that was begun."""
        from qltui.runs.rehearsal import RehearsalRefused
        from qltui.runs.rehearsal_job import RehearsalJob
        from qltui.ui.screens.rehearsing import Rehearsing

        assert self._known is not None
        try:
            self._job = self._job if self._job and self._job.is_running else RehearsalJob(self._known.planned.config)
        except RehearsalRefused as error:
            self._say(("✗ not rehearsed  ", "bold $error"), words.plain(error))
            return
        self.app.push_screen(Rehearsing(self._job))

    def action_save(self) -> None:
        """Keep it as a preset."""
        from qltui.ui.screens.saving import Saving

        def saved(place: tuple[str, Path] | None) -> None:
            if place:
                self._say(("✓ saved as preset ", "bold $success"), place[0], (f"  {words.path(place[1])}", "$muted"))

        assert self._known is not None
        self.app.push_screen(Saving(self._known.here.config, self._planned_for(self._known)), saved)

    def _planned_for(self, known: Foresight) -> str:
        """The machine it is for: as it was described, as the configuration has it, else the one it was made to fit."""
        from qltui.facts.machine import as_text

        config, machine = known.here.config, known.here.machine
        if self._machine or (config.hardware.planned_for and not self._changes):
            return self._machine or config.hardware.planned_for
        return "cpu" if not uses_gpu(config, machine.gpus_per_node) else as_text(machine)

    def action_export(self) -> None:
        """Write it for another program."""
        from qltui.ui.screens.exporting import Exporting

        assert self._known is not None
        self.app.push_screen(Exporting(self._known.planned.config))

    # Back to the form

    def action_to_the_form(self) -> None:
        """Back to the step before."""
        self._back_to(STEPS[-1].name)

    @on(StepBar.Asked)
    def _asked_back(self, event: StepBar.Asked) -> None:
        if event.step != REVIEW:
            self._back_to(event.step)

    def _back_to(self, step: str) -> None:
        """Go back to a step of the form, if this comes from one."""
        if self._wizard is not None:
            self.app.pop_screen()
            self._wizard.post_message(StepBar.Asked(step))

    async def action_edit(self) -> None:
        """Open the form, at the field that stops the run if one does."""
        assert self._known is not None
        field = next(
            (one.field for one in self._known.planned.refusals + self._known.here.refusals if one.field in FIELDS), ""
        )
        if self._wizard is not None:
            self.app.pop_screen()
            form = self._wizard
        else:
            from qltui.ui.screens.new_run import NewRun

            form = NewRun(draft.values_of(self._known.here.config), self._machine)
            await self.app.switch_screen(form)
        if field:
            form.call_after_refresh(form.go_to, field)
