"""Broken, hostile and unknown files: one clear line naming file, line and key, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config.reading import MAX_FILE_BYTES
from qltui.configs.foreign.files import read_content, read_file
from qltui.configs.foreign.keys import Unreadable
from qltui.configs.foreign.reading import Format, Reading
from qltui.configs.foreign.together import read

SAMPLES = Path(__file__).parent / "foreign"
BOMB = 'a: &a ["x","x","x","x","x","x","x","x","x"]\n' + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("a.yaml", b"", "", "is empty."),
        ("a.yaml", b"# nothing but words\n", ":1", "is empty."),
        ("a.yaml", b"- a\n- b\n", ":1", "holds a list where a mapping"),
        ("a.yaml", b"some text\n", ":1", "holds text where a mapping"),
        ("a.yaml", b"base_model: x\nsequence_len: [1\n", ":3", "is not valid YAML"),
        ("a.yaml", b"base_model: x\n\tsequence_len: 1\n", ":2", "is not valid YAML"),
        ("a.yaml", b"a: 1\n---\nb: 2\n", ":2", "is not valid YAML: but found another document."),
        ("a.yaml", b"{% if x %}\na: 1\n{% endif %}\n", ":1", "is a template"),
        ("a.yaml", b"a: 1\n{% if x %}\n", ":2", "Fill in its template first."),
        ("a.yaml", b"\x89PNG\r\n\x1a\n\x00\x00", "", "is a binary file"),
        ("a.yaml", b"base_model: x\nname: caf\xe9\n", ":2", "is not UTF-8 text."),
        ("a.yaml", b"a" * (MAX_FILE_BYTES + 1), "", "is too big for a configuration"),
        ("a.yaml", BOMB.encode(), ":1", "unfolds to more than 20000 values"),
        ("a.yaml", b"base_model: x\nsequence_len: &a [*a]\n", ":2", "unfolds to more than"),
        ("a.yaml", b"base_model: &a {b: *a}\n", ":1", "unfolds to more than"),
        ("a.yaml", b"a: " + b"[" * 5000 + b"]" * 5000, ":1", "is nested too deeply"),
        ("a.yaml", b"jobs:\n  build: {}\n", "", "is of no known format: it has jobs."),
        ("a.json", b'{"a":' * 500 + b"1" + b"}" * 500, ":1", "is nested more than 40 levels deep."),
        ("a.json", b"[1, 2]", ":1", "holds a list where an object"),
        ("a.json", b"3", ":1", "holds a single value where an object"),
        ("a.json", b"{}", "", "has no keys."),
        ("a.json", b'{\n"zero_optimization": {\n"stage": 3', ":3", "the end of the file stands where a comma or }"),
        ("a.json", b'{\n"train_micro_batch_size_per_gpu": SIZE}', ":2", "SIZE stands where a value should."),
        ("a.json", b'{\n"train_batch_size" 8}', ":2", '"train_batch_size" has no colon.'),
        ("a.json", b'{"train_batch_size": 8\n"fp16": {}}', ":2", "stands where a comma or } should."),
        ("a.json", b'{"train_batch_size": 8} x', ":1", "x stands after its end."),
        ("a.json", b"{train_batch_size: 8}", ":1", "train_batch_size stands where a key in quotes should."),
        ("a.sh", b"#!/bin/bash\nmake all\n", "", "starts no training that is known."),
    ],
)
def test_unreadable(tmp_path: Path, name: str, content: bytes, line: str, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    reading = read_file(path)
    assert (reading.format, reading.values) == (None, {})
    (problem,) = reading.problems
    assert problem.where == f"{path}{line}"
    assert message in str(problem)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "there is no such file" in str(read([tmp_path / "none.yaml"])[0].problems[0])
    assert "is a folder" in str(read_file(tmp_path).problems[0])


@pytest.mark.parametrize(
    ("lines", "line", "key", "message"),
    [
        ("micro_batch_size: many", 3, "micro_batch_size", "is not a whole number (given: 'many')."),
        ("micro_batch_size: 1.5", 3, "micro_batch_size", "is not a whole number (given: 1.5)."),
        ("micro_batch_size: [1]", 3, "micro_batch_size", "is not a whole number (given: list)."),
        ("micro_batch_size: .inf", 3, "micro_batch_size", "is not a whole number"),
        ("micro_batch_size: .nan", 3, "micro_batch_size", "is not a whole number"),
        ("micro_batch_size: true", 3, "micro_batch_size", "is not a whole number (given: True)."),
        ("learning_rate: fast", 3, "learning_rate", "is not a number"),
        ("sample_packing: maybe", 3, "sample_packing", "is neither true nor false"),
        ("optimizer: {name: adamw}\nadapter: [lora]", 4, "adapter", "is not a single word"),
        ("seed: 1\nseed: 2", 4, "seed", "is given twice, first in line 3; the last one was read. Keep one."),
    ],
)
def test_wrong_values(tmp_path: Path, lines: str, line: int, key: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"base_model: m\nsequence_len: 8\n{lines}\n")
    reading = read_file(path)
    assert reading.format is Format.AXOLOTL
    assert reading.values["max_length"] == 8
    (problem,) = reading.problems
    assert (problem.where, problem.field) == (f"{path}:{line}", key)
    assert message in str(problem)


def test_the_same_said_twice_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("distributed_type: MULTI_GPU\ndebug: false\nnum_processes: 2\ndebug: false\n")
    assert read_file(path).problems == []


@pytest.mark.parametrize("value", ["${LENGTH}", "$LENGTH", "'{{ length }}'", "{{ length }}", "<your length>"])
def test_values_filled_in_elsewhere_are_unknown(tmp_path: Path, value: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"base_model: m\nmicro_batch_size: 2\nsequence_len: {value}\nsample_packing: true\n")
    reading = read_file(path)
    assert "max_length" not in reading.values and reading.values["batch_size"] == 2
    assert reading.problems == []
    assert str(reading.notes[0]).startswith(f"{path}:3: sequence_len: is filled in elsewhere")


def test_json_with_comments_and_commas(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text(
        '{\n  // ours\n  "zero_optimization": {"stage": 2,}, /* two\nlines */\n  # third\n'
        '  "gradient_accumulation_steps": 4, "train_batch_size": "//8"\n}\n'
    )
    reading = read_file(path)
    assert reading.values["strategy"] == "zero2"
    assert reading.places["gradient_accumulation_steps"].line == 6
    assert [note.where for note in reading.loose] == [f"{path}:2", f"{path}:3"]
    assert "train_batch_size: is not a whole number (given: '//8')" in str(reading.problems[0])


def test_merged_keys_stand_below_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base: &b {micro_batch_size: 4, seed: 7}\nbase_model: m\nsequence_len: 8\n<<: *b\nseed: 3\n")
    values = read_file(path).values
    assert (values["batch_size"], values["seed"]) == (4, 3)


def test_tags_make_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base_model: !!python/object/apply:os.system [touch /tmp/x]\nsequence_len: !!int 8\nseed: !own 3\n")
    reading = read_file(path)
    assert reading.values["max_length"] == 8
    assert "is not a single word" in str(reading.problems[0])


TEXTS = [path.read_text("utf-8") for path in sorted(SAMPLES.iterdir())]
SCRAPS = st.sampled_from(
    ["{", "}", "[", "]", ":", ",", '"', "'", "\n", "\n- ", "&a ", "*a", "<<: *a\n", "!!set ", "null", "{{ x }}",
     "${X}", "$(", "1e999", "-", "#", "//", "/*", "\\", "\t", "\x07", "é", "|", ">", "@", "`", "0x1f", ".nan",
     "---\n", ";"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_text_breaks_the_readers(data: st.DataObject) -> None:
    """A sample with scraps put in and pieces taken out is read or refused, whichever."""
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(SCRAPS) + text[at + data.draw(st.integers(0, 20)) :]
    for name in ("a.yaml", "a.json", "a.sh", "a"):
        reading = Reading(name, None)
        try:
            read_content(reading, text)
        except Unreadable as error:
            assert error.message
        else:
            assert reading.format is not None
