"""fp16 under ZeRO: what DeepSpeed casts, what it leaves alone, and that the loss is scaled, in every stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RANK = Path(__file__).parent / "ranks" / "half_rank.py"
RUNS = [f"{stage}-{method}" for stage in ("zero2", "zero3") for method in ("lora", "qlora", "int8")]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each run came to; all share one process, since starting takes longer than a run."""
    folder = tmp_path_factory.mktemp("half")
    done = subprocess.run(
        [sys.executable, str(RANK), str(folder), *RUNS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, RANK.parents[2:4])), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_the_loss_is_scaled_and_adapters_learn(name: str, said: dict[str, dict[str, Any]]) -> None:
    """Gradients of activations are fp16 whatever adapters are: without a scale the small ones become zero."""
    run = said[name]
    assert run["scaler"]["dynamic"]
    assert run["scaler"]["cur_scale"] > 1
    assert run["applied"] == [True] * 3
    assert run["moved"]
    assert run["losses"][-1] < run["losses"][0]
    assert run["losses"] == pytest.approx(said["zero2-lora"]["losses"], rel=2e-2)


@pytest.mark.parametrize("name", RUNS)
def test_numbers_are_cast_and_packed_weights_and_scales_are_not(name: str, said: dict[str, dict[str, Any]]) -> None:
    """int8 scales are no parameters and no buffers, and the cast takes parameters."""
    run = said[name]
    packed = {"lora": [], "qlora": ["torch.uint8"], "int8": ["torch.int8"]}[name.partition("-")[2]]
    assert run["computes_in"] == sorted(["torch.float16", *packed])
    assert run["masters"] == ["torch.float32"]
    assert run["weights"].endswith("as loaded, byte for byte, on 1 rank")
    if "int8" in name:
        assert run["scales"] == 28
        assert run["scales_kept"]
        assert run["scales_in"] == ["torch.float32"]
