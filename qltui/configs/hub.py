"""What can be said of a hub id without asking the hub: its shape, and whether a copy lies on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
KNOWN_ENDINGS = (
    ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".gz", ".zip", ".xlsx",
    ".safetensors", ".bin", ".gguf", ".pt", ".pth", ".yaml", ".yml", ".jinja",
)  # fmt: skip
"""Endings of files: a name that ends like this is a mistyped path, not a hub id."""


def is_hub_id(name: str) -> bool:
    """Whether ``name`` can be ``organisation/name`` or ``name`` on the hub."""
    return HUB_ID.fullmatch(name) is not None and not name.lower().endswith(KNOWN_ENDINGS)


def is_offline() -> bool:
    """Whether the user told the hub's libraries to stay off the network."""
    return any(
        os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")
        for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def is_cached(name: str, kind: Literal["model", "dataset"]) -> bool:
    """Whether the hub's cache on this machine holds something of ``name``."""
    folder = f"{kind}s--{name.replace('/', '--')}"
    if any((_hub_cache() / folder / "snapshots").glob("*/*")):
        return True
    return kind == "dataset" and (_datasets_cache() / name.replace("/", "___").lower()).is_dir()


def cached_model(name: str, revision: str | None) -> Path | None:
    """The folder of the hub's cache that holds this revision of a model; None if it was not fetched."""
    folder = _hub_cache() / f"models--{name.replace('/', '--')}"
    try:
        commit = (folder / "refs" / (revision or "main")).read_text("ascii").strip()
    except (OSError, ValueError):
        commit = revision or ""
    snapshot = folder / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def model_folder(name: str, revision: str | None) -> Path | None:
    """Where a model lies on this machine: the folder ``name``, or the hub's cache; None if it was not fetched yet."""
    folder = Path(name)
    return folder if os.path.isdir(folder) else cached_model(name, revision)


def _home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{cache}/huggingface").expanduser()


def _hub_cache() -> Path:
    return Path(os.environ.get("HF_HUB_CACHE") or _home() / "hub").expanduser()


def _datasets_cache() -> Path:
    return Path(os.environ.get("HF_DATASETS_CACHE") or _home() / "datasets").expanduser()
