"""How long a reader takes to have the curves of a long run, and the memory it takes.

    python tests/benchmarks/attach.py [--steps 1000000] [--keep FOLDER]

Generates finished runs of 8 ranks and, with a tenth of the steps, of 64 on 8 nodes and of 8 ranks whose supervisor was
killed 50 seconds before the end; then reads each in a process of its own, as the monitor does, until everything that
was written is in the curves. Times are from the process's first line on and count its imports; each figure is the
median of five processes. Memory is the highest resident set (VmHWM) of the whole process. The app is opened on the run
in a pseudo-terminal of 120x36, from its start to the first hundred braille characters: its curves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from support.generated_runs import GeneratedRun, Size, generate  # noqa: E402
from support.terminal import Terminal  # noqa: E402

from qltui.runs.telemetry import Sampler  # noqa: E402

SECONDS_BUDGET = 1.0
RESIDENT_BUDGET = 120
ROUNDS = 5
READ = """\
import sys, time
started = time.perf_counter()
from pathlib import Path
from qltui.runs.follow import Follower
follower = Follower(Path(sys.argv[1]))
first = None
while True:
    snapshot = follower.poll()
    if first is None and snapshot.series["loss"]:
        first = time.perf_counter() - started
    if snapshot.caught_up:
        break
full, busy = time.perf_counter() - started, time.process_time()
for _ in range(20):  # the samples of further hosts
    snapshot = follower.poll()
read = Path("/proc/self/status").read_text()
resident = int(read.partition("VmHWM:")[2].split()[0]) / 1024
points, step = len(snapshot.series["loss"]), snapshot.series["loss"][-1][0]
import json
print(json.dumps([first, full, busy, resident, points, step, len(snapshot.telemetry)]))
"""


def killed_halfway(folder: Path, size: Size) -> GeneratedRun:
    """A run whose last 50 seconds are in no levels."""
    run = GeneratedRun(folder, size)
    run.write_steps(size.steps - int(50 / size.step_seconds))
    run.write_levels()
    run.write_steps(size.steps)
    run.write_samples(run.began, run.wall)
    run.end("lost")
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="generate here, and use what is there already")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(dir="/var/tmp"))
    with contextlib.suppress(OSError):  # where it is allowed: other work on the machine is not what is measured
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    priority = "real time" if os.sched_getscheduler(0) == os.SCHED_RR else "that of all"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {load}, priority {priority}\n")
    cases = (
        ("8 ranks", Size(given.steps, 8), generate),
        ("8 ranks, supervisor killed", Size(given.steps // 10, 8), killed_halfway),
        ("64 ranks on 8 nodes", Size(given.steps // 10, 64, nodes=8), generate),
    )
    missed = 0
    try:
        for name, size, write in cases:
            missed += measure(name, folder / name.replace(" ", "-").replace(",", ""), size, write)
            if not given.keep:
                shutil.rmtree(folder / name.replace(" ", "-").replace(",", ""))
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print_costs()
    print(f"\nbudget: drawn within {SECONDS_BUDGET} s and {RESIDENT_BUDGET} MiB")
    return min(missed, 1)


def measure(name: str, folder: Path, size: Size, write) -> bool:  # type: ignore[no-untyped-def]
    """Generate a run where there is none yet, and read it; whether a budget was missed."""
    if not (folder / "status.json").exists():
        began = time.perf_counter()
        write(folder, size)
        print(f"({name}: written in {time.perf_counter() - began:.0f} s)")
    events = sum(path.stat().st_size for path in folder.glob("attempts/*/events/*")) / 2**20
    levels = sum(path.stat().st_size for path in folder.glob("levels/*")) / 2**20
    rounds = []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=True)
        rounds.append(json.loads(done.stdout))
    opened, whole = (
        statistics.median(column) for column in zip(*(open_app(folder) for _ in range(ROUNDS)), strict=True)
    )
    first, full, busy, resident, points, step, curves = (
        statistics.median(column) for column in zip(*rounds, strict=True)
    )
    assert step == size.steps, f"the curve ends at {step}"
    print(
        f"{name:28} {step:9,.0f} steps: first curve {first:.2f} s, all of it {full:.2f} s ({busy:.2f} s of a core),"
        f" {resident:.0f} MiB; {points:.0f} points a curve, {curves:.0f} curves of samples;"
        f" events {events:,.0f} MiB, levels {levels:.1f} MiB; the app draws them after {opened:.2f} s, {whole:.0f} MiB"
    )
    return opened > SECONDS_BUDGET or whole > RESIDENT_BUDGET


def print_costs() -> None:
    """What keeping levels and samples takes of a core, in the supervisor."""
    with tempfile.TemporaryDirectory() as folder:
        run = GeneratedRun(Path(folder) / "run", Size(20_000, 8))
        run.write_steps(20_000)
        began = time.process_time()
        run.write_levels()
        spent = time.process_time() - began
        count = sum(path.read_bytes().count(b"\n") for path in run.run.attempts_dir.glob("*/events/*"))
        run.close()
        sampler = Sampler(run.run.telemetry, None)
        began = time.process_time()
        for _ in range(100):
            sampler.write({0: os.getpid()})
        each = (time.process_time() - began) / 100
        gpus = len(sampler.sample({})["gpus"])
    print(f"\nsupervisor: {spent / count * 1e6:.0f} us an event; {each * 1e3:.1f} ms a sample with {gpus} GPUs")


def open_app(folder: Path) -> tuple[float, float]:
    """Seconds until the app has drawn the curves, and the MiB it took a second later."""
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        environment = {**os.environ, "HOME": home, "QLTUI_HOME": home}
        terminal = Terminal([sys.executable, "-m", "qltui", "watch", str(folder)], environment)
        try:
            while len(re.findall(rb"\xe2[\xa0-\xa3][\x80-\xbf]", terminal.output)) < 100:
                select.select([terminal.master], [], [], 60)
                terminal.read_for(0.001)
            seconds = time.perf_counter() - began
            terminal.read_for(1.0)
            status = Path(f"/proc/{terminal.pid}/status").read_text()
        finally:
            terminal.close()
    return seconds, int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
