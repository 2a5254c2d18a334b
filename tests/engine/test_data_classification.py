"""Rows to classify: which classes they have, and how texts and pairs of texts become tokens."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import torch
from support import small_encoders
from support import small_tokenizers as small
from support.small_tokenizers import byte_level
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from engine import classification
from engine.batches import collate
from engine.config import RunConfig
from engine.config.reading import read
from engine.data import Rows, prepare_rows
from engine.errors import BadInput
from engine.tokenizer import load_tokenizer

GOOD_OR_BAD = [{"text": "it was good", "label": "good"}, {"text": "it was bad", "label": "bad"}]


def framed(*, saved_limit: int | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes that frames a text as <s> … </s>, a pair as <s> … </s> … </s>."""
    backend: Tokenizer = byte_level().backend_tokenizer
    frames = {"single": "<s> $A </s>", "pair": "<s> $A </s> $B </s>"}
    backend.post_processor = processors.TemplateProcessing(**frames, special_tokens=[("<s>", 1), ("</s>", 2)])
    if saved_limit:
        backend.enable_truncation(saved_limit)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(
    tmp_path: Path, data: Path, tokenizer: Any = None, num_labels: int | None = None, **options: Any
) -> RunConfig:
    model = small.save(tokenizer or framed(), tmp_path / "model")
    task = {"task": "sequence_classification", "num_labels": num_labels}
    return read(
        {"model": {"path": str(model), **task}, "data": {"path": str(data), **options}}, where="t", base=tmp_path
    )


def prepared(made: RunConfig, folder: Path, *, is_main: bool = True, progress: Any = lambda line: None) -> Rows:
    return prepare_rows(made, load_tokenizer(made), folder, is_main=is_main, progress=progress)


def prepare(tmp_path: Path, data: Path | list[dict[str, Any]], folder: str = "data", **options: Any) -> Rows:
    file = data if isinstance(data, Path) else write(tmp_path / "rows.jsonl", data)
    return prepared(config(tmp_path, file, **options), tmp_path / folder)


def refusal(tmp_path: Path, data: Path | list[dict[str, Any]], **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        prepare(tmp_path, data, **options)
    assert not (tmp_path / "data").exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


def texts(rows: Any) -> list[str]:
    return [framed().decode(row["input_ids"]) for row in rows]


def named(rows: Rows) -> list[str]:
    """The class of each training row, by its name."""
    assert rows.labels is not None
    return [rows.labels[row["label"]] for row in rows.train]


def test_rows_become_texts_in_their_frame_with_the_index_of_their_class(tmp_path: Path) -> None:
    rows = prepare(tmp_path, GOOD_OR_BAD)
    assert rows.train.column_names == ["input_ids", "label"]
    assert texts(rows.train) == ["<s>it was good</s>", "<s>it was bad</s>"]
    assert rows.train["label"][:] == [1, 0]
    assert rows.labels == ["bad", "good"]
    assert rows.evaluation is None
    assert rows.summary == {
        "format": "classification", "template": "text as the tokenizer frames it", "labels": ["bad", "good"],
        "rows": 2, "eval_rows": 0, "dropped": 0, "truncated": 0, "tokens": 25, "target_tokens": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        (["b", "a", "c", "a"], ["a", "b", "c"]),
        ([10, 9, -1, 9], ["-1", "9", "10"]),
        (["10", "9", 2, "9"], ["2", "9", "10"]),
        (["10", "9", "x", "9"], ["10", "9", "x"]),
        ([True, False, False], ["false", "true"]),
        ([" a ", "a", "b\n"], ["a", "b"]),
        (["01", "1", "0"], ["0", "01", "1"]),
        (["9" * 5000, "1"], ["1", "9" * 5000]),
    ],
)
def test_classes_are_named_by_their_text_and_sorted_numbers_by_value(
    tmp_path: Path, given: list[Any], labels: list[str]
) -> None:
    rows = prepare(tmp_path, [{"text": "t", "label": label} for label in given])
    assert rows.labels == labels
    assert named(rows) == [json.dumps(label).strip('"').replace("\\n", "").strip() for label in given]


def test_every_kind_of_file_has_the_same_classes(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "label": n % 3 + 9} for n in range(6)]
    table, parquet = tmp_path / "a.csv", tmp_path / "a.parquet"
    table.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), parquet)
    for number, file in enumerate([write(tmp_path / "a.jsonl", rows), table, parquet]):
        made = prepare(tmp_path, file, f"data{number}")
        assert made.labels == ["9", "10", "11"]
        assert made.train["label"][:] == [0, 1, 2] * 2


