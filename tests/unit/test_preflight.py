"""What is refused before a launch: each flaw gives one problem that names the place, the field and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from support.samples import GOOD_ROW, make_config, only, safetensors_bytes, write_model, write_rows

from engine.config import Problem
from engine.config.reading import read
from qltui.configs import preflight


def test_a_good_configuration_has_no_problem(tmp_path: Path) -> None:
    assert preflight.check(make_config(tmp_path)) == []


# Model


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("config.json", "it has no config.json"),
        ("model.safetensors", "holds no weights"),
        ("tokenizer.json", "holds no tokenizer"),
    ],
)
def test_a_model_folder_that_lacks_something(tmp_path: Path, lost: str, message: str) -> None:
    config = make_config(tmp_path)
    (tmp_path / "model" / lost).unlink()
    problem = only(preflight.check(config))
    assert (problem.where, problem.field) == (str(tmp_path / "model"), "model.path")
    assert message in problem.message and problem.remedy


def test_another_tokenizer_is_looked_at_instead(tmp_path: Path) -> None:
    other = write_model(tmp_path / "other")
    config = make_config(tmp_path, **{"model.tokenizer": str(other)})
    (tmp_path / "model" / "tokenizer.json").unlink()
    assert preflight.check(config) == []
    (other / "tokenizer.json").unlink()
    assert only(preflight.check(config)).field == "model.tokenizer"


def test_sharded_weights_must_all_be_there(tmp_path: Path) -> None:
    shards = ("model-1.safetensors", "model-2.safetensors")
    model = write_model(tmp_path / "model", shards)
    write_rows(tmp_path / "data.jsonl", GOOD_ROW)
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert preflight.check(make_config(tmp_path)) == []
    (model / shards[1]).unlink()
    assert (
        "1 of 2 weight files are missing: model-2.safetensors" in only(preflight.check(make_config(tmp_path))).message
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "Git LFS pointer"),
        (safetensors_bytes()[:-3], "is cut short"),
        (safetensors_bytes()[:20], "no complete safetensors file"),
        (b"\x08\0\0\0\0\0\0\0not json", "no valid safetensors file"),
        (b"\xff" * 64, "no complete safetensors file"),
    ],
)
def test_weights_that_were_not_fetched_whole(tmp_path: Path, content: bytes, message: str) -> None:
    config = make_config(tmp_path)
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(content)
    problem = only(preflight.check(config))
    assert problem.where == str(weights)
    assert message in problem.message


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    (tmp_path / "model" / "config.json").unlink()
    (tmp_path / "model" / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    problem = only(preflight.check(config))
    assert "is a LoRA adapter" in problem.message
    assert "org/base" in problem.remedy


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_model_config_that_says_nothing(tmp_path: Path, content: str) -> None:
    config = make_config(tmp_path)
    (tmp_path / "model" / "config.json").write_text(content)
    assert only(preflight.check(config)).where == str(tmp_path / "model" / "config.json")


# Paths and hub ids


@pytest.mark.parametrize("name", ["./no", "~/no/model", "/no/model", "a/b/c", "model.gguf", "a model", "org/"])
def test_a_mistyped_model_path(tmp_path: Path, name: str) -> None:
    problem = only(preflight.check(make_config(tmp_path, **{"model.path": name})))
    assert problem.field == "model.path"
    assert "there is no such folder" in problem.message


@pytest.mark.parametrize("field", ["data.path", "data.eval_path"])
@pytest.mark.parametrize("name", ["rows.jsonl", "my/rows.csv", "./rows", "/no/rows.parquet", "rows.JSON"])
def test_a_mistyped_data_path(tmp_path: Path, field: str, name: str) -> None:
    problem = only(preflight.check(make_config(tmp_path, **{field: name})))
    assert problem.field == field
    assert "there is no such file" in problem.message


def test_hub_ids_are_accepted_unless_offline_and_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    config = make_config(tmp_path, **{"model.path": "org/Model-1.5B", "data.path": "org/rows"})
    assert preflight.check(config) == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [problem.field for problem in preflight.check(config)] == ["model.path", "data.path"]
    (tmp_path / "hub" / "models--org--Model-1.5B" / "snapshots" / "abc").mkdir(parents=True)
    (tmp_path / "hub" / "models--org--Model-1.5B" / "snapshots" / "abc" / "config.json").touch()
    (tmp_path / "datasets" / "org___rows").mkdir(parents=True)
    assert preflight.check(config) == []


# Data


def data_problem(folder: Path, name: str, content: str | bytes, **values: Any) -> Problem:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return only(preflight.check(make_config(folder, **{"data.path": str(file), **values})))


@pytest.mark.parametrize(
    ("name", "content", "place", "message"),
    [
        ("d.jsonl", "", "", "is empty"),
        ("d.jsonl", "\n \n", "", "has no rows"),
        ("d.json", "[]", "", "has no rows"),
        ("d.csv", "prompt,completion\n", "", "has no rows"),
        ("d.txt", "hello", "", "'.txt' says no format"),
        ("data", "hello", "", "no ending"),
        ("d.jsonl", '{"text": "a"}\n{"text": "b"\n', ":2", "line 2 is not valid JSON"),
        ("d.jsonl", '{"text": "a"}\n\n"b"\n', ":3", "row 2 is text"),
        ("d.jsonl", '{"text": "a"}\n\n{"body": "b"}\n', ":3", "row 2 has no 'text'"),
        ("d.jsonl", '{"text": "a"}\n{"text": 5}\n{"text": ""}\n', ":2", "row 2 'text' is int, not text, and 1 more"),
        ("d.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', ":2", "is not UTF-8"),
        ("d.json", '[{"text": "a"}, {"txt": "b"}]', "", "row 2 has no 'text'"),
        ("d.json", '[{"text": "a"},\n {"text": "b"},\n {"text": }]', ":3", "line 3 is not valid JSON"),
        ("d.json", '[{"text": "a"}\n {"text": "b"}]', ":2", "',' or ']' is missing"),
        ("d.json", '[{"text": "a"}, 3]', "", "row 2 is a single value"),
        ("d.csv", "prompt,completion\na,b\nc,\n", ":3", "row 2 'completion' is empty"),
        ("d.csv", "prompt,completion\na,b\nc\n", ":3", "row 2 has no 'completion'"),
        ("d.csv", "prompt,completion\na,b,c\n", ":2", "row 1 has 3 values for 2 columns"),
        ("d.tsv", "prompt\tcompletion\na\tb\tc\n", ":2", "row 1 has 3 values for 2 columns"),
        ("d.parquet", "PAR1 no", "", "is no readable Parquet file"),
        ("d.jsonl", '{"messages": []}\n', ":1", "'messages' is empty"),
        ("d.jsonl", '{"messages": [{"role": "user", "content": "a"}]}\n', ":1", "no answer by the assistant"),
        ("d.jsonl", '{"conversations": [{"from": "bot", "value": "a"}]}\n', ":1", "is by 'bot'"),
    ],
)
def test_flawed_data(tmp_path: Path, name: str, content: str | bytes, place: str, message: str) -> None:
    problem = data_problem(tmp_path, name, content)
    assert problem.where == f"{tmp_path / name}{place}"
    assert problem.field == "data.path"
    assert message in problem.message
    assert problem.remedy


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.jsonl", b'\xef\xbb\xbf{"text": "a"}\n\n{"text": "b", "more": 1}'),
        ("d.json", b'[\n{"text": "a"},\n{"text": "b"}\n]\n'),
        ("d.json", b'{\n"text": "one row over several lines"\n}'),
        ("d.json", b'{"text": "a"}\n{"text": "b"}\n'),
        ("d.ndjson", b'{"instruction": "a", "input": "", "output": "b"}\r\n'),
        ("d.csv", b'\xef\xbb\xbfprompt,completion\n"several\nlines, quoted",b\n'),
        ("d.TSV", b"prompt\tcompletion\na, b\tc\n"),
        ("d.jsonl", b'{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}\n'),
    ],
)
def test_good_data(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert preflight.check(make_config(tmp_path, **{"data.path": str(tmp_path / name)})) == []


def test_evaluation_data_is_checked_as_well(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "eval.jsonl", GOOD_ROW, {"prompt": "a"})
    problem = only(preflight.check(make_config(tmp_path, **{"data.eval_path": str(rows)})))
    assert (problem.where, problem.field) == (f"{rows}:2", "data.eval_path")


def test_columns_that_fit_no_format_are_named_with_those_that_would(tmp_path: Path) -> None:
    problem = data_problem(tmp_path, "d.csv", "question,answer\na,b\n")
    assert "question, answer" in problem.message
    assert "prompt + completion" in problem.remedy


def test_columns_of_other_names_can_be_mapped(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "d.jsonl", {"question": "a", "answer": "b"}, {"question": "a"})
    columns = {"prompt": "question", "completion": "answer"}
    problem = only(preflight.check(make_config(tmp_path, **{"data.path": str(rows), "data.columns": columns})))
    assert "row 2 has no 'answer'" in problem.message
    columns = {"prompt": "question", "reply": "answer"}
    values = {"data.path": str(rows), "data.columns": columns, "data.format": "prompt_completion"}
    assert only(preflight.check(make_config(tmp_path, **values))).field == "data.columns"


def test_a_format_that_was_named_is_what_rows_must_have(tmp_path: Path) -> None:
    problem = data_problem(tmp_path, "d.jsonl", '{"text": "a"}\n', **{"data.format": "alpaca"})
    assert "row 1 has no 'instruction'" in problem.message


def test_parquet_rows_are_read(tmp_path: Path) -> None:
    file = tmp_path / "d.parquet"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    pyarrow.parquet.write_table(pyarrow.table({"messages": [turns, turns]}), file)
    assert preflight.check(make_config(tmp_path, **{"data.path": str(file)})) == []
    pyarrow.parquet.write_table(pyarrow.table({"messages": [turns, turns[:1]]}), file)
    assert "row 2" in only(preflight.check(make_config(tmp_path, **{"data.path": str(file)}))).message


@pytest.mark.parametrize("beginning", ["", "["])
def test_the_beginning_of_a_big_file_is_enough(tmp_path: Path, beginning: str) -> None:
    file = tmp_path / "d.json"
    row = json.dumps({"text": "ä" * 2**20})
    separator = "," if beginning else "\n"
    file.write_text(beginning + separator.join([row] * 6) + "\nnonsense", "utf-8")
    assert preflight.check(make_config(tmp_path, **{"data.path": str(file)})) == []


def test_folders_as_data(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    config = make_config(tmp_path, **{"data.path": str(folder)})
    assert "folder without data files" in only(preflight.check(config)).message
    write_rows(folder / "train.jsonl", GOOD_ROW)
    assert preflight.check(config) == []


# The run it continues


def test_a_parent_must_hold_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    run = tmp_path / "home" / "runs" / "first-20260101"
    (run / "checkpoints").mkdir(parents=True)
    (run / "run.yaml").touch()
    for named in ("first", str(run)):
        problem = only(preflight.check(make_config(tmp_path, parent=named)))
        assert (problem.field, "holds no checkpoint" in problem.message) == ("parent", True)
    (run / "checkpoints" / ".step-00000002.partial").mkdir()
    assert preflight.check(make_config(tmp_path, parent="first")) != []
    (run / "checkpoints" / "step-00000002").mkdir()
    for named in ("first", "first-20260101", str(run)):
        assert preflight.check(make_config(tmp_path, parent=named)) == []
    assert "Did you mean first-20260101" in only(preflight.check(make_config(tmp_path, parent="frist"))).message


@pytest.mark.parametrize("field", ["model.path", "data.path", "data.eval_path"])
def test_a_path_too_long_to_exist_is_said_not_to_be_there(field: str, tmp_path: Path) -> None:
    given = {"model.path": str(tmp_path), "data.path": str(tmp_path), field: "/" + "a" * 5000}
    problems = preflight.check(read(given, where="test", base=tmp_path))
    assert any(problem.field == field and "there is no such" in problem.message for problem in problems)
