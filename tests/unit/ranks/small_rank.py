"""A rank without torch, for tests of the launcher and the supervisor: ``python -m small_rank RUN_DIR --attempt N``.

What each rank does is in ``plan.txt`` of the run directory, a line a rank; the last line is for all further ranks.
``plan-N.txt`` is the plan of attempt N alone:

finish            ten steps, then a `finished` event and exit code 0
exit CODE         leave with a code and a last word in the log, no event
fail              a `failed` event of an exception, exit code 1
out-of-memory     a `failed` event of a GPU without room, exit code 1
die SIGNAL STEP   end itself by a signal (its name) after so many steps
bad-input         a `failed` event about the user's input, exit code 3
kill              SIGKILL itself in the middle of a save
hang              one step, then wait for a request to stop: save slowly, say `stopped`, exit code 0
stubborn          as hang, but ignore SIGTERM and requests
parent            start grandchildren (one in a session of its own), write their pids, then hang
orphan            start the same grandchildren, then finish
"""

import os
import signal
import subprocess
import sys
import time

from engine.events import EventWriter, RunDirectory, read_json

run = RunDirectory(sys.argv[1])
attempt = int(sys.argv[3])
rank = int(os.environ["RANK"])
events = EventWriter(
    run.attempts_dir / str(attempt) / "events" / f"rank{rank}.jsonl",
    attempt=attempt, node=0, rank=rank, local_rank=int(os.environ["LOCAL_RANK"]),
)  # fmt: skip
plan = run.path / f"plan-{attempt}.txt"
lines = (plan if plan.exists() else run.path / "plan.txt").read_text().splitlines()
action, *arguments = lines[min(rank, len(lines) - 1)].split()


def step(number: int) -> None:
    events.step = number
    events.emit("step", loss=1 / number, tokens=64, step_time=0.01, learning_rate=0.1, memory_peak=1000 + rank)


def start_grandchildren() -> None:
    sleep = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
    pids = [subprocess.Popen(sleep, start_new_session=own).pid for own in (False, True)]
    (run.path / f"grandchildren{rank}.txt").write_text(" ".join(map(str, pids)))


def hang() -> None:
    step(1)
    while (read_json(run.request_json) or {}).get("attempt") != attempt:
        time.sleep(0.01)
    events.emit("state", state="saving")
    time.sleep(1.0)
    (run.path / f"saved{rank}").touch()
    events.emit("finished", outcome="stopped")


print(f"rank {rank} says {action}", flush=True)
events.emit("started", world_size=int(os.environ["WORLD_SIZE"]), device="cpu", pid=os.getpid(), total_steps=10)
events.emit("state", state="training")
if action in ("parent", "orphan"):
    start_grandchildren()
if action == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    step(1)
    time.sleep(600)
elif action in ("hang", "parent"):
    hang()
elif action == "exit":
    print("last words", flush=True)
    sys.exit(int(arguments[0]))
elif action == "kill":
    step(1)
    events.emit("phase", phase="save")
    os.kill(os.getpid(), signal.SIGKILL)
elif action == "fail":
    step(2)
    events.emit("failed", phase="backward", error="ValueError", message="it broke", traceback="...", bad_input=False)
    sys.exit(1)
elif action == "out-of-memory":
    message = (
        "CUDA out of memory. Tried to allocate 6.00 GiB. GPU 0 has a total capacity of 23.52 GiB of which 1.02 GiB "
    )
    message += (
        "is free. Including non-PyTorch memory, this process has 22.50 GiB memory in use. Of the allocated memory "
    )
    message += "21.00 GiB is allocated by PyTorch, and 300.00 MiB is reserved by PyTorch but unallocated."
    text = f'Traceback (most recent call last):\n  File "loop.py", line 1, in step\ntorch.OutOfMemoryError: {message}\n'
    events.emit("failed", phase="backward", error="OutOfMemoryError", message=message, traceback=text, bad_input=False)
    sys.exit(1)
elif action == "die":
    for number in range(1, int(arguments[1]) + 1):
        step(number)
    os.kill(os.getpid(), getattr(signal, arguments[0]))
elif action == "bad-input":
    message = "data.jsonl: row 3 has no field 'text'"
    events.emit("failed", phase="data", error="BadInput", message=message, traceback="", bad_input=True)
    sys.exit(3)
else:
    for number in range(1, 11):
        step(number)
    events.emit("finished", outcome="finished", adapter="adapter")
