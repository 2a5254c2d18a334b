"""Run directories of any size, as a run of weeks on many GPUs leaves them or makes them grow.

    python -m support.generated_runs FOLDER --steps 1000000 --ranks 8
    python -m support.generated_runs FOLDER --steps 20000 --ranks 64 --nodes 8 --grow

Events, levels, samples and status are as engine and supervisor write them; the levels by the supervisor's own code.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from engine.events import Attempt, RunDirectory, identity, write_json
from engine.events.processes import host_name
from qltui.runs.levels import Ladder
from qltui.runs.reduction import Reduction, levels_of
from qltui.runs.telemetry.history import points_of

GIB = 2**30
OTHER_RANKS_SECONDS = 0.5
"""Time between steps told by ranks above 0, as ``engine.reporter`` keeps it."""
RAW_SAMPLES = 3600
LOG_STEPS = 2000
"""Newest steps of an old run that its log tells of."""


class Size(NamedTuple):
    """What is to be generated."""

    steps: int = 1000
    ranks: int = 1
    nodes: int = 1
    step_seconds: float = 0.1
    attempts: int = 1
    save_every: int = 500
    eval_every: int = 1000
    nans: tuple[int, ...] = ()
    """Steps whose loss is no number."""
    spikes: tuple[int, ...] = ()
    """Steps whose loss and gradient are a hundred times as high."""
    gpus: bool = True
    total_steps: int | None = None
    seed: int = 1


class GeneratedRun:
    """A run that is written step by step; the time of its steps goes on without waiting."""

    def __init__(self, folder: Path, size: Size = Size()) -> None:  # noqa: B008 - immutable
        self.run, self.size = RunDirectory(folder), size
        self.run.path.mkdir(parents=True)
        self.run.run_yaml.write_text("name: generated\nmodel: some/model\ndata: rows.jsonl\n")
        if size.gpus:
            write_json(self.run.plan_json, _plan(size))
        self._random = random.Random(size.seed)
        self.wall = time.time() - size.steps * size.step_seconds
        self.began = self.wall
        self.step = 0
        self._told = [-math.inf] * size.ranks
        self._files: list[TextIO] = []
        self._log: TextIO
        self.attempt: Attempt
        self._reduction: Reduction | None = None
        self._ladders: dict[str, Ladder] = {}
        self.begin_attempt()

    @property
    def ranks_per_node(self) -> int:
        return max(1, self.size.ranks // self.size.nodes)

    def host(self, node: int) -> str:
        """Node 0 is this machine, where the processes of a live run are looked for."""
        return host_name() if node == 0 else f"node{node}"

    def begin_attempt(self) -> None:
        """Begin the first attempt, or go on from the last checkpoint in another."""
        if self._files:
            self.close()
        self.attempt = self.run.new_attempt()
        if self.attempt.number > 1:
            self.step -= self.step % self.size.save_every
        gpus = [f"GPU-{place}" for place in range(self.ranks_per_node)] if self.size.gpus else []
        launch = {"world_size": self.size.ranks, "gpus": gpus, "launcher": identity(), "ranks": []}
        write_json(self.attempt.launch_json, {"schema_version": 1, "attempt": self.attempt.number, **launch})
        self._log = open(self.attempt.log(0), "a", encoding="utf-8")  # noqa: SIM115
        self._files = [open(self.attempt.events(rank), "a", encoding="utf-8") for rank in range(self.size.ranks)]  # noqa: SIM115
        total = self.size.total_steps or self.size.steps
        for rank in range(self.size.ranks):
            device = f"cuda:{rank % self.ranks_per_node}" if self.size.gpus else "cpu"
            self.say(rank, "started", world_size=self.size.ranks, device=device, pid=10_000 + rank, total_steps=total)
            for phase, peak in (("load", 9), ("forward", 14), ("backward", 17), ("optimizer", 15)):
                self.say(rank, "memory", phase=phase, **_memory(12, 18, peak))
            self.say(rank, "audit", audit="sharding", result="passed", detail="its share")
        self.say(0, "state", state="training")

    def say(self, rank: int, kind: str, **fields: Any) -> None:
        """Write an event of a rank."""
        node = rank // self.ranks_per_node
        common = {
            "kind": kind, "schema_version": 1, "attempt": self.attempt.number, "host": self.host(node), "node": node,
            "rank": rank, "local_rank": rank % self.ranks_per_node, "step": self.step,
            "wall": round(self.wall, 6), "monotonic": round(self.wall - self.began, 6),
        }  # fmt: skip
        self._files[rank].write(json.dumps({**common, **fields}) + "\n")

    def write_steps(self, until: int) -> None:
        """Do optimizer steps up to this one."""
        size = self.size
        while self.step < until:
            self.step += 1
            self.wall += size.step_seconds
            self._write_step()
            if self.step % size.save_every == 0:
                self.say(0, "checkpoint", path=f"checkpoints/step-{self.step}", seconds=1.0, resumed=False)
            if self.step % size.eval_every == 0:
                self.say(0, "evaluation", loss=self._loss() * 1.05, rows=100, seconds=1.0, when="during")
        for file in (*self._files, self._log):
            file.flush()

    def _write_step(self) -> None:
        size = self.size
        step_time = size.step_seconds * (0.95 + 0.1 * self._random.random())
        loss = '"nan"' if self.step in size.nans else repr(self._loss() * (100 if self.step in size.spikes else 1))
        gradient = (100 if self.step in size.spikes else 1) * (0.4 + 0.2 * self._random.random())
        if self.step > size.steps - LOG_STEPS:
            self._log.write(f"step {self.step}/{size.total_steps or size.steps} loss {loss} grad {gradient:.2f}\n")
        for rank in range(size.ranks):
            if rank and self.wall - self._told[rank] < OTHER_RANKS_SECONDS:
                continue
            self._told[rank] = self.wall
            node, local = divmod(rank, self.ranks_per_node)
            own = "" if rank else (
                f' "loss": {loss}, "learning_rate": 0.0001, "grad_norm": {gradient}, "epoch": {self.step / 1000},'
                ' "tokens": 16384, "target_tokens": 9000,'
            )  # fmt: skip
            self._files[rank].write(
                f'{{"kind": "step", "schema_version": 1, "attempt": {self.attempt.number}, "host": "{self.host(node)}",'
                f' "node": {node}, "rank": {rank}, "local_rank": {local}, "step": {self.step},'
                f' "wall": {self.wall:.6f}, "monotonic": {self.wall - self.began:.6f},{own} "step_time": {step_time},'
                f' "data_time": {step_time * 0.02}, "memory_allocated": {12 * GIB + rank},'
                f' "memory_reserved": {18 * GIB}, "memory_peak": {17 * GIB}, "host_rss": {2 * GIB}}}\n'
            )

    def _loss(self) -> float:
        return 0.8 + 1.7 * math.exp(-5 * self.step / max(self.size.steps, 1)) + 0.1 * self._random.random()

    def write_samples(self, begin: float, end: float) -> None:
        """Write what every host sampled, once a second, between two moments; of an old run the newest hour raw."""
        self.run.telemetry.mkdir(exist_ok=True)
        levels_of(self.run).mkdir(exist_ok=True)
        for node in range(self.size.nodes):
            host = self.host(node)
            ladder = self._ladders.setdefault(host, Ladder(levels_of(self.run), f"telemetry-{host}"))
            with open(self.run.telemetry / f"{host}.jsonl", "a", encoding="utf-8") as file:
                for second in range(math.ceil(begin), math.ceil(end)):
                    sample = self._sample(node, float(second))
                    ladder.add(sample["wall"], points_of(sample))
                    if end - second <= RAW_SAMPLES:
                        file.write(json.dumps(sample) + "\n")
            ladder.flush()
            write_json(levels_of(self.run) / f"telemetry-{host}.json", ladder.describe())
            ladder.tidy()

    def _sample(self, node: int, wall: float) -> dict[str, Any]:
        used = 19 * GIB + int(GIB * self._random.random())
        gpus = [
            {
                "uuid": f"GPU-{place}", "index": place, "name": "NVIDIA H100 80GB HBM3", "lost": False, "mig": False,
                "pci_bus_id": f"0000{place:04X}:18:00.0", "memory_used": used, "memory_total": 80 * GIB,
                "memory_reserved": GIB // 2, "utilization": 90 + place % 8, "temperature": 60 + place, "throttle": [],
                "power_watts": 500.0 + 10 * self._random.random(), "power_limit_watts": 700.0, "sm_clock_mhz": 1755,
                "sm_clock_max_mhz": 1980, "ranks": [node * self.ranks_per_node + place], "other_memory": 0,
                "processes": [{"pid": 10_000 + place, "memory": used, "ours": True}],
            }
            for place in range(self.ranks_per_node if self.size.gpus else 0)
        ]  # fmt: skip
        host = {"memory_total": 1024 * GIB, "memory_available": 900 * GIB, "load": 8.0, "disk_free": 500 * GIB}
        return {"wall": wall, "host": self.host(node), **host, "ranks": [], "gpus": gpus}

    def write_levels(self) -> int:
        """Fold what was written since, as the supervisor does; returns how many bytes of events there are by now."""
        if self._reduction is None:
            self._reduction = Reduction(self.run, self._identity(), keeps=True)
        self._reduction.read()
        self._reduction.keep()
        return sum(path.stat().st_size for path in self.run.attempts_dir.glob("*/events/*"))

    def write_status(self, **changed: Any) -> None:
        """Write ``status.json`` as of now, by the levels and what came after them."""
        reduction = self._reduction or Reduction(self.run, self._identity())
        reduction.read()
        write_json(self.run.status_json, {**reduction.state.status(), **changed})

    def _identity(self) -> dict[str, Any]:
        return {
            "id": self.run.id, "name": "generated", "run_dir": str(self.run.path), "method": "qlora",
            "strategy": "fsdp2", "model": "some/model", "data": "rows.jsonl", "created": self.began,
            "supervisor": identity(),
        }  # fmt: skip

    def end(self, state: str) -> None:
        """Leave it ``live`` (this process stands for its supervisor), ``finished``, or ``lost`` to a power cut."""
        if state == "finished":
            self.say(0, "finished", outcome="finished", adapter="adapter")
            exits = {str(rank): {"code": 0, "signal": None} for rank in range(self.size.ranks)}
            write_json(self.attempt.exits_json, {"ranks": exits, "first": None})
        if state == "live":
            for file in self._files:
                file.flush()
            self.write_status()
            return
        self.close()
        gone = {**identity(), "start_time": 1}
        launch = {"world_size": self.size.ranks, "gpus": [], "launcher": gone, "ranks": []}
        write_json(self.attempt.launch_json, {"schema_version": 1, "attempt": self.attempt.number, **launch})
        ended = {"state": "finished", "exit_code": 0} if state == "finished" else {}
        self.write_status(supervisor=gone, **ended)

    def close(self) -> None:
        """Close the files of the attempt."""
        for file in (*self._files, self._log):
            file.close()

    def grow(self, seconds: float) -> None:
        """Go on in real time, with samples, levels and status as often as a supervisor writes them."""
        self.wall = sampled = kept = time.time()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            now = time.time()
            self.write_steps(self.step + max(0, round((now - self.wall) / self.size.step_seconds)))
            if now - sampled >= 1:
                self.write_samples(sampled, now)
                sampled = now
            if now - kept >= 10:
                self.write_levels()
                kept = now
            self.write_status()
            time.sleep(max(0.2, self.size.step_seconds))


def _memory(allocated: int, reserved: int, peak: int) -> dict[str, int]:
    sizes = {"memory_allocated": allocated, "memory_reserved": reserved, "memory_peak": peak, "host_rss": 2}
    return {key: gib * GIB for key, gib in sizes.items()}


def _plan(size: Size) -> dict[str, Any]:
    gpu = {"name": "NVIDIA H100 80GB HBM3", "memory_bytes": 80 * GIB, "capability": [9, 0]}
    phases = {
        "forward": {"weights": 9 * GIB, "activations": 4 * GIB},
        "backward": {"weights": 9 * GIB, "activations": 7 * GIB},
    }
    memory = {
        "total_bytes": 18 * GIB, "capacity_bytes": 80 * GIB, "error_bytes": GIB, "phases": phases,
        "parts": {"weights": 9 * GIB, "activations": 7 * GIB, "context": 2 * GIB},
    }  # fmt: skip
    machine = {"nodes": size.nodes, "gpus": [gpu] * max(1, size.ranks // size.nodes)}
    return {"schema_version": 1, "written": time.time(), "machine": machine, "memory": memory, "findings": []}


def generate(
    folder: Path, size: Size, *, state: str = "finished", levels: bool = True, samples: bool = True
) -> GeneratedRun:
    """A whole run: its attempts, all of the same length, its levels, samples and status."""
    run = GeneratedRun(folder, size)
    for attempt in range(1, size.attempts):
        run.write_steps(size.steps * attempt // size.attempts)
        run.begin_attempt()
    run.write_steps(size.steps)
    if levels:
        run.write_levels()
    if samples:
        run.write_samples(run.began, run.wall)
    run.end(state)
    if levels and state != "live":
        run.write_levels()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the run's directory; it must not exist yet")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--ranks", type=int, default=1, help="all of them")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--step-seconds", type=float, default=0.1)
    parser.add_argument("--attempts", type=int, default=1)
    parser.add_argument("--nan", type=int, nargs="*", default=[], metavar="STEP", help="steps whose loss is no number")
    parser.add_argument("--spike", type=int, nargs="*", default=[], metavar="STEP")
    parser.add_argument("--cpu", action="store_true", help="CPU ranks")
    parser.add_argument("--no-levels", action="store_true", help="as where the supervisor was killed at once")
    parser.add_argument("--state", choices=["finished", "lost"], default="finished")
    parser.add_argument("--grow", type=float, nargs="?", const=math.inf, metavar="SECONDS", help="go on growing")
    given = parser.parse_args()
    size = Size(
        given.steps, given.ranks, given.nodes, given.step_seconds, given.attempts, nans=tuple(given.nan),
        spikes=tuple(given.spike), gpus=not given.cpu, total_steps=10 * given.steps if given.grow else None,
    )  # fmt: skip
    state = "live" if given.grow else given.state
    run = generate(given.folder, size, state=state, levels=not given.no_levels)
    if given.grow:
        run.grow(given.grow)
        run.end("lost")


if __name__ == "__main__":
    main()
