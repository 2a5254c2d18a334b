"""Time and memory of diagnosing a log of half a gigabyte: ``python tests/benchmarks/diagnose_large.py [MEGABYTES]``.

Two logs: steps and bars as Trainer prints them, and lines of text of which no two are alike. In the middle of each a
rank dies for want of GPU memory; what follows is what its peer says of that, or more text.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FAILURE = (
    "\n"
    "[rank1]: Traceback (most recent call last):\n"
    '[rank1]:   File "/home/user/train.py", line 88, in <module>\n'
    "[rank1]:     trainer.train()\n"
    '[rank1]:   File "/usr/lib/python3/site-packages/torch/_tensor.py", line 522, in backward\n'
    "[rank1]:     torch.autograd.backward(\n"
    "[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of "
    "23.68 GiB of which 0.94 GiB is free.\n"
)
PEER = "[rank0]:[E ProcessGroupNCCL.cpp:616] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL({})\n"
WORDS = "the model wrote an answer about some question of the data which nobody had seen before".split()  # noqa: SIM905
PART = 20_000
"""Lines that are made at once."""


def steps() -> bytes:
    """Lines of steps and bars."""
    lines = []
    for step in range(PART):
        figures = f"'loss': {2 - step % 97 / 100:.4f}, 'grad_norm': {step % 13 / 10}, 'epoch': 0.{step % 89}"
        bar = f"{step % 100:3d}%|####      | {step}/{PART} [{step // 3600}:{step % 60:02d}<4:00:01,  2.1it/s]"
        lines.append(f"{{{figures}}}\n\r{bar}")
    return "".join(lines).encode()


def unlike(chance: random.Random) -> bytes:
    """Lines of words, no two alike."""
    return "".join(" ".join(chance.choice(WORDS) for _ in range(16)) + "\n" for _ in range(PART)).encode()


def write(log: Path, size: int, *, is_text: bool) -> None:
    """A log of about ``size`` bytes."""
    chance, part = random.Random(1), steps()
    with open(log, "wb") as file:
        while file.tell() < size // 2:
            file.write(unlike(chance) if is_text else part)
        file.write(FAILURE.encode())
        while file.tell() < size:
            file.write(unlike(chance) if is_text else PEER.format(file.tell()).encode() * 100)


def main(megabytes: int) -> None:
    print(f"{megabytes} MB, load {os.getloadavg()[0]:.1f} (budget 10 s, 200 MiB)")
    with tempfile.TemporaryDirectory() as folder:
        for name, is_text in (("steps and bars", False), ("lines unlike each other", True)):
            log = Path(folder, "train.log")
            write(log, megabytes * 1_000_000, is_text=is_text)
            begun = time.perf_counter()
            command = [sys.executable, "-m", "qltui", "diagnose", str(log)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - begun
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            processor = usage.ru_utime + usage.ru_stime
            print(
                f"{name}: {seconds:.1f} s ({processor:.1f} s of a processor so far), at most"
                f" {usage.ru_maxrss / 1024:.0f} MiB: {done.stdout.splitlines()[0]}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
