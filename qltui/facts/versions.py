"""Versions of the libraries a run stands on: those installed, and those the program was tested with."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

TESTED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "bitsandbytes": "0.50.2",
    "accelerate": "1.15.0",
    "deepspeed": "0.19.8",
    "datasets": "5.2.0",
    "textual": "8.2.8",
}


def installed(package: str) -> str | None:
    """The installed version without its build tag (``+cpu``); None if it is not there. Imports nothing of it."""
    return all_installed().get(package)


def all_installed() -> dict[str, str]:
    """The versions of all packages by name, without their build tags."""
    folders = [Path(folder) for folder in sys.path if os.path.isdir(folder)]
    return _versions(tuple((folder, folder.stat().st_mtime_ns) for folder in folders))


@cache
def _versions(folders: tuple[tuple[Path, int], ...]) -> dict[str, str]:
    """Of every package in :data:`TESTED`, and others, by the folders that say so beside them.

    Their names hold the version (https://packaging.python.org/specifications/recording-installed-packages/);
    ``importlib.metadata`` takes a quarter of the time that a short command may.
    """
    found: dict[str, str] = {}
    for folder, _changed in folders:
        for name in os.listdir(folder):
            if name.endswith((".dist-info", ".egg-info")):
                package, _, version = name.rpartition(".")[0].partition("-")
                found.setdefault(re.sub(r"[-_.]+", "-", package).lower(), version.partition("+")[0].partition("-")[0])
    return found
