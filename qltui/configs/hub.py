"""What can be said of a hub id: its shape, whether a copy lies on this machine, and if asked for, what the hub says."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
KNOWN_ENDINGS = (
    ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".gz", ".zip", ".xlsx",
    ".safetensors", ".bin", ".gguf", ".pt", ".pth", ".yaml", ".yml", ".jinja",
)  # fmt: skip
"""Endings of files: a name that ends like this is a mistyped path, not a hub id."""

PUBLIC = "https://huggingface.co"
SECONDS = 5.0
"""The hub is waited for at most."""


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


def cached_models() -> list[str]:
    """Names of the models in the hub's cache that have a config.json there, sorted; none where it cannot be read."""
    try:
        folders = [entry for entry in os.listdir(_hub_cache()) if entry.startswith("models--")]
        found = [name for name in folders if any((_hub_cache() / name / "snapshots").glob("*/config.json"))]
    except OSError:
        return []
    return sorted((name.removeprefix("models--").replace("--", "/") for name in found), key=str.lower)


class HubAnswer(NamedTuple):
    """What asking the hub for a model came to."""

    is_there: bool | None
    """None where the hub could not be asked."""
    told: str
    """In a clause."""


def ask(name: str, revision: str | None = None) -> HubAnswer:
    """Ask the hub for a model, once and without a token. Blocks for some seconds at most."""
    if is_offline():
        return HubAnswer(None, "the hub is not asked, as HF_HUB_OFFLINE forbids it")
    import urllib.error
    import urllib.request
    from http.client import HTTPException
    from urllib.parse import quote

    address = f"{os.environ.get('HF_ENDPOINT') or PUBLIC}/api/models/{quote(name)}"
    address += f"/revision/{quote(revision, safe='')}" if revision else ""
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as found:
            about = json.load(found)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):
            return HubAnswer(False, "the hub shows no such model; a private one needs your token")
        return HubAnswer(None, f"the hub answers with an error ({error.code})")
    except (OSError, ValueError, HTTPException) as error:
        reason = str(getattr(error, "reason", error)).strip()
        return HubAnswer(None, f"the hub cannot be reached ({reason})")
    gated = isinstance(about, dict) and about.get("gated")
    return HubAnswer(True, "the hub has it" + (", for those who accepted its licence there" if gated else ""))


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
