"""What can be asked of a run that is looked at, and taken out of it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Literal

from textual import on, work
from textual.binding import Binding
from textual.content import Content
from textual.message import Message

from engine.events import RunDirectory, is_alive
from qltui.ui import words
from qltui.ui.screens.page import HELP, Page

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.notifications import SeverityLevel

    from qltui.ui.clipboard import Copied

Action = Literal["stop", "checkpoint", "kill", "resume"]

STOP_DETAIL = "It saves at the next step and ends. It can be resumed from there."
KILL_DETAIL = "It ends at once. What it learnt since its newest checkpoint is lost."
DONE = {
    "stop": "Asked to save and stop after the current step.",
    "checkpoint": "Asked to save a checkpoint after the current step.",
    "kill": "Told to end at once.",
    "resume": "It goes on from its newest checkpoint.",
}
ADOPTED = "It is looked after again, and went on all the while."
OF_LIVE_RUNS = ("stop", "checkpoint", "kill")
ASKING = (*OF_LIVE_RUNS, "resume", "relaunch")
"""Actions that ``readonly`` takes away."""


# In the order of the footer: what finds no room goes from the end, leaving aside.
ACTIONS = [
    Binding("s", "stop", "stop", id="monitor.stop", tooltip="Save a checkpoint and stop the run"),
    Binding("u", "resume", "resume", id="monitor.resume", tooltip="Go on from the newest checkpoint"),
    HELP,
    Binding("k", "checkpoint", "checkpoint", id="monitor.checkpoint", tooltip="Save a checkpoint now and go on"),
    Binding("c", "relaunch", "change", id="monitor.relaunch", tooltip="Launch it again with changes, in the form"),
    Binding("x", "kill", "kill", id="monitor.kill", show=False, tooltip="End the run at once, without saving"),
    Binding("y", "copy", "copy command", id="monitor.copy", show=False, tooltip="Copy the command that does the same"),
    Binding("a", "ask", "ask", id="monitor.ask", show=False, tooltip="Talk to the model as it was last saved"),
    Binding("v", "samples", "answers", id="monitor.samples", show=False,
            tooltip="What it answers to training.sample_prompts, and did before"),
    Binding("q", "leave", "leave", id="monitor.leave", tooltip="Leave, and say what becomes of the run"),
    Binding("escape", "back", show=False, id="monitor.back", tooltip="Leave at once; the run goes on"),
]  # fmt: skip


class RunActions(Page):
    """The keys that ask something of a run; what is shown of it is the screen's.

    ``readonly`` takes away all but leaving and copying.
    """

    class Asked(Message):
        """Something was asked of the run, or could not be; with ``leave`` the user wants to go."""

        def __init__(self, text: str, refused: bool = False, leave: bool = False) -> None:
            super().__init__()
            self.text = text
            self.refused = refused
            self.leave = leave

    class Opened(Message):
        """The run's configuration was read, to be changed."""

        def __init__(self, values: dict[str, str]) -> None:
            super().__init__()
            self.values = values

    class WasCopied(Message):
        """The command was copied, one way or another."""

        def __init__(self, copied: Copied) -> None:
            super().__init__()
            self.copied = copied

    def __init__(self, run_path: Path, readonly: bool = False) -> None:
        super().__init__()
        self.run_path = run_path
        self.readonly = readonly
        self.is_ours = True
        """Whether it is a run that this program launched."""
        self.status: dict[str, Any] | None = None
        """The run's status as last read."""

    @property
    def is_live(self) -> bool:
        """Whether the run goes on, as far as is known."""
        return self.status is not None and words.is_live(self.status)

    @property
    def is_orphan(self) -> bool:
        """Whether it goes on without its supervisor, and so may be given another."""
        supervisor = (self.status or {}).get("supervisor")
        return self.is_live and bool(supervisor) and is_alive(supervisor) is False

    @property
    def run_name(self) -> str:
        """What the run is called."""
        return words.plain(self.status["name"]) if self.status else "the run"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that ask something of the run are gone where they may not, and where they cannot."""
        if action in ASKING and self.readonly:
            return False
        if action in OF_LIVE_RUNS:
            return self.status is None or self.is_live
        if action == "resume":
            ended = self.status is not None and not self.is_live and self.status["state"] != "finished"
            return ended or self.is_orphan
        if action == "relaunch":
            return self.status is not None and not self.is_live
        if action == "samples":
            return bool(self.status and self.status.get("samples"))
        if action in ("copy", "ask"):
            return self.is_ours
        return True

    # Asking

    def action_stop(self) -> None:
        """Ask whether the run is to stop, and if so ask the run."""
        self._confirm(f"Stop {self.run_name}?", STOP_DETAIL, "Stop and save", lambda: self.request("stop"))

    def action_kill(self) -> None:
        """Ask whether the run is to end at once, and if so end it."""
        self._confirm(f"Kill {self.run_name}?", KILL_DETAIL, "Kill", lambda: self.request("kill"))

    def action_checkpoint(self) -> None:
        """Ask the run to save now and go on."""
        self.request("checkpoint")

    def action_resume(self) -> None:
        """Start another attempt of the run."""
        self.request("resume")

    def _confirm(self, question: str, detail: str, yes: str, then: Callable[[], object]) -> None:
        from qltui.ui.screens.confirm import Confirm

        def answered(agreed: bool | None) -> None:
            if agreed:
                then()

        self.app.push_screen(Confirm(question, detail, yes), answered)

    @work(thread=True, group="request", exit_on_error=False)
    def request(self, action: Action, leave: bool = False) -> None:
        """Ask the run, and say what came of it; then ``leave``, unless it refused."""
        from engine.config import ConfigError
        from qltui.runs import launching

        run = RunDirectory(self.run_path)
        done = ADOPTED if action == "resume" and self.is_orphan else DONE[action]
        try:
            if action == "checkpoint":
                launching.request_checkpoint(run)
            elif action == "resume":
                launching.resume(run)
            else:
                launching.request_stop(run, now=action == "kill")
        except (launching.LaunchRefused, ConfigError, OSError) as error:
            self.post_message(self.Asked(str(error), refused=True))
        else:
            self.post_message(self.Asked(done, leave=leave))

    @on(Asked)
    def _show_answer(self, event: Asked) -> None:
        if event.leave and self.app.screen is self:
            self._go(f"{self.run_name}: {event.text}", f"See it with: qltui status {self.run_path.name}")
            return
        severity: SeverityLevel = "error" if event.refused else "information"
        self.app.notify(words.plain(event.text), markup=False, severity=severity, timeout=4)

    # Again, otherwise

    @work(thread=True, group="request", exit_on_error=False)
    def action_relaunch(self) -> None:
        """Open the form on the run's configuration."""
        from engine.config import ConfigError
        from engine.config.reading import read_file
        from qltui.ui import draft

        try:
            config = read_file(RunDirectory(self.run_path).run_yaml)
        except (ConfigError, OSError) as error:
            self.post_message(self.Asked(f"Its configuration can't be opened: {error}", refused=True))
            return
        self.post_message(self.Opened(draft.values_of(config)))

    @on(Opened)
    def _open_form(self, event: Opened) -> None:
        from qltui.ui.screens.new_run import NewRun

        self.app.push_screen(NewRun(event.values))

    def action_ask(self) -> None:
        """Talk to the model it made, or makes."""
        from qltui.ui.screens.chat import Chat

        self.app.push_screen(Chat(self.run_path))

    def action_samples(self) -> None:
        """Show what it answers to the prompts of its configuration."""
        from qltui.ui.screens.samples import Samples

        self.app.push_screen(Samples((self.status or {}).get("samples", [])))

    @work(thread=True, group="copy", exit_on_error=False)
    def action_copy(self) -> None:
        """Copy what does the same from a shell; it lies in a file whatever becomes of the clipboard."""
        from qltui.ui import clipboard

        command = f"qltui launch {shlex.quote(str(RunDirectory(self.run_path).run_yaml))}"
        self.post_message(self.WasCopied(clipboard.copy(command, {f"{self.run_path.name}/command.sh": f"{command}\n"})))

    @on(WasCopied)
    def _tell_of_the_copy(self, event: WasCopied) -> None:
        from qltui.ui import clipboard
        from qltui.ui.widgets.review_verdict import copied_text

        if event.copied.sequence:
            clipboard.send(self.app, event.copied.sequence)
        self.app.notify(copied_text("the command", event.copied).plain, markup=False, timeout=8)

    # Leaving

    def action_leave(self) -> None:
        """Leave the run; what is to become of a live one is asked first, unless it is only read."""
        from qltui.ui.screens.leaving import Leaving

        asking = self.app.screen
        if isinstance(asking, Leaving):  # the key came again before the question was there to take it
            asking.action_answer("leave")
        elif self.is_live and not self.readonly:
            self.app.push_screen(Leaving(self.run_name), self._left)
        else:
            self.action_back()

    def _left(self, answer: str | None) -> None:
        if answer == "leave":
            self.action_back()
        elif answer in ("stop", "kill"):
            self.request("stop" if answer == "stop" else "kill", leave=True)

    def action_back(self) -> None:
        """Leave without a question; the run does not notice."""
        if self.is_live:
            name = self.run_path.name if self.is_ours else words.plain(self.run_path)
            self._go(f"{self.run_name} goes on.", f"Watch it again: qltui watch {name}")
        else:
            super().action_back()

    def _go(self, *lines: str) -> None:
        """Leave, with some last words: a line each, as what is printed at the end is cut at the terminal's width."""
        message = "\n".join(lines)
        if self.is_first:
            self.app.exit(message=Content(message))
            return
        self.app.notify(message, markup=False, timeout=4)
        super().action_back()
