"""A shell script to the words of its commands, as far as that can be told without running it."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from qltui.configs.foreign.json_keys import line_starts

OUTPUT = r"\$\((?:[^()]|\([^()]*\))*\)"
"""``$(command)``: what it prints isn't known."""
TOKEN = re.compile(
    rf"""(?P<join>\\\r?\n) | (?P<newline>\n) | (?P<space>[^\S\n]+) | (?P<comment>(?<!\S)\#[^\n]*)
      | (?P<redirection>\d*(?:>>|>&|&>|>|<<<|<)&?) | (?P<operator>;;|&&|\|\||[;&|()])
      | (?P<word>(?:'[^']*' | "(?:\\.|[^"\\])*" | {OUTPUT} | \$\{{[^}}]*\}} | \\[^\n] | [^\s'"\\;&|()<>])+)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
PIECE = re.compile(rf"""'([^']*)' | "((?:\\.|[^"\\])*)" | ({OUTPUT}) | \\(.) | (.)""", re.VERBOSE | re.DOTALL)
VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*|\d+)(?:\[[@*]\])?(?::?([-=])([^}]*))?\}|([A-Za-z_]\w*))")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=(.*)", re.DOTALL)
HEREDOC = re.compile(r"read\s[^\n]*?([A-Za-z_]\w*)\s*<<-?\s*(['\"]?)(\w+)\2\s*$")
"""``read -r -d '' NAME <<EOF``, by which scripts write a long command down before they run it."""
MAX_HEREDOCS = 20
MAX_ITEMS = 1000
"""Of an array of a script."""
MAX_WORD = 20_000
"""What a word may grow to by its variables."""
DECLARING = ("export", "local", "declare", "readonly", "set")
BEFORE = ("if", "then", "else", "elif", "do", "while", "time", "exec", "nohup", "eval", "sudo", "env", "!", "{")
"""Words that may stand before a command."""


class Word(NamedTuple):
    """A word of a command, variables filled in as far as the script sets them."""

    text: str
    line: int
    start: int
    end: int
    """Where it stands; ``start`` is negative where it came out of a variable, so that it can't be rewritten here."""


class Command(NamedTuple):
    words: list[Word]
    environment: dict[str, str]
    """What the script and the command set before it runs."""


def commands(text: str, first_line: int = 1, *, inside: bool = False) -> list[Command]:
    """Every simple command of a script, in the order they are written.

    ``inside`` for a script that is a word of another one: its words can't be rewritten.
    """
    found = _Script(text, first_line).read()
    if inside:
        return [one._replace(words=[word._replace(start=-1, end=-1) for word in one.words]) for one in found]
    return found


