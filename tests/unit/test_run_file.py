"""The machine a run file says it is planned for: one that is none is told wherever the file is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.config import ConfigError
from qltui.cli.main import main
from qltui.configs import presets
from qltui.configs.run_file import read_file

TOLD = "hardware.planned_for: '3xfoo' is no machine: the table has no card 'foo'. Write for instance 4xA40"


def run_file(folder: Path, planned_for: str) -> Path:
    file = folder / "mine.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"schema_version: 1\nmodel: m\ndata: d\nhardware: {{planned_for: {planned_for}}}\n")
    return file


@pytest.mark.parametrize("described", ["4xA40", "2n8xH100-80", "cpu", "''"])
def test_a_machine_that_is_one_is_taken(tmp_path: Path, described: str) -> None:
    assert read_file(run_file(tmp_path, described)).hardware.planned_for == described.strip("'")


@pytest.mark.parametrize("command", [["launch"], ["launch", "--dry-run"], ["plan"]])
def test_commands_name_file_and_field(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    file = run_file(tmp_path, "3xfoo")
    assert main([command[0], str(file), *command[1:]]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"qltui: {file}: {TOLD}")


def test_check_blocks_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run_file(tmp_path, "3xfoo")
    assert main(["check", str(file), "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["severity"] == "block"
    assert finding["field"] == "hardware.planned_for"


def test_a_value_given_over_the_files_is_what_counts(tmp_path: Path) -> None:
    file = run_file(tmp_path, "3xfoo")
    assert read_file(file, {"hardware.planned_for": "2x24G"}).hardware.planned_for == "2x24G"
    with pytest.raises(ConfigError, match=r"^--set: hardware.planned_for: '99foo' is no machine"):
        read_file(file, {"hardware.planned_for": "99foo"})


def test_a_preset_says_so_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = run_file(presets.user_folder(), "3xfoo")
    found = {one.name: one for one in presets.presets()}
    assert found["mine"].config is None
    assert found["mine"].problem.startswith(f"{file}: {TOLD}")
    assert all(one.config is not None for name, one in found.items() if name != "mine")
