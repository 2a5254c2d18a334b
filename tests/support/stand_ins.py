"""What a preset takes from the hub, made here: its model's configuration with a tokenizer, rows laid out as its data.

No network is asked. The configuration is the bundled one (``qltui/facts/models``), so that layers and heads are the
model's own; tokenizer and texts are the demo's, and stand for those of the hub.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from qltui.facts.models import known
from support.models import put_into_hub_cache
from support.runs import DEMO

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.config import RunConfig

Row = dict[str, Any]
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
ROWS = 96
"""Of each split."""


def _conversation(question: str, answer: str) -> Row:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def _instruction(question: str, answer: str) -> Row:
    return {"output": answer, "input": "", "instruction": question}


def _news(question: str, answer: str) -> Row:
    return {"text": question, "label": len(answer) % len(NEWS)}


NEWS = ("World", "Sports", "Business", "Sci/Tech")
LAYOUTS: dict[str, tuple[tuple[str, ...], Callable[[str, str], Row]]] = {
    "HuggingFaceH4/deita-10k-v0-sft": (("train_sft", "test_sft", "train_gen", "test_gen"), _conversation),
    "zai-org/LongWriter-6k": (("train",), _conversation),
    "yahma/alpaca-cleaned": (("train",), _instruction),
    "fancyzhx/ag_news": (("train", "test"), _news),
}
"""Splits, and what a row is made of, by the data set's id."""


def stand_in(config: RunConfig, folder: Path) -> RunConfig:
    """The configuration with data in ``folder``; its model is put into the hub's cache at ``folder/hub``.

    ``HF_HOME`` is to be that folder, and ``HF_HUB_OFFLINE`` to be set. A configuration of local files stays as it is.
    """
    if Path(config.model.path).is_dir():
        return config
    _put_model(config.model.path, folder)
    path = folder / "data" / config.data.path.replace("/", "--")
    if not path.exists():
        _write_data(config.data.path, path)
    return msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, path=str(path)))


def _put_model(name: str, home: Path) -> None:
    folder = home / "models" / name.replace("/", "--")
    if folder.exists():
        return
    folder.mkdir(parents=True)
    for file in TOKENIZER:
        shutil.copy(DEMO / "model" / file, folder)
    (folder / "config.json").write_text(json.dumps(known.config_of(name)))
    put_into_hub_cache(home, name, folder)


def _write_data(name: str, folder: Path) -> None:
    """A folder as the hub lays a data set out: its splits named in README.md, a file each."""
    import datasets

    datasets.disable_progress_bars()
    splits, make = LAYOUTS[name]
    rows = [json.loads(line)["messages"] for line in (DEMO / "data" / "train.jsonl").read_text().splitlines()[:ROWS]]
    made = datasets.Dataset.from_list([make(question["content"], answer["content"]) for question, answer in rows])
    if "label" in made.column_names:
        made = made.cast_column("label", datasets.ClassLabel(names=list(NEWS)))
    lines = []
    for split in splits:
        file = Path("data", f"{split}-00000-of-00001.parquet")
        (folder / "data").mkdir(parents=True, exist_ok=True)
        made.to_parquet(str(folder / file))
        lines += [f"  - split: {split}", f"    path: {file}"]
    front = ["---", "configs:", "- config_name: default", "  data_files:", *lines, "---", ""]
    (folder / "README.md").write_text("\n".join(front))
