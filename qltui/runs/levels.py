"""Long histories in little room: points folded into rows of lowest, highest, mean and count, in several levels.

A ladder takes points (x, {name: value}) and folds 16 of them into a row of its first level, 16 such rows into one of
the second, 16 of those into one of the third. Each level is a file of JSON lines that only grows; past
:data:`LEVEL_BYTES` its older half is dropped, so the whole is bounded, and what a level dropped the next one still has.

A row tells of every name ``[count, mean, lowest, its x, highest, its x, odd ones, first odd one, its x]``. Odd are NaN
and infinities: they are counted and placed, and never part of a mean. Rows end at each checkpoint, for that is where
a resumed run goes on: what it does again is taken back exactly.

What is in the files counts as far as the ladder's description says, which its owner keeps in a file that is replaced
whole: whoever was killed in between leaves nothing half-done.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from bisect import bisect_right

TYPE_CHECKING = False  # `qltui status` loads this
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

FOLD = 16
"""Points, or rows of the level below, that a row folds."""
WIDTHS = (16, 256, 4096)
"""Points in a row of each level."""
LEVEL_BYTES = 8 * 1024 * 1024
"""Size of a level's file beyond which its older half goes."""

Point = tuple[float, float]


class Summary:
    """What the values of one name were over a stretch."""

    __slots__ = ("count", "high", "high_at", "low", "low_at", "odd", "odd_at", "odds", "total")

    def __init__(self) -> None:
        self.count = self.odds = 0
        self.total = 0.0
        self.low = self.low_at = self.high = self.high_at = self.odd = self.odd_at = math.nan

    def add(self, x: float, y: float) -> None:
        """Take a value."""
        if not math.isfinite(y):
            if not self.odds:
                self.odd, self.odd_at = y, x
            self.odds += 1
            return
        if not self.count or y < self.low:
            self.low, self.low_at = y, x
        if not self.count or y > self.high:
            self.high, self.high_at = y, x
        self.count += 1
        self.total += y

    def merge(self, later: Summary) -> None:
        """Take the values of the stretch after this one."""
        if later.count:
            if not self.count or later.low < self.low:
                self.low, self.low_at = later.low, later.low_at
            if not self.count or later.high > self.high:
                self.high, self.high_at = later.high, later.high_at
        if later.odds and not self.odds:
            self.odd, self.odd_at = later.odd, later.odd_at
        self.count += later.count
        self.odds += later.odds
        self.total += later.total

    def points(self) -> list[Point]:
        """The lowest, the highest and the first odd one, each where it was."""
        found = {(self.low_at, self.low), (self.high_at, self.high)} if self.count else set()
        return sorted(found | {(self.odd_at, self.odd)} if self.odds else found)

    def plain(self) -> list[Any]:
        """As it is written down."""
        numbers = (
            [self.total / self.count, self.low, self.low_at, self.high, self.high_at] if self.count else [None] * 5
        )
        return [self.count, *numbers, *([self.odds, str(self.odd), self.odd_at] if self.odds else ())]

    @classmethod
    def of(cls, plain: list[Any]) -> Summary:
        """Read again what :meth:`plain` gave."""
        self = cls()
        self.count, mean, *extremes = plain[:6]
        if self.count:
            self.total = mean * self.count
            self.low, self.low_at, self.high, self.high_at = extremes
        if len(plain) > 6:
            self.odds, self.odd, self.odd_at = plain[6], float(plain[7]), plain[8]
        return self


class Row:
    """A stretch from its first x to its last, with what the values of each name were."""

    __slots__ = ("first", "last", "parts", "values")

    def __init__(self, first: float, last: float, values: dict[str, Summary], parts: int = 1) -> None:
        self.first, self.last, self.values, self.parts = first, last, values, parts

    def merge(self, later: Row) -> None:
        """Grow by the row after this one."""
        self.last = later.last
        self.parts += 1
        for name, summary in later.values.items():
            self.values.setdefault(name, Summary()).merge(summary)

    def plain(self) -> dict[str, Any]:
        """As it is written down."""
        values = {name: summary.plain() for name, summary in self.values.items()}
        return {"first": self.first, "last": self.last, "values": values}

    @classmethod
    def of(cls, plain: Mapping[str, Any], parts: int = 1) -> Row:
        """Read again what :meth:`plain` gave."""
        values = {name: Summary.of(summary) for name, summary in plain["values"].items()}
        return cls(plain["first"], plain["last"], values, parts)


