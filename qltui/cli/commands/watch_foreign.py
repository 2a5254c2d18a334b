"""Progress in lines of a run that another program started, until it has ended or nothing more comes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from qltui.cli import exits, output
from qltui.runs.sanitise import clean
from qltui.runs.state import FINAL

if TYPE_CHECKING:
    from qltui.runs.foreign.follow import ForeignFollower

POLL_SECONDS = 0.5
LINE_SECONDS = 5.0
"""Time between two lines while nothing but the step changes."""


def wait(follower: ForeignFollower, stream: TextIO) -> int:
    """Write progress to ``stream``; returns 0 once the run said that it ended, 1 where nothing new comes any more."""
    state, next_line, warned = "", 0.0, set[str]()
    while True:
        snapshot = follower.poll()
        status = snapshot.status
        for warning in snapshot.warnings:
            if warning not in warned:
                print(f"warning: {clean(warning)}", file=stream)
                warned.add(warning)
        if status["state"] in FINAL:
            break
        if snapshot.caught_up and (status["state"] != state or time.monotonic() >= next_line):
            print(output.progress(status), file=stream, flush=True)
            state, next_line = status["state"], time.monotonic() + LINE_SECONDS
        time.sleep(POLL_SECONDS if snapshot.caught_up else 0)
    print(output.describe({**status, "id": clean(status["id"])}), file=stream, flush=True)
    return exits.FINE if status["exit_code"] == 0 else exits.NO
