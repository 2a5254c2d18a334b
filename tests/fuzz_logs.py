"""Very many nasty logs, once: ``python tests/fuzz_logs.py --count 1000000``. Tests do the same with a few."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from support.nasty_logs import check, nasty


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="logs to make (1000000)")
    parser.add_argument("--seed", type=int, default=0, help="of the chance they are made by (0)")
    arguments = parser.parse_args()
    chance, begin = random.Random(arguments.seed), time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for number in range(arguments.count):
            log = nasty(chance)
            try:
                check(Path(folder) / "rank0.log", log)
            except AssertionError:
                sys.exit(f"seed {arguments.seed}, log {number}: {log!r}")
    print(f"{arguments.count:,} logs of seed {arguments.seed}, all well, in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
