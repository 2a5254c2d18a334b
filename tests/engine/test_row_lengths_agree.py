"""The lengths a plan is made for against the tokens that the engine makes of the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from support import small_tokenizers as small

from engine.config.reading import read
from engine.data import prepare_rows
from engine.tokenizer import load_tokenizer
from qltui.configs import row_lengths

SAID = "The tide comes in twice a day, and every boat leaves the harbour before it turns."
TURNS = [SAID[: 5 + 7 * number % len(SAID)].strip() for number in range(40)]


def conversation(number: int) -> list[dict[str, str]]:
    roles = ("user", "assistant") * (1 + number % 3)
    return [{"role": role, "content": TURNS[(number + place) % 40]} for place, role in enumerate(roles)]


ROWS: dict[str, list[dict[str, Any]]] = {
    "text": [{"text": turn} for turn in TURNS],
    "pairs": [{"prompt": turn, "completion": f" {turn}!"} for turn in TURNS],
    "messages": [{"messages": conversation(number)} for number in range(40)],
    "sharegpt": [
        {"conversations": [{"from": one["role"], "value": one["content"]} for one in conversation(number)]}
        for number in range(40)
    ],
    "alpaca": [{"instruction": turn, "input": turn[: n % 2 * 9], "output": turn} for n, turn in enumerate(TURNS)],
}
TEMPLATES = {"chatml": small.CHATML, "thoughts": small.QWEN_3, "marked": small.WITH_GENERATION, "llama": small.LLAMA_2}


def compare(folder: Path, rows: list[dict[str, Any]], tokenizer: Any, max_length: int = 4096, **values: Any) -> None:
    """Both see the same number of rows, the same longest one and the same tokens in all."""
    small.save(tokenizer, folder / "model")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = {"model.path": str(folder / "model"), "data.path": str(folder / "rows.jsonl"), **values}
    config = read({**known, "data.max_length": max_length}, where="test", base=folder)
    made = prepare_rows(config, load_tokenizer(config), folder / "data", is_main=True, progress=lambda line: None)
    counted = [len(ids) for ids in made.train["input_ids"]]
    found = row_lengths.measured(config)
    assert found is not None and found.measured
    assert found.rows == len(counted)
    assert found.longest_row(max_length) == max(counted)
    assert found.mean(max_length) == pytest.approx(fmean(counted))


@pytest.mark.parametrize("kind", ["text", "pairs"])
@pytest.mark.parametrize("add_eos", [False, True])
def test_plain_rows(tmp_path: Path, kind: str, add_eos: bool) -> None:
    compare(tmp_path, ROWS[kind], small.byte_level(add_bos=True, add_eos=add_eos))


@pytest.mark.parametrize("kind", ["messages", "sharegpt", "alpaca"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_conversations_with_a_chat_template(tmp_path: Path, kind: str, template: str) -> None:
    compare(tmp_path, ROWS[kind], small.byte_level(add_bos=True, chat_template=TEMPLATES[template]))


def test_cut_rows(tmp_path: Path) -> None:
    compare(tmp_path, ROWS["text"], small.sentence_piece_like(), max_length=20)


def test_texts_and_pairs_to_classify(tmp_path: Path) -> None:
    rows = [{"text": turn, "text_pair": turn[: n % 2 * 9], "label": n % 2} for n, turn in enumerate(TURNS)]
    compare(tmp_path, rows, small.byte_level(add_bos=True), **{"model.task": "sequence_classification"})
