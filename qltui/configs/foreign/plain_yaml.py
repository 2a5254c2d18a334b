"""YAML as configurations are mostly written, read line by line: loading the whole parser takes longer than all else.

What isn't plain beyond doubt is left to :mod:`.yaml_keys`, whose result this has to equal.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from qltui.configs.foreign.keys import Entry

FIRST = r"(?:[A-Za-z0-9_./~<$+^(]|-(?=[^\s-]))"
QUOTED = r"\"[^\"\\]*\"|'[^']*'"
ITEM = rf"{QUOTED}|{FIRST}(?:[^\s#:,\[\]{{}}&*!|>'\"%@`]|:(?=[\w/\\])|[ ](?=[^\s\#,\]]))*"
"""A scalar between brackets."""
SCALAR = rf"{QUOTED}|{FIRST}(?:[^\s#:]|:(?=\S)|(?<=\S)\#|[ ](?=[^\s\#]))*"
LINE = re.compile(
    rf"""(?P<indent>[ ]*)(?P<items>(?:-[ ]+)*)(?:(?P<key>[A-Za-z_][\w./-]*):(?:[ ]+|$))?
         (?:(?P<scalar>{SCALAR})|(?P<list>\[[ ]*(?:(?:{ITEM})(?:[ ]*,[ ]*(?:{ITEM}))*)?[ ]*\])|(?P<empty>\{{\}}))?
         (?:[ ]*|(?:^|(?<=[ :]))[ ]*\#.*|[ ]+\#.*)$""",
    re.VERBOSE,
)
INTEGER = re.compile(r"[-+]?[0-9]+")
NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)")
DOUBTFUL = re.compile(r"[-+]?(?:[0-9][0-9_]*[_xob:-]|\.[0-9iInN]|[0-9]+\.).*|<<|=|-+|---.*|\.\.\..*|~.+")
"""Words that YAML may take for numbers in other bases, dates, or marks."""
MAX_LINE = 500
"""Longer ones would let the pattern search for long."""
BREAKS = frozenset("\t\r\x85\u2028\u2029\ufeff")
"""Characters that end lines, or can't stand where they might."""
WORDS = {"null": None, "Null": None, "NULL": None, "~": None,
         "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}  # fmt: skip


class _NotPlain(Exception):
    """Something stands there that only the real parser can tell."""


class _Line(NamedTuple):
    number: int
    start: int
    """Characters before the line."""
    match: re.Match[str]
    indent: int
    items: str
    """The dashes of list items that it begins with."""


def read_plain(text: str) -> list[Entry] | None:
    """The entries of a plain mapping; None where the text is anything else."""
    try:
        return _Plain(_lines(text)).entries()
    except _NotPlain:
        return None


def _lines(text: str) -> list[_Line]:
    """Lines that say something."""
    if not BREAKS.isdisjoint(text):
        raise _NotPlain
    lines: list[_Line] = []
    start, begun = 0, False
    for number, full_line in enumerate(text.split("\n"), 1):
        line = full_line.rstrip(" ")
        if len(line) > MAX_LINE:
            raise _NotPlain
        if line == "---" and not (lines or begun):
            begun = True  # a second one begins another document
        elif line and not line.lstrip(" ").startswith("#"):
            match = LINE.fullmatch(line)
            if match is None:
                raise _NotPlain
            lines.append(_Line(number, start, match, len(match["indent"]), match["items"]))
        start += len(full_line) + 1
    return lines


class _Plain:
    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.at = 0
        self.found: list[Entry] = []

    def entries(self) -> list[Entry] | None:
        if not self.lines or self.lines[0].indent:
            raise _NotPlain
        self._mapping("", 0)
        return self.found if self.at == len(self.lines) else None

    def _mapping(self, prefix: str, indent: int) -> None:
        """Enter the keys that stand at ``indent``."""
        seen = set()
        while self.at < len(self.lines) and self.lines[self.at].indent == indent:
            line = self.lines[self.at]
            match, key = line.match, line.match["key"]
            if key is None or line.items or key in seen:
                raise _NotPlain
            seen.add(key)
            self.at += 1
            if match["scalar"] is not None or match["list"] is not None or match["empty"] is not None:
                self.found.append(_entry(f"{prefix}{key}", line))
            else:
                self._below(f"{prefix}{key}", line)
        if self.at < len(self.lines) and self.lines[self.at].indent > indent:
            raise _NotPlain

    def _below(self, key: str, line: _Line) -> None:
        """Enter what stands under a key that has nothing beside it."""
        following = self.lines[self.at] if self.at < len(self.lines) else None
        if following is not None and following.items and following.indent >= line.indent:
            self.found.append(Entry(key, self._items(following.indent), line.number, -1, -1))
        elif following is not None and following.indent > line.indent:
            self._mapping(f"{key}.", following.indent)
        else:
            self.found.append(Entry(key, None, line.number, -1, -1))

    def _items(self, indent: int) -> list[Any]:
        """A list of words; of mappings only that there are so many."""
        items: list[Any] = []
        while self.at < len(self.lines) and self.lines[self.at].indent == indent and self.lines[self.at].items:
            line = self.lines[self.at]
            if line.match["key"] is not None:
                column = indent + len(line.items)
                self.lines[self.at] = line._replace(indent=column, items="")
                outer, self.found = self.found, []
                self._mapping("", column)
                self.found = outer
                items.append({})
            elif line.match["scalar"] is None or len(line.items.split()) > 1:
                raise _NotPlain
            else:
                items.append(_value(line.match["scalar"]))
                self.at += 1
        if self.at < len(self.lines) and self.lines[self.at].indent > indent:
            raise _NotPlain
        return items


def _entry(key: str, line: _Line) -> Entry:
    match = line.match
    name = "scalar" if match["scalar"] is not None else "list" if match["list"] is not None else "empty"
    start, end = match.span(name)
    if name == "empty":
        value: Any = {}
    elif name == "list":
        value = [_value(word) for word in re.findall(ITEM, match["list"])]
    else:
        value = _value(match["scalar"])
    if value is None:
        return Entry(key, None, line.number, -1, -1)
    return Entry(key, value, line.number, line.start + start, line.start + end)


def _value(word: str) -> Any:
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
        raise _NotPlain
    return word
