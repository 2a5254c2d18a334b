"""What people are shown of their data must be what the model is given: against the rows a run would train on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from msgspec.structs import replace
from support import small_encoders
from support import small_tokenizers as small
from support.runs import DEMO
from support.small_tokenizers import byte_level, marked, sentence_piece_like

from engine.batches import BatchPlan, Packing, collate
from engine.config import RunConfig
from engine.config.inspection import Coverage, Lengths, LengthsProgress, LengthsRequest, Preview, PreviewRequest
from engine.config.reading import read
from engine.data import prepare_rows
from engine.errors import BadInput
from engine.packed_rows import PackedRows, collate_packed, count_tokens
from engine.preview import Inspector
from engine.tokenizer import load_tokenizer

MAPPING = {"text": "review", "text_pair": "other", "label": "stars"}
CONVERSATION = [
    {"role": "user", "content": "the sky?"},
    {"role": "assistant", "content": "blue 🌊"},
    {"role": "user", "content": "the sea?"},
    {"role": "assistant", "content": "yes"},
]


def config(path: Path | str, model: Path = DEMO / "model", **values: Any) -> RunConfig:
    values = {f"data.{name}" if "." not in name else name: value for name, value in values.items()}
    tree = {"model.path": str(model), "data.path": str(path), **values}
    return read(tree, where="test", base=Path("/"))


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def preview(made: RunConfig, **options: Any) -> Preview:
    return Inspector().preview(PreviewRequest(id=1, config=made, **options))


def lengths(made: RunConfig, inspector: Inspector | None = None, **options: Any) -> Lengths:
    request = LengthsRequest(id=1, config=made, **options)
    *before, last = [answer for answer in (inspector or Inspector()).lengths(request) if answer is not None]
    assert all(isinstance(answer, LengthsProgress) for answer in before)
    assert isinstance(last, Lengths)
    return last


def shown(made: RunConfig, **options: Any) -> list[str]:
    """Rows with «what is learnt» between marks."""
    return [
        "".join(f"«{one.text}»" if one.trained else one.text for one in row.segments)
        for row in preview(made, **options).rows
    ]


def trained_on(made: RunConfig, folder: Path) -> tuple[Any, Any]:
    """The tokenizer and rows as a run has them."""
    tokenizer = load_tokenizer(made)
    return tokenizer, prepare_rows(made, tokenizer, folder / "rows", is_main=True, progress=lambda line: None)


# Rows


def test_the_demo_is_shown_as_it_is_trained(tmp_path: Path) -> None:
    made = config(DEMO / "data" / "train.jsonl", max_length=24)
    tokenizer, rows = trained_on(made, tmp_path)
    assert shown(made, rows=50) == [marked(tokenizer, row) for row in rows.train.select(range(50))]
    first = preview(made).rows[0]
    assert first.segments[0].text == "<|bos|><|user|>Where does Cora Storm travel?<|assistant|>"
    assert (first.tokens, first.kept, first.trained, first.is_cut) == (19, 19, 10, False)
    second = preview(made).rows[1]
    assert (second.tokens, second.kept, second.is_cut) == (27, 24, True)


@pytest.mark.parametrize("make", [byte_level, sentence_piece_like])
@pytest.mark.parametrize("template", [small.CHATML, small.LLAMA_2, small.QWEN_3, small.WITH_GENERATION, None])
@pytest.mark.parametrize("loss_on", ["answers", "all"])
def test_any_template_is_shown_as_it_is_trained(tmp_path: Path, make: Any, template: str | None, loss_on: str) -> None:
    model = small.save(make(chat_template=template), tmp_path / "model")
    made = config(written(tmp_path / "a.jsonl", {"messages": CONVERSATION}), model, loss_on=loss_on)
    tokenizer, rows = trained_on(made, tmp_path)
    (text,) = shown(made)
    ids = rows.train[0]["input_ids"]
    # Decoded at once, so that no blank is lost where a part begins.
    assert text.replace("«", "").replace("»", "") == tokenizer.decode(ids)
    found = preview(made)
    assert found.rows[0].trained == sum(label != -100 for label in rows.train[0]["labels"][1:])
    parts = [one.trained for one in found.rows[0].segments]
    assert parts == [True] if loss_on == "all" else parts[:4] == [False, True] * 2 and not any(parts[4:])


@pytest.mark.parametrize(
    ("row", "row_format"),
    [
        ({"text": "the sky"}, "text"),
        ({"prompt": "the sky", "completion": " is blue"}, "prompt_completion"),
        ({"instruction": "the sky", "input": "", "output": "blue"}, "alpaca"),
        ({"conversations": [{"from": "human", "value": "sky"}, {"from": "gpt", "value": "blue"}]}, "sharegpt"),
    ],
)
def test_every_format_is_told_and_shown_as_it_is_trained(tmp_path: Path, row: Any, row_format: str) -> None:
    model = small.save(byte_level(chat_template=small.CHATML), tmp_path / "model")
    made = config(written(tmp_path / "a.jsonl", row), model)
    tokenizer, rows = trained_on(made, tmp_path)
    found = preview(made)
    assert found.format == row_format
    assert set(found.mapping) == set(row)
    assert shown(made) == [marked(tokenizer, rows.train[0])]


def test_a_tokenizer_without_chat_template_is_said_and_other_formats_do_not_leave_theirs_behind(tmp_path: Path) -> None:
    model = small.save(byte_level(), tmp_path / "model")
    inspector = Inspector()
    chat = config(written(tmp_path / "a.jsonl", {"messages": CONVERSATION}), model)
    alpaca = config(written(tmp_path / "b.jsonl", {"instruction": "the sky", "output": "blue"}), model)
    told = [inspector.preview(PreviewRequest(id=1, config=made)).template for made in (alpaca, chat, alpaca, chat)]
    assert told == ["Alpaca prompt", "plain turns, as the tokenizer has no chat template"] * 2


def test_classes_are_shown_and_nothing_is_masked(tmp_path: Path) -> None:
    model = small_encoders.save("bert", tmp_path / "model")
    rows = [{"review": "the sky", "stars": 5}, {"review": "sea", "other": "the boat", "stars": "bad"}]
    made = config(
        written(tmp_path / "a.jsonl", *rows), model,
        **{"model.task": "sequence_classification", "columns": MAPPING},
    )  # fmt: skip
    found = preview(made)
    assert found.mapping == {"text": "review", "label": "stars"}
    assert shown(made) == ["[CLS] the sky [SEP]", "[CLS] sea [SEP] the boat [SEP]"]
    assert [row.label for row in found.rows] == ["5", "bad"]
    assert not any(one.trained for row in found.rows for one in row.segments)
    assert lengths(made).rows == 2


def test_a_row_that_cannot_be_used_stands_among_the_others(tmp_path: Path) -> None:
    rows = [
        {"messages": CONVERSATION[:2]},
        {"messages": CONVERSATION[:1]},
        {"messages": [{"role": "system", "content": "s"}, CONVERSATION[1]]},
        {"messages": [{"role": "user", "content": "\ud83d"}, CONVERSATION[1]]},
        {"messages": CONVERSATION[:2]},
    ]
    found = preview(config(written(tmp_path / "a.jsonl", *rows)))
    assert [row.problem for row in found.rows] == [
        None,
        "'messages' has no answer by the assistant",
        "cannot be rendered by the chat template: This model knows the roles user and assistant only",
        "'content' of turn 1 of 'messages' has half of a surrogate pair, as in \\ud83d without what follows it",
        None,
    ]
    measured = lengths(config(tmp_path / "a.jsonl"))
    assert (measured.rows, measured.unusable, measured.total_rows) == (2, 3, 5)
    assert measured.problem == "'messages' has no answer by the assistant"


def test_columns_of_no_format_are_named_so_that_they_can_be_mapped(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", {"question": "q", "reply": "a"})
    found = preview(config(file))
    assert (found.format, found.columns, found.rows) == (None, ["question", "reply"], [])
    assert found.problem is not None and "data.columns" in found.problem
    mapped = preview(config(file, columns={"prompt": "question", "completion": "reply"}))
    assert mapped.mapping == {"prompt": "question", "completion": "reply"}
    assert mapped.rows[0].segments[-1].text == "a<|eos|>"


def test_wide_characters_and_emoji_stay_whole(tmp_path: Path) -> None:
    said = "漢字 👩‍👩‍👧 🏴‍☠️ ｆｕｌｌ"
    made = config(written(tmp_path / "a.jsonl", {"prompt": f"{said}?", "completion": said}))
    assert shown(made) == [f"<|bos|>{said}?«{said}<|eos|>»"]


def test_a_long_row_is_shown_in_part(tmp_path: Path) -> None:
    made = config(written(tmp_path / "a.jsonl", {"prompt": "ab " * 300, "completion": "yes"}), max_length=2048)
    (row,) = preview(made, characters=100).rows
    assert sum(len(one.text) for one in row.segments) == 100
    assert not row.is_shown_whole and not row.is_cut
    (whole,) = preview(made, characters=4000).rows
    assert whole.is_shown_whole and whole.segments[-1].trained


def test_a_row_of_megabytes_is_tokenised_in_part_and_its_length_estimated(tmp_path: Path) -> None:
    made = config(written(tmp_path / "a.jsonl", {"prompt": "ab cd " * 850_000, "completion": "yes"}), max_length=512)
    (row,) = preview(made).rows
    assert row.is_estimated and row.is_cut and row.kept == 512
    per_character = preview(config(written(tmp_path / "b.jsonl", {"text": "ab cd " * 1000}))).rows[0].tokens / 6000
    assert row.tokens == pytest.approx(5_100_003 * per_character, rel=0.02)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    inspector = Inspector()
    for answer in ("first", "second one"):
        made = config(written(tmp_path / "a.jsonl", {"prompt": "q", "completion": answer}))
        (row,) = inspector.preview(PreviewRequest(id=1, config=made)).rows
        assert row.segments[-1].text == f"{answer}<|eos|>"


def test_more_rows_than_there_are(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", *[{"text": f"row {n}"} for n in range(30)])
    inspector = Inspector()
    for count, numbers, is_all in ((2, 2, False), (29, 29, False), (30, 30, True), (500, 30, True)):
        found = inspector.preview(PreviewRequest(id=1, config=config(file), rows=count))
        assert ([row.number for row in found.rows], found.is_all) == (list(range(1, numbers + 1)), is_all)


def test_a_folder_of_data_files_is_read_by_its_layout(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    written(tmp_path / "data" / "train.jsonl", *[{"text": f"row {n}"} for n in range(8)])
    found = preview(config(tmp_path / "data"), rows=3)
    assert (found.source, len(found.rows)) == (f"{tmp_path / 'data'} (train)", 3)
    assert lengths(config(tmp_path / "data")).total_rows == 8


# Lengths


def of_run(made: RunConfig, folder: Path) -> list[int]:
    """Lengths of the rows as a run has them."""
    return [len(row["input_ids"]) for row in trained_on(made, folder)[1].train]


def test_lengths_are_those_of_the_run(tmp_path: Path) -> None:
    made = config(DEMO / "data" / "train.jsonl", max_length=28)
    found = lengths(made)
    all_of_them = sorted(of_run(config(DEMO / "data" / "train.jsonl"), tmp_path))
    assert (found.coverage, found.rows, found.total_rows) == (Coverage.WHOLE, 400, 400)
    assert found.mean == pytest.approx(sum(all_of_them) / 400)
    assert (found.quantiles["0"], found.quantiles["100"]) == (all_of_them[0], all_of_them[-1])
    assert found.quantiles["50"] == all_of_them[199]
    assert found.cut == sum(length > 28 for length in all_of_them)
    for one in found.bins:
        assert one.rows == sum(one.first <= length <= one.last for length in all_of_them)
    assert sum(one.rows for one in found.bins) == 400


def test_rows_with_nothing_left_to_learn_are_those_the_run_drops(tmp_path: Path) -> None:
    made = config(DEMO / "data" / "train.jsonl", max_length=12)
    _, rows = trained_on(made, tmp_path)
    assert rows.summary["dropped"] > 0
    assert lengths(made).lost == rows.summary["dropped"]


def test_another_limit_needs_no_second_look(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", *[{"text": "sky " * n} for n in range(1, 200)])
    inspector = Inspector()
    long = lengths(config(file, max_length=2048), inspector)
    steps = list(inspector.lengths(LengthsRequest(id=2, config=config(file, max_length=8))))
    assert len(steps) == 1 and isinstance(steps[0], Lengths)
    assert long.cut == 0 and steps[0].cut > 150


def test_few_very_long_rows_do_not_make_all_others_one_bin(tmp_path: Path) -> None:
    rows = [{"text": "sky " * (1 + n % 40)} for n in range(1000)] + [{"text": "sky " * 5000}]
    found = lengths(config(written(tmp_path / "a.jsonl", *rows)), bins=10)
    assert len([one for one in found.bins if one.rows > 50]) >= 5
    assert found.bins[-1].last == found.quantiles["100"] > 5000
    assert all(before.last + 1 == after.first for before, after in zip(found.bins, found.bins[1:], strict=False))


def two_halves(count: int) -> list[dict[str, str]]:
    """First short rows, then ten times as long ones: whoever reads the beginning, or by bytes, gets the share wrong."""
    return [{"prompt": "q", "completion": "sky " * (10 if n < count / 2 else 100)} for n in range(count)]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_rows_are_drawn_evenly_from_all_over_the_file(tmp_path: Path, ending: str) -> None:
    rows = two_halves(20_000)
    file = tmp_path / f"a.{ending}"
    if ending == "jsonl":
        written(file, *rows)
    elif ending == "csv":
        file.write_text("prompt,completion\n" + "".join(f"{row['prompt']},{row['completion']}\n" for row in rows))
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=500)
    found = lengths(config(file), rows=1000, seconds=60)
    assert (found.coverage, found.rows) == (Coverage.SPREAD, 1000)
    assert found.total_rows == pytest.approx(20_000, rel=0.15)
    share_of_short = sum(one.rows for one in found.bins if one.last <= 60) / 1000
    assert share_of_short == pytest.approx(0.5, abs=0.12)  # 3 standard deviations of what blocks make of 1000 rows


@pytest.mark.parametrize("name", ["a.json", "a.csv"])
def test_a_file_that_cannot_be_entered_in_the_middle_is_read_from_its_beginning(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": "two\nlines", "completion": "yes"}] * 500
    lines = "prompt,completion\n" + '"two\nlines",yes\n' * 500
    (tmp_path / name).write_text(lines if name.endswith("csv") else json.dumps(rows, indent=1))
    some = lengths(config(tmp_path / name), rows=100)
    assert (some.coverage, some.rows, some.total_rows, some.unusable) == (Coverage.BEGINNING, 100, None, 0)
    whole = lengths(config(tmp_path / name))
    assert (whole.coverage, whole.rows, whole.total_rows) == (Coverage.WHOLE, 500, 500)


def test_the_seed_decides_which_rows_are_drawn(tmp_path: Path) -> None:
    words = random.Random(0)
    rows = [{"text": "sky " * words.randint(1, 300)} for _ in range(5000)]
    file = written(tmp_path / "a.jsonl", *rows)
    drawn = [lengths(config(file, **{"training.seed": seed}), rows=200).mean for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_time_that_is_up_ends_the_look(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", *[{"text": "sky " * 50}] * 5000)
    found = lengths(config(file), rows=5000, seconds=1e-6)
    assert 0 < found.rows < 5000
    assert found.coverage is Coverage.SPREAD


def test_no_row_that_can_be_used(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", *[{"prompt": "q", "completion": ""}] * 3)
    with pytest.raises(BadInput, match="none of 3 rows that were looked at can be used: 'completion' is empty"):
        lengths(config(file))


def test_what_packing_makes_of_the_rows_is_what_a_run_trains_on(tmp_path: Path) -> None:
    made = config(
        DEMO / "data" / "train.jsonl", max_length=128, **{"data.packing": True, "training.micro_batch_size": 4}
    )
    _, rows = trained_on(made, tmp_path)
    plan = BatchPlan(
        seed=3, rows=len(rows.train), micro_batch_size=4, gradient_accumulation_steps=1, world_size=1, rank=0,
        shuffle=True, packing=Packing(rows.lengths, 128),
    )  # fmt: skip
    packed = [collate_packed([PackedRows(rows.train)[one] for one in plan.indices(step)[0]], 0, in_one_line=False)
              for step in range(plan.steps(1) - 1)]  # fmt: skip
    plain = [collate([rows.train[row] for row in range(start, start + 4)], 0) for start in range(0, 400, 4)]

    def padding(batches: list[Any]) -> float:
        return 1 - sum(map(count_tokens, batches)) / sum(batch["input_ids"].numel() for batch in batches)

    found = lengths(made)
    assert found.packed is not None
    assert found.packed.rows_a_sequence == pytest.approx(len(rows.train) / plan.samples(0), rel=0.03)
    assert found.packed.filled == pytest.approx(sum(rows.lengths) / (128 * plan.samples(0)), rel=0.03)
    assert found.packed.padding == pytest.approx(padding(packed), abs=0.01)
    assert found.padding == pytest.approx(padding(plain), abs=0.02)
    assert found.packed.padding < found.padding / 2
    assert lengths(replace(made, data=replace(made.data, packing=False))).packed is None
