"""What NVML tells of some GPUs, a row each; one that is lost, or keeps things to itself, costs the others nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qltui.facts import gpus
from qltui.runs.telemetry.host import sees_all_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    Reading = Callable[[], Any]

THROTTLE = {
    0x04: "power", 0x08: "hw slowdown", 0x10: "sync boost", 0x20: "thermal", 0x40: "hw thermal", 0x80: "hw power brake",
}  # fmt: skip
"""Why clocks are lower than they could be, by NVML's bits (nvml.h, nvmlClocksEventReason*); being idle, and clocks a
person has set, are no throttling."""

UNKNOWN = dict.fromkeys((
    "index", "name", "pci_bus_id", "memory_used", "memory_total", "memory_reserved", "utilization", "temperature",
    "power_watts", "power_limit_watts", "sm_clock_mhz", "sm_clock_max_mhz", "throttle", "processes", "other_memory",
))  # fmt: skip
"""Fields of a row, besides ``uuid``, ``ranks``, ``mig`` and ``lost``."""


class GpuSampler:
    """Asks NVML for the GPUs a run was given. Without its library there are none, and that is no error."""

    def __init__(self, names: Sequence[str] | None) -> None:
        """Ask for the GPUs with these UUIDs, numbers, or UUIDs of MIG instances; None is all there are."""
        self._nvml: Any = None
        self._names: list[str] = []
        self._handles: dict[str, Any] = {}
        self._known: dict[str, dict[str, Any]] = {}
        """What never changes of each GPU, as far as it was told."""
        self.asking: int | None = None
        """Place of the GPU that the driver is asked about just now, or was last."""
        self._whole_machine = sees_all_processes()
        if names is None or names:
            try:
                self._nvml = gpus.load_nvml()
            except gpus.NoDriver:
                return
            self._names = _uuids(names)

    def rows(self, pids: Collection[int] = ()) -> list[dict[str, Any]]:
        """A row for each GPU, in the order they were named; ``pids`` are our own processes."""
        found = []
        for place, name in enumerate(self._names):
            self.asking = place
            found.append(self._row(name, pids))
        return found

    def _row(self, name: str, pids: Collection[int]) -> dict[str, Any]:
        nvml = self._nvml
        row: dict[str, Any] = {"uuid": name, "lost": False, "mig": name.startswith("MIG-"), **UNKNOWN}
        try:
            handle = self._handle(name)
            row |= self._fixed(name, handle)
            row |= self._changing(handle, self._whole(handle) if row["mig"] else handle)
            row |= self._processes(handle, pids)
        except nvml.NVMLError as error:
            row |= self._known.get(name, {})
            row["lost"] = True
            row["error"] = str(error)
        return row

    def _handle(self, name: str) -> Any:
        if name not in self._handles:
            nvml = self._nvml
            named = nvml.nvmlDeviceGetHandleByUUID
            self._handles[name] = nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else named(name)
        return self._handles[name]

    def _whole(self, handle: Any) -> Any:
        """The GPU that a MIG instance is cut from."""
        whole = self._told(lambda: self._nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle))
        return handle if whole is None else whole

    def _told(self, reading: Reading) -> Any:
        """The answer; None where this GPU has none. A GPU that is lost raises."""
        nvml = self._nvml
        try:
            return reading()
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
                raise
            return None

    def _fixed(self, name: str, handle: Any) -> dict[str, Any]:
        """What never changes, asked for once; number and place of a MIG instance are those of the whole GPU."""
        if name not in self._known:
            nvml = self._nvml
            whole = self._whole(handle) if name.startswith("MIG-") else handle
            self._known[name] = {
                "uuid": self._told(lambda: nvml.nvmlDeviceGetUUID(handle)) or name,
                "index": self._told(lambda: nvml.nvmlDeviceGetIndex(whole)),
                "name": self._told(lambda: nvml.nvmlDeviceGetName(handle)),
                "pci_bus_id": self._told(lambda: nvml.nvmlDeviceGetPciInfo(whole).busId),
                "sm_clock_max_mhz": self._told(lambda: nvml.nvmlDeviceGetMaxClockInfo(whole, nvml.NVML_CLOCK_SM)),
            }
        return self._known[name]

    def _changing(self, handle: Any, whole: Any) -> dict[str, Any]:
        """Power, heat and clocks of a MIG instance are the ``whole`` GPU's; nobody tells how busy it is alone."""
        nvml, told = self._nvml, self._told
        memory = told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2))
        reserved = None if memory is None else memory.reserved
        memory = memory or told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))  # drivers before 510
        power = told(lambda: nvml.nvmlDeviceGetPowerUsage(whole))
        limit = told(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(whole))
        reasons = told(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(whole))
        return {
            "memory_used": memory.used if memory else None,
            "memory_total": memory.total if memory else None,
            "memory_reserved": reserved,
            "utilization": told(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            "temperature": told(lambda: nvml.nvmlDeviceGetTemperature(whole, nvml.NVML_TEMPERATURE_GPU)),
            "power_watts": None if power is None else power / 1000,
            "power_limit_watts": None if limit is None else limit / 1000,
            "sm_clock_mhz": told(lambda: nvml.nvmlDeviceGetClockInfo(whole, nvml.NVML_CLOCK_SM)),
            "throttle": None if reasons is None else [word for bit, word in THROTTLE.items() if reasons & bit],
        }

    def _processes(self, handle: Any, pids: Collection[int]) -> dict[str, Any]:
        """Memory by process, and what those of others hold together.

        In a container NVML may tell the ids the whole machine knows: unless one of ours is among them, or ids here are
        the machine's, whose they are is not known, and said so.
        """
        found = self._told(lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        if found is None:
            return {}
        sure = self._whole_machine or any(one.pid in pids for one in found)
        rows = [
            {"pid": one.pid, "memory": one.usedGpuMemory, "ours": one.pid in pids if sure else None} for one in found
        ]
        others = [row["memory"] for row in rows if not row["ours"]]
        known = sure and None not in others
        return {"processes": rows, "other_memory": sum(others) if known else None}


def _uuids(names: Sequence[str] | None) -> list[str]:
    """The GPUs and MIG instances meant; numbers of those that do not answer, and unknown names, stay as they are."""
    there = gpus.survey()
    if names is None:
        return [one.uuid for gpu in there.gpus for one in gpu.slices or (gpu,)] + [str(number) for number in there.lost]
    return [found.uuid if (found := gpus.find(name, there.gpus)) else name for name in names]
