"""The quick way to read plain YAML gives what the real parser gives, or leaves the text to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qltui.configs.foreign.plain_yaml import read_plain
from qltui.configs.foreign.yaml_keys import read_yaml

SAMPLES = sorted((Path(__file__).parent / "foreign").glob("*.yaml"))
TEXTS = [path.read_text("utf-8") for path in SAMPLES]
SCRAPS = st.sampled_from(
    ["{", "}", "[", "]", ":", ": ", ",", '"', "'", "\n", "\n  ", "  ", "- ", "\n- ", "&a ", "*a", "<<: ", "!!x ",
     "null", "~", "1e3", ".5", "-", "#", " #", "\\", "\t", "é", "%", "|", ">", "?", "@", "`", "0x1f", "1_0", ".nan",
     "[1, 2]", "{}", "---\n", "...\n", "yes", "2024-01-01", "12:30:00", "=", "+1", "0o7", "012", "\r\n", "\u2028"]
)  # fmt: skip


def same(text: str) -> bool:
    """Whether the quick way reads it; if it does, as the real parser does."""
    entries = read_plain(text)
    if entries is None:
        return False
    tree = read_yaml(text, "x")
    assert (entries, tree.problems) == (tree.entries, [])
    return True


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_plain(path: Path) -> None:
    assert same(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n", "a: 1.5e-4\nb: 1e-4\n", "a: x # y\nb: 'c: d' # e\n", "a:\nb: ~\nc: null\n",
        "a: [x, 'y, z', 3]\n",
        "a:\n  - x\n  - 2\nb: 3\n", "a:\n- x: 1\n  y: 2\n- x: 3\nb: 4\n", "a:\n  b:\n    c: true\n  d: False\n",
        "a: {}\n",
        "---\na: b c d\n", "a: ${X}/b\nc: http://d:8/e\n", "a: 012\nb: +3\n", "a: <|end|>\n", "a: train[:5%]\n",
    ],
)  # fmt: skip
def test_what_is_plain(text: str) -> None:
    assert same(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n", "a: |\n  text\n", "a: b\n  c\n", "a: 1\na: 2\n", "a: {b: c}\n", "a: 0x1f\n", "a: 1_000\n",
        "a: .nan\n", "a: 2024-01-01\n", "a: !!int 3\n", "a: 1\n---\nb: 2\n", "- a\n", "text\n", "", "a: b: c\n",
        "<<: {a: 1}\n",
        "a: \"x\\n\"\n", "a:\n    b: 1\n  c: 2\n", "a: 1\n  b: 2\n", "a: [1\n  , 2]\n", "a:\n  - - 1\n", "a: 1\r\n",
        "a: " + "x" * 600 + "\n", "a: 'it''s'\n", "a: {{ b }}\n", "? a\n: b\n",
    ],
)  # fmt: skip
def test_what_is_left_to_the_parser(text: str) -> None:
    assert read_plain(text) is None


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_never_another_reading(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(TEXTS)).split("\n")
    first = data.draw(st.integers(0, len(lines) - 1))
    text = "\n".join(lines[first : first + data.draw(st.integers(1, 12))])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(SCRAPS) + text[at + data.draw(st.integers(0, 3)) :]
    same(text)


def test_a_second_document_is_not_read_over() -> None:
    assert read_plain("---\na: 1\n") is not None
    for text in ("---\n---\na: 1\n", "a: 1\n---\nb: 2\n"):
        assert read_plain(text) is None
        same(text)
