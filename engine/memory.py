"""How much memory this rank uses, in bytes: the CUDA allocator's figures on a GPU, the resident set on CPU."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch


class Usage(NamedTuple):
    """Memory at one moment, in bytes; the fields every event with memory bears."""

    memory_allocated: int
    memory_reserved: int
    memory_peak: int
    """Highest allocated so far: of a phase, or of the whole rank."""
    host_rss: int
    """Resident set of the process."""


class Meter:
    """Memory of one rank, with the peak of the phase it is in and that of its whole life.

    On CUDA each phase has a peak of its own: the allocator's is started anew where a phase begins, and what it was goes
    to the phase around. Several GPUs of one process are added up. On CPU nothing starts the peak anew, so a phase's is
    the highest resident set since the process began (VmHWM of proc_pid_status(5)); allocated and reserved are the
    resident set.
    """

    def __init__(self, device: torch.device) -> None:
        self._gpus = own_gpus(device)
        if self._gpus:
            torch.cuda.init()  # type: ignore[no-untyped-call]  # before it the allocator has no figures
        self._phase_peak = 0
        self._highest = 0

    def usage(self) -> Usage:
        """What is used now; the peak is that of the whole rank."""
        return self._read()._replace(memory_peak=self._highest)

    def begin(self) -> int:
        """Begin a phase; returns the peak of the one around it so far, for :meth:`end`."""
        if self._gpus:
            self._read()
            for gpu in self._gpus:
                torch.cuda.reset_peak_memory_stats(gpu)
        around, self._phase_peak = self._phase_peak, 0
        return around

    def end(self, around: int) -> Usage:
        """End the phase; the peak is its own, that of phases within it included."""
        usage = self._read()
        usage = usage._replace(memory_peak=self._phase_peak)
        self._phase_peak = max(self._phase_peak, around)
        return usage

    def _read(self) -> Usage:
        usage = _of_gpus(self._gpus) if self._gpus else _of_process()
        self._phase_peak = max(self._phase_peak, usage.memory_peak)
        self._highest = max(self._highest, usage.memory_peak)
        return usage


def own_gpus(device: torch.device) -> list[torch.device]:
    """The GPUs a rank on ``device`` computes on: the only rank of a node may spread over all it sees."""
    if device.type != "cuda":
        return []
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        return [device]
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def _of_gpus(gpus: list[torch.device]) -> Usage:
    allocated = reserved = peak = 0
    for gpu in gpus:  # one call a GPU: each function of torch.cuda for a single figure collects all of them too
        counts = torch.cuda.memory_stats_as_nested_dict(gpu)
        allocated += counts["allocated_bytes"]["all"]["current"]
        reserved += counts["reserved_bytes"]["all"]["current"]
        peak += counts["allocated_bytes"]["all"]["peak"]
    return Usage(allocated, reserved, peak, _resident())


def _of_process() -> Usage:
    resident = _resident()
    return Usage(resident, resident, max(resident, _highest_resident()), resident)


def _resident() -> int:
    return int(_proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _highest_resident() -> int:
    _, _, after = _proc("status").partition(b"VmHWM:")
    return int(after.split(maxsplit=1)[0]) * 1024 if after else 0


def _proc(name: str) -> bytes:
    """A small file of /proc/self; read by the system's own calls, which take half of what ``open`` does."""
    handle = os.open(f"/proc/self/{name}", os.O_RDONLY)
    try:
        return os.read(handle, 8192)
    finally:
        os.close(handle)
