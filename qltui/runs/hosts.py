"""The other nodes of a run over ssh: whether they can take part, and their launchers started there.

The first of ``hardware.hosts`` is this machine, as the others reach it. Nobody is asked for a password, and only what
:data:`FORWARDED` names of the environment goes along: a command's words can be read by all users of a host.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events.processes import host_name
from engine.events.run_directory import write_json
from qltui.facts import versions
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from engine.config import RunConfig
    from engine.events import RunDirectory

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=10")
SSH_FAILED = 255
"""ssh's own exit code; others are the remote command's (ssh(1))."""
SECONDS = 60.0
"""Time a host has to answer: Python may come from a slow shared disk."""
CLOCK_SECONDS = 5.0
"""By which clocks may differ, beyond the time an answer took: events of all nodes are put in order by them."""
FORWARDED = (
    "HF_DATASETS_CACHE", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "LD_LIBRARY_PATH", "PYTHONPATH",
    "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TRANSFORMERS_OFFLINE",
)  # fmt: skip
"""Variables of this process that those on other hosts get too; NCCL's and gloo's come on top, interfaces excepted."""


class CannotTakePart(Exception):
    """Hosts are not as a run over several nodes needs them; the message says of each what and what to do."""


class Asked(NamedTuple):
    """A host that was sent a command."""

    host: str
    process: subprocess.Popen[str]
    begun: float
    """Wall time."""


def address(config: RunConfig) -> str:
    """Node 0's address for the other nodes."""
    return config.hardware.hosts[0].rpartition("@")[2] if config.hardware.hosts else host_name()


def check(config: RunConfig, folder: Path) -> None:
    """See that every host can take part in a run kept under ``folder``, which they have to share.

    Raises:
        CannotTakePart: with a line for each that can't.
        OSError: the folder can't be written, or there is no ssh.
    """
    _check_names(config)
    others = config.hardware.hosts[1:]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    probe = folder / f".shared-{os.urandom(8).hex()}.json"
    token = os.urandom(8).hex()
    try:
        with socket.create_server(("", 0), backlog=len(others) + 1) as listening:
            write_json(probe, {"token": token})
            meeting = [address(config), str(listening.getsockname()[1])]
            command = [sys.executable, "-P", "-m", "qltui.runs.host_answer", str(probe), *meeting]
            answers = [(one.host, _verdict(one, token)) for one in [_ask(host, command) for host in others]]
    finally:
        probe.unlink(missing_ok=True)
    if problems := [f"{host}: {problem}" for host, problem in answers if problem]:
        raise CannotTakePart("\n".join(problems))


def start_others(run: RunDirectory, config: RunConfig) -> None:
    """Start every other node's launcher, detached there from ssh.

    Raises:
        CannotTakePart: with a line for each host that did not.
    """
    asked = [
        _ask(host, [*node_command(run, node), "--detach"]) for node, host in enumerate(config.hardware.hosts[1:], 1)
    ]
    problems = []
    for one in asked:
        code, _, said = _answer(one)
        if code != 0:
            problems.append(f"{one.host}: {_failed(code, said)}")
    if problems:
        raise CannotTakePart("; ".join(problems))


def node_command(run: RunDirectory, node: int) -> list[str]:
    """What runs on a node of the run, in a folder that the nodes share."""
    return [sys.executable, "-P", "-m", "qltui.runs.node", str(run.path), "--node-rank", str(node)]


def per_node_commands(run: RunDirectory, config: RunConfig) -> list[str]:
    """A shell command for each node, to be started there by hand or by a scheduler, in any order."""
    first = [sys.executable, "-P", "-m", "qltui.runs.supervisor", str(run.path), "--master-addr", address(config)]
    others = [node_command(run, node) for node in range(1, config.hardware.nodes)]
    return [shlex.join(command) for command in (first, *others)]


def _check_names(config: RunConfig) -> None:
    hosts, nodes = config.hardware.hosts, config.hardware.nodes
    if len(hosts) != nodes or len(set(hosts)) != nodes:
        raise CannotTakePart(
            f"hardware.hosts names {len(set(hosts))} hosts and hardware.nodes is {nodes}: name as many, this machine"
            " first, or start each node yourself with qltui launch --per-node-commands."
        )
    for host in hosts:
        if host.startswith("-") or not host or any(letter.isspace() for letter in host):
            raise CannotTakePart(f"hardware.hosts: {host!r} is no host that ssh could take.")
    try:
        family, kind, _, _, target = socket.getaddrinfo(address(config), 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as own:
            own.bind(target)
    except OSError as error:
        raise CannotTakePart(
            f"hardware.hosts: {hosts[0]} comes first and is not this machine ({error.strerror or error}): put this one"
            " first, by an address that the others reach."
        ) from None


def _ask(host: str, command: Sequence[str]) -> Asked:
    """Begin a command on a host, in no folder of the user's and with none of the terminal's input."""
    names = [name for name in os.environ if name in FORWARDED or name.startswith(("NCCL_", "TORCH_NCCL_", "GLOO_"))]
    given = [f"{name}={os.environ[name]}" for name in sorted(names) if not name.endswith("_SOCKET_IFNAME")]
    words = shlex.join(["env", *given, "PYTHONSAFEPATH=1", *command])
    process = subprocess.Popen(
        [*SSH, host, f"cd / && {words}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace",
    )  # fmt: skip
    return Asked(host, process, time.time())


def _answer(asked: Asked) -> tuple[int | None, str, str]:
    """(exit code, output, the last line of its errors); no code if it did not answer in time."""
    try:
        output, errors = asked.process.communicate(timeout=max(0.1, asked.begun + SECONDS - time.time()))
    except subprocess.TimeoutExpired:
        asked.process.kill()
        asked.process.communicate()
        return None, "", ""
    lines = [line for line in errors.splitlines() if line.strip()]
    return asked.process.returncode, output, clean(lines[-1]) if lines else ""


def _failed(code: int | None, said: str) -> str:
    """What a host's silence or refusal means, and what to do."""
    if code is None:
        return f"it did not answer within {SECONDS:.0f} s: try ssh to it by hand."
    if code == SSH_FAILED:
        return f"ssh does not get there without a question ({said or 'it says nothing'}): set up a key, try it by hand."
    if code in (126, 127):
        return f"it has no {sys.executable}: install the same there, at the same path ({said})."
    if "No module named" in said:
        return f"its {sys.executable} has no qltui ({said}): install the same there."
    return f"the command ended there with exit code {code}: {said or 'it says nothing'}"


def _verdict(asked: Asked, token: str) -> str | None:
    """Why a host can't take part; None if it can."""
    code, output, said = _answer(asked)
    ended = time.time()
    if code != 0:
        return _failed(code, said)
    try:
        told: dict[str, Any] = json.loads(output.splitlines()[-1])
        there, found = float(told["wall"]), dict(told["versions"])
    except (ValueError, IndexError, KeyError, TypeError):
        return f"its answer can't be read: {clean(output[-200:])!r}; see that its shell prints nothing by itself."
    if told.get("problem"):
        return str(clean(str(told["problem"])))
    if told.get("token") != token:
        return "the folder of runs there is another: set QLTUI_HOME to a folder that all hosts share."
    for name, version in versions.all_installed().items():
        if name in versions.TESTED and found.get(name) != version:
            return f"it has {name} {clean(str(found.get(name, 'not')))}, this machine {version}: install the same."
    late = max(asked.begun - there, there - ended)
    if late > CLOCK_SECONDS:
        return f"its clock is off by {late:.0f} s: have both set theirs by NTP."
    return None
