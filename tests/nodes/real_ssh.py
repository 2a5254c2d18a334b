"""A launch over real ssh: an sshd of this test's own on a high port, with keys of its own: ``make nodes``.

Needs root and openssh-server. Both nodes are this machine, at two loopback addresses.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.runs import Cli, events, write_run

HERE, THERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command where ``ssh`` finds the test's own keys and port."""
    daemon = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if daemon is None:
        pytest.fail("there is no sshd: install openssh-server")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)], check=True)
    with socket.create_server((THERE, 0)) as probe:
        port = probe.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress {THERE}\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n"
    )
    (tmp_path / "ssh_config").write_text(
        f"Port {port}\nIdentityFile {tmp_path}/user\nUserKnownHostsFile {tmp_path}/known\n"
        "StrictHostKeyChecking accept-new\n"
    )
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/ssh_config "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    server = subprocess.Popen([daemon, "-D", "-f", str(tmp_path / "sshd_config")])
    try:
        yield Cli(tmp_path / "home")
    finally:
        server.terminate()
        server.wait()


def test_a_run_is_launched_over_ssh_and_trains(cli: Cli, tmp_path: Path) -> None:
    file = write_run(
        tmp_path, **{"hardware.nodes": 2, "hardware.hosts": [HERE, THERE], "hardware.ranks_per_node": 1,
        "strategy.name": "fsdp2", "training.max_steps": 3},
    )  # fmt: skip
    run = cli("launch", str(file)).stdout.strip()
    ended = cli.wait(run, 400)
    assert (ended["state"], [rank["node"] for rank in ended["ranks"]]) == ("finished", [0, 1])
    assert events(cli.directory(run), "finished", rank=1)


def test_a_host_that_ssh_does_not_reach_is_refused_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    hosts = {"hardware.nodes": 2, "hardware.hosts": [HERE, "127.0.0.3"], "strategy.name": "ddp"}
    refused = cli("launch", str(write_run(tmp_path, **hosts)), check=False)
    assert refused.returncode == 1
    assert "127.0.0.3: ssh does not get there" in refused.stderr
    assert list((cli.home / "runs").iterdir()) == []
