"""Log lines as they are to be read: levels guessed, tracebacks whole, progress bars folded, never more than so many."""

from __future__ import annotations

import re
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qltui.runs.logs import LogLine

LINES_KEPT = 5000
CHARACTERS_KEPT = 2_000_000
TIMED_SHARE = 4
"""Of so many lines one tells its time, for times to have a column."""
OLDER_KEPT = 20_000
"""Lines kept of what was read back from the file; of more the newest go first."""

ERROR, WARNING, INFO = "error", "warning", "info"

_PREFIX = re.compile(r"^\[rank\d+\]:\s?")
_ERROR = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL)\b|\b[Ee]rror:|^[\w.]*(?:Error|Exception|Interrupt|Exit)(?::|$)|\b\w+(?:Error|Exception)[:(]"
    r"|^\[?[EF]\d{4} \d\d:|^Segmentation fault|^Killed\b|^During handling of the above|^The above exception was the"
)
_WARNING = re.compile(r"\bWARN(?:ING)?\b|\b\w*Warning:|^[Ww]arning\b|^\[?W\d{4} \d\d:")
_HINTS = ("rror", "RROR", "xcept", "nterrupt", "Exit", "CRIT", "FATAL", "Segm", "Killed", "WARN", "arning")
"""Without any of these a line is bad only if it begins as a terse one does; to see that is quicker than to search."""
_TRACEBACK = re.compile(r"^\s*(?:[+|] )*Traceback \(most recent call last\)")
_BAR = re.compile(r"^(?P<what>.*?)\s*\d+%\|[^|]*\|\s*[\d.]+\w*/(?P<total>[\d.]+\w*)\s*\[")
_DATE = re.compile(
    r"^\[?(?P<day>\d{4}[-/]\d\d[-/]\d\d|\d\d/\d\d/\d{2,4})[ T](?P<time>\d\d:\d\d:\d\d)"
    r"(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?(?:\s+-\s+|[\s:]+|$)"
)
_CLOCK = re.compile(r"^\[(?P<time>\d\d:\d\d:\d\d)(?:[.,]\d+)?\]\s+")
_TERSE = re.compile(r"^\[?[IWEF](?P<day>\d{4}) (?P<time>\d\d:\d\d:\d\d)\.\d+\s")


class Entry:
    """A line as it is shown."""

    __slots__ = ("bar", "day", "end", "ended", "level", "path", "rank", "start", "text", "time")

    def __init__(self, line: LogLine) -> None:
        self.rank, self.path, self.start = line.rank, line.path, line.start
        self.level = INFO
        self.take(line)

    def take(self, line: LogLine) -> None:
        """Be this line, the earlier state of which was shown here."""
        self.end, self.ended = line.end, line.ended
        self.day, self.time, self.text = _dated(line.text)
        self.bar = _bar(self.text)
        """What a progress bar counts, the same from its first state to its last."""


class _Writer:
    """What the lines of one rank depend on: those before."""

    __slots__ = ("in_traceback", "last", "level")

    def __init__(self) -> None:
        self.last: Entry | None = None
        self.in_traceback = False
        self.level = INFO


class Entries:
    """Entries one after another, made of lines."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self._writers: dict[int, _Writer] = {}
        self._characters = 0
        self.times = 0
        """How many of them tell their time."""

    def add(self, lines: Iterable[LogLine]) -> list[Entry]:
        """Take lines; returns the entries that are new, while others may have become another state of theirs."""
        new = []
        for line in lines:
            writer = self._writers.setdefault(line.rank, _Writer())
            last = writer.last
            if last is not None and last.path == line.path and self._goes_on(last, line):
                self._count(last, -1)
                last.take(line)
                self._count(last, 1)
            else:
                last = writer.last = Entry(line)
                self.entries.append(last)
                self._count(last, 1)
                new.append(last)
            if line.ended:
                last.level = _level(writer, last.text)
        return new

    def _count(self, entry: Entry, change: int) -> None:
        self._characters += change * len(entry.text)
        self.times += change * bool(entry.time)

    def _goes_on(self, last: Entry, line: LogLine) -> bool:
        """Whether the line is a later state of the rank's last: more of it, or the bar again."""
        if not last.ended:
            return True
        return last.bar is not None and _bar(line.text) == last.bar

    def trim(self) -> list[Entry]:
        """Let go of the oldest beyond what is kept."""
        gone = []
        while len(self.entries) > LINES_KEPT or (self._characters > CHARACTERS_KEPT and len(self.entries) > 1):
            gone.append(self.entries.popleft())
            self._count(gone[-1], -1)
        return gone


