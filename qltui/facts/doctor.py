"""What of this machine helps or hinders a run: facts, each with a verdict and what to do about it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from qltui import words
from qltui.facts import gpus, host, verified, versions

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1024**3
FEW_OPEN_FILES = 4096
Verdict = Literal["ok", "warn", "bad"]


class Fact(NamedTuple):
    """One thing found on this machine."""

    name: str
    value: str
    verdict: Verdict = "ok"
    remedy: str = ""
    """What to do; empty where the verdict is ok."""


def examine(state_folder: Path) -> list[Fact]:
    """Every fact about this machine; runs are kept under ``state_folder``, which need not exist yet."""
    survey = gpus.survey()
    visible = gpus.visible_gpus(survey.gpus)
    return [
        *_software(),
        *_gpus(survey, visible),
        *_libraries(survey, visible),
        *_peers(survey, visible),
        *_host(),
        *_limits(),
        *_state_folder(state_folder),
        Fact("verified on", verified.summary()),
        _session(),
    ]


def _software() -> Iterator[Fact]:
    yield Fact("python", platform.python_version())
    wanted = _wanted()
    for package, tested in versions.TESTED.items():
        there = versions.installed(package)
        bounds = wanted.get(package, "")
        remedy = f"Install the tested version: pip install {package}=={tested}"
        if there is None:
            yield Fact(package, "not installed", "bad", remedy)
        elif not _within(there, bounds):
            yield Fact(package, f"{there}, outside of what this program works with ({bounds})", "bad", remedy)
        elif there != tested:
            yield Fact(
                package, f"{there}, tested with {tested}", "warn", f"If a run fails: pip install {package}=={tested}"
            )
        else:
            yield Fact(package, there)


def _wanted() -> dict[str, str]:
    """The bounds this program's own package puts on each library, as ``<2,>=1.15``; empty where it is not installed."""
    try:
        lines = metadata.requires("qltui") or []
    except metadata.PackageNotFoundError:
        return {}
    split = (re.match(r"([\w.-]+)\s*([^;]*)", line) for line in lines if "extra ==" not in line)
    return {found[1]: found[2].replace(" ", "") for found in split if found}


def _within(version: str, bounds: str) -> bool:
    """Whether a version keeps to bounds of the kinds ``>=``, ``<`` and ``==``; others are not judged."""
    for bound in filter(None, bounds.split(",")):
        operator, limit = re.match(r"([<>=!~]*)(.*)", bound).groups()  # type: ignore[union-attr]
        if operator == ">=" and _release(version) < _release(limit):
            return False
        if operator == "<" and _release(version) >= _release(limit):
            return False
        if operator == "==" and _release(version) != _release(limit):
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at its end: 2 and 2.0 are the same."""
    numbers = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(map(int, re.sub(r"(?:\.0+)+$", "", numbers[0]).split("."))) if numbers else ()


def _gpus(survey: gpus.Survey, visible: list[gpus.Gpu]) -> Iterator[Fact]:
    if survey.driver is None:
        if any(map(os.path.exists, gpus.DRIVER_FILES)):
            yield Fact("gpu", survey.silence, "bad", "See what `nvidia-smi` says; reload the driver.")
        else:
            yield Fact("gpu", "none, runs compute on CPU")
        return
    cuda = f", runs CUDA up to {_dotted(survey.cuda)}" if survey.cuda else ""
    yield Fact("driver", f"{survey.driver}{cuda}")
    shown = {gpu.number for gpu in visible}
    for gpu in survey.gpus:
        name = f"gpu {gpu.number}"
        if gpu.number not in shown:
            hidden = f"{gpu.name}, hidden by CUDA_VISIBLE_DEVICES"
            yield Fact(name, hidden, "warn", "Unset CUDA_VISIBLE_DEVICES to use it.")
        elif gpu.mig:
            count = len(gpu.slices)
            value = f"{gpu.name}, cut into {count} slice{'s' * (count != 1)} (MIG)"
            remedy = "A run can use one slice and no more. To use it whole: nvidia-smi -mig 0"
            yield Fact(name, value, "warn" if gpu.slices else "bad", remedy)
        else:
            yield Fact(name, f"{gpu.name}, {words.size(gpu.memory_bytes)}{_computes(gpu)}")
    for number, reason in survey.lost.items():
        yield Fact(f"gpu {number}", f"does not answer: {reason}", "bad", "See `dmesg | grep -i xid`, then reboot.")


def _computes(gpu: gpus.Gpu) -> str:
    return ", fp16 (no bf16)" if gpu.capability and gpu.capability < (8, 0) else ""


def _libraries(survey: gpus.Survey, visible: list[gpus.Gpu]) -> Iterator[Fact]:
    """Whether torch and what stands on it fit the driver and the GPUs; nothing to say where there are none."""
    build = _torch_build()
    if not survey.gpus or build is None:
        return
    if not build:
        newest = _dotted(survey.cuda) if survey.cuda else "that the driver runs"
        remedy = f"Install a build for CUDA {newest} or older: https://pytorch.org/get-started/locally"
        yield Fact("torch cuda", "torch is built without CUDA: runs cannot use the GPUs", "bad", remedy)
        return
    yield _torch_and_driver(build, survey.cuda, visible)
    yield _bitsandbytes(build)
    if len(visible) > 1:
        version = versions.installed(f"nvidia-nccl-cu{build[0]}")
        yield Fact("nccl", version or "the one inside torch")
    yield _deepspeed_ops(build)


def _torch_build() -> tuple[int, ...] | None:
    """The CUDA that torch is built for, as (13, 0); empty where for none, None without torch. Imports nothing of it."""
    try:
        text = Path(str(metadata.distribution("torch").locate_file("torch/version.py"))).read_text("utf-8")
    except (metadata.PackageNotFoundError, OSError):
        return None
    found = re.search(r"^cuda\b[^=\n]*=\s*['\"]([0-9.]+)", text, re.MULTILINE)
    return tuple(map(int, found[1].split(".")[:2])) if found else ()


DRIVERS = {11: 450, 12: 525, 13: 580}
"""The oldest driver for each CUDA; minor versions run on the drivers of all others. Source: CUDA's release notes."""


