"""Whether a model folder holds what loading it will need: config, weights that are all there, a tokenizer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from engine.config.schema import Problem
from qltui.configs import hub

WHOLE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SHARDED_WEIGHTS = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format itself."""
LFS_POINTER = b"version https://git-lfs"


def check_model(name: str, tokenizer: str | None) -> list[Problem]:
    """What is wrong with the model ``name`` and the tokenizer that goes with it, as far as files can tell."""
    folder = Path(name)
    if not os.path.exists(folder):  # Path.exists raises for names too long
        problems = missing(name, "model.path", "model")
    elif not folder.is_dir():
        remedy = "Give the folder that holds config.json and the weights."
        problems = [Problem(name, "model.path", "is a file, not a model folder.", remedy)]
    else:
        problems = _check_config(folder) or _check_weights(folder)
    return problems + _check_tokenizer(folder, tokenizer)


def missing(name: str, field: str, kind: Literal["model", "dataset"]) -> list[Problem]:
    """What is wrong with a ``name`` that is nothing on this disk."""
    if not hub.is_hub_id(name):
        what = "folder" if kind == "model" else "file"
        return [Problem(name, field, f"there is no such {what}.", "Check the path; hub ids look like org/name.")]
    if hub.is_offline() and not hub.is_cached(name, kind):
        return [
            Problem(
                name,
                field,
                "is neither a local path nor in the hub's cache, and HF_HUB_OFFLINE forbids fetching it.",
                "Check the path, or fetch it where there is network.",
            )
        ]
    return []


def _check_config(folder: Path) -> list[Problem]:
    where = str(folder)
    if (folder / "config.json").is_file():
        config = _json_object(folder / "config.json")
        if config is None:
            return [Problem(str(folder / "config.json"), "model.path", "is not valid JSON.", "Fetch the model again.")]
        if not config.get("model_type") and not config.get("auto_map"):
            return [
                Problem(
                    str(folder / "config.json"), "model.path", "names no model_type.", "Is it a Transformers model?"
                )
            ]
        return []
    adapter = _json_object(folder / "adapter_config.json")
    if adapter is not None:
        base = adapter.get("base_model_name_or_path") or "the model it was trained on"
        return [Problem(where, "model.path", "is a LoRA adapter, not a model.", f"Give its base: {base}.")]
    remedy = "Give the folder of a Hugging Face model: config.json, weights, tokenizer."
    return [Problem(where, "model.path", "is no model folder: it has no config.json.", remedy)]


def hidden_size(name: str, revision: str | None) -> int | None:
    """Width of a model's layers as its ``config.json`` has it; None if that says nothing, or lies not here yet."""
    return _number("hidden_size", name, revision)


def vocabulary(name: str, revision: str | None) -> int | None:
    """Tokens a model knows, likewise."""
    return _number("vocab_size", name, revision)


def _number(key: str, name: str, revision: str | None) -> int | None:
    folder = hub.model_folder(name, revision)
    config = _json_object(folder / "config.json") if folder else None
    if config is None:
        return None
    text = config.get("text_config")
    found = (text if isinstance(text, dict) else config).get(key)
    return found if isinstance(found, int) else None


def _check_weights(folder: Path) -> list[Problem]:
    """The file Transformers will take, in the order it looks for them."""
    for whole, index in zip(WHOLE_WEIGHTS, SHARDED_WEIGHTS, strict=True):
        if (folder / whole).is_file():
            return _check_weight_files(folder, [whole])
        if (folder / index).is_file():
            return _check_shards(folder, index)
    others = sorted(file.name for file in folder.iterdir() if file.suffix in (".safetensors", ".bin", ".gguf", ".pth"))
    found = f" (only {', '.join(others[:3])})" if others else ""
    remedy = f"One of these is needed: {', '.join((*WHOLE_WEIGHTS, *SHARDED_WEIGHTS))}."
    return [Problem(str(folder), "model.path", f"holds no weights{found}.", remedy)]


def _check_shards(folder: Path, index: str) -> list[Problem]:
    shards = _shards(folder / index)
    if not shards:
        return [Problem(str(folder / index), "model.path", "is no index of weights.", "Fetch the model again.")]
    absent = [shard for shard in shards if not (folder / shard).is_file()]
    if absent:
        named = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
        message = f"{len(absent)} of {len(shards)} weight files are missing: {named}."
        return [Problem(str(folder), "model.path", message, "Fetch the rest of the model.")]
    return _check_weight_files(folder, shards)


def _shards(index: Path) -> list[str]:
    """Names of the files an index of weights names."""
    weight_map = (_json_object(index) or {}).get("weight_map")
    return sorted({str(shard) for shard in weight_map.values()}) if isinstance(weight_map, dict) else []


def _check_weight_files(folder: Path, names: list[str]) -> list[Problem]:
    for name in names:
        flaw = _weight_file_flaw(folder / name)
        if flaw:
            message, remedy = flaw
            return [Problem(str(folder / name), "model.path", message, remedy)]
    return []


def _weight_file_flaw(path: Path) -> tuple[str, str] | None:
    """(message, remedy) if a weight file was not fetched whole; only its header is read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(len(LFS_POINTER))
            if beginning == LFS_POINTER:
                return "is a Git LFS pointer, not the weights.", "Run `git lfs pull` in its folder."
            if size == 0:
                return "is empty.", "Fetch it again."
            if path.suffix != ".safetensors":
                return None
            # Layout: https://huggingface.co/docs/safetensors#format
            header_bytes = int.from_bytes(beginning[:8], "little")
            if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, size - 8):
                return "is no complete safetensors file.", "Fetch it again."
            file.seek(8)
            header = json.loads(file.read(header_bytes))
            last = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    except OSError as error:
        return f"cannot be read ({error.strerror}).", "Check its permissions."
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "is no valid safetensors file.", "Fetch it again."
    if 8 + header_bytes + last > size:
        return f"is cut short: {size:,} of {8 + header_bytes + last:,} bytes.", "Fetch it again."
    return None


def _check_tokenizer(model_folder: Path, tokenizer: str | None) -> list[Problem]:
    field = "model.tokenizer" if tokenizer else "model.path"
    folder = Path(tokenizer) if tokenizer else model_folder
    if tokenizer and not os.path.exists(folder):
        return missing(tokenizer, field, "model")
    if not os.path.isdir(folder) or any((folder / name).is_file() for name in TOKENIZER_FILES):
        return []
    if not tokenizer and not (folder / "config.json").is_file():
        return []  # no model folder at all: said once is enough
    remedy = f"Copy the model's tokenizer there ({', '.join(TOKENIZER_FILES[:2])}, ...)"
    remedy += "." if tokenizer else ", or name one: --set model.tokenizer=FOLDER."
    return [Problem(str(folder), field, "holds no tokenizer.", remedy)]


def _json_object(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
