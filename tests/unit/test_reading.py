"""YAML files and --set texts to a RunConfig: what they mean, and every mistake named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import FIELDS, ConfigError, Method, Problem
from engine.config.reading import load_yaml, parse_assignment, read, read_file

MINIMAL: dict[str, Any] = {"model": "org/model", "data": "org/data"}


def problems(tree: dict[str, Any], **assignments: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(tree, where="run.yaml", base=Path("/base"), assignments=assignments)
    return caught.value.problems


def write(folder: Path, text: str) -> Path:
    file = folder / "run.yaml"
    file.write_text(text, "utf-8")
    return file


def test_yaml_is_1_2(tmp_path: Path) -> None:
    file = write(tmp_path, "model: off\ndata: {path: org/d, name: no}\ntraining: {learning_rate: 1e-4, seed: 010}\n")
    config = read_file(file)
    assert config.model.path == "off"
    assert config.data.name == "no"
    assert config.training.learning_rate == 1e-4
    assert config.training.seed == 10


def test_sections_dotted_paths_and_aliases_say_the_same() -> None:
    nested = {**MINIMAL, "method": {"name": "lora", "lora": {"rank": 4}}, "training": {"max_steps": 3}}
    dotted = {**MINIMAL, "method.name": "lora", "method.lora.rank": 4, "training.max_steps": 3}
    short = {**MINIMAL, "method": "lora", "method.lora.rank": 4, "max_steps": 3}
    configs = [read(tree, where="", base=Path("/")) for tree in (nested, dotted, short)]
    assert configs[0] == configs[1] == configs[2]
    assert configs[0].method.name is Method.LORA


def test_assignments_win_over_the_file() -> None:
    config = read({**MINIMAL, "seed": 1}, where="", base=Path("/"), assignments={"training.seed": 2})
    assert config.training.seed == 2


def test_relative_paths_are_of_the_file_or_of_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, here = tmp_path / "beside", tmp_path / "here"
    for folder in (beside, here):
        folder.mkdir()
        (folder / "rows.jsonl").touch()
    monkeypatch.chdir(here)
    file = write(beside, "model: org/model\ndata: rows.jsonl\n")
    assert read_file(file).data.path == str(beside / "rows.jsonl")
    assert read_file(file, {"data.path": "rows.jsonl"}).data.path == str(here / "rows.jsonl")
    assert read_file(file).model.path == "org/model"


def test_unknown_keys_name_the_nearest_right_one() -> None:
    (problem,) = problems({**MINIMAL, "training": {"max_stepz": 3}})
    assert (problem.where, problem.field) == ("run.yaml", "training.max_stepz")
    assert "training.max_steps" in problem.remedy


def test_every_problem_is_named_at_once() -> None:
    found = problems(
        {"model": "m", "training": {"max_steps": "many", "learning_rate": 0}, "method": {"lora": {"rank": 2.5}}},
        **{"strategy.name": "fsdp"},
    )
    assert [problem.field for problem in found] == [
        "training.max_steps", "training.learning_rate", "method.lora.rank", "strategy.name", "data.path",
    ]  # fmt: skip
    assert found[3].where == "--set"
    assert "Did you mean fsdp2" in found[3].message


@pytest.mark.parametrize("name", ["a/b", "..", "../run", "", ".hidden", "a b", "x" * 65, "a\n"])
def test_run_names_are_plain(name: str) -> None:
    (problem,) = problems({**MINIMAL, "name": name})
    assert problem.field == "name"
    assert "letters, digits" in problem.remedy


def test_a_field_given_twice_is_a_problem() -> None:
    (problem,) = problems({**MINIMAL, "max_steps": 3, "training": {"max_steps": 4}})
    assert problem.message == "is given twice, as max_steps and as training.max_steps."


def test_newer_layouts_are_refused() -> None:
    (problem,) = problems({**MINIMAL, "schema_version": 2})
    assert problem.field == "schema_version"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("model: [1, 2\ndata: x\n", ":2:5", "is not valid YAML"),
        ("model: a\nmodel: b\n", ":2:1", "duplicate key"),
        ("- a\n- b\n", "", "is not a mapping"),
        ("", "", "is not a mapping"),
        ("model: !!python/object/apply:os.system ['true']\n", ":1:8", "is not valid YAML"),
    ],
)
def test_bad_yaml_is_named_with_its_place(tmp_path: Path, text: str, place: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(file)
    (problem,) = caught.value.problems
    assert problem.where == f"{file}{place}"
    assert message in problem.message


def test_files_that_are_no_run_file(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "big.yaml").write_text("a: b\n" * 250_000)
    for name, message in (("no.yaml", "no such file"), ("binary.yaml", "as text"), ("big.yaml", "too big")):
        with pytest.raises(ConfigError, match=message):
            load_yaml(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=1", ("lr", 1)),
        ("max_steps=50", ("training.max_steps", 50)),
        ("training.learning_rate=1e-4", ("training.learning_rate", 1e-4)),
        ("training.max_steps=null", ("training.max_steps", None)),
        ("data=a=b: #c.jsonl", ("data.path", "a=b: #c.jsonl")),
        ("data.eval_path=null", ("data.eval_path", None)),
        ("hardware.gpus=[0, 1]", ("hardware.gpus", [0, 1])),
        ("description='quoted'", ("description", "quoted")),
    ],
)
def test_assignments_are_read_as_yaml_but_text_stays_text(text: str, expected: tuple[str, Any]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["max_steps", "=3", "training.max_steps=[1,"])
def test_bad_assignments(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_assignment(text)


def test_every_field_says_what_it_is() -> None:
    for field in FIELDS.values():
        assert field.label and field.meaning, field.path
        assert field.kind != "choice" or field.choices, field.path
