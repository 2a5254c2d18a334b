"""Which process is meant: a pid alone may be another program's by now, pid and start time are not."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # importing typing and socket would take longer than the rest of `qltui status`
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def host_name() -> str:
    """This machine's name, as events and identities bear it."""
    return os.uname().nodename


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which a process started (Linux); None if it is gone or a zombie.

    Source: proc_pid_stat(5), fields 3 (state) and 22 (starttime).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def identity(pid: int | None = None) -> dict[str, Any]:
    """What is written into files to find a process again: pid, start time and host."""
    pid = os.getpid() if pid is None else pid
    return {"pid": pid, "start_time": start_time(pid), "host": host_name()}


def is_alive(process: Mapping[str, Any] | None) -> bool | None:
    """Whether the very process of an :func:`identity` still runs; None if it is on another host: nobody here knows."""
    if not isinstance(process, dict) or not isinstance(process.get("pid"), int):
        return False
    if process.get("host") != host_name():
        return None
    started = start_time(process["pid"])
    return started is not None and started == process.get("start_time")


def send_signal(process: Mapping[str, Any], number: int) -> bool:
    """Signal a process if it is still the one meant; False if it is gone."""
    if not is_alive(process):
        return False
    try:
        os.kill(process["pid"], number)
    except ProcessLookupError:
        return False
    return True
