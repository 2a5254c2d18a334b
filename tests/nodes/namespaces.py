"""Two nodes as network namespaces with host names and addresses of their own, joined by a veth pair: ``make nodes``.

Needs root. Real runs on CPU ranks over gloo; nodes are killed and the link between them is cut.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.runs import events, wait_for, write_run

from engine.events import RunDirectory, read_json
from qltui.runs import status
from qltui.runs.diagnosis.own_runs import diagnose_run

NAMES = ("qltui-a", "qltui-b")
ADDRESSES = ("10.203.77.1", "10.203.77.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(autouse=True)
def namespaces() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root")
    for name in NAMES:
        ip("netns", "add", name)
    try:
        ip("link", "add", "vetha", "netns", NAMES[0], "type", "veth", "peer", "name", "vethb", "netns", NAMES[1])
        for name, interface, address in zip(NAMES, ("vetha", "vethb"), ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", interface)
            ip("-n", name, "link", "set", interface, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in NAMES:
            kill_node(name)
            ip("netns", "del", name)


def kill_node(name: str) -> None:
    """End every process of a node at once, as a loss of power does."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True).stdout.split()
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)


def start(run: RunDirectory, node: int, *options: str) -> subprocess.Popen[bytes]:
    launcher = [sys.executable, "-P", "-m", "engine.launch", str(run.path), "--node-rank", str(node)]
    launcher += ["--master-addr", ADDRESSES[0]] if node == 0 else []
    own_name = ["unshare", "--uts", "sh", "-c", f'hostname {NAMES[node]} && exec "$@"', "node"]
    return subprocess.Popen(["ip", "netns", "exec", NAMES[node], *own_name, *launcher, *options])


def make(folder: Path, **values: Any) -> RunDirectory:
    asked = {"hardware.nodes": 2, "hardware.ranks_per_node": 1, "training.max_steps": 3, **values}
    write_run(folder, **asked)
    return RunDirectory(folder)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "zero3"])
def test_two_hosts_train_together(tmp_path: Path, strategy: str) -> None:
    run = make(tmp_path, **{"strategy.name": strategy})
    launchers = [start(run, node) for node in (1, 0)]
    assert [launcher.wait(timeout=400) for launcher in launchers] == [0, 0]
    for rank in (0, 1):
        (started,) = events(run, "started", rank=rank)
        assert (started["host"], started["node"], started["world_size"]) == (NAMES[rank], rank, 2)
    assert status.read(run)["state"] == "finished"
    assert [events(run, "finished", rank=rank)[0]["step"] for rank in (0, 1)] == [3, 3]
    interfaces = (read_json(run.attempts()[0].launch_json) or {})["environment"]
    assert interfaces["GLOO_SOCKET_IFNAME"] == interfaces["NCCL_SOCKET_IFNAME"] == "vetha"


def test_a_host_that_loses_power_is_named_and_the_run_goes_on_later(tmp_path: Path) -> None:
    run = make(tmp_path, **{"strategy.name": "ddp", "training.max_steps": 4000, "training.save_every": 2})
    first, _ = start(run, 0, "--silent-seconds", "10"), start(run, 1)
    wait_for(lambda: events_of(run, "checkpoint"), 300, "a checkpoint")
    kill_node(NAMES[1])
    assert first.wait(timeout=120) == 1
    ended = status.read(run)
    assert ended["reason"].startswith(f"Node 1 ({NAMES[1]}) fell silent: no heartbeat for 1")
    assert f"Node 1 ({NAMES[1]}) fell silent" in diagnose_run(run).explanation
    again = [start(run, node) for node in (0, 1)]
    wait_for(lambda: events_of(run, "step", attempt=2), 300, "a step of the next attempt")
    assert events(run, "step")[0]["step"] > 1, "it began anew"
    again[1].terminate()
    assert [launcher.wait(timeout=60) for launcher in again] == [1, 1]


def test_a_cut_link_ends_both_nodes(tmp_path: Path) -> None:
    run = make(
        tmp_path, **{"strategy.name": "ddp", "training.max_steps": 4000, "hardware.timeout_seconds": 20}
    )  # fmt: skip
    launchers = [start(run, node) for node in (0, 1)]
    wait_for(lambda: events_of(run, "step"), 300, "a step")
    ip("-n", NAMES[1], "link", "set", "vethb", "down")
    assert [launcher.wait(timeout=200) for launcher in launchers] == [1, 1]
    assert status.read(run)["state"] == "failed"
    assert diagnose_run(run).cause == "nccl_timeout"


def events_of(run: RunDirectory, kind: str, attempt: int = 1) -> list[dict[str, Any]]:
    """Rank 0's events of an attempt; none before there is one."""
    return events(run, kind, attempt=attempt) if len(run.attempts()) >= attempt else []
