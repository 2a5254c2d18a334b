"""The ranks' logs, read like ``tail -f``: bounded, sanitised, tolerant of files that are not there yet."""

from __future__ import annotations

import os

from qltui.runs.sanitise import clean

CHUNK = 256 * 1024
"""Bytes of a log read at once."""


class LogTail:
    """New lines of one log since the last call; the first call gives the end of what is there."""

    def __init__(self, path: str | os.PathLike[str], *, from_start: bool = False) -> None:
        self.path = os.fspath(path)
        self._offset: int | None = 0 if from_start else None
        self._rest = b""

    def read(self) -> list[str]:
        """Whole new lines, sanitised, at most a chunk of the file; call again while it returns any."""
        try:
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                begins_inside = self._offset is None and size > CHUNK
                if self._offset is None:
                    self._offset = max(0, size - CHUNK)
                elif size < self._offset:
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                data = file.read(CHUNK)
        except OSError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-CHUNK:]  # a progress bar may never end its line
        return [clean(line.decode("utf-8", "replace")) for line in lines[begins_inside:]]

    def remainder(self) -> list[str]:
        """The last line if nothing ended it, for when no more will come."""
        rest, self._rest = self._rest, b""
        return [clean(rest.decode("utf-8", "replace"))] if rest else []
