"""What being monitored costs training: events, and the supervisor beside it, on and off by turns within one run.

    python tests/benchmarks/monitoring_cost.py [--blocks 600]

A small transformer layer is trained on one CPU thread, in blocks of four steps: with and without a step event, as
``engine.reporter`` writes it, each with and without a supervisor's reading, levels, status and samples of this run
beside it (stopped by SIGSTOP; what it has missed it does when it goes on), in an order drawn by chance. Steps of a
block are compared; the median difference is told with its 95 % interval (bootstrap). Beside that, the processor's
time that the event and the supervisor take, which other work of the machine changes less.
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
    parser.add_argument("--blocks", type=int, default=600, help="blocks of four steps (600)")
    arguments = parser.parse_args()
    priority = "real time" if go_first() else "that of all"  # of both: they share the cores
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"priority {priority}, python -c pass: {statistics.median(interpreter()):.0f} ms"
    )
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder) / "run", arguments.blocks)
    return 0


def measure(folder: Path, blocks: int) -> None:
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
    reporter.emit("started", world_size=1, device="cpu", pid=os.getpid(), total_steps=blocks * 2)
    layer = torch.nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
    optimizer = torch.optim.AdamW(layer.parameters())
    rows = torch.randn(2, 128, 512)
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(run.path), str(os.getpid())], cwd=ROOT)
    chance = random.Random(1)
    told: list[float] = []

    def step(with_event: bool, supervised: bool) -> float:
        supervisor.send_signal(signal.SIGCONT if supervised else signal.SIGSTOP)
        begin = time.perf_counter()
        layer(rows).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if with_event:
            told.append(tell(reporter, time.perf_counter() - begin))
        return time.perf_counter() - begin

    kinds = [(with_event, supervised) for with_event in (True, False) for supervised in (True, False)]
    try:
        taken = [{kind: step(*kind) for kind in chance.sample(kinds, k=4)} for _ in range(blocks + 10)]
        share = processor_share(supervisor.pid)
    finally:
        supervisor.kill()
        supervisor.wait()
    taken = taken[10:]  # the first ones warm up
    neither = [block[False, False] for block in taken]
    usual = statistics.median(neither)
    print(f"a step without either takes {usual * 1e3:.0f} ms ({len(neither)} of them)")
    compare("events, on against off", *halves(taken, 0))
    compare("supervisor, on against off", *halves(taken, 1))
    compare("both, on against off", [block[True, True] for block in taken], neither)
    own = statistics.median(told)
    print(f"a step event takes {own * 1e6:.0f} us of its rank's processor (median of {len(told):,}):")
    print(f"  {own / usual:.2%} of such a step; less than {SHARE:.1%} of one longer than {own / SHARE * 1e3:.0f} ms")
    print(f"the supervisor takes {share:.1%} of a core while it runs")


def halves(taken: list[dict[tuple[bool, bool], float]], switch: int) -> tuple[list[float], list[float]]:
    """What the steps of each block took with one of the two switches on, and with it off, whatever the other one."""
    on, off = (
        [sum(seconds for kind, seconds in block.items() if kind[switch] is value) for block in taken]
        for value in (True, False)
    )
    return on, off


def processor_share(pid: int, seconds: float = 20) -> float:
    """The share of a core that a process uses from now on."""
    os.kill(pid, signal.SIGCONT)
    before = processor_seconds(pid)
    time.sleep(seconds)
    return (processor_seconds(pid) - before) / seconds


def processor_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


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
    """The median difference within a block, as a share, with its interval."""
    shares = [one / other - 1 for one, other in zip(on, off, strict=False)]
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(shares, k=len(shares))) for _ in range(2000))
    print(
        f"{name:28} {statistics.median(shares):+.2%} "
        f"(95 %: {medians[50]:+.2%} to {medians[-51]:+.2%}, {len(shares)} blocks)"
    )


if __name__ == "__main__":
    sys.exit(main())
