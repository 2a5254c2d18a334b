"""Foreign text: nothing but one printable line ever comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.nasty_logs import PIECES, check

from qltui.runs.sanitise import MARKS, WIDTH, clean

NASTY = st.text(
    st.one_of(st.characters(), st.sampled_from("\x1b\x9b\x9d\x90\x9c\x07\r\n\t[]();?0123mHJKP\\\u202e\u200b\u2028"))
)


@given(st.one_of(NASTY, st.binary().map(lambda raw: raw.decode("utf-8", "replace"))))
@example("\x1b[")
@example("\ud800")
@example("x" * (WIDTH * 3) + "\x1b[0m")
def test_only_printable_text_comes_out(line: str) -> None:
    out = clean(line)
    assert out.isprintable()
    assert len(out) <= WIDTH
    assert clean(out) == out


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=WIDTH))
def test_printable_text_is_left_alone(line: str) -> None:
    assert clean(line) == line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\x1b[1;31mred\x1b[0m text", "red text"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        (" 10%|#\r 50%|#####\r100%|##########\r", "100%|##########"),
        ("Windows line\r", "Windows line"),
        ("a\tb", "a   b"),
        ("no\u00a0break", "no break"),
        ("\u202egnp.exe", "gnp.exe"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
        ("copy\x1b]52;c;aGk=\x07this", "copythis"),
        ("a\x00b\x7fc", "abc"),
        ("e" + "\u0301" * 50 + "x", "e" + "\u0301" * MARKS + "x"),
        ("\u2764\ufe0f \u3164fill", "\u2764 fill"),
        ("नमस्ते שלום 漢字", "नमस्ते שלום 漢字"),
    ],
)
def test_what_programs_print(line: str, expected: str) -> None:
    assert clean(line) == expected


def test_a_long_line_says_that_it_was_cut() -> None:
    assert clean("x" * 5000) == "x" * (WIDTH - 1) + "…"


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=12).map(b"".join))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example(b"x" * 1_000_000 + b"\x1b[2J\n")
@example(b"\x1b]52;c;" + b"A" * 1_000_000)
@example(b"\r" * 300_000 + b"\x00end")
@example(b"e" + "\u0301".encode() * 100_000)
def test_whatever_a_log_holds_rows_are_printable_and_fit(tmp_path: Path, log: bytes) -> None:
    """A million more were tried once: ``tests/fuzz_logs.py``."""
    check(tmp_path / "rank0.log", log)
