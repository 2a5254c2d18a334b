"""Hosts asked over ssh before a run. `ssh` is a stand-in on PATH that runs the command on this machine; the real one,
with a real sshd, is what ``make nodes`` takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.small_runs import config

from qltui.facts import versions
from qltui.runs import hosts, launching

HERE = "127.0.0.1"
STAND_IN = """#!/bin/sh
# Not ssh: runs the command here, as far as the host's name lets it.
while [ "$1" = -o ]; do shift 2; done
case "$1" in
  away) echo 'ssh: connect to host away port 22: No route to host' >&2; exit 255;;
  bare) echo 'sh: 1: python: not found' >&2; exit 127;;
  empty) echo "/usr/bin/python: Error while finding module (ModuleNotFoundError: No module named 'qltui')" >&2; exit 1;;
  chatty) echo 'Welcome!'; exit 0;;
  late|older|elsewhere) cat "$ANSWERS/$1"; exit 0;;
esac
echo "$2" >> "$ANSWERS/asked"
exec sh -c "$2"
"""


@pytest.fixture(autouse=True)
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of what some hosts answer."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(STAND_IN)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("ANSWERS", str(folder))
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return folder


def problems(tmp_path: Path, *names: str) -> list[str]:
    asked = config(**{"hardware.nodes": len(names), "hardware.hosts": list(names)})
    try:
        hosts.check(asked, tmp_path / "runs")
    except hosts.CannotTakePart as error:
        return str(error).splitlines()
    return []


def answer(answers: Path, name: str, **told: object) -> None:
    here = {"token": "x", "wall": 0.0, "versions": versions.all_installed(), "problem": None}
    (answers / name).write_text(json.dumps({**here, **told}))


def test_hosts_that_are_as_they_should_be_can_take_part(tmp_path: Path) -> None:
    assert problems(tmp_path, HERE, "127.0.0.2") == []
    assert list((tmp_path / "runs").iterdir()) == [], "the file that was looked for is gone"


def test_each_host_is_told_of_with_its_reason(tmp_path: Path, answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qltui.runs.hosts.os.urandom", lambda size: b"\0" * size)
    token = "0" * 16
    answer(answers, "late", token=token, wall=1.0)
    answer(answers, "older", token=token, versions={**versions.all_installed(), "peft": "0.1"})
    answer(answers, "elsewhere", problem="there is no folder /shared")
    told = problems(tmp_path, HERE, "away", "bare", "empty", "chatty", "late", "older", "elsewhere")
    reasons = [
        "away: ssh does not get there without a question (ssh: connect to host away port 22: No route to host)",
        f"bare: it has no {sys.executable}",
        f"empty: its {sys.executable} has no qltui",
        "chatty: its answer can't be read: 'Welcome!",
        "late: its clock is off by",
        "older: it has peft 0.1, this machine",
        "elsewhere: there is no folder /shared",
    ]
    assert len(told) == len(reasons)
    for line, reason in zip(told, reasons, strict=True):
        assert line.startswith(reason), line


def test_a_host_without_the_folder_or_with_another_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qltui.runs import host_answer

    monkeypatch.setattr(host_answer, "SEEN_SECONDS", 0.0)
    assert "there is no folder" in str(host_answer._unseen(tmp_path / "none" / "probe"))
    assert "is another folder there" in str(host_answer._unseen(tmp_path / "probe"))
    assert "does not reach the first host" in str(host_answer._unreached(HERE, 1))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([HERE], "names 1 hosts and hardware.nodes is 2"),
        ([HERE, HERE], "names 1 hosts and hardware.nodes is 2"),
        ([HERE, "-oProxyCommand=x"], "is no host that ssh could take"),
        (["192.0.2.1", HERE], "192.0.2.1 comes first and is not this machine"),
    ],
)
def test_names_that_cannot_be_asked_are_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    asked = config(**{"hardware.nodes": 2, "hardware.hosts": names})
    with pytest.raises(hosts.CannotTakePart, match=reason):
        hosts.check(asked, tmp_path)


def test_no_token_goes_along(tmp_path: Path, answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "secret_of_mine")
    monkeypatch.setenv("HF_HOME", "/cache")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth9")
    assert problems(tmp_path, HERE, "127.0.0.2") == []
    asked = (answers / "asked").read_text()
    assert "secret_of_mine" not in asked
    assert "eth9" not in asked, "an interface is a host's own"
    assert "HF_HOME=/cache" in asked


def test_a_command_for_each_node_can_be_pasted() -> None:
    asked = config(**{"hardware.nodes": 3, "hardware.hosts": ["me@first", "b", "c"]})
    run = launching.create(asked)
    first, *others = hosts.per_node_commands(run, asked)
    assert first.endswith(f"-m qltui.runs.supervisor {run.path} --master-addr first")
    assert [line.rpartition("--node-rank ")[2] for line in others] == ["1", "2"]


def test_a_node_of_a_run_that_is_not_there_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "qltui.runs.node", str(tmp_path), "--node-rank", "1", "--detach"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "give the run directory that the nodes share" in done.stderr
