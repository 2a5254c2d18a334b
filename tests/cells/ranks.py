"""One rank: ``python -m cells.ranks JOB.json``, started once a rank with the rendezvous in the environment.

Lives the cells of the job one after another, the process group staying. A cell that fails ends the rank, since the
others may wait for it anywhere: the parent starts a new set of ranks for what is left.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import engine.allocator  # noqa: F401  # isort: skip - before torch, which it sets up
from engine import quiet  # isort: skip - before the libraries it quiets

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from cells.life import live
from cells.watching import START_ANEW
from engine.collective import gathered
from engine.events import RunDirectory, write_json

LEFTOVER_BYTES = 64 << 20


def main(measure: Callable[[RunDirectory, Callable[[], None]], dict[str, Any]] = live) -> NoReturn:
    """Measure each run of the job, by default a cell's life."""
    job = json.loads(Path(sys.argv[1]).read_text())
    rank = int(os.environ.get("RANK", "0"))
    faulthandler.register(signal.SIGUSR1)
    quiet.quiet_transformers()
    gc.freeze()
    for folder in map(Path, job["folders"]):
        try:
            measured = measure(RunDirectory(folder), forget)
        except BaseException as error:
            traceback.print_exc()
            first_line = (str(error).strip().splitlines() or [""])[0]
            write_json(folder / f"error-rank{rank}.json", {"error": f"{type(error).__name__}: {first_line}"})
            leave(1)
        if rank == 0:
            write_json(folder / "measured.json", measured)
        if max(gathered(leftover())) > LEFTOVER_BYTES:
            leave(START_ANEW)
    leave(0)


def forget() -> None:
    """Free what a run held, and let the next find Accelerate and torch as if it were the first."""
    AcceleratorState._reset_state(False)
    GradientState._reset_state()
    PartialState._reset_state()
    torch.use_deterministic_algorithms(False)
    gc.collect()
    gc.freeze()  # what libraries made on import: every collection, and they ask for many, would go through it again
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        for gpu in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(gpu)


def leftover() -> int:
    """Bytes still allocated on the GPUs of this process."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    return sum(torch.cuda.memory_allocated(gpu) for gpu in gpus)


def leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
