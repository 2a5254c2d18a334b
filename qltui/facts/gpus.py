"""The GPUs of this machine, read through NVML: no torch, no CUDA context, nothing allocated on them.

Tested against recorded answers (tests/support/nvml.py); as it stands, none of it has run on a GPU yet.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.facts import host

if TYPE_CHECKING:
    from collections.abc import Callable

DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""Either exists where an NVIDIA driver runs (the second under WSL); without one NVML is not even imported."""

READ, NVLINK = 0, 2
"""NVML's indices of what peers can do; pynvml has the first one as a tuple by mistake (13.615)."""

PCIE_LANE = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}
"""Bytes/s in each direction of a lane, by PCIe generation."""


class Gpu(NamedTuple):
    """One GPU as NVML names it."""

    number: int
    """Position in NVML's order, which is that of the bus."""
    uuid: str
    name: str
    memory_bytes: int
    """What CUDA can use: the total less what the driver keeps."""
    capability: tuple[int, int] | None = None
    """CUDA compute capability; None where the driver does not tell."""
    mig: bool = False
    """Whether it is sliced, or a slice itself: programs get one slice each, never the whole."""
    slices: tuple[Gpu, ...] = ()
    """Its MIG instances, as GPUs with the number of the one they are cut from."""


class Survey(NamedTuple):
    """Everything NVML told in one look."""

    driver: str | None
    """Version of the driver; None where there is none, or it does not answer."""
    cuda: tuple[int, int] | None
    """The newest CUDA the driver runs."""
    gpus: list[Gpu]
    lost: dict[int, str]
    """Number and reason of each GPU that does not answer."""
    silence: str
    """Why there is no driver's version, as a sentence; empty where there is one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be found out, as sentences."""
        lost = (f"GPU {number} does not answer: {reason}." for number, reason in self.lost.items())
        return (*filter(None, [self.silence]), *lost)


class Links(NamedTuple):
    """How some GPUs reach each other; None is what is not known."""

    peer_access: bool | None = None
    """Whether each can read the memory of every other."""
    nvlink: bool | None = None
    """Whether every pair is joined by NVLink."""
    pcie: float | None = None
    """Bytes/s in each direction of the narrowest PCIe connection among them."""
    notes: tuple[str, ...] = ()


class NoDriver(Exception):
    """NVML cannot be asked; the text is a sentence that says why."""


def load_nvml() -> Any:
    """NVML's module, initialised. Everything here asks through it alone; raises NoDriver."""
    if not any(map(os.path.exists, DRIVER_FILES)):
        raise NoDriver("There is no NVIDIA driver: no GPU can be seen.")
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriver(f"The NVIDIA driver does not answer: {error}.") from None
    return pynvml


