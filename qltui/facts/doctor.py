"""What of this machine helps or hinders a run: facts, each with a verdict and what to do about it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from qltui import words
from qltui.facts import gpus, host, verified, versions

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1024**3
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
    return [
        *_software(),
        *_gpus(),
        *_host(),
        *_state_folder(state_folder),
        Fact("verified on", verified.summary()),
        _session(),
    ]


def _software() -> Iterator[Fact]:
    yield Fact("python", platform.python_version())
    for package, tested in versions.TESTED.items():
        there = versions.installed(package)
        remedy = f"Install the tested version: pip install {package}=={tested}"
        if there is None:
            yield Fact(package, "not installed", "bad", remedy)
        elif there != tested:
            yield Fact(
                package, f"{there}, tested with {tested}", "warn", f"If a run fails: pip install {package}=={tested}"
            )
        else:
            yield Fact(package, there)


def _gpus() -> Iterator[Fact]:
    driver = gpus.driver_version()
    if driver is None:
        if any(map(os.path.exists, gpus.DRIVER_FILES)):
            yield Fact(
                "gpu", "the NVIDIA driver does not answer", "bad", "See what `nvidia-smi` says; reload the driver."
            )
        else:
            yield Fact("gpu", "none, runs compute on CPU")
        return
    yield Fact("driver", driver)
    visible = gpus.visible_gpus()
    for gpu in gpus.all_gpus():
        if gpu in visible:
            yield Fact(f"gpu {gpu.number}", f"{gpu.name}, {words.size(gpu.memory_bytes)}")
        else:
            hidden = "hidden by CUDA_VISIBLE_DEVICES"
            yield Fact(f"gpu {gpu.number}", f"{gpu.name}, {hidden}", "warn", "Unset CUDA_VISIBLE_DEVICES to use it.")


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
