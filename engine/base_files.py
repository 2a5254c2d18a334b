"""The files of a run's base model: where they are, and whether they are still those it was trained on."""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from transformers.utils import cached_file

from engine.errors import BadInput, cause_of_not_loaded, why_not_loaded
from engine.events import read_json, write_json

if TYPE_CHECKING:
    from engine.config import Compute, RunConfig
    from engine.events import RunDirectory

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
COMMIT = re.compile(r"[0-9a-f]{40}$")
SAMPLES = 64
SAMPLE = 1 << 16
"""Bytes of a file that are looked at in each of so many places, its first and its last among them."""


class BaseFiles(NamedTuple):
    """A model's files, here."""

    folder: Path
    """Its configuration and what else is no weight."""
    weights: list[Path]
    """Its safetensors files, in the order of their names."""
    weight_map: dict[str, str] | None
    """The file of each tensor, as the index tells; None where there is one file."""

    @property
    def commit(self) -> str | None:
        """Of a hub model, by the folder it is kept in."""
        return self.folder.name if COMMIT.match(self.folder.name) else None


def base_files(config: RunConfig) -> BaseFiles:
    """The files of the run's base model, fetched if they are the hub's and not here.

    Raises:
        BadInput: there are none, or none in safetensors.
    """
    path, source = config.model.path, {"revision": config.model.revision}
    try:
        folder = Path(str(cached_file(path, "config.json", **source))).parent
        single = cached_file(path, SINGLE, _raise_exceptions_for_missing_entries=False, **source)
        if single is not None:
            return BaseFiles(folder, [Path(single)], None)
        index = cached_file(path, INDEX, _raise_exceptions_for_missing_entries=False, **source)
        if index is None:
            raise BadInput(
                f"model.path: {path} has no {SINGLE} and no {INDEX}; load it with Transformers and save it again with "
                "save_pretrained, which writes them."
            )
        weight_map: dict[str, str] = json.loads(Path(index).read_text("utf-8"))["weight_map"]
        weights = [Path(str(cached_file(path, name, **source))) for name in sorted(set(weight_map.values()))]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"model.path: {path}: {why_not_loaded(path, error)}", cause_of_not_loaded(path, error)
        ) from error
    return BaseFiles(folder, weights, weight_map)


def record_base(run: RunDirectory, config: RunConfig, compute: Compute, labels: list[str] | None) -> None:
    """Write down what the run's base is, and its classes, once: ``base.json``; only of bases in safetensors."""
    if run.base_json.exists():
        return
    try:
        files = base_files(config)
    except BadInput:  # the model was loaded all the same, from files of another kind
        return
    prints = {path.name: fingerprint(path) for path in files.weights}
    write_json(
        run.base_json,
        {"schema_version": 1, "path": config.model.path, "commit": files.commit, "compute": compute.value,
         "labels": labels, "files": prints},
    )  # fmt: skip


def check_base(run: RunDirectory, config: RunConfig, files: BaseFiles) -> bool:
    """See that the base is the one the run was trained on; false if nothing is recorded of it.

    Raises:
        BadInput: it is another one now.
    """
    recorded = read_json(run.base_json) or {}
    if not isinstance(recorded.get("files"), dict):
        return False
    for path in files.weights:
        if recorded["files"].get(path.name) != fingerprint(path):
            commit = recorded.get("commit")
            what = f"commit {commit} (model.revision)" if commit else "what it was"
            raise BadInput(
                f"model.path: {config.model.path} has changed since run {run.id} was trained on it ({path.name} is "
                f"another file now), and an adapter is of use with its own base alone; bring back {what}."
            )
    if set(recorded["files"]) != {path.name for path in files.weights}:
        raise BadInput(
            f"model.path: {config.model.path} has {len(files.weights)} weight files, and {len(recorded['files'])} when "
            f"run {run.id} was trained on it; bring back what it was."
        )
    return True


def recorded_labels(run: RunDirectory) -> list[str] | None:
    """The classes of a classification, in the order of the model's outputs; None of other runs."""
    recorded = read_json(run.base_json) or (read_json(run.data / "rows.json") or {}).get("summary") or {}
    labels: list[str] | None = recorded.get("labels")
    return labels


def fingerprint(path: Path) -> dict[str, Any]:
    """Size and a checksum of parts of a file: enough to tell models apart without reading them whole.

    The first part is the header of a safetensors file; the others are spread evenly over its tensors.
    """
    size, checksum = path.stat().st_size, 0
    with open(path, "rb", buffering=0) as file:
        for sample in range(SAMPLES):
            at = max(0, size - SAMPLE) * sample // (SAMPLES - 1)
            checksum = zlib.crc32(os.pread(file.fileno(), SAMPLE, at), checksum)
    return {"bytes": size, "crc32": checksum}
