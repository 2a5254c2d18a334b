"""A run's adapter merged into its base by the engine, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.events import RunDirectory


class MergeRefused(Exception):
    """Nothing was merged; the message says why and what to do."""


def merge(run: RunDirectory, options: Sequence[str], tell: Callable[[int, int], None]) -> dict[str, Any]:
    """Merge, and say what came of it, as ``engine.merge`` does; ``tell`` gets bytes written and bytes in all.

    Raises:
        MergeRefused: it could not be done.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.merge", str(run.path), *options], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True, encoding="utf-8", env={**os.environ, "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    said: dict[str, Any] = {}
    try:
        for line in process.stdout:
            said = json.loads(line)
            if "done" in said:
                tell(said["done"], said["total"])
        code = process.wait()
    except BaseException:
        process.terminate()  # it removes what it has begun
        process.wait()
        raise
    if "refused" in said:
        raise MergeRefused(said["refused"])
    if code != 0:
        raise MergeRefused(f"merging ended with exit code {code}; what went wrong stands above.")
    merged: dict[str, Any] = said["merged"]
    return merged
