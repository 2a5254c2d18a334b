"""Every method on every strategy on CPU ranks: trained, audited, saved, resumed, and loaded by plain PEFT."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cells import run
from cells.cells import Cell, all_cells
from cells.results import loss_differences
from cells.verdict import complaints

from engine.config import Method, StrategyName

OPTIONS = (
    "fsdp2-lora+dora", "zero3-qlora+checkpointing", "zero2-qlora+bf16", "fsdp2-int8+dora",
    "fsdp2-qlora+experts", "zero3-int8+experts", "fsdp2-qlora+packing", "single-lora+packing",
    "fsdp2-full+loss-in-chunks", "zero3-qlora+loss-in-chunks", "fsdp2-qlora+offload-activations",
)  # fmt: skip
"""Beyond the matrix."""
THOROUGH = (
    "ddp-qlora+new-tokens", "fsdp2-qlora+checkpointing-2", "zero3-qlora+bf16-dora", "zero3-int8+dora",
    "single-qlora+experts", "zero3-lora+experts-gpt-oss", "ddp-lora+packing",
)  # fmt: skip
"""More of them; the rest of the list takes minutes more."""
CELLS = [
    pytest.param(cell.name, marks=[pytest.mark.thorough] if cell.name in THOROUGH else [])
    for cell in all_cells()
    if not cell.needs_gpu and (not cell.option or cell.name in OPTIONS + THOROUGH)
]
TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.timeout(900)  # the first test runs all cells


def prove(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """`python -m cells.run` and the cells in its file."""
    out = folder / "results.json"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, "-m", "cells.run", "--out", str(out), "--work", str(folder / "work"), *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, json.loads(out.read_text())["runs"][0]["cells"] if out.exists() else []


@pytest.fixture(scope="module")
def proven(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of all cells that are asked for, by name."""
    names = [item.callspec.params["name"] for item in request.session.items if item.name.startswith("test_cell[")]
    done, cells = prove(tmp_path_factory.mktemp("cells"), "--only", *names, "--seconds", "180")
    print(done.stdout, done.stderr)
    return {cell["name"]: cell for cell in cells}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str, proven: dict[str, dict[str, Any]]) -> None:
    assert proven[name]["result"] == "passed", proven[name]["reason"]


def test_losses_are_those_of_one_process(proven: dict[str, dict[str, Any]]) -> None:
    differences = loss_differences(list(proven.values()))
    plain = {name for name, cell in proven.items() if not cell["option"] and cell["result"] == "passed"}
    alone = {name for name in plain if name.startswith("single-")}
    assert differences.keys() >= plain - alone - {"zero3-lora-classification"}
    for name, difference in differences.items():
        assert difference < (5e-3 if proven[name]["method"] == "int8" else 1e-4), name


def test_sharded_cells_hold_their_share(proven: dict[str, dict[str, Any]]) -> None:
    """The audit's own figures: a quantised or plain base is half on each of two ranks."""
    for name in ("fsdp2-qlora", "fsdp2-int8", "fsdp2-lora", "zero3-qlora", "zero3-int8", "zero3-lora"):
        detail = proven[name]["audits"]["sharding"]["detail"]
        assert "(50%)" in detail or "(51%)" in detail, f"{name}: {detail}"


def test_a_cell_that_fails_or_hangs_does_not_take_others_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Cell(StrategyName.SINGLE, Method.LORA, option="bad", overrides={"method.lora.target_modules": ["nothing"]})
    good = Cell(StrategyName.SINGLE, Method.LORA)
    monkeypatch.setattr(run, "all_cells", lambda: [bad, good])
    out = tmp_path / "results.json"
    arguments = ["--out", str(out), "--work", str(tmp_path / "work")]
    assert run.main([*arguments, "--ranks", "1"]) == 1
    failed, passed = json.loads(out.read_text())["runs"][0]["cells"]
    assert failed["result"] == "failed"
    assert "target_modules" in failed["reason"]
    assert (passed["name"], passed["result"]) == (good.name, "passed")

    assert run.main([*arguments, "--ranks", "1", "--seconds", "0.5"]) == 1, "a failed cell is run again"
    again = {cell["name"]: cell for cell in json.loads(out.read_text())["runs"][0]["cells"]}
    assert "no end after" in again[bad.name]["reason"]
    assert again[good.name] == passed, "a cell that passed is not"


GOOD: dict[str, Any] = {
    "audits": {name: {"result": "passed", "detail": ""} for name in ("sharding", "weights", "adapter")},
    "losses": [4.0, 3.0, 2.0, 1.0], "resumed_losses": [2.0, 1.0], "resumed_from": ["checkpoints/step-00000002"],
    "resumed_equal": True, "resumed_difference": 0.0, "eval_loss": 1.5, "reload_eval_loss": 1.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"losses": [4.0, 3.0, 2.0]}, "3 losses"),
        ({"losses": [4.0, 3.0, "nan", 1.0]}, "not all are numbers"),
        ({"losses": [2.0] * 4, "resumed_losses": [2.0] * 2}, "does not move"),
        ({"resumed_losses": [2.0, 1.5]}, "after the resume"),
        ({"resumed_from": []}, "resumed from nothing"),
        ({"resumed_equal": False, "resumed_difference": 1e-9}, "other bits"),
        ({"reload_eval_loss": 1.501}, "plain PEFT"),
        ({"audits": {**GOOD["audits"], "weights": {"result": "failed", "detail": "changed"}}}, "audit weights: failed"),
        ({"audits": {}}, "audit sharding: missing"),
    ],
)
def test_what_does_not_pass(change: dict[str, Any], wrong: str) -> None:
    cell = Cell(StrategyName.FSDP2, Method.QLORA)
    assert list(complaints(cell, "cpu", GOOD)) == []
    assert any(wrong in complaint for complaint in list(complaints(cell, "cpu", {**GOOD, **change})))
