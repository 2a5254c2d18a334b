"""A rank's voice: its events, and the phase it is in, so that a failure can say where it happened."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from engine import memory
from engine.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from engine.events import EventWriter

OTHER_RANKS_INTERVAL = 0.5
"""Seconds between step events of ranks above 0: their loss is rank 0's, only memory and pace are their own."""


class Reporter:
    """Events of one rank with the phase kept beside them."""

    def __init__(self, events: EventWriter, rank: int, device: torch.device) -> None:
        self._events = events
        self.rank = rank
        self.device = device
        self.phase_name = "load"
        self._last_step_event = 0.0

    @property
    def step(self) -> int:
        """Optimizer steps done so far."""
        return self._events.step

    @step.setter
    def step(self, value: int) -> None:
        self._events.step = value

    def emit(self, kind: str, **fields: Any) -> None:
        self._events.emit(kind, **fields)

    def state(self, name: str) -> None:
        """What the whole run does from now on; rank 0 speaks for all."""
        if self.rank == 0:
            self.emit("state", state=name)

    @contextlib.contextmanager
    def phase(self, name: str, detail: str = "", *, quiet: bool = False) -> Iterator[None]:
        """Be in a phase; ``quiet`` ones happen every step and are not written down unless they fail."""
        before, self.phase_name = self.phase_name, name
        if not quiet:
            self.emit("phase", phase=name, detail=detail)
        yield
        # After an exception the phase stays, so that `failed` names it.
        self.phase_name = before
        if not quiet:
            self.emit("memory", phase=name, **memory.usage(self.device))

    def progress(self, text: str) -> None:
        """A line for people in the log and in the phase's detail."""
        self.emit("phase", phase=self.phase_name, detail=text)
        if self.rank == 0:
            print(text, flush=True)

    def warn(self, message: str) -> None:
        self.emit("warning", message=message)
        print(f"warning: {message}", file=sys.stderr, flush=True)

    def step_done(self, *, last: bool, **fields: Any) -> None:
        """The `step` event, with memory; ranks above 0 keep to a bounded rate, but for the last step."""
        now = time.monotonic()
        if self.rank > 0:
            if not last and now - self._last_step_event < OTHER_RANKS_INTERVAL:
                return
            fields = {"step_time": fields["step_time"], "data_time": fields["data_time"]}
        self._last_step_event = now
        self.emit("step", **fields, **memory.usage(self.device))

    def failed(self, error: BaseException) -> None:
        """The last event of a rank that dies of ``error``; the traceback goes into the log too."""
        bad_input = isinstance(error, BadInput)
        text = "" if bad_input else "".join(traceback.format_exception(error))
        lines = str(error).strip().splitlines()
        with contextlib.suppress(OSError):  # a full disk must not hide the reason from the log
            self.emit(
                "failed",
                phase=self.phase_name,
                error=type(error).__name__,
                message=" ".join(lines) if bad_input else (lines[0] if lines else type(error).__name__),
                traceback=text,
                bad_input=bad_input,
                **memory.usage(self.device),
            )
        print(f"error: {error}" if bad_input else text, file=sys.stderr, flush=True)
