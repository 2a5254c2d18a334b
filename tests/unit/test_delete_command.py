"""``qltui delete`` as a user meets it: asked on a terminal, refused without one, all or none of those named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support.runs import Cli
from support.small_runs import config
from support.terminal import Terminal

from engine.events import RunDirectory, write_json
from qltui.runs import launching, status


@pytest.fixture
def two(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> tuple[RunDirectory, RunDirectory]:
    """Two runs that ended, one with an adapter."""
    monkeypatch.setenv("QLTUI_HOME", str(cli.home))
    first, second = (launching.create(config(name)) for name in ("first", "second"))
    for run in (first, second):
        write_json(run.status_json, {**status.read_written(run), "state": "finished", "exit_code": 0})
    first.adapter.mkdir()
    (first.adapter / "adapter_model.safetensors").write_bytes(b"w" * 2_000_000)
    return first, second


def test_on_a_terminal_it_tells_and_asks(cli: Cli, two: tuple[RunDirectory, RunDirectory]) -> None:
    first, second = two
    for answer, said in (("n\r", "Nothing was deleted."), ("\r", "Nothing was deleted."), ("y\r", "deleted, ")):
        terminal = Terminal([sys.executable, "-m", "qltui", "delete", "first"], cli.environment)
        terminal.read_until("Delete it? [y/N]")
        assert f"{first.id}: It frees ".encode() in terminal.output
        assert b"iB. Lost with it, as nowhere else: adapter." in terminal.output
        assert first.adapter.exists()
        terminal.send(answer)
        terminal.read_until(said)
        os.waitpid(terminal.pid, 0)
        os.close(terminal.master)
    assert not first.path.exists()
    assert second.path.exists()


def test_without_a_terminal_it_deletes_nothing_unless_told_to(cli: Cli, two: tuple[RunDirectory, RunDirectory]) -> None:
    refused = cli("delete", "first", check=False, input="y\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "there is no terminal to ask on. Pass --yes" in refused.stderr
    assert two[0].path.exists()
    done = cli("delete", "first", "first", "second", "--yes")
    assert [line.split(" deleted, ")[0] for line in done.stdout.splitlines()] == [run.id for run in two]
    assert not any(run.path.exists() for run in two)


def test_where_one_is_refused_none_goes(cli: Cli, two: tuple[RunDirectory, RunDirectory]) -> None:
    live = launching.create(config("live"))
    done = cli("delete", "first", "live", "--yes", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"qltui: {live.id} is live (starting); stop it first: qltui stop {live.id}.\n"
    assert two[0].path.exists()
    done = cli("delete", "first", "second", "--keep-adapters", "--yes", check=False)
    assert f"{two[1].id} has no adapter to keep" in done.stderr
    assert (two[0].path / "run.yaml").exists() and (two[0].path / "accelerate.yaml").exists()
    done = cli("delete", "first", "nobody", "--yes", check=False)
    assert (done.returncode, two[0].path.exists()) == (1, True)


def test_a_folder_that_happens_to_hold_a_run_file_is_never_deleted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "run.yaml").write_text("model: x\n")
    done = cli("delete", f"{tmp_path}/project", "--yes", check=False)
    assert done.returncode == 1
    assert "remove such a folder yourself" in done.stderr
    assert (tmp_path / "project" / "run.yaml").exists()
