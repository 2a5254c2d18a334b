"""How long advice takes: describing a run, evaluating every rule, and importing it.

    python tests/benchmarks/advice.py [--rounds 2000]

Prints the best and the median of all rounds, in microseconds; imports are timed in fresh interpreters. Asserts nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from engine.config.run_config import build
from qltui.advice.evaluation import OTHERS, OURS, evaluate
from qltui.advice.setup import Setup
from qltui.facts.architecture import find
from qltui.facts.machine import parse

VERSIONS = {
    "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2", "bitsandbytes": "0.50.2", "accelerate": "1.15.0",
    "deepspeed": "0.19.8",
}  # fmt: skip
SAID = {"method": "qlora4", "strategy": "fsdp2", "quant_storage": "bfloat16", "precision": "bf16", "gc": "fsdp"}
IMPORTS = ("engine.config", "qltui.advice.setup", "qltui.advice.evaluation")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000, help="times each call is made")
    rounds = parser.parse_args().rounds
    config = build({"model.path": "m", "data.path": "d", "strategy.name": "fsdp2", "training.optimizer": "adamw_8bit"})
    machine, architecture = parse("4xA40"), find("mistralai/Mixtral-8x7B-v0.1")
    ours = Setup.of_run(config, machine, architecture, VERSIONS)
    other = Setup.of_values(SAID, "hf", machine, architecture, VERSIONS)
    print(f"{len(OURS)} rules on our runs, {len(OTHERS)} on other programs' files; {rounds} rounds, microseconds")
    show("Setup.of_run", rounds, lambda: Setup.of_run(config, machine, architecture, VERSIONS))
    show(f"evaluate, ours ({len(evaluate(ours))} findings)", rounds, lambda: evaluate(ours))
    show("Setup.of_values", rounds, lambda: Setup.of_values(SAID, "hf", machine, architecture, VERSIONS))
    show(f"evaluate, other ({len(evaluate(other))} findings)", rounds, lambda: evaluate(other))
    for module in IMPORTS:
        times = [imported(module) for _ in range(10)]
        print(f"import {module:38} best {min(times):8.0f}   median {statistics.median(times):8.0f}")


def show(name: str, rounds: int, call: Callable[[], object]) -> None:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e6)
    print(f"{name:45} best {min(times):8.1f}   median {statistics.median(times):8.1f}")


def imported(module: str) -> float:
    """Microseconds to import a module in a fresh interpreter, all it needs included."""
    code = f"import time; start = time.perf_counter(); import {module}; print((time.perf_counter() - start) * 1e6)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
