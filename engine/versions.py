"""Installed versions that decide how a run behaves."""

from __future__ import annotations

import platform
from importlib import metadata

LIBRARIES = ("qltui", "torch", "transformers", "peft", "accelerate", "bitsandbytes", "datasets", "deepspeed")


def versions() -> dict[str, str]:
    """Versions of Python and of those of :data:`LIBRARIES` that are installed; none of them is imported."""
    installed = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed
