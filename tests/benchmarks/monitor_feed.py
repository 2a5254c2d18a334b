"""A run that is written as engine and supervisor do, in a process of its own, for benchmarks of who watches it.

2,000 steps done and two more a second, telemetry of all GPUs once a second, log lines spread over the ranks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.generated_runs import GeneratedRun, Size  # noqa: E402

STEPS, STEP_SECONDS = 2000, 0.5
LINES, FAST = 200_000, 4_000
"""Log lines of a flood, and how many of them a second."""
TICK_SECONDS = 0.02
"""Time between two bursts of log lines."""


def feed(folder: Path, gpus: int, nodes: int, rate: int, flooding: int) -> None:
    """Write a run that grows until this process is ended; SIGUSR1 has many lines written, at the fast rate."""
    run = GeneratedRun(
        folder, Size(STEPS, gpus, nodes, step_seconds=STEP_SECONDS, total_steps=10 * STEPS, eval_every=100)
    )
    run.write_steps(STEPS)
    run.write_levels()
    run.write_samples(run.began, run.wall)
    run.end("live")
    logs = [open(run.attempt.log(rank), "a", encoding="utf-8") for rank in range(gpus)]  # noqa: SIM115
    run.wall = sampled = kept = time.time()
    written, pending, fast = 0, 0.0, 0.0
    until = time.monotonic()

    def flood(*_: object) -> None:
        nonlocal fast
        fast = LINES

    signal.signal(signal.SIGUSR1, flood)
    while True:
        before, until = until, time.monotonic()
        pending += (until - before) * (flooding if fast > 0 else rate)
        fast -= (until - before) * flooding if fast > 0 else 0
        while pending >= 1:
            _write_line(logs[written % gpus], written)
            written, pending = written + 1, pending - 1
        for log in logs:
            log.flush()
        now = time.time()
        if (due := int((now - run.wall) / STEP_SECONDS)) > 0:
            run.write_steps(run.step + due)
            run.write_status()
        if now - sampled >= 1:
            run.write_samples(sampled, now)
            sampled = now
        if now - kept >= 10:
            run.write_levels()
            kept = now
        time.sleep(TICK_SECONDS)


def _write_line(log, number: int) -> None:  # type: ignore[no-untyped-def]
    moment = time.time()
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    log.write(f"{clock},{int(moment % 1 * 1000):03} INFO line@{number} {moment:.4f} loss 1.234 and what programs say\n")


@contextlib.contextmanager
def fed(
    home: Path, gpus: int, nodes: int, rate: int, flooding: int = FAST
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A run that grows, and who writes it."""
    folder = home / "runs" / "generated-20261122-101500"
    words = [str(folder), *map(str, (gpus, nodes, rate, flooding))]
    # It is other work of the machine: what goes first is what is measured.
    writer = subprocess.Popen([sys.executable, __file__, *words], preexec_fn=go_last)
    try:
        while not (folder / "status.json").exists():
            if writer.poll() is not None:
                sys.exit("the run could not be written")
            time.sleep(0.1)
        yield folder, writer
    finally:
        writer.kill()
        writer.wait()


def go_last() -> None:
    """Leave real-time priority to who is measured."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    feed(Path(place), *map(int, numbers))
