"""Samples read again: the newest of every host, and how what they tell went over time."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

from engine.events import parse, read_json
from qltui.runs import sense
from qltui.runs.levels import bound, read_points
from qltui.runs.sense import finite, whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from engine.events import RunDirectory
    from qltui.runs.levels import Point

OLD = ".old"
"""Ending of the file with the samples before those of the present one."""
TAIL = 64 * 1024
"""Bytes read from the end of a file to find its last sample."""
AT_ONCE = 32 * 1024 * 1024
"""Bytes of samples read at once: all there are, normally; of files nobody bounded, the newest."""
ROWS = (256, 256)
"""Rows of the first levels taken: the newest hour by 16 s, 18 hours by 4 minutes; what was before, by the hour."""
BEGIN_SECONDS = 0.1
"""Time one call spends on the past of hosts whose samples it has not read yet; the others wait for the next."""
LIMIT = 4000
"""Points kept of each curve."""
GPU_FIELDS = ("memory_used", "utilization", "power_watts", "temperature")
"""What of a GPU is shown over time."""
NONSENSE = (AttributeError, KeyError, IndexError, TypeError, ValueError, OSError)


def points_of(sample: Mapping[str, Any]) -> dict[str, float]:
    """What of a sample is kept over time, by name: ``gpu<index>.memory_used`` and so on, ``rank<rank>.memory``, and
    ``host.`` with memory_used, memory_left (until the container's limit too) and swap_used.
    """
    points = {}
    gpus = sample.get("gpus")
    for place, gpu in enumerate(gpus if isinstance(gpus, list) else []):
        if not isinstance(gpu, dict):
            continue
        index = whole(gpu.get("index"))
        for field in GPU_FIELDS:
            value = finite(gpu.get(field))
            if value is not None:
                points[f"gpu{place if index is None else index}.{field}"] = value
    total, available = finite(sample.get("memory_total")), finite(sample.get("memory_available"))
    if total is not None and available is not None:
        points["host.memory_used"] = total - available
    limit, used = finite(sample.get("memory_limit")), finite(sample.get("memory_limit_used"))
    left = [room for room in (available, None if limit is None or used is None else limit - used) if room is not None]
    swap, free = finite(sample.get("swap_total")), finite(sample.get("swap_free"))
    points |= {"host.memory_left": min(left)} if left else {}
    points |= {"host.swap_used": swap - free} if swap and free is not None else {}
    ranks = sample.get("ranks")
    for row in ranks if isinstance(ranks, list) else []:
        memory = finite(row.get("memory")) if isinstance(row, dict) else None
        if memory is not None:
            points[f"rank{row.get('rank')}.memory"] = memory
    return points


def newest_sample(run: RunDirectory) -> dict[str, Any]:
    """The last sample of the run; GPUs and ranks of several hosts together. {} if there is none."""
    return together([sample for host in hosts_of(run) if (sample := _last(_file(run, host)))])


def together(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Samples of several hosts as one: GPUs and ranks of all, each bearing its host, the rest as the last one has it.

    Its ``wall`` is that of the oldest, so that a host that fell silent is noticed.
    """
    newest: dict[str, Any] = {}
    for told in samples:
        sample = sense.sample(told)
        gpus = [{"host": sample["host"], **row} for row in sample["gpus"]]
        walls = [wall for one in (newest, sample) if (wall := one.get("wall")) is not None]
        both = {"gpus": newest.get("gpus", []) + gpus, "ranks": newest.get("ranks", []) + sample["ranks"]}
        newest = {**sample, **both, "wall": min(walls, default=None)}
    return newest


def hosts_of(run: RunDirectory) -> list[str]:
    """Hosts with samples."""
    try:
        names = os.listdir(run.telemetry)
    except OSError:
        return []
    return sorted(name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl"))


def _file(run: RunDirectory, host: str) -> str:
    return os.path.join(run.telemetry, f"{host}.jsonl")


def _last(path: str) -> dict[str, Any] | None:
    """The last sample of a file, or of the one before it where it has none yet."""
    for one in (path, path + OLD):
        if samples := _samples(one, TAIL):
            return samples[-1]
    return None


def _samples(path: str, most: int) -> list[dict[str, Any]]:
    """The whole samples in the last ``most`` bytes of a file."""
    try:
        with open(path, "rb") as file:
            begin = max(0, os.fstat(file.fileno()).st_size - min(most, AT_ONCE))
            file.seek(begin)
            return _parse(file.read(AT_ONCE).split(b"\n")[1 if begin else 0 : -1])
    except OSError:
        return []


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _parse(lines: list[bytes]) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = []
    for line in lines:
        sample = parse(line)
        if sample is not None:
            samples.append(sample)
    return samples


class History:
    """What the samples tell over time, read on with each call; bounded, and without losing a spike."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._hosts: dict[str, HostHistory] = {}
        self.curves: dict[str, list[Point]] = {}
        """(wall seconds, value) by name; where several hosts have samples the name begins with ``<host>/``."""

    def read(self) -> dict[str, Any]:
        """Take what is new; returns the newest sample of all hosts together, {} without one.

        Where there are many hosts the past of some is left to the next call.
        """
        names, newest = hosts_of(self._run), []
        deadline = time.monotonic() + BEGIN_SECONDS
        for host in names:
            if host not in self._hosts and time.monotonic() >= deadline:
                newest.append(_last(_file(self._run, host)))
                continue
            if host not in self._hosts:
                self._hosts[host] = HostHistory(self._run, host)
            self._hosts[host].read()
            newest.append(self._hosts[host].newest)
        several = len(names) > 1
        self.curves = {
            f"{host}/{name}" if several else name: points
            for host, history in self._hosts.items()
            for name, points in history.curves.items()
        }
        return together([sample for sample in newest if sample])


class HostHistory:
    """The samples of one host: first its levels, then what came after them."""

    def __init__(self, run: RunDirectory, host: str) -> None:
        self._path = _file(run, host)
        self._inode = self._offset = 0
        self._until = -math.inf
        """Wall time of the newest sample in the curves."""
        self.curves: dict[str, list[Point]] = {}
        self.newest: dict[str, Any] = {}
        folder, name = run.path / "levels", f"telemetry-{host}"
        for _ in range(3):  # files may be replaced between two looks
            described = read_json(folder / f"{name}.json")
            if not described:
                break
            try:
                self.curves, self._until = read_points(folder, name, described, ROWS), float(described["last"])
                break
            except NONSENSE:
                continue

    def read(self) -> None:
        """Take the samples that are new."""
        try:
            with open(self._path, "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._offset:
                    self._begin(found.st_ino)
                file.seek(max(self._offset, found.st_size - AT_ONCE))
                begin = file.tell()
                data = file.read(AT_ONCE)
        except OSError:
            return
        end = data.rfind(b"\n") + 1
        self._offset = begin + end
        self._take(_parse(data[:end].split(b"\n")))

    def _begin(self, inode: int) -> None:
        """Begin a file that was not there before, after what the one before it had that is not read yet."""
        old = self._path + OLD
        known, read_to = self._inode, self._offset
        self._inode, self._offset = inode, 0
        if known:
            self._take(_samples(old, max(0, _size(old) - read_to) + 1))
            return
        after = self._length_after_levels(self._path)
        self._offset = _size(self._path) - after
        if self._offset == 0:
            self._take(_samples(old, self._length_after_levels(old)))

    def _length_after_levels(self, path: str) -> int:
        """Bytes at the end of a file that hold all the samples that levels lack, and some that they have."""
        size, length = _size(path), TAIL
        while length < size and self._until > -math.inf:
            samples = _samples(path, length)
            if samples and (finite(samples[0].get("wall")) or 0.0) <= self._until:
                return length
            length *= 4
        return size

    def _take(self, samples: list[dict[str, Any]]) -> None:
        for sample in samples:
            self.newest = sample
            wall = finite(sample.get("wall"))
            if wall is None or wall <= self._until:
                continue
            self._until = wall
            for name, value in points_of(sample).items():
                points = self.curves.setdefault(name, [])
                points.append((wall, value))
                bound(points, LIMIT)
