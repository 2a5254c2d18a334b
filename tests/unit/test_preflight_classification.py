"""What is refused before the launch of a classification. That the task may be built or not is another test's matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from support.samples import make_config, write_rows

from engine.config import Problem
from qltui.configs import preflight

GOOD = {"text": "it was good", "label": "good"}


def problems(tmp_path: Path, *rows: Any, **values: Any) -> list[Problem]:
    """Those about the data, which is ``rows`` unless ``values`` name a file."""
    data = {"data.path": str(write_rows(tmp_path / "d.jsonl", *rows))} if rows else {}
    config = make_config(tmp_path, **{"model.task": "sequence_classification", **data, **values})
    return [problem for problem in preflight.check(config) if problem.field.startswith("data.")]


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {"text": "", "label": "good"},
        {"text": "t", "label": 0},
        {"text": "t", "label": False},
        {"text": "t", "text_pair": "p", "label": "good"},
        {"text": "t", "text_pair": None, "label": "good"},
    ],
)
def test_rows_that_can_be_classified_though_the_sample_has_but_one_class(tmp_path: Path, row: dict[str, Any]) -> None:
    assert problems(tmp_path, row) == []


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ({"text": "t"}, "row 2 has no 'label'."),
        ({"label": "good"}, "row 2 has no 'text'."),
        ({"text": "t", "label": 0.5}, "row 2 'label' is float, not text or a whole number."),
        ({"text": "t", "label": ""}, "row 2 'label' is empty."),
        ({"text": ["t"], "label": "good"}, "row 2 'text' is list, not text."),
        ({"text": "t", "text_pair": 3, "label": "good"}, "row 2 'text_pair' is int, not text."),
    ],
)
def test_a_row_that_cannot_be_classified_is_named(tmp_path: Path, row: dict[str, Any], flaw: str) -> None:
    (problem,) = problems(tmp_path, GOOD, row)
    assert (problem.where, problem.field) == (f"{tmp_path / 'd.jsonl'}:2", "data.path")
    assert problem.message == flaw
    assert "the format classification needs text + label" in problem.remedy


def test_evaluation_rows_need_a_label_too(tmp_path: Path) -> None:
    held_out = write_rows(tmp_path / "held_out.jsonl", GOOD, {"text": "t"})
    (problem,) = problems(tmp_path, GOOD, **{"data.eval_path": str(held_out)})
    assert (problem.where, problem.field) == (f"{held_out}:2", "data.eval_path")


def test_labels_of_parquet_may_be_numbers(tmp_path: Path) -> None:
    file = tmp_path / "d.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [0, 1]}), file)
    assert problems(tmp_path, **{"data.path": str(file)}) == []
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [0.0, 1.0]}), file)
    assert "'label' is float" in problems(tmp_path, **{"data.path": str(file)})[0].message


def test_a_format_of_another_task_is_refused_once(tmp_path: Path) -> None:
    eval_path = {"data.eval_path": str(tmp_path / "d.jsonl")}
    (problem,) = problems(tmp_path, GOOD, **eval_path, **{"data.format": "text"})
    assert problem.field == "data.format"
    assert problem.message == "text is no format for sequence_classification; use auto or classification."
    (problem,) = problems(tmp_path, GOOD, **{"data.format": "classification", "model.task": "causal_lm"})
    assert problem.message.startswith("classification is no format for causal_lm; use auto or messages or ")


def test_rows_of_another_task_fit_no_format(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, {"prompt": "p", "completion": "c"})
    assert problem.message == "its columns (prompt, completion) fit no format that is known."
    assert "classification: text + label" in problem.remedy
    assert "{text: review, label: stars}" in problem.remedy


def test_columns_of_other_names_can_be_mapped_where_they_are_there(tmp_path: Path) -> None:
    row = {"review": "r", "title": "t", "stars": 5}
    columns = {"text": "title", "text_pair": "review", "label": "stars"}
    assert problems(tmp_path, row, **{"data.columns": columns}) == []
    (problem,) = problems(tmp_path, row, **{"data.columns": {**columns, "text_pair": "reviews"}})
    assert problem.field == "data.columns"
    assert problem.message == "has no column 'reviews' to be text_pair."
    assert "review, title, stars" in problem.remedy
    (problem,) = problems(tmp_path, row, {"review": "r", "title": "t"}, **{"data.columns": columns})
    assert problem.message == "row 2 has no 'stars'."
