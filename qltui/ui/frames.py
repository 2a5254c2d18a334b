"""The same picture in fewer bytes: of what Textual writes for each piece of text only what changes the style.

Textual puts each piece between its whole style and a reset, some 40 bytes. Most of that the terminal has already.
"""

from __future__ import annotations

import re
from functools import lru_cache

STYLE = re.compile(r"\x1b\[([0-9;]*)m")
MOVES = re.compile(r"(?:\x1b\[\d+;\d+H|\r?\n)+")
LAST_MOVE = re.compile(r"\x1b\[\d+;\d+H\Z")
RESET = "\x1b[0m"


def thinned(frame: str) -> str:
    """What a terminal in its own style needs to be sent for it to show the frame, and to be in its own style again."""
    pieces = STYLE.split(frame)
    if len(pieces) == 1:
        return frame
    out: list[str] = []
    has = wanted = ""
    for place, piece in enumerate(pieces):
        if place % 2:
            wanted = "" if piece in ("", "0") else f"{wanted};{piece}" if wanted else piece
        elif piece:
            if MOVES.fullmatch(piece):  # takes no style; what comes last says where the cursor is
                last = LAST_MOVE.search(piece)
                out.append(last[0] if last else piece)
                continue
            if wanted != has:
                out.append(change(has, wanted))
                has = wanted
            out.append(piece)
    if has:
        out.append(RESET)
    return "".join(out)


@lru_cache(maxsize=4096)
def change(has: str, wanted: str) -> str:
    """What makes one style another."""
    before, after = _parts(has), _parts(wanted)
    if not wanted:
        return RESET
    if before is None or after is None or not before[2] <= after[2]:
        return f"\x1b[0;{wanted}m"
    codes = [
        new or default for old, new, default in zip(before[:2], after[:2], ("39", "49"), strict=True) if new != old
    ]
    codes += sorted(after[2] - before[2])
    change = f"\x1b[{';'.join(codes)}m" if codes else ""
    whole = f"\x1b[0;{wanted}m"
    return change if len(change) <= len(whole) else whole


def _parts(style: str) -> tuple[str, str, frozenset[str]] | None:
    """Foreground, background and the rest of a style; None if there is a code in it that is not known."""
    foreground = background = ""
    rest = set()
    codes = iter(style.split(";") if style else ())
    for code in codes:
        if code in ("38", "48"):
            kind = next(codes, "")
            count = {"5": 1, "2": 3}.get(kind)
            if count is None:
                return None
            colour = ";".join([code, kind, *(next(codes, "") for _ in range(count))])
            if code == "38":
                foreground = colour
            else:
                background = colour
        elif not code.isdigit():
            return None
        elif 30 <= int(code) <= 39 or 90 <= int(code) <= 97:
            foreground = code
        elif 40 <= int(code) <= 49 or 100 <= int(code) <= 107:
            background = code
        elif 1 <= int(code) <= 9:
            rest.add(code)
        else:
            return None
    return foreground, background, frozenset(rest)
