"""How soon the data preview answers: the helper's start, its first answer, and answers to changes.

    python tests/benchmarks/inspection.py [--starts 5] [--changes 40]

A change is one that a person makes in the wizard: another limit, another number of rows, another mapping, another file,
another template. Times are from asking to having the answer, in the process that asks. Exit code 1 if the median or the
95th percentile of the changes misses the budget.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from engine.config import DataFormat
from engine.config.reading import read_file
from qltui.runs.inspection import Inspection

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from engine.config import RunConfig

PRESET = Path(__file__).parents[2] / "presets" / "demo-cpu.yaml"
BUDGET = 0.5
"""Seconds from a change to what it shows."""
BIG_ROWS = 400_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5, help="times the helper is started")
    parser.add_argument("--changes", type=int, default=40, help="changes of each kind")
    arguments = parser.parse_args()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {load}\n")
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), arguments.starts, arguments.changes))


async def measure(folder: Path, starts: int, changes: int) -> int:
    config = read_file(PRESET, {})
    up, first = [], []
    for _ in range(starts):
        inspection = Inspection()
        up.append(await timed(inspection.start()))
        first.append(await timed(inspection.preview(config)))
        memory = peak_memory(inspection)
        await inspection.close()
    show("helper started", up)
    show("its first answer", first)
    print(f"{'its peak memory':34} {memory:6.0f} MiB\n")

    inspection = Inspection()
    await inspection.preview(config)
    missed = 0
    for name, variants in kinds_of_change(config, folder).items():
        times = [await timed(inspection.preview(variants[number % len(variants)])) for number in range(changes)]
        missed += show(name, times, BUDGET)
    big = with_data(config, path=str(write_big(folder / "big.jsonl")))
    size = (folder / "big.jsonl").stat().st_size / 1e6
    missed += show(f"first rows of {size:.0f} MB", [await timed(inspection.preview(big))], BUDGET)
    show(f"lengths of 2,000 rows of {size:.0f} MB", [await timed(measure_lengths(inspection, big))])
    shorter = with_data(big, max_length=32)
    missed += show("the same at another limit", [await timed(measure_lengths(inspection, shorter))], BUDGET)
    await inspection.close()
    return 1 if missed else 0


def kinds_of_change(config: RunConfig, folder: Path) -> dict[str, list[RunConfig]]:
    """Configurations to change between."""
    files = [folder / f"{name}.jsonl" for name in "abc"]
    for file in files:
        file.write_text(
            "".join(json.dumps({"prompt": f"the sky {n}", "completion": "blue"}) + "\n" for n in range(500))
        )
    template = folder / "template.jinja"
    template.write_text("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}")
    return {
        "another limit": [with_data(config, max_length=length) for length in range(8, 64)],
        "another mapping": [
            with_data(config, path=str(files[0]), columns={"prompt": one, "completion": other})
            for one, other in (("prompt", "completion"), ("completion", "prompt"))
        ],
        "another format": [
            with_data(config, path=str(files[0]), columns={"text": "prompt"}, format=found)
            for found in (DataFormat.TEXT, DataFormat.PROMPT_COMPLETION)
        ],
        "another template": [config, with_data(config, chat_template=str(template))],
        "another file": [with_data(config, path=str(file)) for file in files],
    }


def with_data(config: RunConfig, **values: Any) -> RunConfig:
    return replace(config, data=replace(config.data, **values))


def write_big(file: Path) -> Path:
    row = json.dumps({"prompt": "the sky is blue " * 20, "completion": "the sea is deep " * 10}) + "\n"
    with file.open("w") as target:
        for _ in range(BIG_ROWS // 1000):
            target.write(row * 1000)
    return file


async def measure_lengths(inspection: Inspection, config: RunConfig) -> None:
    async for _ in inspection.lengths(config, seconds=60):
        pass


async def timed(awaited: Awaitable[object]) -> float:
    begin = time.perf_counter()
    await awaited
    return time.perf_counter() - begin


def peak_memory(inspection: Inspection) -> float:
    """Of the helper, in MiB."""
    pid = inspection._helper._process.pid  # type: ignore[union-attr]
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def show(name: str, times: list[float], budget: float | None = None) -> bool:
    """Print times in ms; whether they miss the budget."""
    slow = sorted(times)[int(0.95 * (len(times) - 1))]
    missed = budget is not None and slow > budget
    verdict = "" if budget is None else f"   budget {budget * 1000:.0f} ms  {'MISSED' if missed else 'ok'}"
    print(f"{name:34} median {statistics.median(times) * 1000:6.0f} ms   p95 {slow * 1000:6.0f} ms{verdict}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
