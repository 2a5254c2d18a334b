"""What a host tells of itself before a run over several: ``python -P -m qltui.runs.host_answer PROBE ADDRESS PORT``.

Prints a JSON object: its clock, its versions, the token in a file that the asking host wrote, and as ``problem`` why it
can't reach that host or that file.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

from engine.events import read_json
from qltui.facts import versions

REACH_SECONDS = 10.0
"""Time to reach the first node."""
SEEN_SECONDS = 10.0
"""Time a shared file system may take to show a new file (NFS keeps what a folder held for some seconds)."""


def main(probe: str, address: str, port: str) -> None:
    there = versions.all_installed()
    answer = {
        "token": _token(Path(probe)),
        "versions": {name: there[name] for name in versions.TESTED if name in there},
        "problem": _unreached(address, int(port)) or _unseen(Path(probe)),
        "wall": time.time(),
    }
    print(json.dumps(answer))


def _token(probe: Path) -> str | None:
    deadline = time.monotonic() + SEEN_SECONDS
    while not probe.exists() and probe.parent.is_dir() and time.monotonic() < deadline:
        time.sleep(0.2)
    return (read_json(probe) or {}).get("token")


def _unseen(probe: Path) -> str | None:
    if not probe.parent.is_dir():
        return f"there is no folder {probe.parent}: set QLTUI_HOME to a folder that all hosts share."
    if not probe.exists():
        return f"{probe.parent} is another folder there: set QLTUI_HOME to one that all hosts share."
    return None


def _unreached(address: str, port: int) -> str | None:
    try:
        socket.create_connection((address, port), timeout=REACH_SECONDS).close()
    except OSError as error:
        return (
            f"it does not reach the first host at {address} ({error}): put it first by an address that this one"
            " reaches, and see that no firewall is between."
        )
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
