"""Frames sent in fewer bytes show the same picture."""

from __future__ import annotations

import random

from support.painted import Painted

from qltui.ui.frames import thinned

STYLES = (
    "1",
    "38;2;1;2;3",
    "38;2;4;5;6;48;2;7;8;9",
    "1;38;2;1;2;3;48;2;7;8;9",
    "48;2;7;8;9",
    "3;4;31",
    "38;5;9;44",
    "7",
)


def frame(chance: random.Random) -> str:
    """As Textual writes one: pieces between their style and a reset, and moves of the cursor."""
    pieces = []
    for _ in range(40):
        if chance.random() < 0.4:
            pieces.append(f"\x1b[{chance.randint(1, 6)};{chance.randint(1, 30)}H")
        text = "".join(chance.choice("ab ─⣿") for _ in range(chance.randint(1, 6)))
        pieces.append(text if chance.random() < 0.2 else f"\x1b[{chance.choice(STYLES)}m{text}\x1b[0m")
    return "".join(pieces)


def painted(*frames: str) -> list[list[tuple[str, str]]]:
    screen = Painted(60, 6)
    for one in frames:
        screen.feed(one.encode())
    return screen.cells


def test_what_is_shown_is_the_same_in_fewer_bytes() -> None:
    chance = random.Random(3)
    for _ in range(200):
        frames = [frame(chance), frame(chance)]
        assert painted(*map(thinned, frames)) == painted(*frames)
        assert all(len(thinned(one)) < len(one) for one in frames)


def test_the_terminal_has_its_own_style_after_a_frame() -> None:
    assert thinned("\x1b[1mbold\x1b[0m").endswith("\x1b[0m")
    assert painted(thinned("\x1b[1;7mbold\x1b[0m"), "plain")[0][4] == ("p", "")


def test_a_style_that_goes_on_is_said_once() -> None:
    assert thinned("\x1b[38;2;1;2;3;48;2;4;5;6ma\x1b[0m\x1b[48;2;4;5;6mb\x1b[0m") == (
        "\x1b[38;2;1;2;3;48;2;4;5;6ma\x1b[39mb\x1b[0m"
    )
    assert thinned("\x1b[1ma\x1b[0m\x1b[1mb\x1b[0m") == "\x1b[1mab\x1b[0m"


def test_what_is_no_style_goes_through_as_it_is() -> None:
    for text in ("plain", "\x1b[?2026h", "\x1b]0;title\x07", "\x1b[?1049h\x1b[?25l"):
        assert thinned(text) == text
    assert thinned("\x1b[99ma\x1b[0m\x1b[38;9mb\x1b[0m") == "\x1b[0;99ma\x1b[0;38;9mb\x1b[0m"
