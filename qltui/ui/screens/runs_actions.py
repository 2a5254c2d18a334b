"""What can be asked of the runs in the list."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.binding import Binding
from textual.message import Message

from engine.events import RunDirectory
from qltui.ui import words
from qltui.ui.screens.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qltui.runs.removal import Removal
    from qltui.ui.clipboard import Copied

ACTIONS = [
    Binding("s", "stop", "stop and save", id="runs.stop", show=False, tooltip="Save a checkpoint and stop the run"),
    Binding("r", "resume", "resume", id="runs.resume", show=False, tooltip="Go on with a run that ended early"),
    Binding("c", "relaunch", "change", id="runs.relaunch", show=False, tooltip="Launch it again with changes"),
    Binding("a", "ask", "ask", id="runs.ask", show=False, tooltip="Talk to the model that the run made"),
    Binding("n", "annotate", "note", id="runs.note", show=False, tooltip="Write a note about the run, and tags"),
    Binding("o", "copy", "copy folder", id="runs.copy", show=False, tooltip="Copy where the run's folder is"),
    Binding("m", "merge", "merge command", id="runs.merge", show=False,
            tooltip="Copy the command that makes one model of adapter and base"),
    Binding("x,delete", "delete", "delete", id="runs.delete", show=False,
            tooltip="Delete the marked runs, or this one, after a question"),
]  # fmt: skip
OF_ONE = ("watch", "stop", "resume", "relaunch", "ask", "annotate", "copy", "merge", "delete")


class RunsActions(Page):
    """The keys that ask something of a run; which are listed and shown is the screen's."""

    class Answered(Message):
        """What came of asking something of a run."""

        def __init__(self, text: str, refused: bool = False) -> None:
            super().__init__()
            self.text = text
            self.refused = refused

    class Opened(Message):
        """A run's configuration was read, to be changed."""

        def __init__(self, values: dict[str, str]) -> None:
            super().__init__()
            self.values = values

    class WasCopied(Message):
        """Something of a run was copied, one way or another."""

        def __init__(self, what: str, copied: Copied) -> None:
            super().__init__()
            self.what = what
            self.copied = copied

    class Weighed(Message):
        """What deleting runs comes to is known."""

        def __init__(self, removals: Sequence[Removal], refusals: Sequence[str]) -> None:
            super().__init__()
            self.removals, self.refusals = removals, refusals

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The run under the cursor."""
        raise NotImplementedError

    @property
    def marked(self) -> list[dict[str, Any]]:
        """The marked runs, in the order in which they were marked."""
        raise NotImplementedError

    @property
    def _chosen_path(self) -> Path | None:
        return Path(str(self.chosen["run_dir"])) if self.chosen else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are grey where the run under the cursor cannot do it."""
        if action not in OF_ONE:
            return True
        status = self.chosen if self.is_mounted else None
        if status is None:
            return None
        if action == "stop":
            return True if words.is_live(status) else None
        if action == "resume":
            return True if not words.is_live(status) and status["state"] != "finished" else None
        if action == "merge":
            return True if status["adapter_dir"] and status["method"] != "full" else None
        return True

    # One run

    def action_watch(self) -> None:
        """Open the monitor, or why it died."""
        from qltui.ui.screens.post_mortem import first_look

        if self.chosen is not None and self._chosen_path:
            self.app.push_screen(first_look(self._chosen_path, self.chosen))

    def action_ask(self) -> None:
        """Talk to the model it made."""
        from qltui.ui.screens.chat import Chat

        if self._chosen_path:
            self.app.push_screen(Chat(self._chosen_path))

    def action_stop(self) -> None:
        """Ask whether the run is to stop, and if so ask the run."""
        from qltui.ui.screens.confirm import Confirm
        from qltui.ui.screens.run_actions import STOP_DETAIL

        if self.chosen is None or (path := self._chosen_path) is None:
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._ask(_stop, path, "saves and stops after its current step")

        self.app.push_screen(
            Confirm(f"Stop {words.plain(self.chosen['name'])}?", STOP_DETAIL, "Stop and save"), answered
        )

    def action_resume(self) -> None:
        """Start another attempt of the run."""
        if self._chosen_path:
            self._ask(_resume, self._chosen_path, "goes on")

    @work(thread=True, group="request", exit_on_error=False)
    def _ask(self, ask: Callable[[RunDirectory], None], path: Path, done: str) -> None:
        from engine.config import ConfigError
        from qltui.runs.launching import LaunchRefused

        try:
            ask(RunDirectory(path))
        except (LaunchRefused, ConfigError, OSError) as error:
            self.post_message(self.Answered(f"{path.name}: {error}", refused=True))
            return
        self.post_message(self.Answered(f"{path.name} {done}."))

    def action_relaunch(self) -> None:
        """Open the form on the run's configuration."""
        if self._chosen_path:
            self._read_configuration(RunDirectory(self._chosen_path))

    @work(thread=True, group="request", exit_on_error=False)
    def _read_configuration(self, run: RunDirectory) -> None:
        from engine.config import ConfigError
        from engine.config.reading import read_file
        from qltui.ui import draft

        try:
            config = read_file(run.run_yaml)
        except (ConfigError, OSError) as error:
            told = f"{run.id}: its configuration can't be opened: {error}"
            self.post_message(self.Answered(told, refused=True))
            return
        self.post_message(self.Opened(draft.values_of(config)))

    @on(Opened)
    def _open_form(self, event: Opened) -> None:
        from qltui.ui.screens.new_run import NewRun

        self.app.push_screen(NewRun(event.values))

    def action_annotate(self) -> None:
        """Type a note and tags."""
        from qltui.ui.screens.annotating import Annotating

        if self.chosen is None or (path := self._chosen_path) is None:
            return

        def answered(kept: bool | None) -> None:
            if kept:
                self.post_message(self.Answered(f"Noted about {path.name}."))

        self.app.push_screen(Annotating(RunDirectory(path), words.plain(self.chosen["name"])), answered)

    def action_copy(self) -> None:
        """Copy the path of the run's folder; it lies in a file whatever becomes of the clipboard."""
        if path := self._chosen_path:
            self._copy("the folder's path", str(path), f"{path.name}/folder.txt")

    def action_merge(self) -> None:
        """Copy the command that merges the run's adapter into its base."""
        if path := self._chosen_path:
            command = f"qltui merge {shlex.quote(path.name)} --out {shlex.quote(f'{path.name}-merged')}"
            self._copy("the command", command, f"{path.name}/merge.sh")

    @work(thread=True, group="copy", exit_on_error=False)
    def _copy(self, what: str, text: str, file: str) -> None:
        from qltui.ui import clipboard

        self.post_message(self.WasCopied(what, clipboard.copy(text, {file: f"{text}\n"})))

    @on(WasCopied)
    def _tell_of_the_copy(self, event: WasCopied) -> None:
        from qltui.ui import clipboard
        from qltui.ui.widgets.review_verdict import copied_text

        if event.copied.sequence:
            clipboard.send(self.app, event.copied.sequence)
        self.app.notify(copied_text(event.what, event.copied).plain, markup=False, timeout=8)

    # Deleting

    def action_delete(self) -> None:
        """Find out what deleting the marked runs, or the one under the cursor, comes to."""
        chosen = self.marked or ([self.chosen] if self.chosen else [])
        if chosen:
            self._weigh([RunDirectory(str(one["run_dir"])) for one in chosen])

    @work(thread=True, group="request", exit_on_error=False)
    def _weigh(self, runs: Sequence[RunDirectory]) -> None:
        from qltui.runs import removal

        removals, refusals = [], []
        for run in runs:
            try:
                removals.append(removal.preview(run))
            except removal.RemovalRefused as error:
                refusals.append(str(error))
        self.post_message(self.Weighed(removals, refusals))

    @on(Weighed)
    def _ask_before_deleting(self, event: Weighed) -> None:
        from qltui.ui.screens.confirm import Confirm

        if not event.removals:
            self.post_message(self.Answered(" ".join(event.refusals), refused=True))
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._delete([removal.run for removal in event.removals])

        question = f"Delete {_named(event.removals)}?"
        self.app.push_screen(
            Confirm(question, what_goes(event.removals, event.refusals), "Delete", "No, keep"), answered
        )

    @work(thread=True, group="request", exit_on_error=False)
    def _delete(self, runs: Sequence[RunDirectory]) -> None:
        from qltui.runs import removal

        freed, done, refusals = 0, 0, []
        for run in runs:
            try:
                freed += removal.remove(run)
                done += 1
            except removal.RemovalRefused as error:
                refusals.append(str(error))
        told = [f"Deleted {words.counted(done, 'run')}, {words.size(freed)} are free again."] if done else []
        self.post_message(self.Answered(" ".join([*told, *refusals]), refused=bool(refusals)))


def _stop(run: RunDirectory) -> None:
    from qltui.runs.launching import request_stop

    request_stop(run)


def _resume(run: RunDirectory) -> None:
    from qltui.runs.launching import resume

    resume(run)


MOST_NAMED = 6
"""Runs told of one by one before they are deleted."""


def _named(removals: Sequence[Removal]) -> str:
    return removals[0].run.id if len(removals) == 1 else words.counted(len(removals), "run")


def what_goes(removals: Sequence[Removal], refusals: Sequence[str]) -> str:
    """What is lost with runs, for the question before it."""
    if len(removals) == 1:
        lines = list(removals[0].sentences)
    else:
        frees = sum(removal.frees for removal in removals)
        lines = [f"It frees {words.size(frees)}."]
        lines += [" ".join([f"{one.run.id}:", *one.sentences]) for one in removals[:MOST_NAMED]]
        lines += [f"… and {len(removals) - MOST_NAMED} more."] * (len(removals) > MOST_NAMED)
    return "\n".join([*lines, *(f"Not deleted: {refusal}" for refusal in refusals)])
