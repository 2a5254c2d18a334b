"""How long the rows of a file are, without torch or Transformers: by a tokenizer's own file, or by bytes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from support.samples import make_config, write_rows
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from engine.config import RunConfig
from qltui.advice.lengths import Lengths
from qltui.configs import data_files, row_lengths

PAIRS = [{"prompt": "one two", "completion": " three" * count} for count in (1, 5, 60)]
CHATML = (
    "{% for message in messages %}<|{{ message.role }}|> {{ message.content }} {% endfor %}{{ eos_token }}"
)  # fmt: skip


def words(folder: Path, *, chat_template: Any = None) -> None:
    """A tokenizer to which every word is a token, as a model's folder holds it."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(4)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"eos_token": {"content": "</s>"}, **({"chat_template": chat_template} if chat_template else {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


def config(folder: Path, *rows: Any, name: str = "rows.jsonl", **values: Any) -> RunConfig:
    write_rows(folder / name, *rows)
    return make_config(folder, **{"data.path": str(folder / name), **values})


def known(lengths: Lengths | None) -> Lengths:
    assert lengths is not None
    return lengths


def test_rows_are_counted_by_the_models_tokenizer_without_its_cut(tmp_path: Path) -> None:
    made = config(tmp_path, *PAIRS)
    words(tmp_path / "model")
    found = known(row_lengths.measured(made))
    assert found.measured
    assert (found.rows, found.read, found.shortest, found.longest) == (3, 3, 4, 63)
    assert found.quantiles == (4, 8, 63), "two words, the answer, and what ends it"


@pytest.mark.parametrize(
    "template", [CHATML, [{"name": "other", "template": "x"}, {"name": "default", "template": CHATML}]]
)
def test_conversations_are_rendered_by_the_chat_template(tmp_path: Path, template: Any) -> None:
    turns = [{"role": "user", "content": "a b c"}, {"role": "assistant", "content": "d e"}]
    shared = {"conversations": [{"from": "human", "value": "a b c"}, {"from": "gpt", "value": "d e"}]}
    for row in ({"messages": turns}, shared, {"instruction": "a b c", "output": "d e"}):
        made = config(tmp_path, row)
        words(tmp_path / "model", chat_template=template)
        assert known(row_lengths.measured(made)).quantiles == (8,), row


def test_the_named_template_goes_first_and_marks_and_functions_are_known(tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text(
        "{{ strftime_now('%Y') }} {% for message in messages %}{% if message.tool_calls %}"
        "{{ message.tool_calls | tojson }}{% continue %}{% endif %}"
        "{% generation %} said {{ message.content }} {% endgeneration %}{% endfor %}"
    )
    calls = {"role": "assistant", "content": None, "tool_calls": [{"a": 1}]}
    made = config(
        tmp_path,
        {"messages": [{"role": "user", "content": "hello there"}, calls]},
        **{"data.chat_template": str(tmp_path / "own.jinja")},
    )
    words(tmp_path / "model", chat_template=CHATML)
    assert known(row_lengths.measured(made)).quantiles == (6,), 'the year, said, two words, [{"a":, 1}]'


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{% if %}", "{{ messages.x.y }}", "{{ 1 / 0 }}"])
def test_a_template_that_refuses_leaves_turns_with_what_usually_frames_them(tmp_path: Path, template: str) -> None:
    turns = [{"role": "user", "content": "a b c"}, {"role": "assistant", "content": "d e"}]
    made = config(tmp_path, {"messages": turns})
    words(tmp_path / "model", chat_template=template)
    assert known(row_lengths.measured(made)).quantiles == (5 + 2 * row_lengths.OF_A_TURN,)


def test_without_a_tokenizer_bytes_tell(tmp_path: Path) -> None:
    made = config(tmp_path, *PAIRS)
    (tmp_path / "model" / "tokenizer.json").unlink()
    for found in (known(row_lengths.measured(made)), known(row_lengths.estimated(made))):
        assert not found.measured
        assert found.shortest is None
        longest = len("one two" + " three" * 60)
        assert found.quantiles[-1] == pytest.approx(longest / row_lengths.BYTES_PER_TOKEN + 1)
        assert found.longest == round(longest / row_lengths.LEAST_BYTES) + 1


@pytest.mark.parametrize("vocabulary", [300, 512, 2048, 8192])
def test_a_small_vocabulary_has_shorter_tokens(vocabulary: int, tmp_path: Path) -> None:
    """Against a tokenizer of that size, trained on other text than it counts: this repository's pages."""
    pages = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train([str(page) for page in pages[1::2]], trainer)
    texts = [page.read_text("utf-8") for page in pages[::2]]
    counted = [len(tokenizer.encode(text).ids) + 1 for text in texts]
    made = config(tmp_path, *({"text": text} for text in texts))
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": vocabulary}))
    found = known(row_lengths.estimated(made))
    mean = sum(found.quantiles) / len(found.quantiles)
    assert mean == pytest.approx(sum(counted) / len(counted), rel=found.error) and found.error == 0.5
    assert found.longest is not None and found.longest >= max(counted)
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 128_000}))
    large = known(row_lengths.estimated(made))
    assert (large.error, sum(large.quantiles) < sum(found.quantiles)) == (0.3, True)


def test_the_longest_row_by_bytes_takes_every_digit_for_a_token(tmp_path: Path) -> None:
    found = known(row_lengths.estimated(config(tmp_path, {"text": "17 + 25 = 42"})))
    assert found.longest == 6 + (12 - 6) / 2 + 1


def test_a_broken_tokenizer_is_no_tokenizer(tmp_path: Path) -> None:
    made = config(tmp_path, *PAIRS)
    for content in ("{", "{}", "\x00"):
        (tmp_path / "model" / "tokenizer.json").write_text(content)
        assert not known(row_lengths.measured(made)).measured


