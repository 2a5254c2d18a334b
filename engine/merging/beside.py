"""What lies beside merged weights: configuration, tokenizer and its chat template, generation settings, code."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from engine.events import read_json
from engine.templates import PLAIN_CHAT_TEMPLATE
from engine.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from engine.config import RunConfig
    from engine.events import RunDirectory

COPIED = ("generation_config.json", "preprocessor_config.json", "processor_config.json", "*.py")


def tokenizer_of(run: RunDirectory, config: RunConfig) -> Any:
    """The tokenizer the run was trained with, new tokens and chat template in it.

    Raises:
        BadInput: there is none any more.
    """
    if (run.adapter / "tokenizer_config.json").exists():
        saved = msgspec.structs.replace(config.model, tokenizer=str(run.adapter))
        own = msgspec.structs.replace(config.data, chat_template=None)  # it was saved with the tokenizer
        return load_tokenizer(msgspec.structs.replace(config, model=saved, data=own))
    tokenizer = load_tokenizer(config)
    tokenizer.add_tokens(config.model.new_tokens)
    if (read_json(run.data / "rows.json") or {}).get("plain_template"):
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    return tokenizer


def write_beside(folder: Path, base_folder: Path, config: dict[str, Any], tokenizer: Any) -> None:
    """Write all that is no weight: ``config``, the run's tokenizer, and copies of what the base has besides."""
    for pattern in COPIED:
        for path in sorted(base_folder.glob(pattern)):
            shutil.copy(path, folder / path.name)
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    tokenizer.save_pretrained(folder)


def merged_config(
    base_folder: Path, base: Any, tokenizer: Any, dtype: torch.dtype, labels: list[str] | None, *, is_untied: bool
) -> dict[str, Any]:
    """The base's own config.json, but for what merging changed. ``base`` is the model as it was trained on."""
    config: dict[str, Any] = json.loads((base_folder / "config.json").read_text("utf-8"))
    text = config.get("text_config", config)
    config["torch_dtype" if "torch_dtype" in config else "dtype"] = str(dtype).removeprefix("torch.")
    text["vocab_size"] = base.config.get_text_config().vocab_size
    if is_untied:
        config["tie_word_embeddings"] = text["tie_word_embeddings"] = False
    if labels is not None:
        config |= {
            "architectures": [type(base).__name__], "id2label": {str(at): name for at, name in enumerate(labels)},
            "label2id": {name: at for at, name in enumerate(labels)}, "pad_token_id": tokenizer.pad_token_id,
        }  # fmt: skip
    return config
