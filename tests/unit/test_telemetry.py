"""Samples: what each GPU and the host tell, whose memory it is, kept bounded and read again over time."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest
from support.nvml import MIB, Nvml, h200
from support.small_runs import wait_until

from engine.events import RunDirectory
from qltui.facts import gpus as facts
from qltui.runs import telemetry
from qltui.runs.telemetry import History, Sampler, history, newest_sample, patience, sampler
from qltui.runs.telemetry import gpus as gpu_samples
from qltui.runs.telemetry import host as host_samples

OURS, OTHERS = 4001, 4002
THROTTLE_NAMES = {
    0x04: "nvmlClocksThrottleReasonSwPowerCap", 0x08: "nvmlClocksThrottleReasonHwSlowdown",
    0x10: "nvmlClocksThrottleReasonSyncBoost", 0x20: "nvmlClocksThrottleReasonSwThermalSlowdown",
    0x40: "nvmlClocksThrottleReasonHwThermalSlowdown", 0x80: "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}  # fmt: skip
BUSY = {
    "bus": "00000000:17:00.0", "used": 9000, "utilization": 97, "temperature": 71, "milliwatts": 287_400,
    "limit": 700_000, "clock": 1755, "clock_max": 1980, "throttle": 0x04 | 0x20 | 0x01, "processes": {OURS: 8000},
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    (tmp_path / "run").mkdir()
    return RunDirectory(tmp_path / "run")


def rows(
    monkeypatch: pytest.MonkeyPatch, *recorded: dict[str, Any], names: list[str] | None = None, contained: bool = False
) -> list[dict[str, Any]]:
    """A row for each of the GPUs."""
    monkeypatch.setattr(facts, "load_nvml", lambda: Nvml(*recorded))
    monkeypatch.setattr(gpu_samples, "sees_all_processes", lambda: not contained)
    return gpu_samples.GpuSampler(names).rows({OURS})


def test_a_gpu_tells_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = rows(monkeypatch, h200(0, **BUSY))
    assert row == {
        "uuid": "GPU-0", "index": 0, "name": "NVIDIA H200", "pci_bus_id": "00000000:17:00.0",
        "lost": False, "mig": False,
        "memory_used": 9000 * MIB, "memory_total": 143771 * MIB, "memory_reserved": 700 * MIB,
        "utilization": 97, "temperature": 71, "power_watts": 287.4, "power_limit_watts": 700.0,
        "sm_clock_mhz": 1755, "sm_clock_max_mhz": 1980, "throttle": ["power", "thermal"],
        "processes": [{"pid": OURS, "memory": 8000 * MIB, "ours": True}], "other_memory": 0,
    }  # fmt: skip


def test_what_a_gpu_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = rows(monkeypatch, {"uuid": "GPU-0", "name": "GB10", "capability": (12, 1)})
    told = {key: value for key, value in row.items() if value is not None}
    assert told == {"uuid": "GPU-0", "index": 0, "name": "GB10", "lost": False, "mig": False}
    assert row.keys() >= gpu_samples.UNKNOWN.keys()


def test_an_old_driver_tells_no_reserved_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = rows(monkeypatch, {"uuid": "GPU-0", "name": "A40", "total": 46068, "used": 5, "capability": (8, 6)})
    assert (row["memory_used"], row["memory_reserved"]) == (5 * MIB, None)


def test_a_lost_gpu_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = h200(0, **BUSY), h200(1, **BUSY)
    monkeypatch.setattr(facts, "load_nvml", lambda: Nvml(first, second))
    asked = gpu_samples.GpuSampler(["GPU-0", "GPU-1"])
    assert [row["lost"] for row in asked.rows()] == [False, False]
    first["lost"] = True
    lost, other = asked.rows()
    assert (lost["lost"], lost["index"], lost["name"], lost["memory_used"]) == (True, 0, "NVIDIA H200", None)
    assert "lost" in lost["error"].lower()
    assert (other["lost"], other["utilization"]) == (False, 97)


def test_of_gpus_lost_from_the_start_and_unknown_names_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = rows(monkeypatch, h200(0, lost=True), h200(1, **BUSY))
    assert sorted((row["lost"], row["uuid"]) for row in all_of_them) == [(False, "GPU-1"), (True, "0")]
    named = rows(monkeypatch, h200(0, **BUSY), names=["GPU-9", "GPU-0"])
    assert [(row["lost"], row["uuid"]) for row in named] == [(True, "GPU-9"), (False, "GPU-0")]


def test_a_mig_instance_has_memory_of_its_own_and_heat_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    part = {"uuid": "MIG-a", "name": "NVIDIA H200 MIG 1g.18gb", "total": 16384, "reserved": 20, "used": 33}
    whole = h200(1, **BUSY, slices=[part])
    row = rows(monkeypatch, h200(0, **BUSY), whole, names=["MIG-a"])[0]
    assert (row["mig"], row["uuid"], row["index"], row["memory_used"]) == (True, "MIG-a", 1, 33 * MIB)
    assert (row["temperature"], row["power_watts"], row["utilization"]) == (71, 287.4, None)


@pytest.mark.parametrize(
    ("processes", "contained", "ours", "other_memory"),
    [
        ({OURS: 8000, OTHERS: 500}, False, [True, False], 500 * MIB),
        ({OTHERS: 500}, False, [False], 500 * MIB),
        ({OURS: 8000, OTHERS: 500}, True, [True, False], 500 * MIB),
        ({OTHERS: 500}, True, [None], None),  # it may be ours, under the id the host knows it by
        ({}, True, [], None),
        ({OURS: 8000, OTHERS: None}, False, [True, False], None),
        ({OURS: None, OTHERS: 500}, False, [True, False], 500 * MIB),
    ],
)
def test_whose_memory_it_is(
    monkeypatch: pytest.MonkeyPatch,
    processes: dict[int, int | None],
    contained: bool,
    ours: list[bool | None],
    other_memory: int | None,
) -> None:
    (row,) = rows(monkeypatch, h200(0, **{**BUSY, "processes": processes}), contained=contained)
    assert [one["ours"] for one in row["processes"]] == ours
    assert row["other_memory"] == other_memory


@pytest.mark.parametrize(
    ("pids", "ranks"), [({0: 1, 1: 2}, [[0], [1]]), ({0: 1}, [[0], [0]]), ({4: 1, 5: 2}, [[4], [5]])]
)
def test_gpus_belong_to_the_ranks_in_their_order(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, pids: dict[int, int], ranks: list[list[int]]
) -> None:
    monkeypatch.setattr(facts, "load_nvml", lambda: Nvml(h200(0), h200(1), h200(2)))
    sample = Sampler(run.telemetry, ["GPU-2", "GPU-1"]).sample(pids)
    assert [(row["uuid"], row["ranks"]) for row in sample["gpus"]] == [("GPU-2", ranks[0]), ("GPU-1", ranks[1])]


class Blocking(Nvml):
    """A driver whose call about the second GPU does not return, as after an Xid error."""

    def __init__(self, *recorded: dict[str, Any]) -> None:
        super().__init__(*recorded)
        self.answers = threading.Event()

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> Any:  # noqa: N802 - NVML's name
        if handle["uuid"] == "GPU-1":
            self.answers.wait()
        return super().nvmlDeviceGetUtilizationRates(handle)


@pytest.fixture
def blocking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocking]:
    driver = Blocking(h200(0, **BUSY), h200(1, **BUSY))
    monkeypatch.setattr(facts, "load_nvml", lambda: driver)
    yield driver
    driver.answers.set()


def test_a_driver_that_blocks_is_waited_for_once_and_said_to_be_silent(
    blocking: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocking.answers.set()
    asked = patience.PatientSampler(["GPU-0", "GPU-1"])
    assert [row["utilization"] for row in asked.rows()] == [97, 97]
    blocking.answers.clear()
    monkeypatch.setattr(patience, "WAIT_SECONDS", 0.01)
    newest = asked.rows()
    assert [(row["utilization"], row.get("silent")) for row in newest] == [(97, None), (97, None)], "the last answer"
    monkeypatch.setattr(patience, "SILENT_SECONDS", 0.0)
    first, second = asked.rows()
    assert (first["utilization"], first["silent"], first["name"]) == (None, None, "NVIDIA H200")
    assert (second["utilization"], second["memory_total"], second["index"]) == (None, 143771 * MIB, 1)
    assert second["silent"] > 0
    assert not second["lost"]
    blocking.answers.set()
    wait_until(lambda: asked.rows()[1].get("silent") is None, "the driver's answer")


def test_a_run_whose_driver_blocks_from_the_start_is_sampled_without_it(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(facts, "load_nvml", lambda: released.wait() and Nvml())
    monkeypatch.setattr(patience, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(patience, "SILENT_SECONDS", 0.0)
    sample = Sampler(run.telemetry, ["GPU-0", "GPU-1"]).sample({0: os.getpid()})
    assert [(row["uuid"], row["silent"] > 0) for row in sample["gpus"]] == [("GPU-0", True), ("GPU-1", True)]
    assert sample["memory_available"]
    released.set()


def test_a_sample_of_the_host(run: RunDirectory) -> None:
    sample = Sampler(run.telemetry, []).sample({0: os.getpid()})
    assert 0 < sample["memory_available"] < sample["memory_total"]
    assert sample["disk_free"] > 0
    assert sample["checkpoints_disk_free"] == pytest.approx(sample["disk_free"], rel=0.01)  # others write meanwhile
    assert 0 <= sample["swap_free"] <= sample["swap_total"]
    assert (sample["memory_limit"] is None) == (sample["memory_limit_used"] is None)
    assert (sample["gpus"], sample["ranks"][0]["memory"] > 0) == ([], True)


def written(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, count: int, kept: bool = True) -> Sampler:
    """Samples of each second; at second 100 a spike."""
    busy = h200(0, **BUSY)
    clock = iter(range(1, count + 1))
    monkeypatch.setattr(facts, "load_nvml", lambda: Nvml(busy))
    writer = Sampler(run.telemetry, ["GPU-0"])
    for second in clock:
        busy["used"] = 99_000 if second == 100 else 9000
        monkeypatch.setattr(sampler.time, "time", lambda now=second: float(now))
        writer.write({0: os.getpid()})
        if kept and second % 500 == 0:
            writer.keep()
    return writer


def test_samples_are_read_over_time_from_levels_and_what_came_after(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "RAW_BYTES", 200_000)
    writer = written(run, monkeypatch, 1200)
    assert sum(file.stat().st_size for file in run.telemetry.iterdir()) < 420_000
    read = History(run)
    newest = read.read()
    assert (newest["wall"], newest["gpus"][0]["utilization"]) == (1200.0, 97)
    used = read.curves["gpu0.memory_used"]
    assert (100.0, 99_000 * MIB) in used
    assert [wall for wall, _ in used] == sorted(wall for wall, _ in used)
    assert [wall for wall, _ in used[-200:]] == list(range(1001, 1201))
    assert len(read.curves["gpu0.power_watts"]) < 400
    monkeypatch.setattr(sampler.time, "time", lambda: 1201.0)
    writer.write({})
    assert read.read()["wall"] == 1201.0
    assert read.curves["gpu0.memory_used"][-1] == (1201.0, 9000 * MIB)
    assert {"gpu0.temperature", "gpu0.utilization", "host.memory_used"} <= read.curves.keys()


def test_without_levels_all_samples_are_read(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the supervisor was killed before it wrote any; also across the change of the file."""
    monkeypatch.setattr(sampler, "RAW_BYTES", 200_000)
    read = History(run)
    written(run, monkeypatch, 110, kept=False)
    read.read()
    writer = written(run, monkeypatch, 300, kept=False)
    assert (run.telemetry / f"{writer.sample({})['host']}.jsonl.old").exists()
    read.read()
    assert read.curves["gpu0.memory_used"] == sorted(set(read.curves["gpu0.memory_used"]))
    fresh = History(run)
    fresh.read()
    assert {100.0, 300.0} <= {wall for wall, _ in fresh.curves["gpu0.memory_used"]}


