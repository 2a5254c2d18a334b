"""What the doctor finds, on folders made for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qltui.facts import doctor, host, versions


def test_the_tested_versions_are_those_that_are_installed_for_tests() -> None:
    constraints = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    assert {f"{package}=={version}" for package, version in versions.TESTED.items()} <= set(constraints)


def test_another_version_is_a_warning_and_a_missing_package_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "TESTED", {"msgspec": "0.0.1", "no-such-package": "1.0"})
    facts = {fact.name: fact for fact in doctor.examine(Path("/tmp"))}
    assert facts["msgspec"].verdict == "warn"
    assert (facts["no-such-package"].verdict, facts["no-such-package"].value) == ("bad", "not installed")
    assert "pip install no-such-package==1.0" in facts["no-such-package"].remedy


def test_what_was_proven_and_where_is_said() -> None:
    facts = {fact.name: fact for fact in doctor.examine(Path("/tmp"))}
    assert "CPU ranks (torch" in facts["verified on"].value


def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")  # a folder without write permission would not stop root
    facts = {fact.name: fact for fact in doctor.examine(tmp_path / "file" / "runs")}
    assert facts["runs"].verdict == "bad"
    assert "QLTUI_HOME" in facts["runs"].remedy


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, False),
        ({"logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, False),
        ({"logind.conf": "[Login]\nKillUserProcesses = yes\n"}, True),
        ({"logind.conf": "KillUserProcesses=yes\n", "d/10-keep.conf": "KillUserProcesses=no\n"}, False),
        ({"logind.conf": "", "d/10-a.conf": "KillUserProcesses=no\n", "d/20-b.conf": "KillUserProcesses=1\n"}, True),
    ],
)
def test_logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], kills: bool) -> None:
    (tmp_path / "d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(host, "LOGIND_FILES", (str(tmp_path / "logind.conf"), str(tmp_path / "d")))
    assert host.kills_user_processes() is kills
    assert (doctor.examine(tmp_path)[-1].verdict == "warn") is kills