class Ladder:
    """Folds points into levels; the files are ``<name>.x<width>.<generation>.jsonl`` in a folder."""

    def __init__(self, folder: Path, name: str, described: Mapping[str, Any] | None = None) -> None:
        """Go on from what :meth:`describe` gave, or begin anew. Raises KeyError, TypeError, ValueError on nonsense."""
        self._folder, self._name = folder, name
        described = described or {}
        self.last: float = described.get("last", -math.inf)
        """Where the newest point is."""
        self._names = set(described.get("names", ()))
        self._ends = bool(described.get("ends", False))
        """Whether the row ends where the newest point is."""
        self._points = _points(described)
        """What is not folded yet."""
        self._files = [(int(generation), int(length)) for generation, length in described.get("files", [(0, 0)] * 3)]
        """Generation and length in bytes of each level's file."""
        self._open: list[Row | None] = [None] * len(WIDTHS)
        """Of each level the rows that wait to be folded into one of the next, already merged."""
        self._new: list[list[str]] = [[] for _ in WIDTHS]
        self._refill()

    def describe(self) -> dict[str, Any]:
        """What is needed to go on, or to read; true of the files once :meth:`flush` has been called."""
        points = [
            [x, {name: y if math.isfinite(y) else str(y) for name, y in values.items()}] for x, values in self._points
        ]
        last = {"last": self.last} if math.isfinite(self.last) else {}
        return {**last, "names": sorted(self._names), "ends": self._ends, "points": points, "files": list(self._files)}

    def add(self, x: float, values: Mapping[str, float]) -> None:
        """Take a point. One at an earlier place, or of a name that has been there, takes back what came after."""
        if x < self.last or (x == self.last and not self._names.isdisjoint(values)):
            self.rewind(x)
        if self._points and x == self.last:
            self._points[-1][1].update(values)
            self._names |= set(values)
            return
        if self._ends or len(self._points) >= FOLD:
            self._fold()
        self._points.append((x, dict(values)))
        self._names = set(values)
        self.last = x

    def cut(self) -> None:
        """End the row here: a point further on begins another."""
        self._ends = bool(self._points)

    def _fold(self) -> None:
        values: dict[str, Summary] = {}
        for x, point in self._points:
            for name, y in point.items():
                values.setdefault(name, Summary()).add(x, y)
        row = Row(self._points[0][0], self._points[-1][0], values)
        self._points, self._ends = [], False
        self._push(0, row)

    def _push(self, level: int, row: Row) -> None:
        """Add a row to a level, and to the one above when there are enough."""
        self._new[level].append(json.dumps(row.plain()) + "\n")
        if level + 1 < len(WIDTHS):
            self._gather(level, row)
            gathered = self._open[level]
            if gathered is not None and gathered.parts >= FOLD:
                self._open[level] = None
                gathered.parts = 1
                self._push(level + 1, gathered)

    def _gather(self, level: int, row: Row) -> None:
        gathered = self._open[level]
        if gathered is None:
            self._open[level] = Row.of(row.plain())
        else:
            gathered.merge(row)

    def rewind(self, x: float) -> None:
        """Take back what was at ``x`` and later; a row that reaches over it goes whole.

        What cannot be rewritten, on a disk that is full, is dropped: better a curve that begins late than a false one.
        """
        self._names, self.last, self._ends = set(), x, self._ends and self.last < x
        if self._points and self._points[0][0] < x:
            self._points = [point for point in self._points if point[0] < x]
            return
        self._points = []
        try:
            self.flush()
            for level in range(len(WIDTHS)):
                self._rewrite(level, [line for line in self._lines(level) if json.loads(line)["last"] < x])
            self._refill()
        except (OSError, ValueError):
            self._files = [(generation + 1, 0) for generation, _ in self._files]
            self._open, self._new = [None] * len(WIDTHS), [[] for _ in WIDTHS]

    def _refill(self) -> None:
        """Gather again the rows of each level that none of the next one holds."""
        for level in range(len(WIDTHS) - 1):
            self._open[level] = None
            above = self._lines(level + 1)[-1:]
            end = json.loads(above[0])["last"] if above else -math.inf
            for line in self._lines(level)[-FOLD:]:
                row = Row.of(json.loads(line))
                if row.first > end:
                    self._gather(level, row)

    def flush(self) -> None:
        """Write what is folded; raises OSError, and then all of it is written the next time."""
        for level, lines in enumerate(self._new):
            if not lines:
                continue
            generation, length = self._files[level]
            data = "".join(lines).encode()
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(os.open(self._path(level, generation), os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                file.truncate(length)  # somebody who was killed may have written more than is described
                file.seek(length)
                file.write(data)
            self._files[level] = (generation, length + len(data))
            self._new[level] = []
            if length + len(data) > LEVEL_BYTES:
                self._rewrite(level, _newest(self._lines(level), LEVEL_BYTES // 2))

    def tidy(self) -> None:
        """Remove the files the description, now that it is kept, does not name any more."""
        named = {os.path.basename(self._path(level, generation)) for level, (generation, _) in enumerate(self._files)}
        with contextlib.suppress(OSError):
            for file in os.listdir(self._folder):
                if file.startswith(f"{self._name}.x") and file not in named:
                    os.unlink(os.path.join(self._folder, file))

    def _rewrite(self, level: int, lines: list[bytes]) -> None:
        """Put a new file in the place of a level's; readers of the old one are not disturbed."""
        generation = self._files[level][0] + 1
        data = b"".join(line + b"\n" for line in lines)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with open(os.open(self._path(level, generation), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        self._files[level] = (generation, len(data))

    def _lines(self, level: int) -> list[bytes]:
        generation, length = self._files[level]
        return _read_lines(self._path(level, generation), length, length)

    def _path(self, level: int, generation: int) -> str:
        return _path(self._folder, self._name, level, generation)


def read_points(folder: Path, name: str, described: Mapping[str, Any], rows: tuple[int, ...]) -> dict[str, list[Point]]:
    """The curves of a described ladder, of so many newest ``rows`` of the first levels, and of the last one whole.

    Each row gives its lowest, its highest and its first odd value, where they were.

    Raises:
        FileNotFoundError, ValueError, KeyError, TypeError, IndexError: it is no more as described: describe it again.
    """
    chosen: list[dict[str, Any]] = []
    begin = math.inf
    levels = []
    for level, (generation, length) in enumerate(described["files"]):
        most = rows[level] if level < len(rows) else length
        lines = _read_lines(_path(folder, name, level, generation), length, most * 4096)[-most:] if most else []
        found = [row for row in json.loads(b"[" + b",".join(lines) + b"]") if row["first"] < begin]
        levels.append(found)
        begin = min([begin, *(row["first"] for row in found[:1])])
    for found in reversed(levels):  # from the coarse ones on: each goes on where the one before ends
        end = chosen[-1]["last"] if chosen else -math.inf
        chosen += [row for row in found if row["first"] > end]
    curves: dict[str, list[Point]] = {}
    for row in chosen:
        for key, plain in row["values"].items():
            curves.setdefault(key, []).extend(_extremes(plain))
    for x, values in _points(described):
        for key, y in values.items():
            curves.setdefault(key, []).append((x, y))
    return curves


def read_part(
    folder: Path, name: str, described: Mapping[str, Any], level: int, left: float, right: float
) -> dict[str, list[Point]]:
    """The curves from ``left`` to ``right`` by the rows of one level; {} where it does not reach back so far.

    Raises what :func:`read_points` does.
    """
    generation, length = described["files"][level]
    lines = _read_lines(_path(folder, name, level, generation), length, length)
    begin = bisect_right(lines, left, key=lambda line: json.loads(line)["first"])
    end = bisect_right(lines, right, key=lambda line: json.loads(line)["first"])
    if begin == 0 and (not lines or json.loads(lines[0])["first"] > max(left, 1.0)):
        return {}
    curves: dict[str, list[Point]] = {}
    for row in json.loads(b"[" + b",".join(lines[max(begin - 1, 0) : end]) + b"]"):
        for key, plain in row["values"].items():
            curves.setdefault(key, []).extend(_extremes(plain))
    for x, values in _points(described):
        for key, y in values.items():
            if left <= x <= right:
                curves.setdefault(key, []).append((x, y))
    return curves


def _extremes(plain: list[Any]) -> list[Point]:
    """What :meth:`Summary.points` gives, in the short way for nearly all."""
    if len(plain) > 6 or not plain[0]:
        return Summary.of(plain).points()
    _, _, low, low_at, high, high_at = plain
    if low_at == high_at:
        return [(low_at, low)]
    return [(low_at, low), (high_at, high)] if low_at < high_at else [(high_at, high), (low_at, low)]


def _points(described: Mapping[str, Any]) -> list[tuple[float, dict[str, float]]]:
    return [(x, {name: float(y) for name, y in values.items()}) for x, values in described.get("points", ())]


def _path(folder: Path, name: str, level: int, generation: int) -> str:
    return os.path.join(folder, f"{name}.x{WIDTHS[level]}.{generation}.jsonl")


def _read_lines(path: str, length: int, most: int) -> list[bytes]:
    """The whole lines in the last ``most`` bytes before ``length``; raises ValueError if the file ends before it."""
    if not length:
        return []
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < length:
            raise ValueError(f"{path} is shorter than it was")
        file.seek(max(0, length - most))
        lines = file.read(min(length, most)).splitlines()
    return lines if length <= most else lines[1:]


def _newest(lines: list[bytes], size: int) -> list[bytes]:
    """The last of some lines, at most so many bytes."""
    for index in range(len(lines) - 1, -1, -1):
        size -= len(lines[index]) + 1
        if size < 0:
            return lines[index + 1 :]
    return lines


def thin(points: list[Point], begin: int, end: int) -> list[Point]:
    """Points of a part of a curve, at most about half as many: of every six the lowest, the highest, an odd one."""
    kept: list[Point] = []
    for start in range(begin, end, 6):
        summary = Summary()
        for x, y in points[start : min(start + 6, end)]:
            summary.add(x, y)
        kept += summary.points()
    return kept


def bound(points: list[Point], most: int) -> None:
    """Keep a growing curve at ``most`` points: then its older half is thinned."""
    if len(points) > most:
        points[: most // 2] = thin(points, 0, most // 2)
