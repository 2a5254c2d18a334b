"""How much memory this rank uses, in bytes: the CUDA allocator's figures on a GPU, the resident set on CPU."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch


class Usage(NamedTuple):
    """Memory at one moment, in bytes; the fields every event with memory bears."""

    memory_allocated: int
    memory_reserved: int
    memory_peak: int
    """Highest allocated so far: of a phase, or of the whole rank."""
    host_rss: int
    """Resident set of the process."""
    gpus: tuple[OfGpu, ...] = ()
    """The same by GPU, where the rank computes on several."""

    def fields(self) -> dict[str, Any]:
        """What an event bears of it."""
        told = self._asdict()
        by_gpu = [gpu._asdict() for gpu in told.pop("gpus")]
        return {**told, "gpus": by_gpu} if by_gpu else told


class OfGpu(NamedTuple):
    """What one of several GPUs of a rank holds, in bytes."""

    memory_allocated: int
    memory_reserved: int
    memory_peak: int


class Meter:
    """Memory of one rank, with the peak of the phase it is in and that of its whole life.

    On CUDA each phase has a peak of its own: the allocator's is started anew where a phase begins, and what it was goes
    to the phase around. Several GPUs of one process are added up, and told one by one beside it. On CPU nothing starts
    the peak anew, so a phase's is the highest resident set since the process began (VmHWM of proc_pid_status(5));
    allocated and reserved are the resident set.
    """

    def __init__(self, device: torch.device) -> None:
        self._gpus = own_gpus(device)
        if self._gpus:
            torch.cuda.init()  # type: ignore[no-untyped-call]  # before it the allocator has no figures
        self._phase_peaks = [0] * max(len(self._gpus), 1)
        self._highest = list(self._phase_peaks)

    def usage(self) -> Usage:
        """What is used now; the peak is that of the whole rank."""
        return self._with_peaks(self._read(), self._highest)

    def begin(self) -> list[int]:
        """Begin a phase; returns the peaks of the one around it so far, for :meth:`end`."""
        if self._gpus:
            self._read()
            for gpu in self._gpus:
                torch.cuda.reset_peak_memory_stats(gpu)
        around, self._phase_peaks = self._phase_peaks, [0] * len(self._phase_peaks)
        return around

    def end(self, around: list[int]) -> Usage:
        """End the phase; the peak is its own, that of phases within it included."""
        usage = self._with_peaks(self._read(), self._phase_peaks)
        self._phase_peaks = list(map(max, self._phase_peaks, around))
        return usage

    def _read(self) -> list[OfGpu]:
        """What each device holds now, its peaks noted; the process where there is no GPU."""
        held = [_of_gpu(gpu) for gpu in self._gpus] or [_of_process()]
        peaks = [one.memory_peak for one in held]
        self._phase_peaks = list(map(max, self._phase_peaks, peaks))
        self._highest = list(map(max, self._highest, peaks))
        return held

    def _with_peaks(self, held: list[OfGpu], peaks: list[int]) -> Usage:
        held = [one._replace(memory_peak=peak) for one, peak in zip(held, peaks, strict=True)]
        allocated, reserved, peak = (sum(column) for column in zip(*held, strict=True))
        resident = _resident() if self._gpus else allocated  # on CPU it has just been read
        return Usage(allocated, reserved, peak, resident, tuple(held) if len(held) > 1 else ())


def own_gpus(device: torch.device) -> list[torch.device]:
    """The GPUs a rank on ``device`` computes on: the only rank of a node may spread over all it sees."""
    if device.type != "cuda":
        return []
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        return [device]
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def _of_gpu(gpu: torch.device) -> OfGpu:
    # One call: each function of torch.cuda for a single figure collects all of them too.
    counts = torch.cuda.memory_stats_as_nested_dict(gpu)
    allocated, reserved = counts["allocated_bytes"]["all"], counts["reserved_bytes"]["all"]
    return OfGpu(allocated["current"], reserved["current"], allocated["peak"])


def _of_process() -> OfGpu:
    status = _proc("status")
    resident = _bytes_of(status, b"VmRSS:") or _resident()
    return OfGpu(resident, resident, max(resident, _bytes_of(status, b"VmHWM:")))


def _resident() -> int:
    return int(_proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _bytes_of(status: bytes, name: bytes) -> int:
    """A size that /proc/self/status tells in KiB; 0 where this kernel doesn't."""
    _, _, after = status.partition(name)
    return int(after.split(maxsplit=1)[0]) * 1024 if after else 0


def _proc(name: str) -> bytes:
    """A small file of /proc/self; read by the system's own calls, which take half of what ``open`` does."""
    handle = os.open(f"/proc/self/{name}", os.O_RDONLY)
    try:
        return os.read(handle, 8192)
    finally:
        os.close(handle)
