"""What screens have in common from which a run is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import work
from textual.binding import Binding
from textual.worker import Worker, WorkerState

from qltui.ui import words
from qltui.ui.screens.page import Page

if TYPE_CHECKING:
    from pathlib import Path

    from engine.config import RunConfig


QUEUE = Binding(
    "w", "queue", "queue", id="launch.queue", tooltip="Let it wait: it starts by itself when the GPUs it needs are free"
)
"""For every screen that launches: shown where a run can't be started because other runs have its GPUs."""


class LaunchingPage(Page):
    """A full screen that starts a run; whoever has left it by then is told what became of it."""

    def __init__(self) -> None:
        super().__init__()
        self.launching = False
        """Whether a run is being started."""
        self.may_wait: RunConfig | None = None
        """The run that is not started now because other runs have its GPUs."""
        self._unseen: Path | None = None
        """The run that was started while something lay over this screen."""

    def started(self, path: Path) -> None:
        """Show the run at ``path``; this screen is the one that is open."""
        raise NotImplementedError

    def refused(self, reason: str) -> None:
        """Say why the run was not started."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A run can be queued once it is known that it has to wait."""
        if action == "queue":
            return self.may_wait is not None and not self.launching
        return super().check_action(action, parameters)

    def action_queue(self) -> None:
        """Start the run that has to wait, when its turn comes."""
        if self.may_wait is not None and not self.launching:
            self.launch(self.may_wait, queue=True)

    def launch(self, config: RunConfig, *, queue: bool = False) -> None:
        """Start a run, or with ``queue`` let it wait for GPUs; answered by :meth:`started` or :meth:`refused`."""
        self.launching = True
        self.refresh_bindings()
        self._launch(config, queue)

    @work(thread=True, group="launch", exit_on_error=False)
    def _launch(self, config: RunConfig, queue: bool) -> None:
        from qltui.runs import launching, leases
        from qltui.runs.assessment import assess

        app = self.app  # hears of it even where this screen is closed meanwhile
        try:
            # assessed now: the machine may have changed since it was shown
            run = launching.launch(assess(config), queue=queue)
        except leases.GpusTaken as taken:
            app.call_later(self._was_refused, config.name, f"{taken.reason}. w queues it.", config)
        except launching.LaunchRefused as error:
            app.call_later(self._was_refused, config.name, str(error))
        else:
            app.call_later(self._was_started, run.path)

    def _was_started(self, path: Path) -> None:
        self.launching = False
        self.may_wait = None
        if self.app.screen is self:
            self.started(path)
            return
        self._unseen = path
        self.app.notify(f"{path.name}\nctrl+p, Runs shows it", title="launched", markup=False)

    def _was_refused(self, name: str, reason: str, may_wait: RunConfig | None = None) -> None:
        self.launching = False
        self.may_wait = may_wait
        if self in self.app.screen_stack:
            self.refused(reason)
        if self.app.screen is not self:
            told = f"{words.plain(name)}: {words.plain(reason)}"
            self.app.notify(told, title="not launched", severity="error", timeout=20, markup=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """After an error that nobody foresaw, which :class:`Page` tells, it can be tried again."""
        if event.worker.group == "launch" and event.state is WorkerState.ERROR:
            self.launching = False
            self.refresh_bindings()

    def on_screen_resume(self) -> None:
        """Nothing lies over it any more: show what was started meanwhile."""
        if self._unseen is not None:
            path, self._unseen = self._unseen, None
            self.started(path)
