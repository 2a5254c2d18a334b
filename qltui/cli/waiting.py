"""Following a run without a screen: a line now and then, the verdict at the end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from qltui.cli import exits, output
from qltui.runs.follow import Follower
from qltui.runs.sanitise import clean
from qltui.runs.state import FINAL

if TYPE_CHECKING:
    from engine.events import RunDirectory

POLL_SECONDS = 0.5
LINE_SECONDS = 5.0
"""Time between two lines while nothing but the step changes."""


def wait(run: RunDirectory, stream: TextIO) -> int:
    """Write progress to ``stream`` until the run ends, then the verdict.

    Returns the run's own result: 0 finished or stopped, 1 failed or lost; 130 after Ctrl-C, which leaves the run alone.
    """
    try:
        return _follow(run, stream)
    except KeyboardInterrupt:
        print(f"\nThe run goes on. Watch it: qltui watch {run.id}   Stop it: qltui stop {run.id}", file=sys.stderr)
        return exits.INTERRUPTED


def _follow(run: RunDirectory, stream: TextIO) -> int:
    follower = Follower(run.path)
    state, next_line, warned = "", 0.0, 0
    while True:
        snapshot = follower.poll()
        status = snapshot.status
        for warning in snapshot.warnings[warned:]:
            print(f"warning: {clean(warning)}", file=stream)
        warned = len(snapshot.warnings)
        if status["state"] in FINAL:
            break
        if status["state"] != state or time.monotonic() >= next_line:
            print(output.progress(status), file=stream, flush=True)
            state, next_line = status["state"], time.monotonic() + LINE_SECONDS
        time.sleep(POLL_SECONDS)
    print(output.describe(status), file=stream, flush=True)
    return exits.FINE if status["exit_code"] == 0 else exits.NO
