"""A world that is the same on every machine, in two sizes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.album import NOW

from qltui.facts import doctor, machine, measured, verified

FACTS = [
    doctor.Fact("Python", "3.11.7", "ok"),
    doctor.Fact("GPUs", "none seen", "warn", "Runs go on CPU ranks, which is slow: take a small model."),
    doctor.Fact("shared memory", "64 MB at /dev/shm", "bad", "Ranks need more: start it with --shm-size=8g."),
]  # fmt: skip
SESSIONS = [
    verified.Session(
        "cuda", ["NVIDIA H200"] * 2, "1b", {"torch": "2.11.0", "transformers": "5.17.0", "peft": "0.21.0"},
        "2026-11-22", [
            verified.Proof(strategy, method, "causal_lm", option, "passed", "")
            for strategy in ("ddp", "fsdp2") for method in ("lora", "int8", "qlora") for option in ("", "dropout")
        ],
    )
]  # fmt: skip
MEASURED = [
    measured.Measurement(
        "meta-llama/Llama-3.1-8B", "fsdp2", "qlora", 2, 1, tokens, checkpointed, allocated, "2 x NVIDIA H200", "2.11.0",
        "2026-11-22",
    )
    for tokens, checkpointed, allocated in ((2048, "none", 16 * 2**30), (8192, "all", 18 * 2**30))
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A world that is the same on every machine."""
    for name, folder in {"QLTUI_HOME": "state", "HOME": "", "XDG_CONFIG_HOME": "config", "HF_HOME": "hub"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(machine, "here", lambda _home: machine.parse("4xA40"))
    monkeypatch.setattr(doctor, "examine", lambda _home: FACTS)
    monkeypatch.setattr(verified, "sessions", lambda: SESSIONS)
    monkeypatch.setattr(measured, "measurements", lambda: MEASURED)
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=[(120, 36), (80, 24)], ids=["120x36", "80x24"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    chosen: tuple[int, int] = request.param
    return chosen
