"""One node's launcher: ``python -P -m engine.launch RUN_DIR``. Parent of its ranks; imports no torch.

Makes an attempt of its own, starts a process for each rank, waits without a time limit, and records how each ended.
Exit codes: 0 every rank ended well, 3 the user's input cannot be used, 1 anything else.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import ConfigError
from engine.config.cells import refused
from engine.config.choices import Device
from engine.config.ranks import gpus_per_node, ranks_per_node, uses_gpu
from engine.config.reading import read_file
from engine.errors import EXIT_BAD_INPUT
from engine.events import Attempt, RunDirectory, identity, write_json
from engine.events.run_directory import RunIsLive
from engine.rank_processes import MARK, Guard, Signals, Watch, start_rank
from engine.versions import versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.config import RunConfig

SCHEMA_VERSION = 1

GRACE_SECONDS = 5.0
"""Time the other ranks have to end after one failed, between SIGTERM and SIGKILL."""

PORTS = range(20000, 30000)
"""Rendezvous ports are taken from here: below the range from which systems give ports to outgoing connections, so
that none can take ours in the seconds until rank 0 listens on it."""

SHOWN_VARIABLES = {
    "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HF_DATASETS_CACHE", "HF_DATASETS_DISABLE_PROGRESS_BARS",
    "HF_DATASETS_OFFLINE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_OFFLINE",
    "LD_LIBRARY_PATH", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS",
    "PYTHONFAULTHANDLER", "PYTHONPATH", "PYTHONSAFEPATH", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
    "SLURM_JOB_ID", "TOKENIZERS_PARALLELISM", "TRANSFORMERS_OFFLINE", "VIRTUAL_ENV", "WORLD_SIZE",
}  # fmt: skip
"""Variables ``launch.json`` may show: ranks inherit everything, tokens too, but nothing else is written down."""

SHOWN_PREFIXES = ("NCCL_", "GLOO_", "TORCH_NCCL_")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engine.launch", description="Launch the ranks of a run on this node.")
    parser.add_argument("run_dir", type=Path, help="directory with run.yaml")
    parser.add_argument("--gpus", help="UUIDs or numbers of the GPUs to use, instead of what run.yaml says")
    parser.add_argument("--rank-module", default="engine.train", help=argparse.SUPPRESS)
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    run = RunDirectory(options.run_dir)
    try:
        config = read_file(run.run_yaml)
        if problems := refused(config):
            raise ConfigError(problems)
        with run.claim():
            return launch(run, config, options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except (RunIsLive, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def launch(run: RunDirectory, config: RunConfig, options: argparse.Namespace) -> int:
    """One attempt, from its folder to the last rank's end. The caller holds the claim on the run."""
    signals = Signals()
    gpus = chosen_gpus(config, options.gpus)
    ranks = ranks_per_node(config, len(gpus))
    gpus = gpus[: gpus_per_node(config, len(gpus))]
    mark = uuid.uuid4().hex
    environment = {**os.environ, **rank_environment(config, ranks, gpus), MARK: mark}
    attempt = run.new_attempt()
    description = describe(run, attempt, environment, gpus, options)
    write_json(attempt.launch_json, description)
    guard = Guard(mark)
    try:
        processes = []
        for rank in range(ranks):
            command = [sys.executable, "-u", "-m", options.rank_module, str(run.path), "--attempt", str(attempt.number)]
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = start_rank(rank, rank, command, {**environment, **own}, attempt.log(rank))
            guard.watch_over(process)
            processes.append(process)
        description["ranks"] = [
            {"rank": one.rank, "local_rank": one.local_rank, **one.identity} for one in processes
        ]  # fmt: skip
        write_json(attempt.launch_json, description)
        codes = Watch(processes, attempt, signals, options.grace).wait()
    finally:
        guard.close()
    if all(code == 0 for code in codes.values()):
        return 0
    return EXIT_BAD_INPUT if EXIT_BAD_INPUT in codes.values() else 1


def chosen_gpus(config: RunConfig, given: str | None) -> list[str]:
    """UUIDs of the GPUs to use: those given, else those of the configuration, else all that are visible.

    Raises:
        ConfigError: a GPU is named by a number that does not exist.
    """
    if config.hardware.device is Device.CPU:
        return []
    there = gpu_uuids()
    if given is not None:
        names = [name for name in given.split(",") if name]
    elif config.hardware.gpus:
        names = config.hardware.gpus
    else:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = there if visible is None else [name for name in visible.split(",") if name]
    return [there[int(name)] if name.isdigit() and int(name) < len(there) else name for name in names]


def gpu_uuids() -> list[str]:
    """UUIDs of this machine's NVIDIA GPUs in the order of the bus; empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    count = pynvml.nvmlDeviceGetCount()
    return [pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]


def rank_environment(config: RunConfig, ranks: int, gpus: list[str]) -> dict[str, str]:
    """What every rank of this node gets beyond what it inherits; ``RANK`` and ``LOCAL_RANK`` come on top."""
    cores = len(os.sched_getaffinity(0))
    environment = {
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": str(config.hardware.threads_per_rank or max(1, cores // ranks)),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONFAULTHANDLER": "1",
        # Ranks of one machine need no network; gloo would look the host name up, which fails on many.
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "",
    }
    if uses_gpu(config, len(gpus)):
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return environment


def free_port() -> int:
    """A TCP port nobody listens on.

    Raises:
        OSError: a hundred tries found none.
    """
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop}")


def describe(
    run: RunDirectory, attempt: Attempt, environment: Mapping[str, str], gpus: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """What ``launch.json`` says before the ranks are started."""
    argv = [sys.executable, "-P", "-m", "engine.launch", str(run.path)]
    return {
        "schema_version": SCHEMA_VERSION,
        "attempt": attempt.number,
        "argv": argv if options.gpus is None else [*argv, "--gpus", options.gpus],
        "environment": shown(environment),
        "versions": versions(),
        "master_port": int(environment["MASTER_PORT"]),
        "world_size": int(environment["WORLD_SIZE"]),
        "device": "cuda" if gpus else "cpu",
        "gpus": gpus,
        "launcher": identity(),
        "ranks": [],
    }


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that may be written down."""
    return {
        key: value
        for key, value in sorted(environment.items())
        if key in SHOWN_VARIABLES or key.startswith(SHOWN_PREFIXES)
    }


if __name__ == "__main__":
    sys.exit(main())
