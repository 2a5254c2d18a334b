"""Logs as nobody should write them, and what must be true of them on screen."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

from rich.cells import cell_len

from qltui.runs.logs import RunLogs, lines_before
from qltui.runs.sanitise import MARKS, WIDTH
from qltui.ui.widgets.log_rows import LogRows

PIECES = (
    b"\x1b[31m", b"\x1b[2J", b"\x1b[1A", b"\x1b]0;title\x07", b"\x1b]52;c;aGk=\x07", b"\x1b]8;;http://x\x1b\\",
    b"\x1bP", b"\x1b_", b"\x1b", b"\x1b[", b"\x9b31m", b"\xc2\x9b31m", b"\xc2\x9d0;t\xc2\x9c", b"\x07", b"\x08",
    b"\x00", b"\x7f", b"\r", b"\r\n", b"\n", b"\t", b"\x0b", b"\x0c", b"\xff", b"\xfe\x80", b"\xed\xa0\x80",
    "\u202e".encode(), "\u2066".encode(), "\u200b".encode(), "\u200d".encode(), "\u2028".encode(), "\u0085".encode(),
    "e\u0301".encode(), "\u0301".encode() * 50, "\u0489".encode() * 9, "\ufe0f".encode(), "\U000e0041".encode(),
    "\u1160".encode(), "\u3164".encode(), "\ufeff".encode(), "漢字".encode(), "👩‍💻".encode(), "🇩🇪".encode(),
    "नमस्ते".encode(), "שלום".encode(), b"[rank0]: ", b"[/path]", b"[bold]x[/bold]", b"[@click=app.quit]x[/]",
    b"Traceback (most recent call last):\n", b"  File 'x'\n", b"ValueError: no\n", b"x.py:1: UserWarning: y\n",
    b" 50%|#####     | 5/10 [00:01<00:01,  5.00it/s]", b"2026-11-22 10:00:00,123 ", b"{'loss': '1.0'}", b"a" * 300,
)  # fmt: skip


def nasty(chance: random.Random) -> bytes:
    """A log of a few lines; now and then a long one."""
    pieces = [chance.choice(PIECES) if chance.random() < 0.8 else chance.randbytes(chance.randint(1, 8))
              for _ in range(chance.randint(1, 12))]  # fmt: skip
    if chance.random() < 0.002:
        pieces.append(chance.choice(PIECES) * chance.randint(1, 5000))
    return b"".join(pieces)


def check(path: Path, log: bytes, width: int = 40) -> None:
    """Read the log forwards and back and lay it out, cut and wrapped: only printable text, in the width it has."""
    path.write_bytes(log)
    rows = LogRows()
    rows.width = width
    lines = RunLogs({0: str(path)}).read(2000)
    rows.add(lines)
    rows.put_before(lines_before(str(path), len(log)))
    for rows.wraps in (False, True):
        rows.lay_out()
        for row in rows.rows:
            beginning, text = rows.text(row)
            assert (beginning + text).isprintable(), text
            assert cell_len(beginning + text) <= max(width, len(beginning) + 10), text
    for line in lines:
        assert len(line.text) <= WIDTH
        assert 0 <= line.start <= line.end <= len(log) + 1
        marks = 0
        for character in line.text:
            marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
            assert marks <= MARKS
