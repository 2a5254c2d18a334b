"""How much memory this rank uses, in bytes: the CUDA allocator's figures on a GPU, the resident set on CPU."""

from __future__ import annotations

import os

import torch


def usage(device: torch.device) -> dict[str, int]:
    """memory_allocated, memory_reserved and memory_peak in bytes.

    On CUDA the allocator's own counts (peak: highest allocated). On CPU there is no allocator to ask, so all three come
    from the process: resident set now, and its highest value (VmHWM of proc_pid_status(5)).
    """
    if device.type == "cuda":
        return {
            "memory_allocated": torch.cuda.memory_allocated(device),
            "memory_reserved": torch.cuda.memory_reserved(device),
            "memory_peak": torch.cuda.max_memory_allocated(device),
        }
    resident, peak = _resident()
    return {"memory_allocated": resident, "memory_reserved": resident, "memory_peak": peak}


def _resident() -> tuple[int, int]:
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")), resident)
    return resident, max(resident, peak)