def test_only_some_rows_are_counted_but_the_longest_and_shortest_are(tmp_path: Path) -> None:
    rows = [{"text": "word " * 10} for _ in range(5 * row_lengths.COUNTED)]
    rows[4321], rows[1234] = {"text": "word " * 700}, {"text": "word"}
    made = config(tmp_path, *rows)
    words(tmp_path / "model")
    found = known(row_lengths.measured(made))
    assert (found.rows, found.read) == (len(rows), row_lengths.COUNTED)
    assert (found.shortest, found.longest) == (2, 701)


def test_of_a_file_that_was_not_read_whole_no_longest_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = config(tmp_path, *[{"text": "word " * 10}] * 3000)
    words(tmp_path / "model")
    found = known(row_lengths.estimated(made))
    assert (found.rows, found.read, found.longest) == (3000, data_files.QUICK.rows, None)
    monkeypatch.setattr(row_lengths, "THOROUGH", data_files.Limits(100, 1 << 20))
    found = known(row_lengths.measured(made))
    assert (found.rows, found.read, found.shortest, found.longest) == (3000, 100, None, None)


def test_rows_held_out_are_not_trained_on(tmp_path: Path) -> None:
    rows = [{"text": "word"}] * 100
    assert known(row_lengths.estimated(config(tmp_path, *rows, **{"data.eval_fraction": 0.2}))).rows == 80
    both = {"data.eval_fraction": 0.2, "data.eval_path": str(tmp_path / "rows.jsonl")}
    assert known(row_lengths.estimated(config(tmp_path, *rows, **both))).rows == 100


def test_the_longest_row_may_be_one_to_evaluate_on(tmp_path: Path) -> None:
    held_out = write_rows(tmp_path / "held_out.jsonl", {"text": "word " * 90}, {"text": "word"})
    made = config(tmp_path, {"text": "word " * 5}, {"text": "word " * 7}, **{"data.eval_path": str(held_out)})
    words(tmp_path / "model")
    found = known(row_lengths.measured(made))
    assert (found.rows, found.shortest, found.longest, found.quantiles) == (2, 6, 91, (6, 8))
    elsewhere = config(tmp_path, {"text": "word"}, **{"data.eval_path": "org/data"})
    for found in (known(row_lengths.measured(elsewhere)), known(row_lengths.estimated(elsewhere))):
        assert (found.rows, found.longest, found.longest_row(2048)) == (1, None, 2048)


def test_pairs_to_classify_and_columns_of_other_names(tmp_path: Path) -> None:
    rows = [{"first": "a b", "second": "c", "stars": 1}, {"first": "a", "second": None, "stars": 2}]
    columns = {"text": "first", "text_pair": "second", "label": "stars"}
    made = config(
        tmp_path, *rows, **{"model.task": "sequence_classification", "data.columns": columns}
    )  # fmt: skip
    words(tmp_path / "model")
    assert known(row_lengths.measured(made)).quantiles == (1, 3)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", '{"text": "a"}\nno json\n'),
        ("rows.jsonl", '{"color": "a"}\n'),
        ("rows.jsonl", '{"messages": "no list"}\n{"messages": [{"role": "user"}]}\n{"messages": [7]}\n'),
        ("rows.jsonl", ""),
        ("rows.txt", "a row\n"),
        ("rows.parquet", "no parquet"),
    ],
)
def test_data_that_cannot_be_used_has_no_lengths(tmp_path: Path, name: str, content: str) -> None:
    made = config(tmp_path, name=name)
    (tmp_path / name).write_text(content)
    assert row_lengths.measured(made) is None
    assert row_lengths.estimated(made) is None


def test_data_elsewhere_and_folders_have_no_lengths(tmp_path: Path) -> None:
    assert row_lengths.measured(make_config(tmp_path, **{"data.path": "org/data"})) is None
    assert row_lengths.estimated(make_config(tmp_path, **{"data.path": str(tmp_path)})) is None


ROWS = [{"prompt": f'"{n}",\nwhat?', "completion": "ü " * (n % 50)} for n in range(5000)]


@pytest.fixture(params=["jsonl", "json", "csv", "parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"rows.{request.param}"
    if request.param == "jsonl":
        write_rows(path, *ROWS)
    elif request.param == "json":
        path.write_text(json.dumps(ROWS, indent=1))
    elif request.param == "csv":
        with path.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, ["prompt", "completion"])
            writer.writeheader()
            writer.writerows(ROWS)
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=300)
    return path


@pytest.mark.parametrize("limits", [data_files.QUICK, data_files.THOROUGH, data_files.Limits(10**6, 50_000)])
def test_a_beginning_is_read_exactly_and_the_rest_estimated(file: Path, limits: data_files.Limits) -> None:
    builder = {".csv": "csv", ".parquet": "parquet"}.get(file.suffix, "json")
    sample = data_files.read_sample(file, builder, limits)
    assert [row.values for row in sample.rows] == ROWS[: len(sample.rows)]
    assert sample.columns == ["prompt", "completion"]
    assert sample.is_whole == (len(sample.rows) == len(ROWS))
    assert sample.is_whole == (limits == data_files.THOROUGH or len(sample.rows) == len(ROWS))
    assert sample.total == pytest.approx(len(ROWS), rel=0.1)
    assert sample.total == len(ROWS) or not sample.is_whole
    assert 0 < len(sample.rows) <= limits.rows


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", {"text": "a"})
    assert data_files.read_sample(path, "json").total == 1
    write_rows(path, {"text": "a"}, {"text": "b"})
    assert data_files.read_sample(path, "json").total == 2
