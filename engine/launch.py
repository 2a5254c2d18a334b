"""One node's launcher: ``python -P -m engine.launch RUN_DIR``. Parent of its ranks; imports no torch.

Makes an attempt of its own, starts a process for each rank, waits without a time limit, and records how each ended.
Of a run on several nodes it is started on each, with the node's number; they meet through the run directory.
Exit codes: 0 every rank ended well, 3 the user's input cannot be used, 1 anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import socket
import sys
import time
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
from engine.events.run_directory import BEAT_SECONDS, RunIsLive
from engine.nodes import (
    JOIN_SECONDS,
    SILENT_SECONDS,
    Nodes,
    NodesApart,
    Pace,
    Place,
    about_this_node,
    begin,
    interface_towards,
    join,
)
from engine.rank_processes import MARK, Guard, RankProcess, Signals, Watch, start_rank, write_record
from engine.versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.config import RunConfig

SCHEMA_VERSION = 1

GRACE_SECONDS = 5.0
"""Time the other ranks have to end after one failed, between SIGTERM and SIGKILL."""

CLEARED_SECONDS = 10.0
"""Time the guard of an attempt has to clear away what is left of it on a node."""

PORTS = range(20000, 30000)
"""Rendezvous ports are taken from here: below the range from which systems give ports to outgoing connections, so
that none can take ours in the seconds until rank 0 listens on it."""

SHOWN_VARIABLES = {
    "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "GROUP_RANK", "HF_DATASETS_CACHE",
    "HF_DATASETS_DISABLE_PROGRESS_BARS",
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
    parser.add_argument(
        "--node-rank", type=int, default=os.environ.get("NODE_RANK", "0"), help="of several nodes, which"
    )
    parser.add_argument(
        "--master-addr", help="address of node 0 for the others; NODE_RANK, MASTER_ADDR and ..._PORT too"
    )
    parser.add_argument("--master-port", type=int, help="port the ranks meet at; a free one of node 0 without it")
    parser.add_argument("--join-seconds", type=float, default=JOIN_SECONDS, help="time that all nodes have to come")
    parser.add_argument("--beat-seconds", type=float, default=BEAT_SECONDS, help=argparse.SUPPRESS)
    parser.add_argument("--silent-seconds", type=float, default=SILENT_SECONDS, help=argparse.SUPPRESS)
    parser.add_argument("--rank-module", default="engine.train", help=argparse.SUPPRESS)
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    run = RunDirectory(options.run_dir)
    try:
        config = read_file(run.run_yaml)
        if problems := refused(config):
            raise ConfigError(problems)
        node = 0 if config.hardware.nodes == 1 else options.node_rank
        if not 0 <= node < config.hardware.nodes:
            parser.error(f"--node-rank {node}: hardware.nodes is {config.hardware.nodes}; count nodes from 0")
        with contextlib.ExitStack() as held:
            claim(held, run, node)
            return launch(run, config, node, options)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except (RunIsLive, NodesApart, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def claim(held: contextlib.ExitStack, run: RunDirectory, node: int) -> None:
    """Be the run's launcher on this node, until ``held`` is closed.

    Raises:
        RunIsLive: another is. Beside node 0 that may be the attempt before, whose end node 0 did not wait out.
    """
    deadline = time.monotonic() + (CLEARED_SECONDS if node else 0.0)
    while True:
        try:
            held.enter_context(run.claim(node))
            return
        except RunIsLive:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.1)


def launch(run: RunDirectory, config: RunConfig, node: int, options: argparse.Namespace) -> int:
    """This node's part in one attempt, from its folder to the last rank's end. The caller holds the claim."""
    signals = Signals()
    gpus = chosen_gpus(config, options.gpus)
    ranks = ranks_per_node(config, len(gpus))
    gpus = gpus[: gpus_per_node(config, len(gpus))]
    mark = uuid.uuid4().hex
    about = about_this_node(run, ranks, gpus) if config.hardware.nodes > 1 else {}
    attempt, place, nodes = take_place(run, config.hardware.nodes, node, about, options, signals)
    environment = {**os.environ, **rank_environment(config, ranks, gpus, place), MARK: mark}
    description = describe(run, attempt, environment, gpus, options)
    if node == 0:
        write_json(attempt.launch_json, description)
    guard = Guard(mark)
    try:
        processes = []
        for local in range(ranks):
            rank = node * ranks + local
            command = [sys.executable, "-u", "-m", options.rank_module, str(run.path), "--attempt", str(attempt.number)]
            own = {"RANK": str(rank), "LOCAL_RANK": str(local)}
            process = start_rank(rank, local, command, {**environment, **own}, attempt.log(rank))
            guard.watch_over(process)
            processes.append(process)
        started = [{"rank": one.rank, "local_rank": one.local_rank, **one.identity} for one in processes]
        description["ranks"] = started
        if node == 0:
            write_json(attempt.launch_json, description)
        return watch(processes, attempt, node, nodes, description, about, signals, options.grace)
    finally:
        guard.close()


def watch(
    processes: list[RankProcess], attempt: Attempt, node: int, nodes: Nodes | None, description: dict[str, Any],
    about: dict[str, Any], signals: Signals, grace: float,
) -> int:  # fmt: skip
    """The exit code once all ranks have ended: of this node, on node 0 of all."""
    if nodes is None:
        return exit_code(Watch(processes, attempt.exits_json, signals, grace).wait().values())
    if node == 0:
        nodes.complete(description)
    nodes.offer({**about, "ranks": description["ranks"]})
    watched = Watch(processes, attempt.node_exits(node), signals, grace, nodes)
    codes = list(watched.wait().values())
    if node == 0:
        watched.settle()
        exits = nodes.exits()
        write_record(attempt.exits_json, exits)
        codes = [-one["signal"] if one["signal"] else one["code"] for one in exits["ranks"].values()]
        codes += [1] * (description["world_size"] - len(codes))  # of ranks nobody knows the end of
    return exit_code(codes)


def exit_code(codes: Iterable[int]) -> int:
    """The launcher's, for those of ranks."""
    found = set(codes)
    if found == {0}:
        return 0
    return EXIT_BAD_INPUT if EXIT_BAD_INPUT in found else 1


