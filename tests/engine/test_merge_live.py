"""Merged weights asked for in the middle of training on several ranks: those of the checkpoint, and nothing changes."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from cells.scale import SCALES, make_mixture
from support.rank_scripts import run_as_ranks
from support.runs import write_run

RANK = Path(__file__).parent / "ranks" / "merging_rank.py"
RANKS = 2
CASES: dict[str, dict[str, Any]] = {
    "ddp": {"strategy.name": "ddp", "method.name": "int8"},
    "fsdp2": {"strategy.name": "fsdp2", "method.lora.use_dora": True, "model.new_tokens": ["<tide>"]},
    "fsdp2-int8": {"strategy.name": "fsdp2", "method.name": "int8"},
    "fsdp2-experts": {"strategy.name": "fsdp2"},
    "fsdp2-int8-experts": {"strategy.name": "fsdp2", "method.name": "int8"},
    "zero3": {"strategy.name": "zero3", "method.lora.modules_to_save": ["norm"]},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """By case and rank, what the rank saw at the first checkpoint."""
    folder = tmp_path_factory.mktemp("live")
    mixture = folder / "mixture"
    make_mixture(SCALES["tiny"], mixture, "mixtral")
    for name, settings in CASES.items():
        (folder / name).mkdir()
        more = {"model.path": str(mixture), "method.lora.dropout": 0.0} if "experts" in name else {}
        write_run(
            folder / name,
            **{"training.max_steps": 2, "training.save_every": 1, "data.eval_path": None, **settings, **more},
        )  # fmt: skip
    (folder / "job.json").write_text(json.dumps([str(folder / name) for name in CASES]))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environments = [
        {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "RANK": str(rank), "LOCAL_RANK": str(rank),
         "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
         "PYTHONPATH": os.pathsep.join(map(str, (RANK.parents[3], RANK.parents[2])))}
        for rank in range(RANKS)
    ]  # fmt: skip
    run_as_ranks(RANK, [[str(folder / "job.json")]] * RANKS, environments, seconds=280)
    return {
        name: [json.loads((folder / name / f"told-{rank}.json").read_text()) for rank in range(RANKS)] for name in CASES
    }


@pytest.mark.parametrize("case", CASES)
def test_every_rank_is_given_what_the_checkpoint_comes_to(case: str, told: dict[str, Any]) -> None:
    """After the first of two steps, tensor by tensor, bit for bit; training holds what it held before."""
    for rank in told[case]:
        assert rank["count"] > 30
        assert rank["differ"] == rank["too_many"] == []
        assert rank["changed"] == []