def _torch_and_driver(build: tuple[int, ...], newest: tuple[int, int] | None, visible: list[gpus.Gpu]) -> Fact:
    name, value = "torch cuda", f"built for CUDA {_dotted(build)}"
    if newest and build[0] > newest[0]:
        driver = f"to {DRIVERS[build[0]]} or newer" if build[0] in DRIVERS else ""
        remedy = f"Update the driver {driver}, or install torch for CUDA {_dotted(newest)} or older."
        return Fact(name, f"{value}, but the driver runs up to {_dotted(newest)}", "bad", " ".join(remedy.split()))
    for gpu in visible:
        if gpu.capability and gpu.capability < (7, 5) and build >= (13,):
            remedy = "Install torch for CUDA 12.6, the last with kernels for it."
            return Fact(name, f"{value}, which has no kernels for GPU {gpu.number} ({gpu.name})", "bad", remedy)
        if gpu.capability and gpu.capability >= (10, 0) and build < (12, 8):
            remedy = "Install torch for CUDA 12.8 or newer."
            return Fact(name, f"{value}, which has no kernels for GPU {gpu.number} ({gpu.name})", "bad", remedy)
    return Fact(name, value)


def _bitsandbytes(build: tuple[int, ...]) -> Fact:
    """The library it would load for this torch: of the same CUDA, or else of another minor version of it."""
    name = "bnb library"
    try:
        folder = Path(str(metadata.distribution("bitsandbytes").locate_file("bitsandbytes")))
    except metadata.PackageNotFoundError:
        return Fact(name, "not installed", "bad", "qlora, int8 and 8-bit optimizers need it: pip install bitsandbytes")
    there = sorted(path.stem.removeprefix("libbitsandbytes_cuda") for path in folder.glob("libbitsandbytes_cuda*.so"))
    forced = os.environ.get("BNB_CUDA_VERSION")
    if forced is not None and forced not in there:
        return Fact(name, f"none for BNB_CUDA_VERSION={forced}", "bad", f"Unset it, or choose from {', '.join(there)}.")
    fitting = [one for one in there if one.startswith(str(build[0]))]
    if not fitting:
        value = f"none for CUDA {_dotted(build)}; it has {', '.join(there) or 'none at all'}"
        return Fact(name, value, "bad", "qlora and int8 cannot run: pip install --upgrade bitsandbytes")
    wanted = "".join(map(str, build))
    chosen = forced or (wanted if wanted in fitting else max([one for one in fitting if one < wanted] or fitting[:1]))
    return Fact(name, f"for CUDA {chosen[:2]}.{chosen[2:]}")


def _deepspeed_ops(build: tuple[int, ...]) -> Fact:
    """Whether DeepSpeed could compile its own optimizers, which run.yaml never asks for and other programs may."""
    toolkit = _cuda_toolkit()
    missing = [tool for tool in ("ninja", "c++") if shutil.which(tool) is None]
    if toolkit is None:
        missing.append("nvcc (CUDA_HOME)")
    elif toolkit and toolkit != build and (toolkit[0] != build[0] or build[0] > 12):
        missing.append(f"a toolkit for CUDA {_dotted(build)} (there is {_dotted(toolkit)})")
    if missing:
        value = f"cannot be compiled without {', '.join(missing)}; runs need none, CPU Adam of other programs does"
        return Fact("deepspeed ops", value)
    return Fact("deepspeed ops", f"can be compiled{f' with CUDA {_dotted(toolkit)}' if toolkit else ''}")


