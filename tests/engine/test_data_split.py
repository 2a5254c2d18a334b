"""Which rows ``data.eval_fraction`` holds out: of a classification each class's share."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import small_tokenizers as small

from engine.classification import _shares
from engine.config.reading import read
from engine.data import Rows, prepare_rows
from engine.errors import BadInput
from engine.tokenizer import load_tokenizer

MANY = ["common"] * 80 + ["rare"] * 20


def classified(names: list[str]) -> list[dict[str, Any]]:
    """A row of each class named, with its place as its text."""
    return [{"text": f"row {place}", "label": name} for place, name in enumerate(names)]


def prepare(
    folder: Path, data: list[dict[str, Any]], name: str = "data", *, seed: int = 42, said: Any = None, **options: Any
) -> Rows:
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in data))
    model = small.save(small.byte_level(), folder / "model")
    task = "sequence_classification" if "label" in data[0] else "causal_lm"
    tree = {"model": {"path": str(model), "task": task}, "data": {"path": str(file), **options}, "seed": seed}
    made = read(tree, where="t", base=folder)
    progress = (lambda line: None) if said is None else said.append
    return prepare_rows(made, load_tokenizer(made), folder / name, is_main=True, progress=progress)


def refusal(folder: Path, data: list[dict[str, Any]], **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        prepare(folder, data, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def held_out(rows: Rows) -> list[str]:
    assert rows.evaluation is not None
    return list(rows.evaluation["question"])


def classes_held_out(rows: Rows) -> dict[str, int]:
    assert rows.evaluation is not None
    return dict(Counter(rows.evaluation["answer"]))


@pytest.mark.parametrize(("fraction", "counts"), [(0.1, (8, 2)), (0.25, (20, 5)), (0.5, (40, 10)), (0.07, (6, 1))])
def test_each_class_is_held_out_by_its_share(tmp_path: Path, fraction: float, counts: tuple[int, int]) -> None:
    rows = prepare(tmp_path, classified(MANY), eval_fraction=fraction)
    assert classes_held_out(rows) == dict(zip(("common", "rare"), counts, strict=True))
    assert len(rows.train) + sum(counts) == len(MANY)
    assert rows.labels == ["common", "rare"]


def test_the_seed_sets_which_rows_and_not_how_many(tmp_path: Path) -> None:
    first, again, other = (
        prepare(tmp_path, classified(MANY), name, seed=seed, eval_fraction=0.1)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert held_out(first) == held_out(again)
    assert held_out(first) != held_out(other)
    assert classes_held_out(first) == classes_held_out(other)


def test_every_class_keeps_a_row_to_train_on_and_the_rare_are_named(tmp_path: Path) -> None:
    said: list[str] = []
    names = ["a"] * 6 + ["b"] + ["c"] * 2
    rows = prepare(tmp_path, classified(names), said=said, eval_fraction=0.9)
    assert classes_held_out(rows) == {"a": 5, "c": 1}
    assert rows.labels is not None
    assert sorted(rows.labels[index] for index in rows.train["label"][:]) == ["a", "b", "c"]
    assert [line for line in said if "too few" in line] == [
        f"{tmp_path / 'data.jsonl'}: too few rows to hold any out (data.eval_fraction=0.9) of b"
    ]


def test_rows_without_a_text_count_for_no_class(tmp_path: Path) -> None:
    data = [*classified(["a"] * 4 + ["b"] * 2), {"text": " ", "label": "b"}, {"text": "", "label": "only here"}]
    rows = prepare(tmp_path, data, eval_fraction=0.5)
    assert classes_held_out(rows) == {"a": 2, "b": 1}
    assert rows.labels == ["a", "b"]
    assert rows.summary["dropped"] == 2


def test_columns_of_other_names_and_numbers_as_classes(tmp_path: Path) -> None:
    data = [{"text": f"row {place}", "label": place % 2, "stars": place % 3} for place in range(30)]
    rows = prepare(tmp_path, data, columns={"label": "stars"}, eval_fraction=0.2)
    assert classes_held_out(rows) == {"0": 2, "1": 2, "2": 2}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (classified(["a", "b", "c"]), "no class has a second row, of which one could be held out (data.eval_fraction)"),
        (classified(["a", "b", " "]), "row 3 'label' is empty"),
        ([{"text": " ", "label": "a"}] * 3, "no row has a text to classify"),
        (classified(["a"] * 9), "every row has 'a' as its 'label'"),
        (classified(["a"]), "has one row, of which no share can be held out"),
    ],
)
def test_what_cannot_be_split(tmp_path: Path, data: list[dict[str, Any]], problem: str) -> None:
    assert refusal(tmp_path, data, eval_fraction=0.5).startswith(f"{tmp_path / 'data.jsonl'}: {problem}")


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 60), min_size=1),
    st.floats(0.01, 0.99, allow_nan=False),
)
def test_shares_are_near_the_fraction_and_leave_a_row(sizes: dict[str, int], share: float) -> None:
    counts = _shares(sizes, share)
    assert counts.keys() == sizes.keys()
    for name, size in sizes.items():
        assert 0 <= counts[name] <= size - 1
        assert counts[name] > size * share - 1 or counts[name] == size - 1
        assert counts[name] <= size * share + 1
    assert sum(counts.values()) <= max(1, round(sum(sizes.values()) * share))


def test_rows_of_text_are_split_as_they_always_were(tmp_path: Path) -> None:
    data = [{"text": f"row {place}"} for place in range(20)]
    rows = prepare(tmp_path, data, eval_fraction=0.2)
    tokenizer = small.byte_level()
    assert rows.evaluation is not None
    kept = [tokenizer.decode(ids, skip_special_tokens=True) for ids in rows.evaluation["input_ids"]]
    assert kept == ["row 0", "row 3", "row 7", "row 8"]
