"""The one gate for text that others wrote: logs, messages of exceptions, names of files.

What comes out is printable and one line, so nothing a library or a data row prints can move the cursor, set a title,
hide text by writing direction, or break a screen.
"""

from __future__ import annotations

import re

WIDTH = 2000
"""Characters a line keeps."""

TAB = 4

# ECMA-48: strings (OSC, DCS, SOS, PM, APC) up to their end or the line's, CSI sequences, then other escapes.
_SEQUENCES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)


def clean(line: str) -> str:
    """One printable line: no escape sequences, no control or invisible characters, what \\r overwrote left out."""
    if not line.isprintable():
        line = _SEQUENCES.sub("", line)
        line = next((part for part in reversed(line.split("\r")) if part.strip()), "")
        line = "".join(
            character if character.isprintable() else " " if character.isspace() else ""
            for character in line[: WIDTH * TAB].expandtabs(TAB)
        )
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
