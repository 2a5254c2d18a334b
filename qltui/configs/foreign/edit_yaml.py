"""Keys into YAML text and out of it, everything else left as it stands: comments, order, indentation.

Works on mappings written as blocks, the way configurations are. What it makes of stranger texts is for its caller to
read again and to refuse.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class _Block(NamedTuple):
    """Lines of one key: its own, and those of what stands under it."""

    start: int
    end: int
    """After its last line that says something."""
    indent: int


def insert(text: str, key: str, value: str, after: tuple[str, ...] = ()) -> str | None:
    """The text with a dotted key that it lacks; sections it lacks are made.

    A new key of the top level stands after the first of ``after`` that is there, else at the end; any other at the end
    of its section. None where a section isn't written as a block or between braces.
    """
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if "\r\n" in text else "\n"
    *sections, _ = parts = key.split(".")
    section: _Block | None = None
    depth = 0
    for depth in range(len(sections), 0, -1):
        section = _find(lines, sections[:depth])
        if section is not None:
            break
    rest = parts[depth if section else 0 :]
    if section is None:
        anchor = next((block for name in after if (block := _find(lines, [name]))), None)
        return _put(lines, anchor.end if anchor else _last(lines), rest, _top(lines), value, newline)
    head = lines[section.start]
    beside = re.match(r"(\s*[^:]+:)[ ]*(.*?)[ ]*(?:#.*)?$", head.rstrip("\r\n"))
    held = beside[2] if beside else ""
    if held.startswith("{") and section.end == section.start + 1:
        inside = ", ".join(filter(None, [held[1 : held.rfind("}")].strip(), f"{rest[-1]}: {value}"]))
        if len(rest) > 1:
            return None
        lines[section.start] = head.replace(held, f"{{{inside}}}", 1)
        return "".join(lines)
    if held not in ("", "null", "~"):
        return None
    if held:
        lines[section.start] = head.replace(held, "", 1).replace(": \n", ":\n")
    first = next((line for line in lines[section.start + 1 : section.end] if _says(line)), None)
    indent = _indent(first) if first else section.indent + 2
    return _put(lines, section.end, rest, indent, value, newline)


def append(text: str, key: str, value: str) -> str:
    """The text with a key at its end whose dots are part of its name."""
    lines = text.splitlines(keepends=True)
    return _put(lines, _last(lines), [key], _top(lines), value, "\r\n" if "\r\n" in text else "\n")


def fill(text: str, key: str, value: str) -> str | None:
    """The text with a value beside a key that has none, or null, or a list below it."""
    lines = text.splitlines(keepends=True)
    block = _find(lines, key.split("."))
    if block is None:
        return None
    line = lines[block.start]
    match = re.match(r"(\s*[^:]+:)[ ]*(?:null|Null|NULL|~)?([ ]*#.*)?(\r?\n)?$", line)
    if match is None:
        return None
    lines[block.start : block.end] = [f"{match[1]} {value}{match[2] or ''}{match[3] or ''}"]
    return "".join(lines)


def remove(text: str, key: str) -> str | None:
    """The text without a key and what stands under it, nor a section left empty; None where it stands in braces."""
    lines = text.splitlines(keepends=True)
    block = _find(lines, key.split("."))
    if block is None:
        return None
    outer = key.rpartition(".")[0]
    around = _find(lines, outer.split(".")) if outer else None
    if around and not any(map(_says, [*lines[around.start + 1 : block.start], *lines[block.end : around.end]])):
        return remove(text, outer)
    del lines[block.start : block.end]
    return "".join(lines)


def _find(lines: list[str], path: list[str]) -> _Block | None:
    """Where a key stands that is reached through mappings written as blocks."""
    block = _Block(-1, len(lines), -1)
    for name in path:
        inner = _in(lines, block.start + 1, block.end, name)
        if inner is None:
            return None
        block = inner
    return block


def _in(lines: list[str], start: int, end: int, name: str) -> _Block | None:
    """A key among those that begin where the first line from ``start`` on does."""
    indent = next((_indent(line) for line in lines[start:end] if _says(line)), None)
    if indent is None:
        return None
    pattern = re.compile(rf" {{{indent}}}([\"']?){re.escape(name)}\1[ ]*:(?:\s|$)")
    for at in range(start, end):
        if pattern.match(lines[at]):
            return _Block(at, _end(lines, at, end, indent), indent)
    return None


def _end(lines: list[str], at: int, end: int, indent: int) -> int:
    """After the last line that belongs to the key in line ``at``; a list may stand as far left as its key."""
    last = at + 1
    for number in range(at + 1, end):
        line = lines[number]
        if not _says(line):
            continue
        if _indent(line) < indent or (_indent(line) == indent and not line[indent:].startswith(("- ", "-\n"))):
            break
        last = number + 1
    return last


def _put(lines: list[str], at: int, names: list[str], indent: int, value: str, newline: str) -> str:
    """The lines joined, with nested keys put before line ``at``."""
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += newline
    new = [f"{' ' * (indent + 2 * depth)}{name}:{newline}" for depth, name in enumerate(names[:-1])]
    new.append(f"{' ' * (indent + 2 * (len(names) - 1))}{names[-1]}: {value}{newline}")
    return "".join([*lines[:at], *new, *lines[at:]])


def _top(lines: list[str]) -> int:
    return next((_indent(line) for line in lines if _says(line) and line.strip() != "---"), 0)


def _last(lines: list[str]) -> int:
    """After the last line that says something."""
    return max((number for number, line in enumerate(lines, 1) if _says(line) and line.strip() != "..."), default=0)


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#") and line.strip() != "---"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
