"""What GPUs, host and ranks use, sampled once a second into ``telemetry/<host>.jsonl``. Memory in bytes."""

from __future__ import annotations

import contextlib
import json
import os
import time

from engine.events.processes import host_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from engine.events import RunDirectory

TAIL = 64 * 1024
"""Bytes read from the end of a file to find its last sample."""


def newest_sample(run: RunDirectory) -> dict[str, Any]:
    """The last sample of the run; GPUs and ranks of several hosts together. {} if there is none."""
    newest: dict[str, Any] = {}
    try:
        names = sorted(os.listdir(run.telemetry))
    except OSError:
        return {}
    for name in names:
        sample = _last_line(os.path.join(run.telemetry, name)) if name.endswith(".jsonl") else None
        if sample:
            both = {key: newest.get(key, []) + (sample.get(key) or []) for key in ("gpus", "ranks")}
            newest = {**sample, **both}
    return newest


def _last_line(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            lines = file.read(TAIL).split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[:-1]):  # what follows the last newline is half-written
        try:
            sample = json.loads(line)
        except ValueError:
            continue
        if isinstance(sample, dict):
            return sample
    return None


class Sampler:
    """Takes samples of this host. Without NVIDIA's library there are no GPUs, and that is no error."""

    def __init__(self, folder: Path, gpus: Sequence[str]) -> None:
        """Sample the GPUs with these UUIDs, and the host, into a file of ``folder``."""
        self._host = host_name()
        self._path = folder / f"{self._host}.jsonl"
        self._handles: dict[str, Any] = {}
        self._nvml: Any = None
        if gpus:
            self._open(gpus)

    def _open(self, gpus: Sequence[str]) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
            self._handles = {uuid: pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in gpus}
            self._nvml = pynvml
        except pynvml.NVMLError:
            return

    def write(self, ranks: Mapping[int, int]) -> None:
        """Append a sample; a disk that is full costs the sample, not the run."""
        line = json.dumps(self.sample(ranks)) + "\n"
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(line)

    def sample(self, ranks: Mapping[int, int]) -> dict[str, Any]:
        """One sample; ``ranks`` is the process id of each rank."""
        memory = _meminfo()
        return {
            "wall": time.time(),
            "host": self._host,
            "memory_total": memory.get("MemTotal"),
            "memory_available": memory.get("MemAvailable"),
            "load": os.getloadavg()[0],
            "out_of_memory_kills": out_of_memory_kills(),
            "ranks": [{"rank": rank, "memory": resident(pid)} for rank, pid in sorted(ranks.items())],
            "gpus": [self._gpu(uuid, handle) for uuid, handle in self._handles.items()],
        }

    def _gpu(self, uuid: str, handle: Any) -> dict[str, Any]:
        nvml = self._nvml
        readings: dict[str, Callable[[], Any]] = {
            "index": lambda: nvml.nvmlDeviceGetIndex(handle),
            "name": lambda: nvml.nvmlDeviceGetName(handle),
            "memory_used": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
            "memory_total": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
            "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "temperature": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        }
        row: dict[str, Any] = {"uuid": uuid}
        for key, reading in readings.items():
            try:
                row[key] = reading()
            except nvml.NVMLError:  # not every GPU tells everything
                row[key] = None
        return row


def resident(pid: int) -> int | None:
    """Bytes of memory a process holds; None if it is gone. Source: proc_pid_statm(5)."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None


def _meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    try:
        with open("/proc/meminfo") as file:
            return {key: int(value.split()[0]) * 1024 for key, _, value in (line.partition(":") for line in file)}
    except OSError:
        return {}


def out_of_memory_kills() -> int | None:
    """Processes the kernel has ended for want of memory since boot."""
    try:
        with open("/proc/vmstat") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), None)
    except OSError:
        return None