def test_classes_that_a_data_set_names_go_by_their_names(tmp_path: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    kept, unlabelled = tmp_path / "a.parquet", tmp_path / "b.parquet"
    datasets.Dataset.from_dict({"text": ["x", "y"], "label": [0, 1]}, features=features).to_parquet(kept)
    rows = prepare(tmp_path, kept)
    assert (rows.labels, named(rows)) == (["neg", "pos"], ["pos", "neg"])
    for none in (-1, None):
        datasets.Dataset.from_dict({"text": ["x", "y"], "label": [0, none]}, features=features).to_parquet(unlabelled)
        with pytest.raises(BadInput, match="row 2 has no 'label'"):
            prepare(tmp_path, unlabelled, "other")


def test_columns_may_have_names_of_their_own(tmp_path: Path) -> None:
    data = [{"review": "r", "stars": 5, "title": "t"}, {"review": "r", "stars": 1, "title": ""}]
    rows = prepare(tmp_path, data, columns={"text": "title", "text_pair": "review", "label": "stars"})
    assert texts(rows.train) == ["<s>t</s>r</s>", "<s></s>r</s>"]
    assert rows.labels == ["1", "5"]
    assert named(rows) == ["5", "1"]


def test_pairs_stand_beside_single_texts_in_their_order(tmp_path: Path) -> None:
    seconds = ["yes", "", None, "no", " "]
    data = [{"text": f"t{n}", "text_pair": second, "label": n} for n, second in enumerate(seconds)]
    rows = prepare(tmp_path, [*data, {"text": "t5", "label": 5}])
    assert texts(rows.train) == [
        "<s>t0</s>yes</s>", "<s>t1</s>", "<s>t2</s>", "<s>t3</s>no</s>", "<s>t4</s>", "<s>t5</s>",
    ]  # fmt: skip
    assert rows.train["label"][:] == list(range(6))


def test_long_rows_are_cut_between_their_special_tokens(tmp_path: Path) -> None:
    data = [
        {"text": "123456", "label": 0},
        {"text": "1234567", "label": 1},
        {"text": "abcdefgh", "text_pair": "xy", "label": 0},
        {"text": "abcdefgh", "text_pair": "uvwxyz", "label": 1},
        {"text": "ab", "text_pair": "xyz", "label": 1},
    ]
    rows = prepare(tmp_path, data, max_length=8)
    pairs = [text[len("<s>") : -len("</s>")].split("</s>") for text in texts(rows.train)[2:]]
    assert texts(rows.train)[:2] == ["<s>123456</s>"] * 2
    assert pairs[0] == ["abc", "xy"]  # the longer one alone
    assert sorted(len(text) for text in pairs[1]) == [2, 3]
    assert pairs[2] == ["ab", "xyz"]
    assert {len(row["input_ids"]) for row in rows.train} == {8}
    counted = {name: rows.summary[name] for name in ("rows", "truncated", "dropped", "tokens", "target_tokens")}
    assert counted == {"rows": 5, "truncated": 3, "dropped": 0, "tokens": 40, "target_tokens": 5}


@pytest.mark.parametrize("max_length", [8, 64])
def test_no_limit_is_left_in_the_tokenizer_or_taken_from_it(tmp_path: Path, max_length: int) -> None:
    data = write(tmp_path / "rows.jsonl", GOOD_OR_BAD)
    made = config(tmp_path, data, framed(saved_limit=9), max_length=max_length)
    tokenizer = load_tokenizer(made)
    rows = prepare_rows(made, tokenizer, tmp_path / "data", is_main=True, progress=lambda line: None)
    assert [len(row["input_ids"]) for row in rows.train] == [min(13, max_length), min(12, max_length)]
    tokenizer.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer.json").read_text())["truncation"] is None


def test_rows_without_a_text_are_dropped_with_their_class(tmp_path: Path) -> None:
    data = [
        *GOOD_OR_BAD,
        {"text": " \n", "label": "good"},
        {"text": "", "label": "of no other row"},
        {"text": "", "text_pair": "it was a pair", "label": "good"},
    ]
    rows = prepare(tmp_path, data)
    assert texts(rows.train)[2:] == ["<s></s>it was a pair</s>"]
    assert rows.labels == ["bad", "good"]
    assert (rows.summary["rows"], rows.summary["dropped"]) == (3, 2)


def test_held_out_rows_carry_question_and_answer_and_take_the_classes_of_the_training_rows(tmp_path: Path) -> None:
    held_out = write(
        tmp_path / "held_out.jsonl",
        [{"text": "a", "text_pair": "b", "label": "good"}, {"text": "c", "label": "good"}, {"text": "", "label": "?"}],
    )
    rows = prepare(tmp_path, GOOD_OR_BAD, eval_path=str(held_out))
    assert rows.evaluation is not None
    assert rows.evaluation.to_list() == [
        {"input_ids": framed()("a", "b")["input_ids"], "label": 1, "question": "a\n\nb", "answer": "good"},
        {"input_ids": framed()("c")["input_ids"], "label": 1, "question": "c", "answer": "good"},
    ]
    counted = {name: rows.summary[name] for name in ("rows", "eval_rows", "dropped", "target_tokens")}
    assert counted == {"rows": 2, "eval_rows": 2, "dropped": 1, "target_tokens": 2}


def test_a_class_that_only_a_held_out_row_has_is_refused(tmp_path: Path) -> None:
    held_out = write(tmp_path / "held_out.jsonl", [{"text": "a", "label": "good"}, {"text": "b", "label": "worse"}])
    assert refusal(tmp_path, GOOD_OR_BAD, eval_path=str(held_out)) == (
        f"{held_out}: row 2 has 'worse' as its 'label'; training rows have bad, good. Correct or remove the row, or "
        "add rows of that class to the training data."
    )


@pytest.mark.parametrize(
    ("rows", "options", "problem"),
    [
        ([GOOD_OR_BAD[0]] * 3, {}, "every row has 'good' as its 'label', and a classification needs two classes"),
        (
            [{"text": "t", "stars": 5}] * 3,
            {"columns": {"label": "stars"}},
            "every row has '5' as its 'stars', and a classification needs two classes",
        ),
        ([{"text": " ", "label": 1}], {}, "no row has a text to classify"),
        (GOOD_OR_BAD, {"num_labels": 3}, "'label' has 2 classes (bad, good), not 3. Set model.num_labels to 2"),
        ([*GOOD_OR_BAD, {"text": "t"}], {}, "row 3 has no 'label'"),
        ([*GOOD_OR_BAD, {"text": "t", "label": None}], {}, "row 3 has no 'label'"),
        ([*GOOD_OR_BAD, {"label": "good"}], {}, "row 3 has no 'text'"),
        ([*GOOD_OR_BAD, {"text": "t", "label": " "}], {}, "row 3 'label' is empty"),
        ([*GOOD_OR_BAD, {"text": "t", "label": 0.5}], {}, "row 3 'label' is float, not text or a whole number"),
        ([*GOOD_OR_BAD, {"text": "t", "label": ["a"]}], {}, "row 3 'label' is list, not text or a whole number"),
        ([*GOOD_OR_BAD, {"text": 1, "label": "good"}], {}, "row 3 'text' is int, not text"),
        ([*GOOD_OR_BAD, {"text": "t", "text_pair": 1, "label": "good"}], {}, "row 3 'text_pair' is int, not text"),
        ([{"text": "t", "class": 1}], {}, "the columns (text, class) fit no format. Wanted is one of classification: "),
        ([{"messages": [{"role": "assistant", "content": "a"}]}], {}, "the columns (messages) fit no format."),
    ],
)
def test_rows_that_cannot_be_classified(tmp_path: Path, rows: Any, options: dict[str, Any], problem: str) -> None:
    assert refusal(tmp_path, rows, **options).startswith(f"{tmp_path / 'rows.jsonl'}: {problem}")


def test_a_format_of_another_task_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, GOOD_OR_BAD, format="text") == (
        "data.format: text is no format for sequence_classification; use auto or classification."
    )
    data = write(tmp_path / "rows.jsonl", GOOD_OR_BAD)
    model = {"path": str(tmp_path / "model")}
    made = read({"model": model, "data": {"path": str(data), "format": "classification"}}, where="t", base=tmp_path)
    with pytest.raises(BadInput, match=r"data\.format: classification is no format for causal_lm; use auto or mess"):
        prepared(made, tmp_path / "data")


