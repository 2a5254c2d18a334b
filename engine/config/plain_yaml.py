"""YAML as configurations are mostly written, read line by line: loading the whole parser takes longer than all else.

What isn't plain beyond doubt is left to that parser (ruamel), whose result this has to equal.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

FIRST = r"(?:[A-Za-z0-9_./~<$+^(]|-(?=[^\s-]))"
QUOTED = r"\"[^\"\\]*\"|'[^']*'"
ITEM = rf"{QUOTED}|{FIRST}(?:[^\s#:,\[\]{{}}&*!|>'\"%@`]|:(?=[\w/\\])|[ ](?=[^\s\#,\]]))*"
"""A scalar between brackets."""
SCALAR = rf"{QUOTED}|{FIRST}(?:[^\s#:]|:(?=\S)|(?<=\S)\#|[ ](?=[^\s\#]))*"
VALUE = rf"(?:(?P<scalar>{SCALAR})|(?P<list>\[[ ]*(?:(?:{ITEM})(?:[ ]*,[ ]*(?:{ITEM}))*)?[ ]*\])|(?P<empty>\{{\}}))"
LINE = re.compile(
    rf"""(?P<indent>[ ]*)(?P<items>(?:-[ ]+)*)(?:(?P<key>[A-Za-z_][\w./-]*):(?:[ ]+|$))?{VALUE}?
         (?:[ ]*|(?:^|(?<=[ :]))[ ]*\#.*|[ ]+\#.*)$""",
    re.VERBOSE,
)
INTEGER = re.compile(r"[-+]?[0-9]+")
NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)")
DOUBTFUL = re.compile(r"[-+]?(?:[0-9][0-9_]*[_xob:-]|\.[0-9iInN]|[0-9]+\.).*|<<|\.\.\..*")
"""Words that YAML may take for numbers in other bases, dates, or marks."""
MAX_LINE = 500
"""Longer ones would let the patterns search for long."""
MAX_TEXT = 20_000
"""A configuration has a few pages; the parser has bounds for what has more, or is deeper."""
MAX_INDENT = 30
WORDS = {"null": None, "Null": None, "NULL": None, "~": None,
         "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}  # fmt: skip


class NotPlain(Exception):
    """Something stands there that only the real parser can tell."""


class Leaf(NamedTuple):
    """A value with its place; a section stands there by what is in it."""

    path: tuple[str, ...]
    """The keys above it, and its own."""
    value: Any
    line: int
    start: int
    """Characters of the text before the value, -1 for nothing and for lists of lines."""
    end: int


class _Line(NamedTuple):
    number: int
    start: int
    """Characters before the line."""
    match: re.Match[str]
    indent: int
    items: str
    """The dashes of list items that it begins with."""


def read_value(text: str) -> Any:
    """What a text means: nested plain values, or a single one.

    Raises:
        NotPlain: the parser has to tell, or refuse it.
    """
    if len(text) <= MAX_LINE and text.isprintable():
        match = re.fullmatch(VALUE, text.strip(" "))
        if match is not None:
            return _value(match)
    return _nested(read_leaves(text))


def read_leaves(text: str) -> list[Leaf]:
    """The values of a mapping with their places, in the text's order.

    Raises:
        NotPlain: the parser has to tell, or refuse it.
    """
    return _Reader(_lines(text)).leaves()


def _nested(leaves: list[Leaf]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for leaf in leaves:
        branch = tree
        for key in leaf.path[:-1]:
            branch = branch.setdefault(key, {})
        branch[leaf.path[-1]] = leaf.value
    return tree


def _lines(text: str) -> list[_Line]:
    """Lines that say something."""
    # What can't be printed ends a line, can't stand where it might, or nowhere.
    if len(text) > MAX_TEXT or not text.replace("\n", "").isprintable():
        raise NotPlain
    lines: list[_Line] = []
    start, begun = 0, False
    for number, full_line in enumerate(text.split("\n"), 1):
        line = full_line.rstrip(" ")
        if len(line) > MAX_LINE:
            raise NotPlain
        if line == "---" and not (lines or begun):
            begun = True  # a second one begins another document
        elif line and not line.lstrip(" ").startswith("#"):
            match = LINE.fullmatch(line)
            if match is None or len(match["indent"]) > MAX_INDENT:
                raise NotPlain
            lines.append(_Line(number, start, match, len(match["indent"]), match["items"]))
        start += len(full_line) + 1
    return lines


class _Reader:
    """Goes through the lines once, by indentation."""

    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.at = 0
        self.found: list[Leaf] = []

    def leaves(self) -> list[Leaf]:
        self._mapping((), 0)
        if not self.found or self.at < len(self.lines):
            raise NotPlain
        return self.found

    def _mapping(self, above: tuple[str, ...], indent: int) -> None:
        """Enter the keys that stand at ``indent``."""
        seen = set()
        while self.at < len(self.lines) and self.lines[self.at].indent == indent:
            line = self.lines[self.at]
            key = line.match["key"]
            if key is None or line.items or key in seen or key in WORDS:
                raise NotPlain
            seen.add(key)
            self.at += 1
            name = next((name for name in ("scalar", "list", "empty") if line.match[name] is not None), None)
            if name is None:
                self._below((*above, key), line)
                continue
            value = _value(line.match)
            start, end = line.match.span(name)
            place = (-1, -1) if value is None else (line.start + start, line.start + end)
            self.found.append(Leaf((*above, key), value, line.number, *place))

    def _below(self, path: tuple[str, ...], line: _Line) -> None:
        """Enter what stands under a key that has nothing beside it."""
        following = self.lines[self.at] if self.at < len(self.lines) else None
        if following is not None and following.items and following.indent >= line.indent:
            self.found.append(Leaf(path, self._items(following.indent), line.number, -1, -1))
        elif following is not None and following.indent > line.indent:
            self._mapping(path, following.indent)
        else:
            self.found.append(Leaf(path, None, line.number, -1, -1))

    def _items(self, indent: int) -> list[Any]:
        """A list whose items have lines of their own: words or mappings."""
        items: list[Any] = []
        while self.at < len(self.lines) and self.lines[self.at].indent == indent and self.lines[self.at].items:
            line = self.lines[self.at]
            if line.match["key"] is not None:
                column = indent + len(line.items)
                self.lines[self.at] = line._replace(indent=column, items="")
                outer, self.found = self.found, []
                self._mapping((), column)
                items.append(_nested(self.found))
                self.found = outer
            elif line.match["scalar"] is None or len(line.items.split()) > 1:
                raise NotPlain
            else:
                items.append(_value(line.match))
                self.at += 1
        return items


def _value(match: re.Match[str]) -> Any:
    """The scalar, list or empty mapping that was matched."""
    if match["scalar"] is not None:
        return _scalar(match["scalar"])
    return {} if match["list"] is None else [_scalar(word) for word in re.findall(ITEM, match["list"])]


def _scalar(word: str) -> Any:
    """A scalar by the type YAML 1.2 gives it."""
    if word[0] in "\"'":
        return word[1:-1]
    if word in WORDS:
        return WORDS[word]
    if INTEGER.fullmatch(word):
        return int(word)
    if NUMBER.fullmatch(word):
        return float(word)
    if DOUBTFUL.fullmatch(word):
        raise NotPlain
    return word
