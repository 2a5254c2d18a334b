"""What FSDP2 has gathered at each moment of a step, on CPU ranks: a layer, and embeddings and head for their moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.rank_scripts import run_as_ranks

from engine.launch import free_port

ENGINE_TESTS = Path(__file__).parent
RANKS = 2
END = 96 * 16
"""Numbers of the embeddings, and of the head."""


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gathering")
    environment = {
        **os.environ, "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS), "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (ENGINE_TESTS.parents[1], ENGINE_TESTS.parent))),
    }  # fmt: skip
    run_as_ranks(
        ENGINE_TESTS / "ranks" / "gathering_rank.py",
        [[str(folder)]] * RANKS,
        [{**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(RANKS)],
    )
    return {name: json.loads((folder / f"{name}-0.json").read_text()) for name in ("own-head", "tied")}


def test_embeddings_and_head_are_whole_only_where_they_are_used(moments: dict[str, dict[str, Any]]) -> None:
    seen = moments["own-head"]
    assert seen["in a layer, forward"]["whole"] == []
    assert seen["at the loss"]["whole"] == ["head"], "backward begins with it: let go of, it would travel twice"
    assert seen["in a layer, backward"]["whole"] == []
    assert seen["gradients"]


def test_backward_does_not_gather_frozen_embeddings(moments: dict[str, dict[str, Any]]) -> None:
    seen = moments["own-head"]
    forward = seen["at the loss"]["gathered"]
    layers = forward - 2 * END - 16  # the last norm too is gathered once
    assert seen["after backward"]["gathered"] - forward == layers


def test_a_weight_of_both_is_gathered_once(moments: dict[str, dict[str, Any]]) -> None:
    seen, apart = moments["tied"], moments["own-head"]
    assert seen["in a layer, backward"]["whole"] == ["embeddings", "head"]
    assert apart["at the loss"]["gathered"] - seen["at the loss"]["gathered"] == END
