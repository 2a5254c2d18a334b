"""Items of a JSON list, one at a time, so that a list of any size can be read from its beginning."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

CHARACTERS_AT_A_TIME = 2**20
LONGEST_WORD = len("-Infinity")
"""A piece may end within one; an error nearer to its end than this may be no more than that."""
SPACE = re.compile(r"[ \t\r\n]*")


class NotAList(ValueError):
    """The text is not valid JSON; says what is wrong, and in which line and column."""


def list_items(file: TextIO, longest: int) -> Iterator[Any]:
    """The items of the list that ``file`` holds, none of them longer than ``longest`` characters.

    Raises:
        NotAList: it is not valid JSON; items before the flaw come first.
    """
    text = _Text(file, longest)
    if text.next_character() != "[":
        raise text.flaw("Expecting '['")
    text.skip()
    if text.next_character() != "]":
        yield text.item()
        while text.next_character() == ",":
            text.skip()
            yield text.item()
    if text.next_character() != "]":
        raise text.flaw("Expecting ',' or ']'")
    text.skip()
    if text.next_character():
        raise text.flaw("Extra data")


class _Text:
    """A file's text from where it was read to; what was read stays no longer than needed."""

    def __init__(self, file: TextIO, longest: int) -> None:
        self._file = file
        self._longest = longest
        self._decoder = json.JSONDecoder()
        self._piece = ""
        self._at = 0
        self._lines = self._columns = 0
        """Of the file, that lie before the piece."""

    def next_character(self) -> str:
        """The next one that is no white space; '' at the end."""
        while True:
            self._at = SPACE.match(self._piece, self._at).end()  # type: ignore[union-attr]  # matches anything
            if self._at < len(self._piece) or not self._read_on():
                return self._piece[self._at : self._at + 1]

    def skip(self) -> None:
        """Go past one character."""
        self._at += 1

    def item(self) -> Any:
        """The value that stands next."""
        self.next_character()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._piece, self._at)
            except json.JSONDecodeError as error:
                near_the_end = error.pos >= len(self._piece) - LONGEST_WORD
                if not (near_the_end or error.msg.startswith("Unterminated")):
                    raise self.flaw(error.msg, error.pos) from None
                if len(self._piece) - self._at > self._longest:
                    raise self.flaw(f"An item is longer than {self._longest:,} characters") from None
                position = error.pos - self._at
                if not self._read_on():
                    raise self.flaw(error.msg, self._at + position) from None
                continue
            if end == len(self._piece) and self._read_on():  # a number may go on
                continue
            self._at = end
            return value

    def _read_on(self) -> bool:
        """Forget what was used and read as much again as is left, or a piece; False at the end of the file."""
        more = self._file.read(max(CHARACTERS_AT_A_TIME, len(self._piece) - self._at))
        if more:
            self._lines, self._columns = self._place(self._at)
            self._piece, self._at = self._piece[self._at :] + more, 0
        return bool(more)

    def _place(self, position: int) -> tuple[int, int]:
        """Lines and columns of the file before a position in the piece."""
        lines = self._piece.count("\n", 0, position)
        if not lines:
            return self._lines, self._columns + position
        return self._lines + lines, position - self._piece.rindex("\n", 0, position) - 1

    def flaw(self, what: str, position: int | None = None) -> NotAList:
        lines, columns = self._place(self._at if position is None else position)
        return NotAList(f"{what}: line {lines + 1} column {columns + 1}")
