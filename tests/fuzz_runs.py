"""Very many run directories that make no sense, once: ``python tests/fuzz_runs.py --count 100000``.

Each holds some ten lines of events and samples, and small files, with odd values. Tests do the same with a few.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from support.odd_runs import check, make, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="run directories to make (100000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first one; each has its own (0)")
    arguments = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        run, attempt, status = make(Path(folder) / "run")
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            write(run, attempt, random.Random(seed), status)
            try:
                check(run)
            except Exception:
                traceback.print_exc()
                sys.exit(f"seed {seed}")
    print(f"{arguments.count:,} run directories, all well, in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
