"""Foreign text: nothing but one printable line ever comes out."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qltui.runs.sanitise import WIDTH, clean

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
    ],
)
def test_what_programs_print(line: str, expected: str) -> None:
    assert clean(line) == expected


def test_a_long_line_says_that_it_was_cut() -> None:
    assert clean("x" * 5000) == "x" * (WIDTH - 1) + "…"
