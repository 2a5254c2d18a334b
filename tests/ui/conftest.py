"""Fixtures for tests of the app."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.written_runs import WrittenRun

SIZES = [(120, 36), (80, 24)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("QLTUI_HOME", str(folder))
    return folder


@pytest.fixture
def written_run(home: Path) -> WrittenRun:
    return WrittenRun(home)


@pytest.fixture(params=SIZES, ids=["120x36", "80x24"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    chosen: tuple[int, int] = request.param
    return chosen