def survey() -> Survey:
    """The driver and every GPU that answers; one that is lost hides no other."""
    try:
        nvml = load_nvml()
    except NoDriver as error:
        return Survey(None, None, [], {}, str(error))
    driver = _told(nvml, nvml.nvmlSystemGetDriverVersion)
    cuda = _told(nvml, nvml.nvmlSystemGetCudaDriverVersion)
    found: list[Gpu] = []
    lost: dict[int, str] = {}
    for number in range(_told(nvml, nvml.nvmlDeviceGetCount) or 0):
        try:
            found.append(_gpu(nvml, number))
        except nvml.NVMLError as error:
            lost[number] = str(error)
    version = None if cuda is None else (cuda // 1000, cuda % 1000 // 10)
    silence = "" if driver else "The NVIDIA driver does not tell its version."
    return Survey(None if driver is None else str(driver), version, found, lost, silence)


def all_gpus() -> list[Gpu]:
    """Every GPU that answers; empty without a driver."""
    return survey().gpus


def _gpu(nvml: Any, number: int) -> Gpu:
    """The GPU of this number; raises NVMLError where it does not tell even who it is."""
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    capability = _told(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    gpu = _identity(nvml, handle, number, (int(capability[0]), int(capability[1])) if capability else None)
    mode = _told(nvml, nvml.nvmlDeviceGetMigMode, handle)  # current and pending; an error where there is no MIG
    if not mode or not mode[0]:
        return gpu
    slices = []
    for index in range(_told(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        with contextlib.suppress(nvml.NVMLError):  # places may be empty
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            slices.append(_identity(nvml, part, number, gpu.capability)._replace(mig=True))
    return gpu._replace(mig=True, slices=tuple(slices))


def _identity(nvml: Any, handle: Any, number: int, capability: tuple[int, int] | None) -> Gpu:
    uuid, name = str(nvml.nvmlDeviceGetUUID(handle)), str(nvml.nvmlDeviceGetName(handle))
    return Gpu(number, uuid, name, _usable_memory(nvml, handle), capability)


def _usable_memory(nvml: Any, handle: Any) -> int:
    memory = _told(nvml, nvml.nvmlDeviceGetMemoryInfo, handle, nvml.nvmlMemory_v2)
    if memory is not None:
        return int(memory.total - memory.reserved)
    try:  # drivers before 510; what they call the total leaves out what they keep
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_NOT_SUPPORTED:
            raise
        return host.memory()[0]  # it has none of its own, but the host's (GB10, Jetson)


def _told(nvml: Any, question: Callable[..., Any], *arguments: Any) -> Any:
    """The answer; None where this GPU or driver has none."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None


def links(gpus: list[Gpu]) -> Links:
    """How these GPUs reach each other; one alone reaches nobody, and nothing is known of it."""
    if len(gpus) < 2:
        return Links()
    if any(gpu.mig for gpu in gpus):
        return Links(
            False, False, None, ("Slices of GPUs (MIG) cannot reach each other's memory, nor can NCCL use them.",)
        )
    try:
        nvml = load_nvml()
        handles = [nvml.nvmlDeviceGetHandleByIndex(gpu.number) for gpu in gpus]
    except NoDriver as error:
        return Links(notes=(str(error),))
    except nvml.NVMLError as error:
        return Links(notes=(f"How the GPUs are linked is not known: {error}.",))
    pairs = [(one, other) for index, one in enumerate(handles) for other in handles[index + 1 :]]
    reach = _all_ok(nvml, [_told(nvml, nvml.nvmlDeviceGetP2PStatus, *pair, READ) for pair in pairs])
    joined = _all_ok(nvml, [_told(nvml, nvml.nvmlDeviceGetP2PStatus, *pair, NVLINK) for pair in pairs])
    notes = () if reach is not None else ("NVML does not tell whether the GPUs can reach each other's memory.",)
    return Links(reach, joined, _narrowest(nvml, handles), notes)


def _all_ok(nvml: Any, statuses: list[int | None]) -> bool | None:
    """Whether every pair is fine; not known where one is not, unless another one says no."""
    told = [status for status in statuses if status not in (None, nvml.NVML_P2P_STATUS_UNKNOWN)]
    if any(status != nvml.NVML_P2P_STATUS_OK for status in told):
        return False
    return True if len(told) == len(statuses) else None


def _narrowest(nvml: Any, handles: list[Any]) -> float | None:
    """Bytes/s of the slowest PCIe connection, as GPU and slot agree on at best; idle GPUs go slower to save power."""
    speeds: list[float] = []
    for handle in handles:
        generation = _told(nvml, nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle)
        lanes = _told(nvml, nvml.nvmlDeviceGetMaxPcieLinkWidth, handle)
        if generation not in PCIE_LANE or not lanes:
            return None
        speeds.append(PCIE_LANE[generation] * lanes)
    return min(speeds)


def visible_gpus(there: list[Gpu] | None = None) -> list[Gpu]:
    """The GPUs a program started here may use: all of them, or those ``CUDA_VISIBLE_DEVICES`` names, in its order.

    ``there`` are the machine's, if they have been looked at already.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = all_gpus() if there is None else there
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
    """The GPU of this number or UUID (or the beginning of one) among ``gpus``, or a slice of one."""
    for gpu in gpus:
        if name == str(gpu.number) or (name.startswith("GPU-") and gpu.uuid.startswith(name)):
            return gpu
        for part in gpu.slices:
            if name.startswith("MIG-") and part.uuid.startswith(name):
                return part
    return None
