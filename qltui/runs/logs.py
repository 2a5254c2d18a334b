"""The ranks' logs, read like ``tail -f``: bounded, sanitised, tolerant of files that are not there yet."""

from __future__ import annotations

import os

from qltui.runs.sanitise import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNK = 256 * 1024
"""Bytes of a log read at once."""
FAR_BEHIND = 4 * CHUNK
"""Unread bytes from which a tail goes on at the end: what it leaves out can be read from the file."""
FIRST_LEAST = 16 * 1024
"""Bytes of the end that each of very many logs is begun with."""


class LogLine:
    """One line of a rank's log."""

    __slots__ = ("end", "ended", "path", "rank", "start", "text")

    def __init__(self, rank: int, text: str, path: str, start: int, end: int, ended: bool = True) -> None:
        self.rank = rank
        self.text = text
        """Printable, as :func:`clean` leaves it."""
        self.path = path
        self.start = start
        """Where it begins in the file, in bytes."""
        self.end = end
        """Where the next one begins."""
        self.ended = ended
        """False where more may come, as of a progress bar: the next line of the rank is this one, further on."""

    def __repr__(self) -> str:
        return f"LogLine(rank={self.rank}, text={self.text!r}, start={self.start}, ended={self.ended})"


class LogTail:
    """New lines of one log since the last call; the first call gives the end of what is there."""

    def __init__(
        self, path: str | os.PathLike[str], *, from_start: bool = False, first: int = CHUNK, skips: bool = False
    ) -> None:
        """Begin ``first`` bytes before the end, or at the start; with ``skips`` never fall far behind the end."""
        self.path = os.fspath(path)
        self._offset: int | None = 0 if from_start else None
        self._first = first
        self._skips = skips
        self._rest = b""
        self._file: tuple[int, int] | None = None
        """Device and inode of the file read last."""

    def read(self) -> list[str]:
        """Whole new lines, sanitised, at most a chunk of the file; call again while it returns any."""
        return [_text(line) for _, line in self._read()]

    def lines(self, rank: int = 0) -> list[LogLine]:
        """The same with where they stand, and at the end what was last begun, if it is another than before."""
        before = self._rest
        found = [_line(rank, line, self.path, start) for start, line in self._read()]
        if self._rest and self._rest != before:
            begun = _text(self._rest)
            found += (
                [LogLine(rank, begun, self.path, self._begun, self._offset or 0, ended=False)] if begun.strip() else []
            )
        return found

    def remainder(self) -> list[str]:
        """The last line if nothing ended it, for when no more will come."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []

    @property
    def _begun(self) -> int:
        """Where the line begins that has not ended, as far as it was kept."""
        return (self._offset or 0) - len(self._rest)

    def _read(self) -> list[tuple[int, bytes]]:
        try:
            with open(self.path, "rb") as file:
                begins_inside = self._place(os.fstat(file.fileno()))
                file.seek(self._offset or 0)
                data = file.read(CHUNK)
        except OSError:
            return []
        start = self._begun
        self._offset = (self._offset or 0) + len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-CHUNK:]  # a progress bar may never end its line
        return list(_placed(lines, start))[begins_inside:]

    def _place(self, found: os.stat_result) -> bool:
        """Decide where to read on in a file; True if that is within a line."""
        first, size = self._first, found.st_size
        known, self._file = self._file, (found.st_dev, found.st_ino)
        is_another = known is not None and known != self._file
        if self._offset is not None and (is_another or size < self._offset):  # written anew, or rotated
            self._offset, self._rest = 0, b""
        elif self._offset is None or (self._skips and size - self._offset > FAR_BEHIND):
            self._offset, self._rest = max(0, size - first), b""
            return self._offset > 0
        return False


def lines_before(path: str, end: int, rank: int = 0, size: int = CHUNK) -> list[LogLine]:
    """The lines before ``end`` in a log, within ``size`` bytes of it; [] at its start or without the file."""
    begin = max(0, end - size)
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            data = file.read(end - begin)
    except OSError:
        return []
    placed = list(_placed(data.removesuffix(b"\n").split(b"\n"), begin))
    if begin and len(placed) > 1:  # the first began before; alone it is a line longer than we read, shown from here
        placed = placed[1:]
    return [_line(rank, line, path, start) for start, line in placed] if data else []


class RunLogs:
    """The logs of several ranks together."""

    def __init__(self, paths: dict[int, str] | None = None) -> None:
        self._tails: dict[int, LogTail] = {}
        self.follow(paths or {})

    def follow(self, paths: dict[int, str]) -> None:
        """Read these, by rank: new ones from near their end, known ones on from where they were."""
        first = max(FIRST_LEAST, CHUNK // max(1, len(paths) // 4))
        self._tails = {rank: tail for rank, tail in self._tails.items() if rank in paths}
        for rank, path in paths.items():
            if rank not in self._tails or self._tails[rank].path != path:
                self._tails[rank] = LogTail(path, first=first, skips=True)

    def read(self, most: int) -> list[LogLine]:
        """What is new, at most ``most`` lines: of each rank the newest."""
        each = [tail.lines(rank) for rank, tail in sorted(self._tails.items())]
        busy = sum(1 for lines in each if lines) or 1
        room = max(1, most // busy)
        return [line for lines in each for line in lines[-room:]]


def _placed(lines: Iterable[bytes], start: int) -> Iterable[tuple[int, bytes]]:
    for line in lines:
        yield start, line
        start += len(line) + 1


def _line(rank: int, line: bytes, path: str, start: int) -> LogLine:
    return LogLine(rank, _text(line), path, start, start + len(line) + 1)


def _text(line: bytes) -> str:
    return clean(line.decode("utf-8", "replace"))
