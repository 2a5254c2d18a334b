"""Words a regular expression cannot match without: to look for those first is quicker than to search."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SHORTEST = 3
"""Characters; shorter words are in too many texts to be of use."""
_OPTIONAL = "?*{"
_GROUP = "(?:"
_COMMON = " etaoinsrhldcumfpg"
"""Characters in the order of how many there are in messages: the first are in every one."""


class Index:
    """Which of many patterns can be in a text, found at the cost of the text and not of the patterns.

    A pattern is known by three characters out of each of its words; the rare ones, as most texts have none of them.
    """

    def __init__(self, words: Sequence[tuple[str, ...]]) -> None:
        """``words`` of each pattern as :func:`literals` tells them."""
        self._always = [place for place, of_pattern in enumerate(words) if not of_pattern]
        self._by_part: dict[str, list[int]] = {}
        for place, of_pattern in enumerate(words):
            for word in of_pattern:
                self._by_part.setdefault(max(_parts(word), key=_rarity), []).append(place)

    def places(self, text: str) -> list[int]:
        """Places of the patterns that can be in the text, in their order."""
        found = set(self._always)
        for part in self._by_part.keys() & set(_parts(text)):
            found.update(self._by_part[part])
        return sorted(found)


def _parts(text: str) -> Iterable[str]:
    return map("".join, zip(text, text[1:], text[2:], strict=False))


def _rarity(part: str) -> int:
    return sum(len(_COMMON) if (place := _COMMON.find(character)) < 0 else place for character in part)


def literals(pattern: str) -> tuple[str, ...]:
    """Words of which one is in every text the pattern is found in; none where that is not easily seen."""
    if pattern.startswith("(?i)"):
        return ()
    found: list[str] = []
    for alternative in _alternatives(pattern):
        words = max(_needed(alternative), key=lambda words: min(map(len, words)), default=())
        if not words:
            return ()
        found += words
    return tuple(dict.fromkeys(found))


def _alternatives(pattern: str) -> Iterator[str]:
    """Parts between ``|`` outside of any group."""
    start = 0
    for place, character, depth in _walk(pattern):
        if character == "|" and depth == 0:
            yield pattern[start:place]
            start = place + 1
    yield pattern[start:]


def _needed(alternative: str) -> Iterator[tuple[str, ...]]:
    """Words of which one is needed, for each of its plain runs and groups that is long enough to tell."""
    yield from ((run,) for run in _runs(alternative) if len(run) >= SHORTEST)
    for group in _groups(alternative):
        if words := literals(group):
            yield words


def _groups(alternative: str) -> Iterator[str]:
    """What is in the outermost groups that are there once or more and capture nothing."""
    start = 0
    for place, character, depth in _walk(alternative):
        if depth == 1 and character == "(":
            start = place
        is_end = depth == 1 and character == ")" and alternative.startswith(_GROUP, start)
        if is_end and alternative[place + 1 : place + 2] not in tuple(_OPTIONAL):
            yield alternative[start + len(_GROUP) : place]


def _runs(pattern: str) -> Iterator[str]:
    """Plain characters that stand one after another outside of groups and classes, each there exactly once or more."""
    run = ""
    for place, character, depth in _walk(pattern):
        plain = _plain(character) if depth == 0 else ""
        after = pattern[place + len(character) : place + len(character) + 1]
        if plain and not (after and after in _OPTIONAL):
            run += plain
            if after != "+":
                continue
        yield run
        run = ""
    yield run


def _plain(token: str) -> str:
    """The character a token stands for; nothing if it stands for more than one, or for none."""
    if token.startswith("\\"):
        return "" if token[1:].isalnum() else token[1:]
    return "" if token in ".^$|?*+()[]{}" or len(token) > 1 else token


def _walk(pattern: str) -> Iterator[tuple[int, str, int]]:
    """(place, token, how many groups it is in); a class, and a count in braces, is one token.

    A group's own parentheses are within it.
    """
    place = depth = 0
    while place < len(pattern):
        token = pattern[place]
        if token == "\\":
            token = pattern[place : place + 2]
        elif token == "[":
            end = place + 2 if pattern[place + 1] != "^" else place + 3
            while pattern[end] != "]":
                end += 2 if pattern[end] == "\\" else 1
            token = pattern[place : end + 1]
        elif token == "{":
            token = pattern[place : pattern.index("}", place) + 1]
        depth += token == "("
        yield place, token, depth
        depth -= token == ")"
        place += len(token)