def test_texts_with_a_label_are_plain_texts_where_nothing_is_classified(tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", GOOD_OR_BAD)
    model = {"path": str(small.save(framed(), tmp_path / "model"))}
    rows = prepared(read({"model": model, "data": {"path": str(data)}}, where="t", base=tmp_path), tmp_path / "data")
    assert rows.summary["format"] == "text"
    assert rows.labels is None
    assert "labels" not in rows.summary


def test_a_resumed_run_has_the_same_classes_though_the_file_has_changed(tmp_path: Path) -> None:
    first = prepare(tmp_path, GOOD_OR_BAD)
    resumed = prepare(tmp_path, [{"text": "t", "label": n} for n in range(3)])
    assert resumed.labels == first.labels == ["bad", "good"]
    assert resumed.train.to_list() == first.train.to_list()
    assert resumed.summary == first.summary


def test_other_ranks_read_the_classes_of_the_main_one(tmp_path: Path) -> None:
    made, folder = config(tmp_path, write(tmp_path / "rows.jsonl", GOOD_OR_BAD)), tmp_path / "data"
    waiting = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(prepared, made, folder, is_main=False, progress=lambda line: waiting.set())
        assert waiting.wait(60)
        mine = prepared(made, folder)
        theirs = other.result(60)
    assert theirs.labels == mine.labels == ["bad", "good"]
    assert theirs.train.to_list() == mine.train.to_list()


def test_many_classes_are_found_in_all_batches_of_rows(tmp_path: Path) -> None:
    count = 600
    rows = prepare(tmp_path, [{"text": "t", "label": n} for n in reversed(range(count))])
    assert rows.labels == [str(n) for n in range(count)]
    assert rows.train["label"][:] == list(reversed(range(count)))
    shown = classification.LABELS_SHOWN
    assert f"and {count - shown} more" in refusal_of_count(tmp_path, count)


def refusal_of_count(tmp_path: Path, count: int) -> str:
    data = write(tmp_path / "many.jsonl", [{"text": "t", "label": n} for n in range(count)])
    with pytest.raises(BadInput) as caught:
        prepare(tmp_path, data, "other", num_labels=2)
    return str(caught.value)


def test_a_batch_has_one_label_a_row_and_padding_on_the_right() -> None:
    batch = collate([{"input_ids": [5, 2], "label": 3}, {"input_ids": [5, 6, 7, 2], "label": 0}], 2)
    assert batch["input_ids"].tolist() == [[5, 2, 2, 2], [5, 6, 7, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [3, 0]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


PAIRS = [
    {"text": "the sea is blue", "text_pair": "yes", "label": "agrees"},
    {"text": "the sky", "text_pair": "no the sky is not calm", "label": "denies"},
    {"text": "the boat", "label": "agrees"},
]


def rows_for(model: str, folder: Path, **options: Any) -> Rows:
    """The pairs as a model of ``small_encoders`` is given them, all with the same tokenizer."""
    data = write(folder / "rows.jsonl", PAIRS)
    tree = {"model": {"path": str(small_encoders.save(model, folder / model)), "task": "sequence_classification"}}
    made = read({**tree, "data": {"path": str(data), **options}}, where="t", base=folder)
    return prepared(made, folder / "data")


@pytest.mark.parametrize("max_length", [8, 64])
def test_pairs_have_the_token_types_of_the_models_own_tokenizer(tmp_path: Path, max_length: int) -> None:
    options = {"eval_path": str(write(tmp_path / "held_out.jsonl", PAIRS)), "max_length": max_length}
    rows = rows_for("bert", tmp_path, **options)
    tokenizer = small_encoders.tokenizer()
    for kept in (rows.train, rows.evaluation):
        assert kept is not None
        for row, pair in zip(kept, PAIRS, strict=True):
            texts = [pair["text"], *([pair["text_pair"]] if "text_pair" in pair else [])]
            own = tokenizer(*texts, truncation="longest_first", max_length=max_length)
            assert (row["input_ids"], row["token_type_ids"]) == (own["input_ids"], own["token_type_ids"])
            assert set(row["token_type_ids"]) == ({0, 1} if len(texts) == 2 else {0})


@pytest.mark.parametrize("model", ["roberta", "distilbert", "llama"])
def test_models_without_token_types_are_given_none(tmp_path: Path, model: str) -> None:
    assert rows_for(model, tmp_path).train.column_names == ["input_ids", "label"]


def test_a_model_that_cannot_be_asked_for_token_types_is_refused(tmp_path: Path) -> None:
    small_encoders.save("bert", tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{")
    tree = {"model": {"path": str(tmp_path / "model"), "task": "sequence_classification"}}
    made = read({**tree, "data": {"path": str(write(tmp_path / "r.jsonl", PAIRS))}}, where="t", base=tmp_path)
    with pytest.raises(BadInput, match=r"^model\.path: .*config\.json"):
        prepare_rows(made, small_encoders.tokenizer(), tmp_path / "data", is_main=True, progress=lambda line: None)


def test_token_types_are_padded_with_zeros() -> None:
    short = {"input_ids": [2, 5, 3], "token_type_ids": [0, 0, 0], "label": 0}
    pair = {"input_ids": [2, 5, 3, 6, 3], "token_type_ids": [0, 0, 0, 1, 1], "label": 1}
    batch = collate([short, pair], 0)
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
