"""Time from starting the app to its first paint, in a real pseudo-terminal: ``python tests/benchmarks/first_paint.py``.

Counts until the home screen's last menu line has arrived, so a cleared screen alone is no paint.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import pty
import select
import statistics
import struct
import sys
import tempfile
import termios
import time
from typing import NamedTuple

BUDGET_SECONDS = 0.5
MARKER = b"Doctor"
APP = "from qltui.cli.main import main; main([])"


class Timing(NamedTuple):
    """Seconds until the marker arrived, and of them the processor's; on a busy machine the first is the longer."""

    wall: float
    processor: float


def once(code: str, marker: bytes, columns: int, lines: int) -> Timing:
    """What it takes a fresh Python that runs ``code`` in a terminal of this size to write ``marker``."""
    begin = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", COLUMNS=str(columns), LINES=str(lines))
        os.execv(sys.executable, [sys.executable, "-c", code])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    seen = b""
    try:
        while marker not in seen:
            if not select.select([terminal], [], [], 10)[0]:
                sys.exit(f"nothing painted within 10 s; it wrote: {seen[-500:]!r}")
            seen += os.read(terminal, 65536)
        wall = time.perf_counter() - begin
    finally:
        os.kill(pid, 9)
        usage = os.wait4(pid, 0)[2]
        os.close(terminal)
    return Timing(wall, usage.ru_utime + usage.ru_stime)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15, help="measurements of each (15)")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}"
    )
    with tempfile.TemporaryDirectory() as home:
        os.environ["QLTUI_HOME"] = home
        for name, code in (
            ("python that prints a word", "print('Doctor')"),
            ("import textual.app", "import textual.app; print('Doctor')"),
            ("first paint of the home screen", APP),
        ):
            timings = [once(code, MARKER, 120, 36) for _ in range(arguments.repeat)]
            wall = sorted(timing.wall * 1000 for timing in timings)
            processor = statistics.median(timing.processor * 1000 for timing in timings)
            median = statistics.median(wall)
            print(f"{name}: median {median:.0f} ms, best {wall[0]:.0f} ms, processor {processor:.0f} ms")
    within = median <= BUDGET_SECONDS * 1000
    print(f"budget {BUDGET_SECONDS * 1000:.0f} ms: {'kept' if within else 'MISSED'}")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