def _cuda_toolkit() -> tuple[int, ...] | None:
    """Version of the toolkit torch would compile with; empty where it does not tell, None where there is no nvcc."""
    nvcc = shutil.which("nvcc")
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    home = Path(named) if named else Path(nvcc).parent.parent if nvcc else Path("/usr/local/cuda")
    if not (home / "bin" / "nvcc").exists():
        return None
    try:
        found = re.search(
            r'"cuda"\s*:\s*{[^}]*"version"\s*:\s*"([0-9]+)\.([0-9]+)', (home / "version.json").read_text()
        )
    except (OSError, UnicodeDecodeError):
        found = None
    return (int(found[1]), int(found[2])) if found else ()


def _peers(survey: gpus.Survey, visible: list[gpus.Gpu]) -> Iterator[Fact]:
    if len(visible) < 2 or any(gpu.mig for gpu in visible):
        return
    unset = {"NCCL_P2P_DISABLE", "NCCL_IB_DISABLE"} - set(os.environ)
    if unset and any("RTX 40" in gpu.name for gpu in visible) and _release(survey.driver or "") < (550, 40, 7):
        value = "the driver promises RTX 40 cards what they cannot do, so Accelerate refuses to start"
        remedy = (
            f"Update the driver to 550.40.07 or newer, or: export {' '.join(f'{name}=1' for name in sorted(unset))}"
        )
        yield Fact("peer access", value, "bad", remedy)
        return
    links = gpus.links(visible)
    if links.peer_access:
        yield Fact(
            "peer access", "every pair of GPUs, over NVLink" if links.nvlink else "every pair of GPUs, over PCIe"
        )
    elif links.peer_access is None:
        yield Fact("peer access", "not told by the driver")
    elif all("GeForce" in gpu.name for gpu in visible):
        yield Fact("peer access", "none, as GeForce cards have none: NCCL goes through host memory")
    else:
        remedy = (
            "Slow, and it may hang: turn the IOMMU (ACS) off, or export NCCL_P2P_DISABLE=1 if the first step hangs."
        )
        yield Fact("peer access", "not between all GPUs: NCCL goes through host memory", "warn", remedy)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _host() -> Iterator[Fact]:
    cores = host.cpu_cores()
    few = cores < 2
    yield Fact("cpu", f"{cores:g} cores", "warn" if few else "ok", "Two CPU ranks share a core: slow." if few else "")
    total, available = host.memory()
    value = f"{words.size(total)}, {words.size(available)} available"
    if available < 2 * GIB:
        yield Fact("memory", value, "warn", "Two CPU ranks of the demo need about 2 GiB: end something.")
    else:
        yield Fact("memory", value)
    shared = host.disk(Path("/dev/shm"))
    if shared is None or shared[0] < GIB:
        value = "none" if shared is None else words.size(shared[0])
        yield Fact("/dev/shm", value, "warn", "NCCL and data loaders use it; in a container: --shm-size=8g")
    else:
        yield Fact("/dev/shm", words.size(shared[0]))


def _limits() -> Iterator[Fact]:
    limits = host.limits()
    if limits.open_files is not None and limits.open_files < FEW_OPEN_FILES:
        most = limits.open_files_at_most
        higher = "65535" if most is None else str(min(65535, most))
        remedy = f"Many ranks and data loaders need more: ulimit -n {higher}"
        if most is not None and most < FEW_OPEN_FILES:
            remedy = "Many ranks and data loaders need more: raise nofile in /etc/security/limits.conf."
        yield Fact("open files", f"at most {limits.open_files}", "warn", remedy)
    else:
        yield Fact("open files", "no limit" if limits.open_files is None else f"at most {limits.open_files}")
    if host.has_infiniband() and limits.locked_memory is not None:
        remedy = "InfiniBand registers memory: ulimit -l unlimited, or memlock in /etc/security/limits.conf."
        yield Fact("locked memory", f"at most {words.size(limits.locked_memory)}", "warn", remedy)


def _state_folder(folder: Path) -> Iterator[Fact]:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        yield Fact("runs", f"{folder}, writable")
    else:
        yield Fact("runs", f"{folder}, not writable", "bad", "Set QLTUI_HOME to a folder you may write to.")
    space = host.disk(existing)
    free = space[1] if space else 0
    remedy = "Checkpoints need room: free some, or set QLTUI_HOME to a folder on another disk."
    verdict: Verdict = "bad" if free < GIB // 4 else "warn" if free < 5 * GIB else "ok"
    yield Fact("disk", f"{words.size(free)} free for runs", verdict, "" if verdict == "ok" else remedy)


def _session() -> Fact:
    if host.kills_user_processes():
        remedy = "Runs end when you log out. Run once: loginctl enable-linger"
        return Fact("logind", "KillUserProcesses=yes", "warn", remedy)
    return Fact("logind", "leaves runs alone when you log out")


def worst(facts: list[Fact]) -> Verdict:
    """The verdict on all of them."""
    found = {fact.verdict for fact in facts}
    return "bad" if "bad" in found else "warn" if "warn" in found else "ok"
