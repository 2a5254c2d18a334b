"""Versions of the libraries a run stands on: those installed, and those the program was tested with."""

from __future__ import annotations

from importlib import metadata

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
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None
