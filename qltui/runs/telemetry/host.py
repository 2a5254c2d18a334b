"""What of the host a run uses: memory, swap, limits, disks, load."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from qltui.facts import host

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any


def sample(run_dir: Path) -> dict[str, Any]:
    """One look; memory in bytes. ``memory_limit`` is that of a container or a batch job, None where there is none."""
    told = _meminfo()
    limit, free = host.memory()
    limited = limit < told.get("MemTotal", 0)
    return {
        "memory_total": told.get("MemTotal"),
        "memory_available": told.get("MemAvailable"),
        "swap_total": told.get("SwapTotal"),
        "swap_free": told.get("SwapFree"),
        "memory_limit": limit if limited else None,
        "memory_limit_used": limit - free if limited else None,
        "disk_free": _free(run_dir),
        "checkpoints_disk_free": _free(run_dir / "checkpoints"),
        "load": os.getloadavg()[0],
        "out_of_memory_kills": out_of_memory_kills(),
    }


def _free(folder: Path) -> int | None:
    """Free bytes where a folder lies, or will lie."""
    found = host.disk(folder) or host.disk(folder.parent)
    return found[1] if found else None


def newest_checkpoint(run_dir: Path) -> Path | None:
    """The folder of the newest whole checkpoint: one that is being written has another name."""
    try:
        names = [
            name for name in os.listdir(run_dir / "checkpoints") if name.startswith("step-") and name[5:].isdigit()
        ]
    except OSError:
        return None
    return run_dir / "checkpoints" / max(names, key=lambda name: int(name[5:])) if names else None


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder, and in those within; what can't be read counts nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total


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
    """Processes of the whole machine, containers and all, that the kernel has ended for want of memory since boot."""
    return _kills_in("/proc/vmstat")


class OwnKills:
    """How many processes the kernel ended for want of memory in the control groups that a run's ranks are in."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        """By file: what it counted when it was first seen."""

    def count(self, pids: Iterable[int]) -> int | None:
        """Since its groups were first seen; None where no group tells."""
        for path in filter(None, map(_kills_file, pids)):
            self._before.setdefault(path, _kills_in(path) or 0)
        if not self._before:
            return None
        return sum(max(0, (_kills_in(path) or before) - before) for path, before in self._before.items())


def _kills_file(pid: int) -> str | None:
    """Where the kernel counts whom it ended of a process's memory control group. Source: cgroups(7), memcg_event."""
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            groups = [line.rstrip("\n").split(":", 2)[1:] for line in file]
    except OSError:
        return None
    for names, group in groups:
        if names and "memory" not in names.split(","):
            continue
        top, name = ("/sys/fs/cgroup/memory", "memory.oom_control") if names else ("/sys/fs/cgroup", "memory.events")
        for path in (f"{top}{group}/{name}", f"{top}/{name}"):  # a container may see its own group at the top
            if _kills_in(path) is not None:
                return path
    return None


def _kills_in(path: str) -> int | None:
    """The count in a file of the kernel's counts; None if there is none."""
    try:
        with open(path) as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), None)
    except OSError:
        return None


def sees_all_processes() -> bool:
    """Whether process ids here are those of the whole machine, as NVML tells them.

    Not in a container with process ids of its own. The number is fixed by the kernel (PROC_PID_INIT_INO, proc_ns.h).
    """
    try:
        return os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC
    except OSError:
        return False
