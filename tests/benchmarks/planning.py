"""How long advice takes: one memory plan, one step's time, all rules, and a planner's whole search.

Run it as ``python tests/benchmarks/planning.py``; it prints milliseconds, each the best of five runs.
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.config.reading import read
from qltui.advice import planner
from qltui.advice.evaluation import evaluate
from qltui.advice.lengths import of_rows
from qltui.advice.memory import fit, job_on
from qltui.advice.setup import Setup
from qltui.advice.speed import step_time
from qltui.facts.architecture import find
from qltui.facts.machine import parse

VALUES = {
    "model.path": "Qwen/Qwen3-30B-A3B", "data.path": "rows.jsonl", "data.max_length": 4096, "method.name": "qlora",
    "strategy.name": "fsdp2", "training.gradient_checkpointing": 12,
}  # fmt: skip


def best(repeat: int, action: Callable[[], Any]) -> float:
    """Milliseconds of one call, the best of five rounds."""
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(repeat):
            action()
        rounds.append((time.perf_counter() - started) / repeat)
    return min(rounds) * 1e3


def main() -> None:
    config = read(VALUES, where="benchmark", base=Path("/"))
    machine = parse("8xH100-80")
    started = time.perf_counter()
    architecture = find("Qwen/Qwen3-30B-A3B")
    found = (time.perf_counter() - started) * 1e3
    job = job_on(config, architecture, machine)
    setup = Setup.of_run(config, machine, architecture)
    candidates = 0
    made = planner.fit

    def counting(*arguments: Any) -> Any:
        nonlocal candidates
        candidates += 1
        return made(*arguments)

    planner.fit = counting
    planner.choose(config, architecture, machine, rows=256)
    planner.fit = made
    search = best(1, lambda: planner.choose(config, architecture, machine, rows=256))
    drawn = random.Random(1)
    rows = of_rows([drawn.lognormvariate(6, 0.8) for _ in range(2000)], 50_000, shortest=9, longest=9000, measured=True)
    on_rows = best(1, lambda: planner.choose(config, architecture, machine, rows=256, lengths=rows))
    whole = best(50, lambda: (evaluate(Setup.of_run(config, machine, architecture)), fit(job, machine)))
    print(f"Python {platform.python_version()}, {platform.machine()}; milliseconds")
    print(f"find an architecture, first time   {found:8.3f}")
    print(f"memory plan                        {best(100, lambda: fit(job, machine)):8.3f}")
    print(f"time of a step                     {best(100, lambda: step_time(job, machine)):8.3f}")
    print(f"all rules                          {best(50, lambda: evaluate(setup)):8.3f}")
    print(f"one full evaluation                {whole:8.3f}")
    print(f"planner, {candidates:5} candidates         {search:8.3f}  ({search / candidates * 10_000:,.0f} for 10,000)")
    print(f"the same for rows that were read   {on_rows:8.3f}")


if __name__ == "__main__":
    main()