def test_levels_go_on_when_the_supervisor_is_another_and_the_clock_goes_backwards(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(run, monkeypatch, 150).keep()
    written(run, monkeypatch, 20).keep()
    read = History(run)
    read.read()
    assert (100.0, 99_000 * MIB) in read.curves["gpu0.memory_used"]
    assert read.curves["gpu0.memory_used"][-1][0] == pytest.approx(150.02)


def test_several_hosts_are_told_apart_and_a_silent_one_is_noticed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.telemetry.mkdir()
    for host, wall in (("a", 100.0), ("b", 160.0)):
        sample = {"host": host, "wall": wall, "gpus": [{"index": 0, "memory_used": 5}], "ranks": []}
        (run.telemetry / f"{host}.jsonl").write_text(json.dumps(sample) + "\n")
    monkeypatch.setattr(history, "BEGIN_SECONDS", -1.0)  # each call has time for none: they wait
    assert History(run).read() == newest_sample(run)
    monkeypatch.setattr(history, "BEGIN_SECONDS", 60.0)
    read = History(run)
    newest = read.read()
    assert newest == newest_sample(run)
    assert (newest["wall"], [gpu["host"] for gpu in newest["gpus"]]) == (100.0, ["a", "b"])
    assert read.curves == {"a/gpu0.memory_used": [(100.0, 5.0)], "b/gpu0.memory_used": [(160.0, 5.0)]}


@pytest.mark.parametrize("text", ["", "{half", "[]\n", '{"gpus": [1, null], "wall": "x"}\n', "\x00\xff\n"])
def test_odd_files_do_no_harm(run: RunDirectory, text: str) -> None:
    run.telemetry.mkdir()
    (run.telemetry / "a.jsonl").write_text(text)
    (run.path / "levels").mkdir()
    (run.path / "levels" / "telemetry-a.json").write_text('{"files": [[0, 9], [0, 0], [0, 0]], "last": 3}')
    assert History(run).read().get("gpus", []) == []
    assert history.newest_sample(run).get("gpus", []) == []


def test_nvml_has_what_stands_in_for_it() -> None:
    names = {name for name in vars(Nvml) if name.lower().startswith("nvml")}
    assert len(names) > 20
    assert not [name for name in names if not hasattr(pynvml, name)]
    assert THROTTLE_NAMES.keys() == gpu_samples.THROTTLE.keys()
    assert all(getattr(pynvml, name) == bit for bit, name in THROTTLE_NAMES.items())


def test_the_public_names_are_there() -> None:
    assert telemetry.resident(os.getpid())
    assert telemetry.resident(2**22 + 1) is None


def test_kills_are_counted_since_the_groups_were_first_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts = {1: tmp_path / "first", 2: tmp_path / "second"}
    monkeypatch.setattr(host_samples, "_kills_file", lambda pid: str(counts[pid]) if pid in counts else None)
    own = host_samples.OwnKills()
    assert own.count([3]) is None
    for file, kills in zip(counts.values(), (7, 2), strict=True):
        file.write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")
    assert own.count([1]) == 0
    counts[1].write_text("low 0\noom 3\noom_kill 9\noom_group_kill 0\n")
    assert own.count([1, 2]) == 2
    counts[1].unlink()  # a group that is gone
    counts[2].write_text("oom_kill 3\n")
    assert own.count([]) == 1
