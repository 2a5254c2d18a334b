"""What the demo learns: the preset run with three seeds, exact match on the held-out part before and after.

Usage: python presets/demo/accuracy.py [SEED ...]    (with qltui installed; about a minute a seed)
Exits with 1 unless every seed at least doubles it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

SEEDS = ("1", "2", "3")


def run(seed: str, home: str) -> dict[str, float]:
    """Exact match before and after a run of the preset with this seed."""
    environment = {**os.environ, "QLTUI_HOME": home}
    command = [sys.executable, "-m", "qltui"]
    name = f"seed-{seed}"
    launch = [*command, "launch", "demo-cpu", "--name", name, "--set", f"seed={seed}", "--wait"]
    subprocess.run(launch, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status = subprocess.run([*command, "status", name, "--json"], env=environment, check=True, capture_output=True)
    found: dict[str, float] = json.loads(status.stdout)["exact_match"]
    return found


def main() -> int:
    doubled = True
    print("seed  before   after")
    with tempfile.TemporaryDirectory() as home:
        for seed in sys.argv[1:] or SEEDS:
            match = run(seed, home)
            print(f"{seed:>4}  {match['before']:6.1%}  {match['after']:6.1%}", flush=True)
            doubled &= match["after"] >= 2 * match["before"] > 0
    print("at least doubled in every seed" if doubled else "NOT doubled in every seed")
    return 0 if doubled else 1


if __name__ == "__main__":
    sys.exit(main())
