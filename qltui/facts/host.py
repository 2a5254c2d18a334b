"""The host: cores, memory, folders, and whether it ends a user's processes with the session. Linux, no privileges."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

LOGIND_FILES = ("/etc/systemd/logind.conf", "/run/systemd/logind.conf.d", "/etc/systemd/logind.conf.d")
"""In the order they are read, later ones winning."""


def cpu_cores() -> float:
    """Cores this process may use: the affinity mask, and a container's quota where it is less."""
    cores = float(len(os.sched_getaffinity(0)))
    quota, _, period = _text("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, int(quota) / int(period))
    return cores


def memory() -> tuple[int, int]:
    """(total, available) bytes of memory; a container's limit counts where it is less."""
    lines = dict(line.split(":", 1) for line in _text("/proc/meminfo").splitlines() if ":" in line)
    total, available = (int(lines.get(key, "0").split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    limit, used = _text("/sys/fs/cgroup/memory.max"), _text("/sys/fs/cgroup/memory.current")
    if limit.isdigit() and used.isdigit():
        free = int(limit) - int(used) + _file_cache_of_container()
        total, available = min(total, int(limit)), min(available, free)
    return total, available


def _file_cache_of_container() -> int:
    """Bytes that count as used though the system takes them back when they are needed: files it has read lately."""
    counts = dict(line.split() for line in _text("/sys/fs/cgroup/memory.stat").splitlines())
    return sum(int(counts.get(key, 0)) for key in ("active_file", "inactive_file"))


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
