"""A rank's voice: its events, and the phase it is in, so that a failure can say where it happened."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from engine import memory
from engine.errors import BadInput
from engine.own_time import OwnTime
from engine.phase_times import TIMED, PhaseTimes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch
    from torch import nn

    from engine.events import EventWriter

OTHER_RANKS_INTERVAL = 0.5
"""Seconds between step events of ranks above 0: their loss is rank 0's, only memory and pace are their own."""


WORTH_TELLING = 1 << 20
"""Bytes by which the peak of a phase of every step must have grown to be told again."""


class Reporter:
    """Events of one rank with the phase kept beside them."""

    def __init__(self, events: EventWriter, rank: int, device: torch.device) -> None:
        self._events = events
        self.rank = rank
        self.device = device
        self.phase_name = "load"
        self._last_step_event = 0.0
        self._told: dict[str, int] = {}
        """Peak of each phase as last written down."""

    @property
    def device(self) -> torch.device:
        """Where the rank computes, and so whose memory is measured."""
        return self._device

    @device.setter
    def device(self, device: torch.device) -> None:
        self._device = device
        self._memory = memory.Meter(device)
        self._times = PhaseTimes(device)
        self._own = OwnTime(device)

    def time_layers(self, layers: Iterable[nn.Module]) -> None:
        """Have step events tell how long this rank computes by itself, which compares it with the others."""
        self._own.attach(layers)

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
        """Be in a phase, and tell the memory it took when it ends, failed or not.

        ``quiet`` ones happen every step: their beginning is not told, and their memory only when its peak has grown.
        """
        before, self.phase_name = self.phase_name, name
        if not quiet:
            self.emit("phase", phase=name, detail=detail)
        meter = self._memory
        around = meter.begin()
        since = self._times.mark() if name in TIMED and before != "eval" else None
        if name == "forward" and since is not None:
            self._own.begin_forward()
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):  # a full disk must not hide the reason
                self._tell_memory(name, meter.end(around))
            raise  # the phase stays, so that `failed` names it
        self._own.active = False
        if since is not None:
            self._times.add(name, since)
        self.phase_name = before
        usage = meter.end(around)
        if not quiet or name not in self._told or usage.memory_peak > self._told[name] + WORTH_TELLING:
            self._tell_memory(name, usage)

    def _tell_memory(self, phase: str, usage: memory.Usage) -> None:
        self._told[phase] = usage.memory_peak
        self.emit("memory", phase=phase, **usage.fields())

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
        fields |= self._times.take() if self.rank == 0 else {}
        if self.rank > 0:
            self._times.forget()
            if not last and now - self._last_step_event < OTHER_RANKS_INTERVAL:
                self._own.step_done()
                return
            fields = {"step_time": fields["step_time"], "data_time": fields["data_time"]}
        fields |= self._own.take()
        self._own.step_done()
        self._last_step_event = now
        self.emit("step", **fields, **self._memory.usage().fields())

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
                cause=error.cause if isinstance(error, BadInput) else None,
                **self._memory.usage().fields(),
            )
        print(f"error: {error}" if bad_input else text, file=sys.stderr, flush=True)
