"""The one gate for text that others wrote: logs, messages of exceptions, names of files.

What comes out is printable and one line, so nothing a library or a data row prints can move the cursor, set a title,
hide text by writing direction, or break a screen.
"""

from __future__ import annotations

import re

WIDTH = 2000
"""Characters a line keeps."""

TAB = 4

MARKS = 4
"""Combining marks a character keeps: no script stacks more, and a flood of them paints over the lines around it."""

# ECMA-48: strings (OSC, DCS, SOS, PM, APC) up to their end or the line's, CSI sequences, then other escapes.
_SEQUENCES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)

# Printable to Python, but seen by nobody, or of a width on which terminals disagree: fillers and variation selectors.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def clean(line: str) -> str:
    """One printable line: no escape sequences, no control or invisible characters, what \\r overwrote left out."""
    if not line.isprintable():
        line = _SEQUENCES.sub("", line)
        line = next((part for part in reversed(line.split("\r")) if part.strip()), "")
        line = "".join(
            character if character.isprintable() else " " if character.isspace() else ""
            for character in line[: WIDTH * TAB].expandtabs(TAB)
        )
    if not line.isascii():
        line = _without_floods(_UNSEEN.sub("", line[: WIDTH * TAB * 2]))
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def clean_lines(text: str) -> str:
    """Text of several lines, each of them :func:`clean`."""
    return "\n".join(map(clean, text.split("\n")))


def _without_floods(line: str) -> str:
    """The line with at most ``MARKS`` marks after each character."""
    import unicodedata

    kept, marks = [], 0
    for character in line:
        is_mark = unicodedata.category(character) in ("Mn", "Me") or "\u1161" <= character <= "\u11ff"
        marks = marks + 1 if is_mark else 0
        if marks <= MARKS:
            kept.append(character)
    return "".join(kept)
