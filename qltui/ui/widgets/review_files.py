"""The files of a run and the command behind tabs, each of which can be copied."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

from textual import work
from textual.message import Message

from qltui.ui import clipboard
from qltui.ui.widgets.review_verdict import command_text, copied_text
from qltui.ui.widgets.run_files import RunFiles

if TYPE_CHECKING:
    from textual.content import Content

    from qltui.runs.prospect import Prospect

OVERVIEW, COMMAND = "overview", "command"
"""Tabs that are no file; the overview is one where it has no room beside the files."""


class ReviewFiles(RunFiles):
    """What a launch writes, and what does the same from a shell."""

    class Told(Message):
        """What became of a copy."""

        def __init__(self, text: Content) -> None:
            super().__init__()
            self.text = text

    def __init__(self, command: str, *, id: str | None = None, classes: str | None = None) -> None:
        """``command`` does the same from a shell; without one it is ``qltui launch`` of a copy of run.yaml."""
        super().__init__(id=id, classes=classes)
        self._command = command
        self._files: dict[str, str] = {}
        self._run = ""
        self._copying = asyncio.Lock()

    async def show_run(self, name: str, prospect: Prospect, *, overview: bool) -> None:
        """Show what the run of this name would write; with a tab for the ``overview`` if it has no room beside it."""
        self._run, self._files = name, prospect.files
        first = {OVERVIEW: ""} if overview else {}
        command = command_text(prospect, self._shell_command, is_copied=not self._command)
        await self.show({**first, **prospect.files, COMMAND: command})

    @property
    def _shell_command(self) -> str:
        copy = clipboard.copied_folder() / self._run / "run.yaml"
        return self._command or f"qltui launch {shlex.quote(str(copy))}"

    def copy_shown(self) -> None:
        """Copy the file that is shown, else the command; answered by :class:`Told`."""
        if self.shown in self._files:
            text = self._files[self.shown]
            self._copy(self.shown, text, {f"{self._run}/{self.shown}": text})
            return
        command = self._shell_command
        run_file = {} if self._command else {f"{self._run}/run.yaml": self._files["run.yaml"]}
        self._copy("the command", command, {f"{self._run}/command.sh": f"{command}\n", **run_file})

    @work(group="copy", exit_on_error=False)
    async def _copy(self, name: str, text: str, files: dict[str, str]) -> None:
        """One after the other: what is copied last is what stays."""
        async with self._copying:
            copied = await asyncio.to_thread(clipboard.copy, text, files)
            if copied.sequence:
                clipboard.send(self.app, copied.sequence)
        self.post_message(self.Told(copied_text(name, copied)))
