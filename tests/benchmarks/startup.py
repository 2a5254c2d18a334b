"""How long commands take to start and end, against `python -c pass` of the same interpreter in the same minutes.

    python tests/benchmarks/startup.py [--rounds 20] [--launches 3]

Every round runs each command once and the bare interpreter between them, so that a busy moment touches all alike. The
ratio is of the best times: what the program costs when nothing else is in the way. Exit code 1 if a budget is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PRESET = "demo-cpu"
RUN_FILE = str(Path(__file__).parents[2] / "presets" / f"{PRESET}.yaml")
QLTUI = str(Path(sys.executable).with_name("qltui"))
BARE = [sys.executable, "-c", "pass"]
COMMANDS = (
    (5, ["--help"]),
    (5, ["runs"]),
    (5, ["status", "last", "--json"]),
    (5, ["logs", "last", "-n", "20"]),
    (10, ["check", RUN_FILE]),
    (10, ["plan", PRESET, "--set", "model=Qwen/Qwen3-8B", "--gpus", "8xH100-80"]),
    (10, ["launch", PRESET, "--dry-run"]),
)
"""Budget as a multiple of the bare interpreter, and the command."""
LAUNCH_BUDGET = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="times each command is run")
    parser.add_argument("--launches", type=int, default=8, help="real launches, each stopped at once; 0 for none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["QLTUI_HOME"] = home
        make_runs(Path(home) / "runs", 10)
        print_conditions(arguments.rounds)
        bare, times = measure(arguments.rounds)
        rows = [(budget, command, times[index]) for index, (budget, command) in enumerate(COMMANDS)]
        if arguments.launches:
            rows.append((LAUNCH_BUDGET, ["launch", PRESET], launch(arguments.launches)))
    print(f"{'python -c pass':64} best {min(bare):6.1f} ms   median {statistics.median(bare):6.1f} ms")
    return print_rows(rows, min(bare))


def make_runs(folder: Path, count: int) -> None:
    """Runs that have ended, as the store finds them."""
    for number in range(count):
        run = folder / f"run-{number}"
        logs = run / "attempts" / "1" / "logs"
        logs.mkdir(parents=True)
        (run / "run.yaml").write_text("model: m\ndata: d\n", "utf-8")
        status = {"schema_version": 1, "id": run.name, "name": run.name, "state": "finished", "attempt": 1}
        (run / "status.json").write_text(json.dumps(status), "utf-8")
        (logs / "rank0.log").write_text("step 1 loss 2.5\n" * 1000, "utf-8")


def print_conditions(rounds: int) -> None:
    compiled = "read from .pyc files" if not sys.dont_write_bytecode else "compiled at each start"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {load}, {rounds} rounds")
    print(f"our modules are {compiled}\n")


def measure(rounds: int) -> tuple[list[float], list[list[float]]]:
    """Milliseconds of the bare interpreter, and of each of COMMANDS, by round."""
    bare: list[float] = []
    times: list[list[float]] = [[] for _ in COMMANDS]
    for _ in range(rounds):
        for index, (_, command) in enumerate(COMMANDS):
            bare.append(run(BARE))
            times[index].append(run([QLTUI, *command]))
    return bare, times


def launch(count: int) -> list[float]:
    """Milliseconds of real launches, each ended before the next."""
    times = []
    for _ in range(count):
        times.append(run([QLTUI, "launch", PRESET]))
        subprocess.run([QLTUI, "stop", "last", "--now"], stderr=subprocess.DEVNULL, check=True)
        while is_live():
            time.sleep(0.5)
    return times


def is_live() -> bool:
    found = subprocess.run([QLTUI, "status", "last", "--json"], capture_output=True, check=True)
    return json.loads(found.stdout)["exit_code"] is None


def run(command: list[str]) -> float:
    """Milliseconds from starting a command to its end; it must end well."""
    silence = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=silence)
    _, status = os.waitpid(pid, 0)
    milliseconds = (time.perf_counter() - begin) * 1000
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return milliseconds


def print_rows(rows: list[tuple[int, list[str], list[float]]], bare: float) -> int:
    missed = 0
    for budget, command, times in rows:
        ratio = min(times) / bare
        verdict = "ok" if ratio <= budget else "MISSED"
        missed += ratio > budget
        name = " ".join(["qltui", *(Path(word).name if word.startswith("/") else word for word in command)])
        print(
            f"{name:64} best {min(times):6.1f} ms   median {statistics.median(times):6.1f} ms"
            f"   {ratio:5.2f} of {budget} times  {verdict}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
