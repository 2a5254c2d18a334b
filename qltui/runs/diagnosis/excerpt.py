"""The lines of a log that can matter: all of a small one; of a large one its end, and what stands out.

Of a large log a line is looked at by its *shape*, the line without its digits. Steps, bars and samples have few shapes,
so that half a gigabyte of them comes down to a few thousand; among new shapes those with a suspicious word are kept,
each with its surroundings.
"""

from __future__ import annotations

import io
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

BLOCK = 4 * 1024 * 1024
"""Bytes that are looked at together."""
WHOLE = 12 * 1024 * 1024
"""Bytes up to which a log is taken as it is."""
END = 4 * 1024 * 1024
"""Bytes that are always kept of the end of a larger one."""
BEFORE, AFTER = 40, 400
"""Lines kept around a suspicious one: a traceback stands after its header, the last progress before it."""
KEPT = 8 * 1024 * 1024
"""Bytes kept of surroundings from the beginning on; of later ones as much."""
LONGEST = 64 * 1024
"""Bytes of a line that are kept: of a longer one its beginning and its end."""
SHAPES = 200_000
"""Suspicious shapes that are counted."""
MANY = 5_000
"""Shapes in a block; with more of them its lines are likely all unlike each other, and so are the next block's."""
STRANGE = 0.2
"""Of the bytes: with more of them that are no text's, a file is weights or an archive and no log."""
REPEATS = 20
"""Times that a suspicious shape is kept with its surroundings."""

SUSPICIOUS = (
    b"Traceback (", b"rror", b"xcept", b"out of memory", b"ignal", b"SIG", b"illed", b"xitcode", b"return code",
    b" fault", b"No space", b"ssert", b"Xid", b"atchdog", b"oom",
)  # fmt: skip
"""One of them is in every line that tells of an end, as far as known."""
_DIGITS = b"0123456789"


class RawLine(NamedTuple):
    """One line, or one state of a line that a carriage return overwrote."""

    number: int
    """From 1, as editors count: by line feeds."""
    text: str


def is_text(beginning: bytes) -> bool:
    """Whether what begins so can be a log: some bytes in it may be none of a text's, not most."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    strange = beginning.decode("utf-8", "replace").count("\ufffd") + beginning.count(b"\0")
    return strange <= STRANGE * len(beginning)


def read_lines(file: BinaryIO) -> Iterator[RawLine]:
    """The lines that can matter, in their order; states of a progress bar each by itself."""
    beginning = file.read(WHOLE + 1)
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = (beginning + file.read(WHOLE)).decode("utf-16", "replace")
        beginning, file = text.encode(), io.BytesIO()
    if len(beginning) <= WHOLE:
        yield from _split(1, beginning)
        return
    for first, part in _parts(_blocks(beginning, file)):
        yield from _split(first, part)


def _split(first: int, data: bytes) -> Iterator[RawLine]:
    for number, line in enumerate(data.split(b"\n"), first):
        if len(line) > LONGEST and b"\r" not in line:
            line = line[: LONGEST // 2] + b" ... " + line[-LONGEST // 2 :]
        for state in line.split(b"\r") if b"\r" in line else (line,):
            if state:
                yield RawLine(number, state.decode("utf-8", "replace"))


def _blocks(beginning: bytes, file: BinaryIO) -> Iterator[bytes]:
    """Blocks that end with a line feed, or with a carriage return where there is none."""
    rest = b""
    for start in range(0, len(beginning), BLOCK):
        rest, block = _cut(rest + beginning[start : start + BLOCK])
        yield block
    while data := file.read(BLOCK):
        rest, block = _cut(rest + data)
        yield block
    yield rest


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """(what belongs to the next block, the block)."""
    place = max(data.rfind(b"\n"), data.rfind(b"\r") if len(data) > 2 * BLOCK else -1) + 1
    if not place and len(data) > 2 * BLOCK:
        place = len(data)
    return data[place:], data[:place]


def _parts(blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, text) of what is kept, in order."""
    shapes = _Shapes()
    early: list[tuple[int, bytes]] = []
    late: deque[tuple[int, bytes]] = deque()
    end: deque[tuple[int, bytes]] = deque()
    room_early, room_late = KEPT, KEPT
    first = 1
    for block in blocks:
        end.append((first, block))
        first += block.count(b"\n")
        while len(end) > 1 and sum(len(kept) for _, kept in end) - len(end[0][1]) >= END:
            for part in shapes.suspicious(*end.popleft()):
                if room_early > 0:
                    early.append(part)
                    room_early -= len(part[1])
                else:
                    late.append(part)
                    room_late -= len(part[1])
            while room_late < 0:
                room_late += len(late.popleft()[1])
    yield from early
    yield from late
    yield from end


class _Shapes:
    """How often which suspicious shapes were seen."""

    def __init__(self) -> None:
        self._times: dict[bytes, int] = {}
        self._are_unlike = False
        """Whether the block before had many shapes."""

    def suspicious(self, first: int, block: bytes) -> Iterator[tuple[int, bytes]]:
        """(number of the first line, text) around each line of a suspicious shape, where it is not an old story."""
        words: Sequence[bytes] = SUSPICIOUS
        if self._are_unlike and not (words := _found(words, block)):  # quicker than to make shapes
            return
        shapes = block.translate(None, _DIGITS).split(b"\n")
        unlike = set(shapes)
        self._are_unlike = len(unlike) > MANY
        words = _found(words, b"\n".join(unlike))
        fresh = [shape for shape in unlike if self._times.get(shape, 0) < REPEATS]
        wanted = {shape for word in words for shape in fresh if word in shape}
        if wanted:
            yield from self._around(first, block.split(b"\n"), shapes, wanted)

    def _around(
        self, first: int, lines: list[bytes], shapes: list[bytes], wanted: set[bytes]
    ) -> Iterator[tuple[int, bytes]]:
        start = stop = 0
        for place, shape in enumerate(shapes):
            if shape not in wanted or (times := self._times.get(shape, 0)) >= REPEATS:
                continue
            if times or len(self._times) < SHAPES:
                self._times[shape] = times + 1
            if place - BEFORE > stop:
                if stop:
                    yield first + start, b"\n".join(lines[start:stop])
                start = max(place - BEFORE, 0)
            stop = min(place + AFTER, len(lines))
        if stop:
            yield first + start, b"\n".join(lines[start:stop])


def _found(words: Sequence[bytes], text: bytes) -> list[bytes]:
    return [word for word in words if word in text]
