"""What the ranks of a run that hangs wait for, as py-spy sees it where it is installed.

Looking stops a rank for some milliseconds, so it is done of runs alone that don't move.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from engine.events import is_alive, read_json

if TYPE_CHECKING:
    from engine.events import RunDirectory

SECONDS = 5.0
"""Time py-spy has for a rank."""
MOST = 16
"""Ranks that are looked at; a line each is read by nobody beyond."""
OURS = f"{os.sep}engine{os.sep}"
"""In the paths of frames that say where in a step a rank is."""


def find_py_spy() -> str | None:
    """Where py-spy is: beside this Python, or on the path."""
    return shutil.which("py-spy", path=os.path.dirname(sys.executable)) or shutil.which("py-spy")


def waits(run: RunDirectory) -> list[str]:
    """A line for each rank of this host that lives; one that says why where they can't be told."""
    attempt = run.last_attempt()
    launch = (read_json(attempt.launch_json) if attempt else None) or {}
    ranks = [rank for rank in launch.get("ranks") or [] if is_alive(rank)]
    if not ranks:
        return []
    program = find_py_spy()
    if program is None:
        return ["what ranks wait for is told where py-spy is installed (pip install py-spy)"]
    lines = []
    for rank in ranks[:MOST]:
        told = _dump(program, rank["pid"])
        if told is None:
            return ["py-spy may not look into the ranks: as root it may, or with sysctl kernel.yama.ptrace_scope=0"]
        lines.append(f"rank {rank['rank']} {told}")
    return lines


def _dump(program: str, pid: int) -> str | None:
    """What a process does, in some words; None where looking is not permitted."""
    command = [program, "dump", "--json", "--pid", str(pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"does not let py-spy look within {SECONDS:.0f} s: it may be stuck in the driver"
    except OSError as error:
        return f"can't be looked into ({error.strerror})"
    if done.returncode:
        refused = "Permission" in done.stderr or "ptrace" in done.stderr or "EPERM" in done.stderr
        return None if refused else "can't be looked into"
    try:
        return where(json.loads(done.stdout), pid)
    except (ValueError, KeyError, TypeError):
        return "can't be told of: this py-spy writes something else"


def where(threads: list[dict[str, Any]], pid: int) -> str:
    """The innermost call of a process' main thread, and the engine's own function it was made in."""
    frames = next((one["frames"] for one in threads if one["os_thread_id"] == pid), None) or []
    if not frames:
        return "is not in Python"
    inmost = frames[0]
    ours = next((frame for frame in frames if OURS in frame["filename"]), None)
    called = f"is in {_named(inmost)}"
    return called if ours is None or ours is inmost else f"{called}, called by {_named(ours)}"


def _named(frame: dict[str, Any]) -> str:
    return f"{frame['name']} ({os.path.basename(frame['filename'])}:{frame['line']})"
