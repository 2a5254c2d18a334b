"""Sharding on CPU ranks, over gloo: for tests, and to rehearse a plan without GPUs.

torch shards on CPU as it does on GPUs; DeepSpeed does if it is told to, before it is imported, that CPUs are its
accelerator. Neither is widely used there, so versions this was never tested with are refused: better no rehearsal than
a false one.
"""

from __future__ import annotations

import os
import re
from importlib import metadata

from engine.errors import BadInput

TESTED = {"torch": ("2.11", "2.13"), "deepspeed": ("0.19",)}
"""Release series seen to shard on CPU ranks, audited by tests/engine."""


def check_tested(strategy: str, library: str) -> None:
    """Refuse a library's version that was not tested on CPU ranks.

    Raises:
        BadInput: with the versions that were.
    """
    installed = metadata.version(library)
    series = re.match(r"\d+\.\d+", installed)
    if series is None or series.group() not in TESTED[library]:
        tested = " or ".join(TESTED[library])
        raise BadInput(
            f"strategy.name: {strategy} on CPU ranks was tested with {library} {tested}, installed is {installed};"
            " install one of those, or use ddp.",
            "version_incompatibility",
        )


def choose_deepspeed_accelerator() -> None:
    """Make DeepSpeed compute on CPU and talk over gloo alone; before it is imported by anyone."""
    check_tested("ZeRO", "deepspeed")
    os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    # Its own shared-memory collectives would be compiled for a minute first, and exist on x86 only.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
