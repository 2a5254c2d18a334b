"""The host: cores, memory, folders, limits, network, and whether logging out ends processes. Linux, no privileges."""

from __future__ import annotations

import getpass
import os
import resource
from pathlib import Path
from typing import NamedTuple

LOGIND_FILES = ("/etc/systemd/logind.conf", "/run/systemd/logind.conf.d", "/etc/systemd/logind.conf.d")
"""In the order they are read, later ones winning."""

NETWORK = Path("/sys/class")
"""Where Linux lists network adapters, under ``infiniband`` and ``net``."""


def cpu_cores() -> float:
    """Cores this process may use: the affinity mask, and a container's quota where it is less."""
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _cgroups("cpu"):
        quota, _, period = _text(f"{folder}/cpu.max").partition(" ")
        if not quota:
            quota, period = _text(f"{folder}/cpu.cfs_quota_us"), _text(f"{folder}/cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            cores = min(cores, int(quota) / int(period))
    return cores


def memory() -> tuple[int, int]:
    """(total, available) bytes of memory; a limit of a container or a batch job counts where it is less."""
    lines = dict(line.split(":", 1) for line in _text("/proc/meminfo").splitlines() if ":" in line)
    total, available = (int(lines.get(key, "0").split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    for folder in _cgroups("memory"):
        limit, used = _text(f"{folder}/memory.max"), _text(f"{folder}/memory.current")
        if not limit:
            limit, used = _text(f"{folder}/memory.limit_in_bytes"), _text(f"{folder}/memory.usage_in_bytes")
        if limit.isdigit() and used.isdigit():
            free = int(limit) - int(used) + _file_cache(folder)
            total, available = min(total, int(limit)), min(available, max(free, 0))
    return total, available


def _cgroups(controller: str) -> list[str]:
    """Folders whose limits of ``controller`` hold for this process: its own, and those above it up to the root.

    A container sees its own as the root; a batch system's job has its own deeper down. Source: cgroups(7).
    """
    folders = []
    for line in ["0::/", *_text("/proc/self/cgroup").splitlines()]:
        _, names, path = [*line.split(":", 2), "", ""][:3]
        if names and controller not in names.split(","):
            continue
        root = f"/sys/fs/cgroup/{controller}" if names else "/sys/fs/cgroup"
        steps = [step for step in path.split("/") if step not in ("", "..")]
        folders += ["/".join([root, *steps[:depth]]) for depth in range(len(steps) + 1)]
    return list(dict.fromkeys(folders))


def _file_cache(folder: str) -> int:
    """Bytes that count as used though the system takes them back when they are needed: files it has read lately."""
    counts = dict(line.split() for line in _text(f"{folder}/memory.stat").splitlines())
    prefix = "total_" if "total_active_file" in counts else ""
    return sum(int(counts.get(f"{prefix}{key}", 0)) for key in ("active_file", "inactive_file"))


def network_speed() -> float | None:
    """Bytes/s of the fastest network port that is up: InfiniBand, else Ethernet; None where no port tells."""
    ports = (NETWORK / "infiniband").glob("*/ports/*")
    rates = [_text(f"{port}/rate").split() for port in ports if "ACTIVE" in _text(f"{port}/state")]
    gigabits = [float(rate[0]) for rate in rates if rate and rate[0].replace(".", "").isdigit()]
    if gigabits:
        return max(gigabits) * 1e9 / 8
    cards = [path.parent for path in (NETWORK / "net").glob("*/device")]  # neither loopback nor a bridge
    speeds = [_text(f"{card}/speed") for card in cards if _text(f"{card}/operstate") == "up"]
    megabits = [int(speed) for speed in speeds if speed.isdigit()]
    return max(megabits) * 1e6 / 8 if megabits else None


def has_infiniband() -> bool:
    """Whether there is an InfiniBand or RoCE adapter."""
    return any((NETWORK / "infiniband").glob("*"))


class Limits(NamedTuple):
    """What a process started here is held to; None is no limit."""

    open_files: int | None
    open_files_at_most: int | None
    """What ``ulimit -n`` can raise it to without privileges."""
    locked_memory: int | None
    """Bytes."""


def limits() -> Limits:
    """This process's limits, which those it starts inherit."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return Limits(*(None if value == resource.RLIM_INFINITY else value for value in (files, most, locked)))


def disk(path: Path) -> tuple[int, int] | None:
    """(size, free) bytes of the file system ``path`` lies on, free for this user; None if there is no such folder."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def nearest_folder(path: Path) -> Path:
    """``path`` or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def kills_user_processes() -> bool:
    """Whether logind ends what a user left running when the session closes, this user not being exempt."""
    if Path("/var/lib/systemd/linger", _user()).exists():
        return False
    setting = "no"
    for name in LOGIND_FILES:
        path = Path(name)
        for file in sorted(path.glob("*.conf")) if path.is_dir() else [path]:
            setting = _setting(_text(str(file)), "KillUserProcesses") or setting
    return setting.lower() in ("yes", "true", "on", "1")


def _setting(text: str, key: str) -> str | None:
    """The last value of ``key = value`` in an ini file."""
    found = None
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == key:
            found = value.strip()
    return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return ""
