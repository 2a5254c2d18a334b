"""A rank whose GPU is full in the phase that ``phase.txt`` names: ``python -m full_gpu_rank RUN --attempt N``.

Not forked from a process that has torch: one that has looked for GPUs can't pass them on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import engine.train  # isort: skip - it sets torch up

import torch
from warm_ranks import MIB, meet


def ask_for_too_much() -> None:
    """Be allowed no more of the GPU than is held, and ask for more: what a tiny model needs, it may have already."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / total)
    torch.empty(64 * MIB, dtype=torch.uint8, device="cuda")


if __name__ == "__main__":
    meet(Path(sys.argv[1], "phase.txt").read_text(), ask_for_too_much)
    engine.train.main()
