"""Scripts that are run as ranks of their own, without the engine's launcher."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_as_ranks(
    script: Path, arguments: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]], seconds: float = 120
) -> None:
    """Run a script once a rank, each with its arguments and environment, and wait for all; none is left behind.

    Fails with the end of what the first rank printed that did not end well.
    """
    started = [
        subprocess.Popen(
            [sys.executable, str(script), *given],
            env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for given, environment in zip(arguments, environments, strict=True)
    ]  # fmt: skip
    try:
        for process in started:
            printed, _ = process.communicate(timeout=seconds)
            assert process.returncode == 0, printed[-3000:]
    finally:
        for process in started:
            process.kill()
            process.wait()
