"""Plain YAML read quickly means what the parser says it means, and all other YAML is left to the parser."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.samples import make_config

from engine.config import ConfigError, any_yaml, plain_yaml
from engine.config.reading import parse_yaml
from qltui.configs import presets
from qltui.configs.writing import run_yaml

SAMPLES = [path.read_text("utf-8") for path in sorted((Path(__file__).parent / "foreign").glob("*.yaml"))]
PRESETS = [presets.path(name).read_text("utf-8") for name in presets.bundled()]
SCALARS = [
    "1", "-1", "+1", "012", "0o7", "0x1f", "0b1", "1_0", "1.", "1.5", ".5", "1e3", "1e-4", "1.0e+5", "1e400", "1.2.3",
    ".inf", "-.inf", ".nan", "nan", "12:30:00", "2024-01-01", "~", "null", "Null", "NULL", "nUll", "true", "True",
    "TRUE", "yes", "off", "n", "=", "<<", "-", "--", "---", "...", "a b", "a: b", "a:b", "a :b", "a #b", "a#b", "#a",
    "a:", ":a", "'a'", '"a"', "'it''s'", '"\\n"', "'a' b", "!x a", "&a a", "*a", "|", ">", "@a", "`a", "%a", "?", "? a",
    "[]", "[a]", "[a, b]", "[a,b]", "[a, ]", "[, a]", "[1, 'b, c', true]", "[a: b]", "[a:b]", "[[a]]", "[a b, c]", "{}",
    "{a}", "{a: 1}", "[a", "a]", "a, b", "é", "a\u00a0b", "a\u3000b", "\u2028", "a\x01", "'\x7f'", "'\ufeff'", "'\x1c'",
    "'\ud800'", "/a/b", "~/a", "./a", "${A}/b", "<|x|>", "train[:5%]", "http://a:1/b?c=d#e", "C:\\a", "a'b", 'a"b',
    "a\tb", "(a)", "^a", "1 2", "1,2", "- a", "-a", "a -b", "0", "-0", "00", "08", "1e", "e1", "+", "+a", "1__0", "_1",
]  # fmt: skip
PLAIN = [
    "1", "-2", "0.5", "1e-4", "null", "true", "False", "off", "a b", "./a", "'a: b'", '"a # b"', "[a, 1]", "[]", "{}",
]  # fmt: skip
PLAIN_KEYS = [*"abcdefghij", "k.l", "m_n", "o-p", "Q", "_r", "é"]
KEYS = ["a", "b", "a.b", "a/b", "_a", "é", "null", "true", "y", "<<", "1", "'a'", "a b", "~", "a-b", "A1"]


SHAPES = [
    "null: 1", "true:/  a: 1", "a: 1/a: 2", "a:/  b: 1/  b: 2", "a:/  b: 1/a: 2", "a.b: 1/a:/  b: 2", " a: 1",
    " a: 1/ b: 2", " a: 1/b: 2", "a: 1/ b: 2", "a:/    b: 1/  c: 2", "a:/  b: 1/ c: 2", "a:/b", "a:/  b", "a: b/  c",
    "a: 'b/  c'", "a: [b,/  c]", "a: ' b '", "a: # b", "a:#b", "a: b#c", "a: [b]#c", "a: [b] #c", "a:/  # b/  c: 1",
    "- a", "- a: 1", "a: 1/- b", "a: 1/- b: 1", "a:/- b", "a:/- b/- c: 1/- d", "a:/ - b/- c", "a:/  - b/    - c",
    "a:/  - b/   - c", "a:/  - b/ - c", "a:/  - b/  c: 1", "a:/  b: 1/  - c", "a:/- b/  c", "a:/  - b: 1/    c: 2",
    "a:/-   b: 1/    c: 2", "a:/-   b: 1/  c: 2", "a:/- b:/    c: 1/  d: 2", "a:/- b:/  - c/- d", "a:/- b: 1/c: 2",
    "a:/- b:/    - c/    d: 1", "a:/- - b", "a:/-", "a:/-/  b: 1", "a:/- b: 1/   c: 2", "a:/  b:/  - c/  d:/- e",
    "---/a: 1", "--- # a/b: 1", "--- a", "---/---/a: 1", "a: 1/---/b: 2", "a: 1/...", "a: 1/.../b: 2", "# a", "",
    "/", "a",
]  # fmt: skip
"""A slash stands for the end of a line."""


def meant(read: Callable[[str, str], Any], text: str) -> Any:
    """What a text means, with types and the order of keys; where it means nothing, why."""
    try:
        return repr(read(text, "f.yaml"))
    except ConfigError as error:
        return error.problems


def same(text: str) -> None:
    assert meant(parse_yaml, text) == meant(any_yaml.parse, text)


WORDS = st.sampled_from(PLAIN * 30 + SCALARS)
TAILS = st.sampled_from([""] * 20 + [" ", " # b", "  # b: c", "#b", "\n", "\n# b"])


def block(depth: int, indent: int = 0) -> st.SearchStrategy[list[str]]:
    """Lines of a mapping, whose values are words, lists of words or of mappings, and mappings."""
    margin = " " * indent
    key = st.sampled_from(PLAIN_KEYS * 20 + KEYS)
    value = st.builds(lambda key, word, tail: [f"{margin}{key}: {word}{tail}"], key, WORDS, TAILS)
    words = st.lists(st.builds("{}- {}{}".format, st.sampled_from([margin, f"{margin}  "]), WORDS, TAILS), max_size=3)
    inner = [words]
    if depth:
        mapping = st.sampled_from([1, 2, 4]).flatmap(lambda step: block(depth - 1, indent + step))
        item = block(depth - 1, indent + 2).map(lambda lines: [f"{margin}- {lines[0][indent + 2 :]}", *lines[1:]])
        inner += [mapping, st.lists(item, min_size=1, max_size=2).map(lambda items: list(chain(*items)))]
    section = st.builds(lambda key, tail, lines: [f"{margin}{key}:{tail}", *lines], key, TAILS, st.one_of(inner))
    return st.lists(st.one_of(value, section), min_size=1, max_size=3).map(lambda parts: list(chain(*parts)))


HEADS = st.sampled_from([""] * 10 + ["---\n", "# a\n", "\n", "---\n---\n", "%YAML 1.2\n---\n", "\ufeff"])
TEXTS = st.builds(lambda head, lines: head + "\n".join(lines), HEADS, block(2))


@settings(max_examples=600, deadline=None)
@given(TEXTS)
def test_any_text_means_what_the_parser_says(text: str) -> None:
    same(text)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES + PRESETS), st.data())
def test_real_files_with_flaws_do_too(text: str, data: st.DataObject) -> None:
    lines = text.split("\n")
    first = data.draw(st.integers(0, len(lines) - 1))
    text = "\n".join(lines[first : first + data.draw(st.integers(1, 12))])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.one_of(st.sampled_from(SCALARS), st.characters())) + text[at:]
    same(text)


@pytest.mark.parametrize("text", [f"{before}{scalar}" for scalar in SCALARS for before in ("", "a: ", "a:\n- ")])
def test_every_kind_of_word(text: str) -> None:
    same(text)


@pytest.mark.parametrize("end", ["", "/", "/z: 1", "/  z: 1"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_shape(shape: str, end: str) -> None:
    same(f"{shape}{end}".replace("/", "\n"))


def test_run_files_are_read_without_the_parser(tmp_path: Path) -> None:
    for text in [run_yaml(make_config(tmp_path)), *PRESETS]:
        assert plain_yaml.read_value(text) == any_yaml.parse(text, "")


@pytest.mark.parametrize("text", ["50", "2.0e-4", "qlora", "[0, 1]", "null", "true", "./a b", "'x'"])
def test_so_is_what_is_typed(text: str) -> None:
    assert plain_yaml.read_value(text) == any_yaml.parse(text, "")


def test_a_leaf_has_its_place() -> None:
    text = "# note\na:\n  b: [x, y]  # z\n  c:\n  d: 'e'\nf:\n  - 1\n"
    leaves = plain_yaml.read_leaves(text)
    assert [(leaf.path, leaf.value, leaf.line) for leaf in leaves] == [
        (("a", "b"), ["x", "y"], 3), (("a", "c"), None, 4), (("a", "d"), "e", 5), (("f",), [1], 6),
    ]  # fmt: skip
    assert [text[leaf.start : leaf.end] for leaf in leaves if leaf.start >= 0] == ["[x, y]", "'e'"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: " + "[" * 5000, "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("model: &a [*a]\n", "unfolds to more than"),
        ("".join(" " * depth + "a:\n" for depth in range(60)), "unfolds to more than"),
        ("[" + "1," * 25_000 + "]", "unfolds to more than"),
        ("a: &0 {x: 1}\n" + "".join(f"a{i}: &{i} {{x: *{i - 1}, y: *{i - 1}}}\n" for i in range(1, 30)), "unfolds to"),
    ],
    ids=["brackets", "dashes", "endless", "levels", "values", "bomb"],
)  # fmt: skip
def test_more_than_any_configuration_holds_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_yaml(text, "run.yaml")
    assert str(caught.value).startswith("run.yaml: ")
