"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.runs import Cli, write_run

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the presets and settings of whoever runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    command = Cli(tmp_path / "home")
    yield command
    for run in (tmp_path / "home" / "runs").glob("*"):
        if command("status", run.name, "--json", check=False).returncode == 0:
            command("stop", run.name, "--now", check=False)


@pytest.fixture
def small_run(tmp_path: Path) -> Callable[..., Path]:
    return lambda **overrides: write_run(tmp_path, **overrides)
