"""JSON text to keys with places; comments and trailing commas are read over and noted, and taken out if asked."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from itertools import pairwise
from typing import Any

from engine.config.schema import Problem
from qltui.configs.foreign.keys import Entry, Tree, Unreadable

TOKEN = re.compile(
    r"""(?P<space>\s+) | (?P<comment>//[^\n]*|\#[^\n]*|/\*.*?\*/) | (?P<text>"(?:[^"\\\n]|\\.)*")
      | (?P<number>-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?) | (?P<word>[A-Za-z_]\w*) | (?P<mark>[{}\[\],:]) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
SPELT = {"True": "true", "False": "false", "None": "null"}
"""Constants of Python as JSON has them."""
MAX_DEPTH = 40


def line_starts(text: str) -> list[int]:
    """Where each line begins."""
    return [0, *(match.end() for match in re.finditer("\n", text))]


def read_json(text: str, where: str) -> Tree:
    """The keys of a JSON file.

    Raises:
        Unreadable: it is no JSON or no object; with the line.
    """
    return _Reader(text, where).tree()


def strict(text: str) -> str:
    """The text of a readable JSON file as every parser takes it: no comments, no comma after the last value."""
    tokens = list(TOKEN.finditer(text))
    meant = [place for place, token in enumerate(tokens) if token.lastgroup not in ("space", "comment")]
    needless = {one for one, after in pairwise(meant) if tokens[one][0] == "," and tokens[after][0] in ("}", "]")}
    parts: list[str] = []
    has_line = True
    """Whether something is left of the line that a comment stood in."""
    for place, token in enumerate(tokens):
        kind, word = token.lastgroup, token[0]
        if kind == "comment":
            before = parts.pop().rstrip(" \t") if parts else ""
            parts += [before] if before else []
            has_line = bool(parts) and not parts[-1].endswith("\n")
            parts += ["\r"] if has_line and word.endswith("\r") else []
        elif kind == "space" and not has_line:
            parts.append(word.partition("\n")[2])
            has_line = True
        elif place not in needless:
            parts.append(SPELT.get(word, word) if kind == "word" else word)
    return "".join(parts)


class _Reader:
    """A recursive descent over tokens that knows where each begins."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.starts = line_starts(text)
        self.result = Tree([], [], [], [])
        self.at = 0
        comments = []
        self.tokens: list[tuple[str, str, int, int]] = []
        for match in TOKEN.finditer(text):
            kind = str(match.lastgroup)
            if kind == "comment":
                comments.append(self._line(match.start()))
            elif kind != "space":
                self.tokens.append((kind, match.group(), match.start(), match.end()))
        self.tokens.append(("end", "the end of the file", len(text), len(text)))
        if comments:
            self._strict(comments[0], "has comments")

    def tree(self) -> Tree:
        kind, value, start, _ = self.tokens[0]
        if kind == "end":
            raise Unreadable(1, "is empty.")
        if value != "{":
            what = "a list" if value == "[" else "a single value" if kind != "other" else "no JSON"
            raise Unreadable(self._line(start), f"holds {what} where an object of keys to values should stand.")
        self._object("", 0)
        kind, value, start, _ = self.tokens[self.at]
        if kind != "end":
            raise Unreadable(self._line(start), f"is not valid JSON: {value} stands after its end.")
        return self.result

    def _object(self, prefix: str, depth: int) -> None:
        """Enter what an object holds; the token at hand is its brace."""
        self._deep(depth)
        self.at += 1
        seen: dict[str, tuple[int, Any]] = {}
        while self.tokens[self.at][1] != "}":
            kind, word, start, _ = self.tokens[self.at]
            line = self._line(start)
            if kind != "text":
                raise Unreadable(line, f"is not valid JSON: {word} stands where a key in quotes should.")
            key = f"{prefix}{_unquoted(word)}"
            self.at += 1
            if self.tokens[self.at][1] != ":":
                raise Unreadable(line, f"is not valid JSON: {word} has no colon.")
            self.at += 1
            first = self.tokens[self.at]
            filled = first[1] == "{" and self.tokens[self.at + 1][1] != "}"
            if filled:
                self._object(f"{key}.", depth + 1)
                value: Any = first[2]
            else:
                value = self._value(depth + 1)
                self.result.entries.append(Entry(key, value, line, first[2], self.tokens[self.at - 1][3]))
            if key in seen and seen[key][1] != value:
                message = f"is given twice, first in line {seen[key][0]}; the last one was read."
                self.result.problems.append(Problem(f"{self.where}:{line}", key, message, "Keep one."))
            seen[key] = (line, value)
            self._comma("}")
        self.at += 1

    def _value(self, depth: int) -> Any:
        self._deep(depth)
        kind, word, start, _ = self.tokens[self.at]
        if word == "{":
            self.at += 1
            if self.tokens[self.at][1] == "}":
                self.at += 1
                return {}
            self.at -= 1
            inner = _Nested(self)
            inner._object("", depth)
            self.at = inner.at
            return {entry.key: entry.value for entry in inner.result.entries}
        if word == "[":
            self.at += 1
            items = []
            while self.tokens[self.at][1] != "]":
                items.append(self._value(depth + 1))
                self._comma("]")
            self.at += 1
            return items
        self.at += 1
        if kind == "text":
            return _unquoted(word)
        if kind == "number":
            return float(word) if re.search(r"[.eE]", word) else int(word)
        if kind == "word" and word in CONSTANTS:
            if word[0].isupper():
                self._strict(self._line(start), f"spells a constant {word}")
            return CONSTANTS[word]
        raise Unreadable(self._line(start), f"is not valid JSON: {word} stands where a value should.")

    def _comma(self, closing: str) -> None:
        kind, word, start, _ = self.tokens[self.at]
        if word == "," and kind == "mark":
            self.at += 1
            if self.tokens[self.at][1] == closing:
                self._strict(self._line(start), "has a comma after the last value")
        elif word != closing:
            raise Unreadable(self._line(start), f"is not valid JSON: {word} stands where a comma or {closing} should.")

    def _strict(self, line: int, what: str) -> None:
        """Note what is no JSON, though it can be read."""
        message = f"{what}: DeepSpeed itself reads it, Accelerate and Transformers refuse it."
        self.result.loose.append(Problem(f"{self.where}:{line}", "", message, "Take it out."))

    def _deep(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Unreadable(self._line(self.tokens[self.at][2]), f"is nested more than {MAX_DEPTH} levels deep.")

    def _line(self, position: int) -> int:
        return bisect_right(self.starts, position)


class _Nested(_Reader):
    """Reads an object inside a list with its own entries."""

    def __init__(self, outer: _Reader) -> None:
        self.where, self.starts, self.at, self.tokens = outer.where, outer.starts, outer.at, outer.tokens
        self.result = Tree([], outer.result.problems, outer.result.notes, outer.result.loose)


def _unquoted(word: str) -> str:
    try:
        return str(json.loads(word))
    except ValueError:
        return word[1:-1]
