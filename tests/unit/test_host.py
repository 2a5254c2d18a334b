"""What the host and CUDA let a process here have: memory within a container, GPUs that are visible."""

from __future__ import annotations

import pytest

from qltui.facts import gpus, host
from qltui.facts.gpus import Gpu


def test_what_a_container_keeps_of_files_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaced are the system's files: the machine that runs the tests need not be a container."""
    files = {
        "/proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 900 kB",
        "/sys/fs/cgroup/memory.max": "500000",
        "/sys/fs/cgroup/memory.current": "450000",
        "/sys/fs/cgroup/memory.stat": "anon 50000\nactive_file 100000\ninactive_file 250000\nslab 5",
    }
    monkeypatch.setattr(host, "_text", lambda path: files.get(path, ""))
    assert host.memory() == (500_000, 400_000)
    files["/sys/fs/cgroup/memory.max"] = "max"
    assert host.memory() == (1_024_000, 921_600)


def test_visible_devices_are_those_cuda_would_see(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Gpu(number, f"GPU-{number}a", "H100", 1) for number in range(4)]
    monkeypatch.setattr(gpus, "all_gpus", lambda: there)
    for named, seen in (("2,0", [2, 0]), ("", []), ("GPU-3", [3]), ("1,9,0", [1]), ("-1", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert [gpu.number for gpu in gpus.visible_gpus()] == seen
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus.visible_gpus() == there
