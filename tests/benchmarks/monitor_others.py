"""The same feed in what people use, in the same pseudo-terminal and measured the same way.

    python -m venv OTHERS && OTHERS/bin/pip install textual-plotext nvitop wandb
    python tests/benchmarks/monitor_others.py OTHERS

textual-plotext: an app of ours with 4 charts of 2,000 points, drawn anew twice a second with one more, and a log that
takes 500 lines a second; neither reads anything. LEET of wandb: an offline run of 4 metrics that grows alike, without
a log. nvitop: as it is, where it starts, which it does only beside an NVIDIA driver. Told are processor and bytes
and, of textual-plotext, the time from a key to its paint.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.key_to_paint import go_first, interpreter, quantile  # noqa: E402
from benchmarks.monitor import KEY_SECONDS, QUIET_SECONDS, SETTLE_SECONDS, Key, Watched, press_all, watched  # noqa: E402
from benchmarks.monitor_feed import go_last  # noqa: E402

PLOTEXT = """\
import math, random
from textual.app import App
from textual.binding import Binding
from textual.containers import Grid
from textual.widgets import Log, Static
from textual_plotext import PlotextPlot

class Monitor(App):
    CSS = "Grid { grid-size: 2; height: 2fr; } Log { height: 1fr; }"
    BINDINGS = [Binding("p", "hold"), Binding("ctrl+q", "quit")]
    def compose(self):
        yield Static("following", id="state")
        with Grid():
            for _ in range(4):
                yield PlotextPlot()
        yield Log(max_lines=5000)
    def on_mount(self):
        chance = random.Random(7)
        self.series = [[0.8 + 1.6 * math.exp(-n / 400) + chance.gauss(0, 0.05) for n in range(2000)] for _ in range(4)]
        self.set_interval(0.5, self.tick)
        self.tick()
    def tick(self):
        for series, widget in zip(self.series, self.query(PlotextPlot)):
            series.append(series[-1])
            widget.plt.clear_data()
            widget.plt.plot(series)
            widget.refresh()
        self.query_one(Log).write_lines([f"r{n % 8} INFO line loss 1.234 and what programs say" for n in range(250)])
    def action_hold(self):
        state = self.query_one("#state", Static)
        state.update("held still" if str(state.content) == "following" else "following")

Monitor().run()
"""
WANDB = """\
import math, random, sys, time, wandb
run = wandb.init(mode="offline", project="feed", dir=sys.argv[1], settings=wandb.Settings(silent=True))
for n in range(10_000):
    value = 0.8 + 1.6 * math.exp(-n / 400)
    run.log({name: value + random.gauss(0, 0.05) for name in ("loss", "rate", "grad", "tokens")})
    if n == 2000:
        print("ready", flush=True)
    time.sleep(0.5 if n >= 2000 else 0)
"""
KEYS = (Key("p", "hold", lambda watched: "held still" in watched.screen.text),)


def cost(app: Watched) -> tuple[float, float]:
    """Percent of a core, and KiB a second, while nobody presses a key."""
    app.rest(SETTLE_SECONDS)
    sent, used, begin = app.sent, processor(app.terminal.pid), time.monotonic()
    app.rest(QUIET_SECONDS)
    seconds = time.monotonic() - begin
    return (processor(app.terminal.pid) - used) * 100 / seconds, (app.sent - sent) / 1024 / seconds


def processor(pid: int) -> float:
    """Seconds that a process and those below it have computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(processor(int(one)) for one in below)


def leet(venv: Path, home: Path) -> None:
    """Watch a growing offline run."""
    words = [str(venv / "bin/python"), "-c", WANDB, str(home)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=go_last) as writer:
        try:
            if not writer.stdout or not writer.stdout.readline():
                print("wandb leet: the run could not be written here")
                return
            run = next(home.glob("wandb/offline-run-*"))
            with watched([str(venv / "bin/wandb"), "leet", str(run)], home, 160, 50) as app:
                used, wire = cost(app)
                app.terminal.send("q")
            print(f"wandb leet: processor {used:.0f} %, {wire:.0f} KiB/s")
        finally:
            writer.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path, help="where they are installed")
    venv = parser.parse_args().venv
    python = str(venv / "bin/python")
    go_first()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"python -c pass: {quantile(list(interpreter()), 50):.0f} ms, 160x50"
    )
    with tempfile.TemporaryDirectory() as home:
        with watched([python, "-c", PLOTEXT], Path(home), 160, 50) as app:
            app.wait(app.says("following"), "textual-plotext")
            used, wire = cost(app)
            press_all(app, KEYS, KEY_SECONDS)
        keys = app.taken["hold"]
        print(f"textual-plotext: processor {used:.0f} %, {wire:.0f} KiB/s, key to paint p50 {quantile(keys, 50):.0f}")
        print(f"  p95 {quantile(keys, 95):.0f} ms ({len(keys)} keys)")
        leet(venv, Path(home))
        tried = subprocess.run([str(venv / "bin/nvitop"), "--once"], capture_output=True, text=True)
        if tried.returncode:
            print(f"nvitop: does not start here: {(tried.stderr or tried.stdout).strip().splitlines()[0]}")
            return 0
        with watched([str(venv / "bin/nvitop")], Path(home), 160, 50) as app:
            used, wire = cost(app)
            app.terminal.send("q")
        print(f"nvitop: processor {used:.0f} %, {wire:.0f} KiB/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
