"""int8 layers whose payload and scales FSDP2 shards: they compute as before, and what damages them is found."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.rank_scripts import run_as_ranks

RANK = Path(__file__).parent / "ranks" / "int8_rank.py"
RANKS = 2


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each rank came to."""
    folder = tmp_path_factory.mktemp("int8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (RANK.parents[3], RANK.parents[2])))
    arguments = [[str(folder), str(rank), str(RANKS)] for rank in range(RANKS)]
    run_as_ranks(RANK, arguments, [environment] * RANKS)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]


def test_sharded_layers_compute_the_same_bits(said: list[dict[str, Any]]) -> None:
    """Output and gradient, with activations above the threshold; and the numbers that DoRA takes norms of."""
    for rank in said:
        assert rank["outliers_count"]
        assert rank["same"] == [True, True]
        assert rank["numbers_kept"]


def test_each_rank_holds_its_part_alone(said: list[dict[str, Any]]) -> None:
    """Of payloads, scales and a bias; a part is whole numbers of four bytes."""
    for rank in said:
        assert rank["types"] == ["torch.float32"]
        assert rank["copies"] == 0
        assert all(held <= whole / RANKS + 4 for held, whole in rank["share"])
    for parts in zip(*(rank["share"] for rank in said), strict=True):
        assert sum(held for held, _ in parts) == parts[0][1]


def test_gathered_bytes_are_those_that_were_loaded(said: list[dict[str, Any]]) -> None:
    for rank in said:
        assert rank["weights"] == "5 frozen tensors computed with as loaded, byte for byte, on 2 ranks"


@pytest.mark.parametrize(("damage", "tensor"), [("flipped", "0.weight"), ("scales", "0.SCB")])
def test_damage_in_one_ranks_part_is_found(damage: str, tensor: str, said: list[dict[str, Any]]) -> None:
    """One byte of the payload; two scales in each other's place."""
    for rank in said:
        assert "computes with 1 of 5 frozen tensors that are not what was loaded" in rank[damage]
        assert f"(first: {tensor})" in rank[damage]