class _Script:
    def __init__(self, text: str, first_line: int) -> None:
        self.text, self.starts, self.first_line = text, line_starts(text), first_line
        self.tokens = [match for match in TOKEN.finditer(text) if match.lastgroup not in ("space", "join", "comment")]
        self.at = 0
        self.variables: dict[str, list[str]] = {}
        self.heredocs: dict[str, list[re.Match[str]]] = {}
        self.heredocs_left = MAX_HEREDOCS
        self.exported: set[str] = set()
        self.found: list[Command] = []

    def read(self) -> list[Command]:
        words: list[Word] = []
        assigned: dict[str, str] = {}
        while self.at < len(self.tokens):
            match = self.tokens[self.at]
            self.at += 1
            if match.lastgroup == "word":
                if not words and (assignment := ASSIGNMENT.fullmatch(match.group())):
                    self._assign(assignment, assigned)
                else:
                    words += self._expand(match)
                    if words and words[0].text in BEFORE:
                        words = words[1:]
                    elif words and words[0].text in DECLARING:
                        words = []
                        self._declare(assigned)
            elif match.lastgroup == "redirection":
                self.at += 1
            else:
                if match.lastgroup == "newline" and words and words[0].text == "read":
                    self._read_heredoc(words[0].start, match.start())
                self._end(words, assigned)
                words, assigned = [], {}
        self._end(words, assigned)
        return self.found

    def _end(self, words: list[Word], assigned: dict[str, str]) -> None:
        if words:
            shared = {name: " ".join(self.variables[name]) for name in self.exported if name in self.variables}
            self.found.append(Command(words, {**shared, **assigned}))
        else:
            self.variables.update({name: [value] for name, value in assigned.items() if name not in self.variables})

    def _read_heredoc(self, start: int, end: int) -> None:
        """Keep what ``read`` is given in the lines that follow, and go on behind it."""
        command = HEREDOC.match(self.text[start:end]) if start >= 0 and self.heredocs_left else None
        if command is None:
            return
        self.heredocs_left -= 1
        last = re.compile(rf"^\s*{command[3]}[^\S\n]*$", re.MULTILINE).search(self.text, end)
        if last is None:
            return
        inside = []
        while self.at < len(self.tokens) and self.tokens[self.at].start() < last.end():
            if self.tokens[self.at].end() <= last.start():
                inside.append(self.tokens[self.at])
            self.at += 1
        self.heredocs[command[1]] = [token for token in inside if token.lastgroup == "word"]

    def _declare(self, assigned: dict[str, str]) -> None:
        """Read the rest of an ``export NAME=value`` line."""
        while self.at < len(self.tokens) and self.tokens[self.at].lastgroup == "word":
            if assignment := ASSIGNMENT.fullmatch(self.tokens[self.at].group()):
                self.at += 1
                self._assign(assignment, assigned)
                self.exported.add(assignment[1])
            else:
                self.exported.add(self.tokens[self.at].group())
                self.at += 1

    def _assign(self, assignment: re.Match[str], assigned: dict[str, str]) -> None:
        """Set a variable: to a word, or to the words between parentheses."""
        name, value = assignment[1], assignment[2]
        following = self.tokens[self.at].group() if self.at < len(self.tokens) else ""
        if value == "" and following == "(":
            self.at += 1
            items: list[str] = []
            while self.at < len(self.tokens) and self.tokens[self.at].group() != ")":
                if self.tokens[self.at].lastgroup == "word":
                    items += [word.text for word in self._expand(self.tokens[self.at])]
                self.at += 1
            self.at += 1
            self.variables[name] = items
            return
        assigned[name] = " ".join(self._filled(self._plain(value)))
        self.variables[name] = [assigned[name]]

    def _expand(self, match: re.Match[str]) -> list[Word]:
        """The word or words that a token stands for."""
        raw = match.group()
        line = bisect_right(self.starts, match.start()) + self.first_line - 1
        whole = re.fullmatch(r'"?\$\{(\w+)\[[@*]\]\}"?', raw)
        if whole and whole[1] in self.variables:
            return [Word(item, line, -1, -1) for item in self.variables[whole[1]][:MAX_ITEMS]]
        named = re.fullmatch(r"\$\{?(\w+)\}?", raw)
        if named and named[1] in self.heredocs:
            return [word for token in self.heredocs.pop(named[1]) for word in self._expand(token)]
        plain = self._plain(raw)
        texts = self._filled(plain)
        if len(texts) == 1 and texts[0] == plain:
            return [Word(plain, line, match.start(), match.end())]
        split = texts if raw[:1] in "\"'" else [part for text in texts for part in _unquoted_split(text)]
        return [Word(part, line, -1, -1) for part in split]

    def _plain(self, raw: str) -> str:
        """Quotes and backslashes taken away; what is between single quotes keeps its dollars."""
        parts = []
        for single, double, command, escaped, other in PIECE.findall(raw):
            unescaped = re.sub(r'\\(["\\$`])', r"\1", double.replace("\\\n", ""))
            parts.append(single or unescaped or command or escaped or other)
        return "".join(parts)

    def _filled(self, text: str) -> list[str]:
        """A text with the script's own variables filled in; others stay as they stand."""

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[4]
            if name in self.variables:
                return " ".join(self.variables[name])
            return match[3] if match[2] else match[0]

        filled = VARIABLE.sub(value, text) if "$" in text else text
        return [filled if len(filled) <= MAX_WORD else text]


def _unquoted_split(text: str) -> list[str]:
    if "$(" in text or "`" in text:  # what a command prints isn't known
        return [text]
    return [re.sub(r"^(['\"])(.*)\1$", r"\2", part) for part in text.replace("\\\n", " ").split()]