def take_place(
    run: RunDirectory, count: int, node: int, about: dict[str, Any], options: argparse.Namespace, signals: Signals
) -> tuple[Attempt, Place, Nodes | None]:
    """The attempt, where this node stands in it, and the other nodes where there are any.

    Raises:
        NodesApart: they do not come together.
    """
    if count == 1:
        return run.new_attempt(), Place(port=free_port()), None
    pace = Pace(options.join_seconds, options.silent_seconds, options.beat_seconds)
    address = options.master_addr or os.environ.get("MASTER_ADDR")
    if node != 0:
        nodes, launch = join(run, about, node, count, signals, pace)
        address, port = address or launch["master_addr"], launch["master_port"]
        try:
            return nodes.attempt, Place(node, count, address, port, interface_towards(address)), nodes
        except OSError as error:
            nodes.refuse(f"node {node} can't reach node 0 at {address} ({error}): give another --master-addr.")
    if address is None:
        raise NodesApart("--master-addr is missing: the address of this node, 0, by which the others reach it.")
    try:
        interface = interface_towards(address)
    except OSError as error:
        raise NodesApart(f"--master-addr {address} leads nowhere from here ({error}): give this node's own.") from None
    port = options.master_port or int(os.environ.get("MASTER_PORT", "0")) or free_port("")
    nodes = begin(run, about, count, signals, pace)
    return nodes.attempt, Place(0, count, address, port, interface), nodes


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


def rank_environment(config: RunConfig, ranks: int, gpus: list[str], place: Place | None = None) -> dict[str, str]:
    """What every rank of this node gets beyond what it inherits; ``RANK`` and ``LOCAL_RANK`` come on top.

    Without a ``place`` the node is the only one, and its ranks meet at a free port.
    """
    place = place or Place(port=free_port())
    cores = len(os.sched_getaffinity(0))
    environment = {
        "WORLD_SIZE": str(ranks * place.nodes),
        "LOCAL_WORLD_SIZE": str(ranks),
        "GROUP_RANK": str(place.node),  # the node, as torchrun names it
        "MASTER_ADDR": place.address,
        "MASTER_PORT": str(place.port),
        "OMP_NUM_THREADS": str(config.hardware.threads_per_rank or max(1, cores // ranks)),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONFAULTHANDLER": "1",
        # Gloo would look the host name up, which fails on many machines; those of one need no network.
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", place.interface),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "",
    }
    if place.nodes > 1:
        environment["NCCL_SOCKET_IFNAME"] = os.environ.get("NCCL_SOCKET_IFNAME", place.interface)
    if uses_gpu(config, len(gpus)):
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    return environment


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on, at ``address`` of this machine; "" are all of its.

    Raises:
        OSError: a hundred tries found none.
    """
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop}")


def describe(
    run: RunDirectory, attempt: Attempt, environment: Mapping[str, str], gpus: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """What ``launch.json`` says before the ranks are started."""
    argv = [sys.executable, "-P", "-m", "engine.launch", str(run.path)]
    argv += ["--master-addr", environment["MASTER_ADDR"]] if options.master_addr else []
    return {
        "schema_version": SCHEMA_VERSION,
        "attempt": attempt.number,
        "argv": argv if options.gpus is None else [*argv, "--gpus", options.gpus],
        "environment": shown(environment),
        "versions": versions(),
        "master_addr": environment["MASTER_ADDR"],
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
