"""Run directories of runs that died, written by hand."""

from __future__ import annotations

from pathlib import Path

from engine.events import write_json
from support.written_runs import WrittenRun, a40

GIB = 2**30
OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of 23.70 GiB of"
    " which 900.00 MiB is free. Of the allocated memory 21.10 GiB is allocated by PyTorch, and 1.50 GiB is reserved by"
    " PyTorch but unallocated."
)


def out_of_memory(home: Path, name: str = "demo") -> WrittenRun:
    """A run on two GPUs, with a plan, that ran out of memory on rank 1, in backward."""
    run = WrittenRun(home, name)
    phases = {"load": {"weights": 8 * GIB}, "forward": {"weights": 8 * GIB, "activations": 9 * GIB},
              "backward": {"weights": 8 * GIB, "activations": 12 * GIB}}  # fmt: skip
    memory = {"total_bytes": 21 * GIB, "capacity_bytes": 24 * GIB, "phases": phases}
    write_json(run.run.plan_json, {"schema_version": 1, "memory": memory})
    for number in range(1, 13):
        run.step(number, 2.0 - number / 20)
    for phase, peak in (("load", 9), ("forward", 18), ("optimizer", 12)):
        size = peak * GIB
        run.emit("memory", 1, phase=phase, memory_allocated=9 * GIB, memory_reserved=size, memory_peak=size)
    die(run)
    return run


def die(run: WrittenRun) -> None:
    """Let rank 1 run out of memory now."""
    traceback = f'Traceback (most recent call last):\n  File "engine/loop.py", line 90, in backward\n{OOM}\n'
    run.log(traceback, rank=1)
    run.emit(
        "failed", 1, phase="backward", error="OutOfMemoryError", message=OOM, traceback=traceback,
        memory_allocated=21 * GIB, memory_reserved=22 * GIB, memory_peak=22 * GIB,
    )  # fmt: skip
    run.sample(a40(0, memory_total=24 * GIB, ranks=[0]), a40(1, memory_total=24 * GIB, ranks=[1]))
    write_json(run.attempt.exits_json, {"ranks": {"0": {"signal": 15}, "1": {"code": 1}}, "first": 1})
    run.write_status(state="failed", reason="Rank 1 failed in backward.", exit_code=1, gpus=["GPU-0", "GPU-1"])
