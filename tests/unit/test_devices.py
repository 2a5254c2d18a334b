"""Ranks' own words and samples of their GPUs, put together."""

from __future__ import annotations

from typing import Any

import pytest
from support.written_runs import a40

from qltui.runs.devices import Device, devices, measured_peak
from qltui.runs.recent import Pace

GIB = 2**30


def rank(number: int, **other: Any) -> dict[str, Any]:
    return {
        "rank": number, "node": 0, "host": "here", "step": 5, "step_time": 1.0, "memory_allocated": 4 * GIB,
        "memory_reserved": 6 * GIB, "memory_peak": 5 * GIB, **other,
    }  # fmt: skip


def rows(ranks: list[dict[str, Any]], *gpus: dict[str, Any], host: Any = None, paces: Any = None) -> list[Device]:
    return devices({"ranks": ranks}, gpus, host or {}, paces or {})


def test_each_rank_has_the_gpu_at_its_place() -> None:
    first, second = rows([rank(0), rank(1)], a40(4), a40(6, utilization=None), paces={1: Pace(1.2, 1.2, 0.0)})
    assert (first.rank, first.number, first.utilization, first.pace) == (0, 4, 98, None)
    assert (second.rank, second.number, second.utilization) == (1, 6, None)
    assert second.pace is not None


def test_memory_is_parted_into_ours_and_others() -> None:
    (row,) = rows([rank(0)], a40(0, memory_used=20 * GIB, other_memory=13 * GIB))
    assert [part // GIB for part in row.parts] == [4, 3, 13], "the context is held beside the tensors"


def test_what_nobody_tells_whose_it_is_counts_as_others() -> None:
    (row,) = rows([rank(0)], a40(0, memory_used=20 * GIB, other_memory=None))
    assert [part // GIB for part in row.parts] == [4, 2, 14]


@pytest.mark.parametrize("used", [None, 0, 3 * GIB])
def test_a_driver_that_shows_less_than_the_rank_does_no_harm(used: int | None) -> None:
    (row,) = rows([rank(0)], a40(0, memory_used=used, other_memory=9 * GIB))
    assert [part // GIB for part in row.parts] == [4, 2, 0]
    assert row.held == 6 * GIB


def test_one_rank_on_several_gpus_has_a_row_for_each() -> None:
    parts = [
        {"memory_allocated": size * GIB, "memory_reserved": size * GIB, "memory_peak": size * GIB} for size in (1, 2)
    ]
    first, second = rows([rank(0, gpus=parts)], a40(0), a40(1))
    assert [(row.rank, row.number, row.allocated) for row in (first, second)] == [(0, 0, GIB), (0, 1, 2 * GIB)]


def test_ranks_of_other_nodes_get_their_own_nodes_gpus() -> None:
    there = rank(1, node=1, host="there")
    first, second = rows([rank(0), there], a40(0, host="there", temperature=50), a40(0, host="here", temperature=60))
    assert (first.temperature, second.temperature, second.node) == (60, 50, 1)


def test_a_gpu_that_no_rank_has_spoken_for_is_shown_too() -> None:
    found = rows([], a40(0), a40(1))
    assert [(row.rank, row.number) for row in found] == [(None, 0), (None, 1)]
    assert [row.rank for row in rows([rank(0)], a40(0), a40(1))] == [0, None]


def test_without_gpus_ranks_stand_for_themselves() -> None:
    silent = rank(0, memory_allocated=None, memory_reserved=None, memory_peak=None)
    (row,) = rows([silent], host={"ranks": [{"rank": 0, "memory": 7}]})
    assert (row.number, row.allocated, row.total) == (None, 7, None)


def test_a_sample_of_an_older_version_says_less() -> None:
    (row,) = rows([rank(0)], {"uuid": "GPU-1", "memory_used": 9 * GIB})
    assert (row.number, row.name, row.lost, row.throttle, row.power_limit) == (0, "", False, (), None)


def test_the_measured_peak_is_the_drivers_without_others() -> None:
    found = rows([rank(0)], a40(0, other_memory=2 * GIB))
    assert measured_peak(found, {"gpu0.memory_used": [(1, 9 * GIB), (2, 8 * GIB)]}) == 7 * GIB
    assert measured_peak(found, {}) == 5 * GIB
    assert measured_peak([], {}) is None
