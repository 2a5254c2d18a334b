"""Looks after a node of a run other than the first: ``python -P -m qltui.runs.node RUN_DIR --node-rank K``.

Starts ``engine.launch`` there and samples telemetry of its host while its ranks run; status is the first node's to
write. With ``--detach`` it returns at once and leaves that to a process without terminal, whose output goes to
``node-K.log`` in the run directory. Options it does not know are the launcher's.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.events import RunDirectory, read_json
from engine.events.processes import host_name
from qltui.runs.telemetry import Sampler

SAMPLE_SECONDS = 1.0
KEEP_SECONDS = 10.0
"""Time between two writings of levels."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="qltui.runs.node", description="Look after a node of a run, not its first.")
    parser.add_argument("run_dir", type=Path, help="directory with run.yaml")
    parser.add_argument("--node-rank", type=int, required=True, help="which node this is, from 1")
    parser.add_argument("--detach", action="store_true", help="return at once")
    options, launcher_options = parser.parse_known_args(arguments)
    run = RunDirectory(options.run_dir)
    if not run.run_yaml.is_file():
        print(f"error: there is no {run.run_yaml}: give the run directory that the nodes share", file=sys.stderr)
        return 1
    words = [str(run.path), "--node-rank", str(options.node_rank), *launcher_options]
    if options.detach:
        _detach(run, options.node_rank, words)
        return 0
    return look_after(run, options.node_rank, words)


def _detach(run: RunDirectory, node: int, words: list[str]) -> None:
    with open(run.path / f"node-{node}.log", "ab") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "qltui.runs.node", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd="/",
        )  # fmt: skip


def look_after(run: RunDirectory, node: int, words: list[str]) -> int:
    """Launch and sample until the launcher has ended; its exit code."""
    signal.signal(signal.SIGHUP, lambda *_: None)
    launcher = subprocess.Popen([sys.executable, "-P", "-m", "engine.launch", *words], stdin=subprocess.DEVNULL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: launcher.terminate())
    sampler: Sampler | None = None
    next_keep = 0.0
    while launcher.poll() is None:
        about = _own(run, node, launcher.pid)
        if about is not None:
            sampler = sampler or Sampler(run.telemetry, about.get("gpus", []))
            sampler.write({one["rank"]: one["pid"] for one in about["ranks"]})
            if time.monotonic() >= next_keep:
                next_keep = time.monotonic() + KEEP_SECONDS
                sampler.keep()
        time.sleep(SAMPLE_SECONDS)
    if sampler is not None:
        sampler.keep()
    return 0 if launcher.returncode == 0 else 1


def _own(run: RunDirectory, node: int, launcher_pid: int) -> dict[str, Any] | None:
    """What our launcher told of this node once its ranks run; None on the first node's host, sampled there already."""
    attempt = run.last_attempt()
    about = (read_json(attempt.node_json(node)) if attempt else None) or {}
    first = (read_json(attempt.node_json(0)) if attempt else None) or {}
    is_ours = about.get("launcher", {}).get("pid") == launcher_pid and about.get("host") == host_name()
    return about if is_ours and about.get("ranks") and first.get("host") != host_name() else None


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
