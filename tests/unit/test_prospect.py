"""A launch told before it happens, where no screen shows it: GPUs elsewhere, and a run that goes on from another."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.samples import make_config

from qltui.configs import loading
from qltui.runs import launching, store
from qltui.runs.assessment import assess
from qltui.runs.prospect import foresee, prospect


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))


def test_on_a_described_machine_it_takes_as_many_gpus_as_it_has_ranks() -> None:
    told = foresee(loading.load("llama3-8b-int8-fsdp2"), "8x80G").prospect
    assert told.argv[-2:] == ["--gpus", "0,1"]
    assert 'gpu_ids: "0,1"' in told.files["accelerate.yaml"]
    assert store.directories() == []


def test_the_parent_is_named_as_the_launch_will_name_it(tmp_path: Path) -> None:
    earlier = launching.create(make_config(tmp_path, name="earlier"))
    (earlier.path / "checkpoints" / "step-1").mkdir(parents=True)
    config = make_config(tmp_path, name="later", parent="earlier")
    told = prospect(assess(config))
    assert f"parent: {earlier.id}\n" in told.files["run.yaml"]
    later = launching.create(config)
    assert told.files["run.yaml"] == later.run_yaml.read_text("utf-8")


def test_a_parent_that_is_not_there_is_told(tmp_path: Path) -> None:
    told = prospect(assess(make_config(tmp_path, parent="nowhere")))
    assert told.refusal.startswith("parent: ")
