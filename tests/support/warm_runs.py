"""Real runs that begin at once: see ``engine/ranks/warm_ranks.py``, whose process this starts and tells of runs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from engine.events import Attempt, RunDirectory, read_json
from qltui.runs.state import FINAL
from support.runs import wait_for

TESTS = Path(__file__).parents[1]
PATHS = os.pathsep.join([str(TESTS.parent), str(TESTS), str(TESTS / "engine" / "ranks")])
"""Where modules of ranks are found."""


class WarmRanks:
    """A process with torch imported, from which the processes of runs are forked."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "warm_ranks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": PATHS, **environment},
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def launch(self, run: RunDirectory, fault: str = "") -> None:
        """Start a run whose run.yaml is there."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"run": str(run.path), "fault": fault}) + "\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def attempt_of(run: RunDirectory) -> Attempt:
    """Its last one."""
    attempt = run.last_attempt()
    assert attempt is not None, (run.path / "supervisor.log").read_text()
    return attempt


def wait_for_end(run: RunDirectory, seconds: float = 150) -> dict[str, Any]:
    """The final status, as its supervisor wrote it; of a failed run once it is diagnosed."""

    def ended() -> dict[str, Any] | None:
        status = read_json(run.status_json) or {}
        is_told = status.get("state") != "failed" or attempt_of(run).diagnosis_json.exists()
        return status if status.get("state") in FINAL and is_told else None

    status: dict[str, Any] = wait_for(ended, seconds, f"the end of {run.id}")
    return status


class _Refusal(BaseHTTPRequestHandler):
    """Says of models whose name has ``gated`` that they are, of others that there are none, in headers as the hub."""

    def _refuse(self) -> None:
        is_home, is_gated = self.path == "/", "gated" in self.path
        self.send_response(200 if is_home else 403 if is_gated else 404)
        if not is_home:
            self.send_header("X-Error-Code", "GatedRepo" if is_gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = _refuse  # noqa: N815 - as the base class calls them

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def refusing_hub() -> Iterator[str]:
    """The address of a hub that gives nobody anything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
