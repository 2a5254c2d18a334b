"""The user's data through ``prepare_rows``: what is kept, cut, held out and stored."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet
import pytest
from support import small_tokenizers as small
from support.small_tokenizers import byte_level, marked

from engine.config.reading import read
from engine.data import Rows, prepare_rows
from engine.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from engine.config import RunConfig

PAIRS = [{"prompt": f"q{n}", "completion": f"a{n}"} for n in range(10)]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(tmp_path: Path, data: Path, seed: int = 42, **options: Any) -> RunConfig:
    model = small.save(byte_level(), tmp_path / "model")
    tree = {"model": {"path": str(model)}, "data": {"path": str(data), **options}, "training": {"seed": seed}}
    return read(tree, where="test", base=tmp_path)


def prepare(tmp_path: Path, data: Path, folder: str = "data", **options: Any) -> Rows:
    made = config(tmp_path, data, **options)
    return prepare_rows(made, load_tokenizer(made), tmp_path / folder, is_main=True, progress=lambda line: None)


def texts(rows: Any) -> list[str]:
    return [marked(byte_level(), row) for row in rows]


def files(tmp_path: Path) -> dict[str, Path]:
    """The same ten rows in every kind of file."""
    made = {"lines": write_lines(tmp_path / "a.jsonl", PAIRS)}
    made["list"] = tmp_path / "b.json"
    made["list"].write_text(json.dumps(PAIRS, indent=1))
    made["json lines"] = write_lines(tmp_path / "c.json", PAIRS)
    made["blank lines and a byte order mark"] = tmp_path / "d.jsonl"
    made["blank lines and a byte order mark"].write_text("\ufeff\n" + made["lines"].read_text().replace("\n", "\n\n"))
    made["csv"] = tmp_path / "e.csv"
    made["csv"].write_text("prompt,completion\n" + "".join(f"{r['prompt']},{r['completion']}\n" for r in PAIRS))
    made["tsv"] = tmp_path / "f.tsv"
    made["tsv"].write_text(made["csv"].read_text().replace(",", "\t"))
    made["parquet"] = tmp_path / "g.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(PAIRS), made["parquet"])
    folder = tmp_path / "folder"
    folder.mkdir()
    made["folder"] = folder
    (folder / "train.csv").write_text(made["csv"].read_text())
    return made


KINDS = ("lines", "list", "json lines", "blank lines and a byte order mark", "csv", "tsv", "parquet", "folder")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    rows = prepare(tmp_path, files(tmp_path)[kind])
    assert texts(rows.train) == [f"q{n}«a{n}</s>»" for n in range(10)]
    assert rows.evaluation is None
    assert rows.summary == {
        "format": "prompt_completion", "template": "prompt and completion as they are", "rows": 10, "eval_rows": 0,
        "dropped": 0, "truncated": 0, "tokens": 50, "target_tokens": 30,
    }  # fmt: skip


def test_texts_that_look_like_numbers_dates_or_nothing_stay_texts(tmp_path: Path) -> None:
    answers = ["007", "NA", "2024-01-01", "1e3", "null", "true", " x "]
    csv = tmp_path / "a.csv"
    csv.write_text("prompt,completion\n" + "".join(f"q,{answer}\n" for answer in answers))
    dates = write_lines(tmp_path / "b.jsonl", [{"prompt": "q", "completion": "2024-01-01"}] * 2)
    assert texts(prepare(tmp_path, csv, "csv").train) == [f"q«{answer}</s>»" for answer in answers]
    assert texts(prepare(tmp_path, dates, "json").train) == ["q«2024-01-01</s>»"] * 2


def test_columns_may_have_names_of_their_own(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", [{"question": "q", "reply": "a", "id": 7}])
    rows = prepare(tmp_path, data, columns={"prompt": "question", "completion": "reply"})
    assert texts(rows.train) == ["q«a</s>»"]


def test_messages_in_parquet_come_without_the_nulls_it_fills_in(tmp_path: Path) -> None:
    def turns(**arguments: int) -> list[dict[str, Any]]:
        call = {"function": {"name": "f", "arguments": arguments}}
        return [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [call]}]

    file, template = tmp_path / "a.parquet", tmp_path / "tools.jinja"
    rows = [{"messages": turns(x=1)}, {"messages": turns(y=2)}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    template.write_text(small.TOOLS)
    assert [text.split("\n")[-2] for text in texts(prepare(tmp_path, file, chat_template=str(template)).train)] == [
        '«<call>f{"x": 1}<|im_end|>»',
        '«<call>f{"y": 2}<|im_end|>»',
    ]


def test_the_given_format_goes_before_the_columns(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "a", "text": "t"}])
    assert texts(prepare(tmp_path, data, format="text").train) == ["«t</s>»"]


def test_rows_are_cut_on_the_right_and_dropped_when_nothing_of_the_answer_is_left(tmp_path: Path) -> None:
    data = write_lines(
        tmp_path / "a.jsonl",
        [
            {"prompt": "123456", "completion": "ab"},
            {"prompt": "1234567", "completion": "ab"},
            {"prompt": "12345678", "completion": "ab"},
            {"prompt": "12345", "completion": "ab"},
        ],
    )
    rows = prepare(tmp_path, data, max_length=8)
    assert texts(rows.train) == ["123456«ab»", "1234567«a»", "12345«ab</s>»"]
    counted = {name: rows.summary[name] for name in ("rows", "dropped", "truncated", "tokens", "target_tokens")}
    assert counted == {"rows": 3, "dropped": 1, "truncated": 2, "tokens": 24, "target_tokens": 6}


def test_dropped_and_cut_evaluation_rows_are_counted_too(tmp_path: Path) -> None:
    held_out = write_lines(
        tmp_path / "b.jsonl", [{"prompt": "12345678", "completion": "a"}, {"prompt": "1234567", "completion": "a"}]
    )
    rows = prepare(tmp_path, write_lines(tmp_path / "a.jsonl", PAIRS), max_length=8, eval_path=str(held_out))
    counted = {name: rows.summary[name] for name in ("rows", "eval_rows", "dropped", "truncated")}
    assert counted == {"rows": 10, "eval_rows": 1, "dropped": 1, "truncated": 1}


def test_an_answer_to_compare_with_is_whole_though_the_row_is_cut(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", [{"prompt": "123456", "completion": "abc def"}])
    rows = prepare(tmp_path, data, max_length=8, eval_path=str(data))
    assert rows.evaluation is not None
    assert texts(rows.evaluation) == ["123456«ab»"]
    assert rows.evaluation[0]["answer"] == "abc def"


@pytest.mark.parametrize(("fraction", "held_out"), [(0.3, 3), (0.001, 1), (0.99, 9)])
def test_a_share_is_held_out_the_same_for_the_same_seed(tmp_path: Path, fraction: float, held_out: int) -> None:
    data = write_lines(tmp_path / "a.jsonl", PAIRS)
    rows, again = (prepare(tmp_path, data, name, eval_fraction=fraction) for name in ("one", "again"))
    assert rows.evaluation is not None
    assert again.evaluation is not None
    assert rows.summary["eval_rows"] == held_out == len(rows.evaluation)
    assert sorted(texts(rows.train) + texts(rows.evaluation)) == [f"q{n}«a{n}</s>»" for n in range(10)]
    assert (texts(rows.train), texts(rows.evaluation)) == (texts(again.train), texts(again.evaluation))
    others = [prepare(tmp_path, data, f"seed{seed}", seed=seed, eval_fraction=fraction) for seed in range(3)]
    assert len({str(texts(other.evaluation)) for other in others}) > 1


def test_evaluation_data_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    held_out = tmp_path / "b.csv"
    held_out.write_text("instruction,output\nq,a\n")
    rows = prepare(tmp_path, write_lines(tmp_path / "a.jsonl", PAIRS), eval_path=str(held_out))
    assert rows.evaluation is not None
    assert rows.evaluation[0]["answer"] == "a"
    assert (rows.summary["rows"], rows.summary["eval_rows"], rows.summary["format"]) == (10, 1, "prompt_completion")


def test_rows_of_plain_text_have_no_prompt_to_answer(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", [{"text": "abc"}, {"text": "abc"}])
    rows = prepare(tmp_path, data, eval_fraction=0.5)
    assert rows.evaluation is not None
    assert (rows.evaluation[0]["prompt_ids"], rows.evaluation[0]["answer"]) == ([], "")


def test_a_resumed_run_reads_what_the_first_attempt_read(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", PAIRS)
    first = prepare(tmp_path, data, eval_fraction=0.2)
    write_lines(data, [{"prompt": "other", "completion": "rows"}])
    resumed = prepare(tmp_path, data, eval_fraction=0.2)
    assert texts(resumed.train) == texts(first.train)
    assert resumed.summary == first.summary
    data.unlink()
    assert texts(prepare(tmp_path, data, eval_fraction=0.2).evaluation) == texts(first.evaluation)


def test_a_file_that_changed_is_read_anew_by_another_run(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", PAIRS)
    prepare(tmp_path, data, "one")
    stat = data.stat()
    write_lines(data, [{"prompt": "Q0", "completion": "A0"}, *PAIRS[1:]])
    os.utime(data, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # not even time and size tell
    assert texts(prepare(tmp_path, data, "two").train)[0] == "Q0«A0</s>»"


def test_nothing_is_kept_of_an_attempt_that_was_killed(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", PAIRS)
    (tmp_path / ".data.partial" / "cache").mkdir(parents=True)
    (tmp_path / ".data.partial" / "train.arrow").write_text("half")
    prepare(tmp_path, data)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["rows.json", "train.arrow"]
    assert not (tmp_path / ".data.partial").exists()


def test_progress_is_said(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", PAIRS)
    made, lines = config(tmp_path, data), []
    prepare_rows(made, load_tokenizer(made), tmp_path / "data", is_main=True, progress=lines.append)
    assert lines == [f"reading {data}"]


def test_other_ranks_wait_for_the_main_one_and_read_the_same(tmp_path: Path) -> None:
    made, folder = config(tmp_path, write_lines(tmp_path / "a.jsonl", PAIRS)), tmp_path / "data"
    waiting = threading.Event()

    def other_rank() -> Rows:
        return prepare_rows(
            made, load_tokenizer(made), folder, is_main=False, progress=lambda line: waiting.set()
        )  # fmt: skip

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(other_rank)
        assert waiting.wait(60)
        rows = prepare_rows(made, load_tokenizer(made), folder, is_main=True, progress=lambda line: None)
        read_by_other = other.result(60)
    assert texts(read_by_other.train) == texts(rows.train)
    assert read_by_other.summary == rows.summary
