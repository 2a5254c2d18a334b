"""Models of random weights and rows of exact length: ``python -m points.models FOLDER NAME...`` makes models."""

from __future__ import annotations

import fcntl
import json
import random
import sys
from pathlib import Path
from typing import Any

from points.points import STEPS, Point, model_folder
from qltui.facts.models.known import config_of

DEMO = Path(__file__).parents[2] / "presets" / "demo"
CHARACTERS_A_TOKEN = 8
"""More than the demo's tokenizer makes a token of, so that every row is cut to the length wanted."""
LONGEST = 16384
"""Positions a model must know."""


def transformers_config(model: str) -> Any:
    """The configuration of a model of the table, with room for the longest rows."""
    from transformers import AutoConfig

    values = config_of(model)
    assert values is not None, f"{model} is not in the bundled table"
    if "max_position_embeddings" in values:
        values = {**values, "max_position_embeddings": max(LONGEST, values["max_position_embeddings"])}
    return AutoConfig.for_model(**values)


def make_model(folder: Path, model: str) -> None:
    """Weights drawn on the GPU, or the CPU where there is none, in bf16; with the demo's tokenizer."""
    place = model_folder(folder, model)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another lane may be making it
        if not place.exists():
            write_model(place, model)


def write_model(place: Path, model: str) -> None:
    """As :func:`make_model` says."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO / "model")
    config = transformers_config(model)
    for token in ("bos", "eos", "pad"):
        setattr(config, f"{token}_token_id", getattr(tokenizer, f"{token}_token_id"))
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        made = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    aside = place.with_name(f".{place.name}")
    made.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    aside.rename(place)


def write_rows(point: Point, folder: Path, steps: int = STEPS) -> None:
    """Rows of a point, each longer than it may be."""
    demo = [json.loads(line) for line in (DEMO / "data" / "train.jsonl").read_text("utf-8").splitlines()]
    sentences = [message["content"] for row in demo for message in row["messages"]]
    chance = random.Random(0)
    wanted = point.sequence * CHARACTERS_A_TOKEN
    pool = " ".join(chance.choices(sentences, k=2 * wanted // min(map(len, sentences)) + 1))
    place = folder / "rows" / f"{point.name}.jsonl"
    place.parent.mkdir(parents=True, exist_ok=True)
    starts = [chance.randrange(len(pool) - wanted) for _ in range(point.rows(steps))]
    place.write_text("".join(json.dumps({"text": pool[at : at + wanted]}) + "\n" for at in starts), "utf-8")


def main() -> None:
    folder, *models = sys.argv[1:]
    for model in models:
        make_model(Path(folder), model)


if __name__ == "__main__":
    main()
