"""Memory by phase: measured where it is used, told once and then only when it grew, whatever a phase ends with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.events import EventReader, EventWriter
from engine.reporter import Reporter

MIB = 2**20
FIELDS = {"memory_allocated", "memory_reserved", "memory_peak", "host_rss"}


class Rank:
    """A rank that says what it does, and what it has said."""

    def __init__(self, folder: Path, device: str) -> None:
        self.file = folder / "rank0.jsonl"
        self.reporter = Reporter(
            EventWriter(self.file, attempt=1, node=0, rank=0, local_rank=0), 0, torch.device(device)
        )

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in EventReader(self.file).read() if event["kind"] == kind]

    def peak(self, phase: str) -> int:
        return int(next(event["memory_peak"] for event in self.said("memory") if event["phase"] == phase))


@pytest.fixture
def rank(tmp_path: Path) -> Rank:
    return Rank(tmp_path, "cpu")


@pytest.fixture
def gpu_rank(tmp_path: Path) -> Rank:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return Rank(tmp_path, "cuda:0")


def use(mib: int, device: str = "cpu") -> None:
    """Allocate, touch and free."""
    torch.ones(mib * MIB, dtype=torch.uint8, device=device)


def test_on_cpu_memory_is_the_process_as_the_system_counts_it(rank: Rank) -> None:
    with rank.reporter.phase("load"):
        held = torch.ones(64 * MIB, dtype=torch.uint8)
    rank.reporter.step_done(last=True, step_time=1.0, data_time=0.1)
    del held
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    (load,), (step,) = rank.said("memory"), rank.said("step")
    assert load.keys() >= FIELDS and step.keys() >= FIELDS
    assert load["host_rss"] == load["memory_allocated"] == load["memory_reserved"] <= load["memory_peak"]
    assert load["memory_peak"] >= 64 * MIB
    assert abs(step["memory_peak"] - int(status["VmHWM"].split()[0]) * 1024) < 4 * MIB


def test_a_phase_of_every_step_is_told_once_and_when_its_peak_has_grown(rank: Rank) -> None:
    for _ in range(50):
        for name in ("forward", "backward"):
            with rank.reporter.phase(name, quiet=True):
                pass
    assert [event["phase"] for event in rank.said("memory")] == ["forward", "backward"]
    assert rank.said("phase") == []
    first = rank.said("memory")[0]
    with rank.reporter.phase("forward", quiet=True):
        use((first["memory_peak"] - first["host_rss"] + first["memory_peak"] // 10) // MIB)
    with rank.reporter.phase("forward", quiet=True):
        pass
    told = [event["memory_peak"] for event in rank.said("memory") if event["phase"] == "forward"]
    assert len(told) == 2
    assert told[1] > told[0]


def test_a_phase_that_fails_tells_its_memory_and_stays(rank: Rank) -> None:
    reporter = rank.reporter
    with pytest.raises(ValueError, match="broke"), reporter.phase("eval"), reporter.phase("forward", quiet=True):
        raise ValueError("it broke")
    assert reporter.phase_name == "forward"
    reporter.failed(ValueError("it broke"))
    assert [event["phase"] for event in rank.said("memory")] == ["forward", "eval"]
    (failed,) = rank.said("failed")
    assert failed["phase"] == "forward" and failed.keys() >= FIELDS


def test_a_disk_that_is_full_does_not_hide_the_reason(rank: Rank) -> None:
    full = EventWriter("/dev/full", attempt=1, node=0, rank=0, local_rank=0)
    reporter = Reporter(full, 0, torch.device("cpu"))
    with pytest.raises(ValueError, match="it broke"), reporter.phase("forward", quiet=True):
        raise ValueError("it broke")


def test_a_step_tells_the_seconds_of_its_phases(rank: Rank) -> None:
    reporter = rank.reporter
    for _ in range(2):
        with reporter.phase("forward", quiet=True):
            time.sleep(0.02)
    with reporter.phase("backward", quiet=True):
        time.sleep(0.01)
    with reporter.phase("eval"), reporter.phase("forward", quiet=True):
        time.sleep(0.2)
    reporter.step_done(last=False, step_time=0.1, data_time=0.0)
    reporter.step_done(last=True, step_time=0.1, data_time=0.0)
    first, second = rank.said("step")
    assert 0.04 <= first["forward_time"] < 0.2, "an evaluation is no part of a step"
    assert 0.01 <= first["backward_time"] < first["forward_time"]
    assert first["optimizer_time"] == 0.0
    assert second["forward_time"] == 0.0


def test_phases_within_a_phase_give_it_back(rank: Rank) -> None:
    with rank.reporter.phase("eval"):
        with rank.reporter.phase("forward", quiet=True):
            assert rank.reporter.phase_name == "forward"
        assert rank.reporter.phase_name == "eval"
    assert rank.reporter.phase_name == "load"


def test_on_a_gpu_each_phase_has_its_own_peak_and_the_step_the_highest(gpu_rank: Rank) -> None:
    reporter = gpu_rank.reporter
    before = torch.cuda.memory_allocated()
    with reporter.phase("load"):
        use(256, "cuda")
    with reporter.phase("eval"):
        use(96, "cuda")
        with reporter.phase("forward", quiet=True):
            use(64, "cuda")
        with reporter.phase("backward", quiet=True):
            use(128, "cuda")
        use(32, "cuda")
    with reporter.phase("optimizer", quiet=True):
        use(16, "cuda")
    reporter.step_done(last=True, step_time=1.0, data_time=0.1)
    peaks = {name: gpu_rank.peak(name) - before for name in ("load", "eval", "forward", "backward", "optimizer")}
    assert peaks == {
        "load": 256 * MIB, "eval": 128 * MIB, "forward": 64 * MIB, "backward": 128 * MIB, "optimizer": 16 * MIB,
    }  # fmt: skip
    (step,) = gpu_rank.said("step")
    assert step["memory_peak"] - before == 256 * MIB
    assert step["memory_reserved"] >= 256 * MIB


def test_on_a_gpu_what_a_phase_took_before_one_within_it_failed_still_counts(gpu_rank: Rank) -> None:
    reporter = gpu_rank.reporter
    before = torch.cuda.memory_allocated()
    with reporter.phase("save"):
        use(64, "cuda")
        with pytest.raises(ValueError, match="it broke"), reporter.phase("forward", quiet=True):
            use(16, "cuda")
            raise ValueError("it broke")
    assert (gpu_rank.peak("forward") - before, gpu_rank.peak("save") - before) == (16 * MIB, 64 * MIB)


def test_on_several_gpus_of_one_rank_each_has_its_own_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    rank = Rank(tmp_path, "cuda:0")
    before = [torch.cuda.memory_allocated(gpu) for gpu in range(2)]
    with rank.reporter.phase("load"):
        use(64, "cuda:0")
        use(96, "cuda:1")
    with rank.reporter.phase("forward"):
        use(32, "cuda:1")
    rank.reporter.step_done(last=True, step_time=1.0, data_time=0.1)
    load, forward = rank.said("memory")
    (step,) = rank.said("step")
    assert grown(load, before) == grown(step, before) == [64 * MIB, 96 * MIB]
    assert grown(forward, before) == [0, 32 * MIB]
    assert load["memory_peak"] == sum(gpu["memory_peak"] for gpu in load["gpus"])


def grown(event: dict[str, Any], before: list[int]) -> list[int]:
    """Peak of each GPU above what it held before; other GPUs hold nothing."""
    return [gpu["memory_peak"] - held for gpu, held in zip(event["gpus"], before, strict=False)]


def test_several_gpus_are_told_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the allocator's figures given, for machines without GPUs."""
    held = {0: (5, 8, 7), 1: (3, 4, 9)}

    def counts(gpu: torch.device) -> dict[str, Any]:
        allocated, reserved, peak = held[gpu.index]
        return {
            "allocated_bytes": {"all": {"current": allocated, "peak": peak}},
            "reserved_bytes": {"all": {"current": reserved}},
        }

    monkeypatch.setattr("engine.memory.own_gpus", lambda device: [torch.device("cuda", 0), torch.device("cuda", 1)])
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda gpu: None)
    monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", counts)
    rank = Rank(tmp_path, "cuda:0")
    with rank.reporter.phase("load"):
        pass
    held.update({0: (5, 8, 5), 1: (3, 4, 3)})
    with rank.reporter.phase("save"):
        held[1] = (3, 4, 4)
    load, save = rank.said("memory")
    assert [gpu["memory_peak"] for gpu in load["gpus"]] == [7, 9]
    assert load["memory_peak"] == 16 and load["memory_reserved"] == 12
    assert [gpu["memory_peak"] for gpu in save["gpus"]] == [5, 4]
    rank.reporter.step_done(last=True, step_time=1.0, data_time=0.1)
    (step,) = rank.said("step")
    assert [gpu["memory_peak"] for gpu in step["gpus"]] == [7, 9]
