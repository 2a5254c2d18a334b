"""What a flood of log lines costs the app: ``python tests/benchmarks/log_flood.py``.

Another process appends lines to the log of a run while the monitor shows it in a pseudo-terminal that is read. Printed
are the processor's time and memory of the app, by how much a task that sleeps 5 ms over and over wakes too late, how
long a line takes from being written to being sent to the terminal, and the bytes sent.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.written_runs import WrittenRun

APP = """\
import asyncio, sys, time
from pathlib import Path
from qltui.ui.app import QltuiApp, terminal
from qltui.ui.screens.monitor import Monitor
terminal.prepare()
lags, ready = [], QltuiApp.on_ready
async def beat():
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append(time.perf_counter() - begin - 0.005)
def on_ready(app):
    app.beating = asyncio.create_task(beat())
    ready(app)
QltuiApp.on_ready = on_ready
QltuiApp(lambda: Monitor(Path(sys.argv[1]))).run()
Path(sys.argv[2]).write_text(" ".join(f"{lag:.5f}" for lag in lags))
"""
FLOOD = """\
import sys, time
path, rate, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
begin = time.monotonic()
with open(path, "a", buffering=1) as log:
    for number in range(count):
        log.write(f"2026-11-22 10:00:00,123 INFO line@{number} {time.time():.4f} loss 1.234 and what programs say\\n")
        if number % 10 == 9:
            time.sleep(max(0, begin + (number + 1) / rate - time.monotonic()))
"""


class Watched:
    """The app in a pseudo-terminal, read all the time."""

    def __init__(self, run: Path, lags: Path, columns: int, lines: int) -> None:
        self.sent = 0
        self.delays: list[float] = []
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", COLUMNS=str(columns), LINES=str(lines))
            os.execv(sys.executable, [sys.executable, "-c", APP, str(run), str(lags)])
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stamp, newest, tail = re.compile(rb"line@\d+ (\d{10}\.\d{4})"), 0.0, b""
        while True:
            try:
                select.select([self.terminal], [], [])
                data = os.read(self.terminal, 65536)
            except OSError:
                return
            self.sent += len(data)
            tail = (tail + data)[-70_000:]
            times = [float(found) for found in stamp.findall(tail)]
            if times and max(times) > newest:
                newest = max(times)
                self.delays.append(time.time() - newest)

    def resident(self) -> float:
        """MiB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def processor(self) -> float:
        """Seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def flood(rate: int, count: int, columns: int, lines: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        run, lags = WrittenRun(Path(home), ranks=1), Path(home) / "lags"
        for number in range(1, 30):
            run.step(number, 2 - number / 30)
        app = Watched(run.run.path, lags, columns, lines)
        log = str(run.attempt.log(0))
        subprocess.run([sys.executable, "-c", FLOOD, log, "2000", "8000"], check=True)  # until all that is kept is kept
        time.sleep(3)
        if lines < 30:
            os.write(app.terminal, b"m")  # so short a screen shows the log in place of the charts
            time.sleep(1)
        app.delays.clear()
        sent, used, begin = app.sent, app.processor(), time.monotonic()
        memory = [app.resident()]
        writer = subprocess.Popen([sys.executable, "-c", FLOOD, log, str(rate), str(count)])
        while writer.poll() is None:
            time.sleep(1)
            memory.append(app.resident())
        seconds, used = time.monotonic() - begin, app.processor() - used
        os.write(app.terminal, b"\x11")
        os.waitpid(app.pid, 0)
        late = [float(lag) * 1000 for lag in lags.read_text().split()][-round(seconds * 190) :]
        print(f"{count:,} lines, {count / seconds:,.0f} a second, at {columns}x{lines}: processor {used / seconds:.0%}")
        print(f"  memory {memory[0]:.1f} MiB before, {memory[-1]:.1f} after, {max(memory):.1f} at most")
        print(f"  loop lag p50 {statistics.median(late):.1f} ms, p99 {quantile(late, 0.99):.1f} ms")
        print(f"  line to terminal p50 {quantile(app.delays, 0.5):.2f} s, p95 {quantile(app.delays, 0.95):.2f} s")
        print(f"  sent {(app.sent - sent) / seconds / 1024:.0f} KiB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=200_000, help="lines in all (200000)")
    parser.add_argument("--rate", type=int, default=500, help="lines a second (500); 200000 take 400 s")
    parser.add_argument("--small", action="store_true", help="at 80x24 alone")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}"
    )
    for columns, lines in [(160, 50), (80, 24)][arguments.small :]:
        flood(arguments.rate, arguments.lines, columns, lines)


if __name__ == "__main__":
    main()
