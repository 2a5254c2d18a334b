"""A real run on two nodes through ``qltui launch``. Both are this machine, and `ssh` is a stand-in on PATH that runs
the command here; ``make nodes`` takes a real sshd, and hosts with addresses of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.runs import Cli, events, write_run

from engine.events import read_json


def test_a_run_is_launched_on_two_nodes_and_each_writes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "bin" / "ssh"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nwhile [ "$1" = -o ]; do shift 2; done\nexec sh -c "$2"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    cli = Cli(tmp_path / "home")
    file = write_run(
        tmp_path, **{"hardware.nodes": 2, "hardware.hosts": ["127.0.0.1", "127.0.0.2"], "hardware.ranks_per_node": 1,
        "strategy.name": "fsdp2", "training.max_steps": 2},
    )  # fmt: skip
    run_id = cli("launch", str(file)).stdout.strip()
    ended = cli.wait(run_id)
    assert ended["state"] == "finished", ended["reason"]
    assert [rank["node"] for rank in ended["ranks"]] == [0, 1]
    assert ended["audits"]["sharding"] == "passed", "half of it on each node"
    run = cli.directory(run_id)
    attempt = run.attempts()[0]
    (started,) = events(run, "started", rank=1)
    assert (started["node"], started["local_rank"], started["world_size"]) == (1, 0, 2)
    assert (read_json(attempt.node_exits(1)) or {})["ranks"]["1"]["code"] == 0
    assert (run.path / "node-1.log").read_text() == ""
