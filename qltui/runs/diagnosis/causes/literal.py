"""Words a regular expression cannot match without: to look for those first is quicker than to search."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST = 3
"""Characters; shorter words are in too many texts to be of use."""
_OPTIONAL = "?*{"


def literals(pattern: str) -> tuple[str, ...]:
    """Words of which one is in every text the pattern is found in; none where that is not easily seen."""
    found = []
    for alternative in _alternatives(pattern):
        longest = max(_runs(alternative), key=len, default="")
        if len(longest) < SHORTEST:
            return ()
        found.append(longest)
    return tuple(found)


def _alternatives(pattern: str) -> Iterator[str]:
    """Parts between ``|`` outside of any group."""
    start = 0
    for place, character, depth in _walk(pattern):
        if character == "|" and depth == 0:
            yield pattern[start:place]
            start = place + 1
    yield pattern[start:]


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
    """(place, token, how many groups it is in); a class, and a count in braces, is one token."""
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
        depth -= token == ")"
        yield place, token, depth + (token == ")")
        depth += token == "("
        place += len(token)