class LogBook:
    """The newest lines as they come, and before them what was read back from the files."""

    def __init__(self) -> None:
        self._live = Entries()
        self.older: deque[Entry] = deque()
        self.ranks: set[int] = set()
        """Ranks that have written something."""
        self.has_gap = False
        """Whether lines between the older and the newest were let go."""
        self._gone: dict[int, tuple[str, int]] = {}
        """Where the last line let go of ended, by rank."""

    @property
    def is_timed(self) -> bool:
        """Whether enough lines tell their time for it to have a column."""
        return self._live.times * TIMED_SHARE >= max(1, len(self.live))

    @property
    def live(self) -> deque[Entry]:
        return self._live.entries

    def add(self, lines: Sequence[LogLine]) -> tuple[list[Entry], list[Entry]]:
        """Take new lines; returns the entries that are new and those let go."""
        new = self._live.add(in_order(lines))
        self.ranks.update(entry.rank for entry in new)
        gone = self._live.trim()
        for entry in gone:
            self._gone[entry.rank] = entry.path, entry.end
        return new, gone

    def begins(self, rank: int | None = None) -> dict[int, tuple[str, int]]:
        """Path and place where what is here begins, by rank (or of this one): before it more can be read."""
        begins: dict[int, tuple[str, int]] = {}
        for entry in (*self.older, *self.live):
            begins.setdefault(entry.rank, (entry.path, entry.start))
        for of, place in self._gone.items():
            begins.setdefault(of, place)
        return {of: place for of, place in begins.items() if rank in (None, of) and place[1] > 0}

    def put_before(self, lines: Sequence[LogLine]) -> list[Entry]:
        """Take lines read back from the files; returns their entries, oldest first."""
        entries = Entries()
        entries.add(in_order(lines))
        self.older.extendleft(reversed(entries.entries))
        while len(self.older) > OLDER_KEPT:
            self.older.pop()
            self.has_gap = True
        return list(entries.entries)

    def forget_older(self) -> None:
        """Let go of what was read back."""
        self.older.clear()
        self.has_gap = False


def _bar(text: str) -> tuple[str, str] | None:
    """What a progress bar says it counts, and up to how many; None if the text is none."""
    bar = _BAR.match(text) if "%|" in text else None
    return (bar["what"], bar["total"]) if bar else None


def _dated(text: str) -> tuple[str, str, str]:
    """Day, time of day, and the text without them; '' where it tells none."""
    if not text[:3].strip("[ ")[:1].isalnum():
        return "", "", text
    for pattern in (_DATE, _CLOCK):
        if match := pattern.match(text):
            return match.groupdict().get("day") or "", match["time"], text[match.end() :]
    terse = _TERSE.match(text)
    return (terse["day"], terse["time"], text) if terse else ("", "", text)


def _level(writer: _Writer, text: str) -> str:
    """How bad the line is, by its own words or as part of what is told over several lines."""
    said = _PREFIX.sub("", text)
    is_part = not said or said[0] in " \t|+"
    if _TRACEBACK.match(said):
        writer.in_traceback, level = True, ERROR
    elif writer.in_traceback:
        writer.in_traceback, level = is_part, ERROR
    elif is_part and writer.level != INFO:
        level = writer.level if said.strip() else INFO
    elif _bar(said) or not (any(word in said for word in _HINTS) or _TERSE.match(said)):
        level = INFO
    else:
        level = ERROR if _ERROR.search(said) else WARNING if _WARNING.search(said) else INFO
    writer.level = level
    return level


def in_order(lines: Sequence[LogLine]) -> list[LogLine]:
    """Lines of several ranks in the order of their times, if all ranks tell any; else as they are."""
    if len({line.rank for line in lines}) < 2:
        return list(lines)
    newest: dict[int, str] = {}
    keys = []
    for line in lines:
        day, time, _ = _dated(line.text)
        newest[line.rank] = max(newest.get(line.rank, ""), f"{day} {time}" if time else "")
        keys.append(newest[line.rank])
    if not all(newest.values()):
        return list(lines)
    order = sorted(range(len(lines)), key=keys.__getitem__)
    return [lines[index] for index in order]
