"""What being monitored costs training: events, and the supervisor beside it, on and off by turns within one run.

    python tests/benchmarks/monitoring_cost.py [--blocks 60] [--steps 20]

A small transformer layer is trained on one CPU thread. In every other block of steps no events are written, as
``engine.reporter`` writes them otherwise; in every other pair of blocks a supervisor's reading, levels, status and
samples of this run stand still (SIGSTOP). What a step takes is the time of its block over its steps; neighbours are
compared, the median difference is told with its 95 % interval (bootstrap). Beside that, the processor's time that
the step event itself takes, from which follows how short steps may be for it to stay under 0.5 %.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.key_to_paint import go_first, interpreter  # noqa: E402

SHARE = 0.005
SUPERVISOR = """\
import sys, time
from pathlib import Path
from engine.events import RunDirectory, identity, write_json
from qltui.runs.reduction import Reduction
from qltui.runs.supervisor import KEEP_SECONDS, POLL_SECONDS, READ_SECONDS, SAMPLE_SECONDS, STATUS_SECONDS
from qltui.runs.telemetry import Sampler
run = RunDirectory(Path(sys.argv[1]))
base = {"id": run.id, "name": run.id, "run_dir": str(run.path), "supervisor": identity()}
reduction = Reduction(run, base, keeps=True)
sampler = Sampler(run.telemetry, None)
tasks = [
    [0.0, READ_SECONDS, reduction.read],
    [0.0, STATUS_SECONDS, lambda: write_json(run.status_json, reduction.state.status())],
    [0.0, SAMPLE_SECONDS, lambda: sampler.write({0: int(sys.argv[2])})],
    [0.0, KEEP_SECONDS, reduction.keep],
]
while True:
    for task in tasks:
        if time.monotonic() - task[0] >= task[1]:
            task[0] = time.monotonic()
            task[2]()
    time.sleep(POLL_SECONDS)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=120, help="blocks of steps (120)")
    parser.add_argument("--steps", type=int, default=20, help="steps in each (20)")
    arguments = parser.parse_args()
    priority = "real time" if go_first() else "that of all"  # of both: they share the cores
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"priority {priority}, python -c pass: {statistics.median(interpreter()):.0f} ms"
    )
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder) / "run", arguments.blocks, arguments.steps)
    return 0


def measure(folder: Path, blocks: int, steps: int) -> None:
    """Train and print."""
    import torch

    from engine.events import EventWriter, RunDirectory
    from engine.reporter import Reporter

    torch.set_num_threads(1)
    torch.manual_seed(1)
    run = RunDirectory(folder)
    run.path.mkdir()
    run.run_yaml.write_text("name: cost\n")
    attempt = run.new_attempt()
    events = EventWriter(attempt.events(0), attempt=attempt.number, node=0, rank=0, local_rank=0)
    reporter = Reporter(events, 0, torch.device("cpu"))
    reporter.emit("started", world_size=1, device="cpu", pid=os.getpid(), total_steps=blocks * steps)
    layer = torch.nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
    optimizer = torch.optim.AdamW(layer.parameters())
    rows = torch.randn(4, 64, 256)
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(run.path), str(os.getpid())], cwd=ROOT)
    taken: dict[tuple[bool, bool], list[float]] = {}
    told: list[float] = []
    try:
        for block in range(-4, blocks):
            with_events, supervised = block % 2 == 0, block // 2 % 2 == 0
            supervisor.send_signal(signal.SIGCONT if supervised else signal.SIGSTOP)
            begin = time.perf_counter()
            for _ in range(steps):
                one = time.perf_counter()
                layer(rows).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
                if with_events:
                    told.append(tell(reporter, time.perf_counter() - one))
            if block >= 0:  # the first ones warm up
                taken.setdefault((with_events, supervised), []).append((time.perf_counter() - begin) / steps)
    finally:
        supervisor.kill()
        supervisor.wait()
    step = statistics.median(taken[False, False])
    print(f"a step without either takes {step * 1e3:.1f} ms ({len(taken[False, False])} blocks of {steps})")
    compare("events, on against off", taken[True, False], taken[False, False])
    compare("supervisor, on against off", taken[False, True], taken[False, False])
    compare("both, on against off", taken[True, True], taken[False, False])
    own = statistics.median(told)
    print(f"a step event takes {own * 1e6:.0f} us of its rank's processor (median of {len(told):,}):")
    print(
        f"  {own / step:.2%} of such a step; less than {SHARE:.1%} of every step longer than {own / SHARE * 1e3:.0f} ms"
    )


def tell(reporter, seconds: float) -> float:  # type: ignore[no-untyped-def]
    """Write what rank 0 writes after each step; gives the processor's time it took."""
    begin = time.thread_time()
    reporter.step += 1
    reporter.step_done(
        last=False, loss=1.234567, learning_rate=1e-4, grad_norm=0.5, epoch=0.25, tokens=1024, target_tokens=1000,
        step_time=seconds, data_time=0.0001,
    )  # fmt: skip
    return time.thread_time() - begin


def compare(name: str, on: list[float], off: list[float]) -> None:
    """The median difference of blocks beside each other, as a share, with its interval."""
    shares = [one / other - 1 for one, other in zip(on, off, strict=False)]
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(shares, k=len(shares))) for _ in range(2000))
    print(
        f"{name:28} {statistics.median(shares):+.2%} "
        f"(95 %: {medians[50]:+.2%} to {medians[-51]:+.2%}, {len(shares)} pairs)"
    )


if __name__ == "__main__":
    sys.exit(main())
