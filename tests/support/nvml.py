"""NVML's answers, recorded: names, totals and what is reserved are from published outputs of nvidia-smi."""

# ruff: noqa: N802, N815 - NVML's names are what they are

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml

from qltui.facts import gpus

MIB = 2**20


def h200(number: int, **other: Any) -> dict[str, Any]:
    """One of several H200, with what differs from it."""
    known = {"uuid": f"GPU-{number}", "name": "NVIDIA H200", "total": 143771, "reserved": 700, "capability": (9, 0)}
    return known | other


class Nvml:
    """Stands where ``gpus.load_nvml`` gives ``pynvml``: no GPU is in the machines that run the tests.

    A GPU is what is recorded of it, sizes in MiB; ``lost`` and ``slices`` make it lost or sliced. What a test has not
    recorded of its use is not supported. Errors and constants are pynvml's own.
    """

    NVMLError = pynvml.NVMLError
    nvmlMemory_v2 = pynvml.nvmlMemory_v2
    NVML_ERROR_NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
    NVML_ERROR_GPU_IS_LOST = pynvml.NVML_ERROR_GPU_IS_LOST
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_P2P_STATUS_OK = pynvml.NVML_P2P_STATUS_OK
    NVML_P2P_STATUS_UNKNOWN = pynvml.NVML_P2P_STATUS_UNKNOWN

    def __init__(self, *recorded: dict[str, Any], cuda: int = 13000) -> None:
        self.recorded = recorded
        self.cuda = cuda
        self.peers: dict[int, int] = {gpus.READ: 0, gpus.NVLINK: 0}

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.159.04"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:
        return len(self.recorded)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if "lost" in self.recorded[index]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return self.recorded[index]

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> str:
        return str(handle["uuid"])

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> str:
        return str(handle["name"])

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any], version: int | None = None) -> Any:
        if "total" not in handle:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        if version and "reserved" not in handle:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        reserved = {"reserved": handle["reserved"] * MIB} if version else {}
        return SimpleNamespace(total=handle["total"] * MIB, used=handle.get("used", 0) * MIB, **reserved)

    def nvmlDeviceGetCudaComputeCapability(self, handle: dict[str, Any]) -> tuple[int, int]:
        return handle["capability"]  # type: ignore[no-any-return]

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> list[int]:
        if "H200" not in handle["name"]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [1, 1] if "slices" in handle else [0, 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], index: int) -> dict[str, Any]:
        if index >= len(handle["slices"]):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return handle["slices"][index]  # type: ignore[no-any-return]

    def nvmlDeviceGetP2PStatus(self, one: Any, other: Any, what: int) -> int:
        assert one is not other
        assert isinstance(what, int)
        return self.peers[what]

    def nvmlDeviceGetMaxPcieLinkGeneration(self, handle: dict[str, Any]) -> int:
        return int(handle.get("pcie", 5))

    def nvmlDeviceGetMaxPcieLinkWidth(self, handle: dict[str, Any]) -> int:
        return int(handle.get("lanes", 16))

    # How it is used

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:
        for one in (part for gpu in self.recorded for part in (gpu, *gpu.get("slices", ()))):
            if one["uuid"] == uuid:
                return _answering(one)
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: dict[str, Any]) -> dict[str, Any]:
        return next(gpu for gpu in self.recorded if handle in gpu.get("slices", ()))

    def nvmlDeviceGetIndex(self, handle: dict[str, Any]) -> int:
        return self.recorded.index(_answering(handle))

    def nvmlDeviceGetPciInfo(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(busId=_recorded(handle, "bus"))

    def nvmlDeviceGetUtilizationRates(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(gpu=_recorded(handle, "utilization"))

    def nvmlDeviceGetTemperature(self, handle: dict[str, Any], sensor: int) -> Any:
        return _recorded(handle, "temperature")

    def nvmlDeviceGetPowerUsage(self, handle: dict[str, Any]) -> Any:
        return _recorded(handle, "milliwatts")

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: dict[str, Any]) -> Any:
        return _recorded(handle, "limit")

    def nvmlDeviceGetClockInfo(self, handle: dict[str, Any], clock: int) -> Any:
        return _recorded(handle, "clock")

    def nvmlDeviceGetMaxClockInfo(self, handle: dict[str, Any], clock: int) -> Any:
        return _recorded(handle, "clock_max")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: dict[str, Any]) -> Any:
        return _recorded(handle, "throttle")

    def nvmlDeviceGetComputeRunningProcesses(self, handle: dict[str, Any]) -> list[Any]:
        found = _recorded(handle, "processes")
        return [SimpleNamespace(pid=pid, usedGpuMemory=size and size * MIB) for pid, size in found.items()]


def _answering(handle: dict[str, Any]) -> dict[str, Any]:
    if "lost" in handle:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    return handle


def _recorded(handle: dict[str, Any], what: str) -> Any:
    if what not in _answering(handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return handle[what]
