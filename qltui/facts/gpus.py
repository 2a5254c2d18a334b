"""The GPUs of this machine, read through NVML: no torch, no CUDA context, nothing allocated on them."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""Either exists where an NVIDIA driver runs (the second under WSL); without one NVML is not even imported."""


class Gpu(NamedTuple):
    """One GPU as NVML names it."""

    number: int
    """Position in NVML's order, which is that of the bus."""
    uuid: str
    name: str
    memory_bytes: int
    capability: tuple[int, int] | None = None
    """CUDA compute capability; None where the driver does not tell."""


def driver_version() -> str | None:
    """Version of the NVIDIA driver; None where there is none."""
    if not any(map(os.path.exists, DRIVER_FILES)):
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None


def all_gpus() -> list[Gpu]:
    """Every GPU of the machine; empty without a driver."""
    if driver_version() is None:
        return []
    import pynvml

    gpus = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        gpus.append(
            Gpu(
                index,
                str(pynvml.nvmlDeviceGetUUID(handle)),
                str(pynvml.nvmlDeviceGetName(handle)),
                int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                _capability(handle),
            )
        )
    return gpus


def _capability(handle: Any) -> tuple[int, int] | None:
    import pynvml

    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    except pynvml.NVMLError:
        return None
    return int(major), int(minor)


def visible_gpus() -> list[Gpu]:
    """The GPUs a program started here may use: all of them, or those ``CUDA_VISIBLE_DEVICES`` names, in its order."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = all_gpus()
    if named is None:
        return gpus
    visible: list[Gpu] = []
    for name in named.split(","):
        gpu = find(name.strip(), gpus)
        if gpu is None:  # as CUDA does: a name it does not know ends the list
            break
        visible.append(gpu)
    return visible


def find(name: str, gpus: list[Gpu]) -> Gpu | None:
    """The GPU of this number or UUID (or the beginning of one) among ``gpus``."""
    for gpu in gpus:
        if name == str(gpu.number) or (name.startswith("GPU-") and gpu.uuid.startswith(name)):
            return gpu
    return None
