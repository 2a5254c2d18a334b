"""Runs on several nodes that are processes of this machine: they meet at a loopback address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.events import RunDirectory, read_json
from support.small_runs import begin, wait_until

if TYPE_CHECKING:
    import subprocess

    from engine.events import Attempt

ADDRESS = "127.0.0.1"


def start_node(run: RunDirectory, node: int, *options: str) -> subprocess.Popen[str]:
    """One node's launcher, whose ranks are those of ``small_rank``."""
    address = ["--master-addr", ADDRESS] if node == 0 else []
    return begin("engine.launch", run, "--node-rank", str(node), *address, "--beat-seconds", "0.2", *options)


def wait_for_ranks(run: RunDirectory, count: int) -> Attempt:
    """Wait until ``launch.json`` tells the ranks of all nodes, and each has written a step."""

    def all_there() -> bool:
        attempt = run.last_attempt()
        launch = (read_json(attempt.launch_json) if attempt else None) or {}
        return (
            attempt is not None
            and len(launch.get("ranks", [])) == count
            and all(
                attempt.events(rank).exists() and '"step",' in attempt.events(rank).read_text() for rank in range(count)
            )
        )

    wait_until(all_there, "a step of each rank on every node")
    attempt = run.last_attempt()
    assert attempt is not None
    return attempt
