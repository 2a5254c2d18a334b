"""The nodes of an attempt, as one of them sees the others: through files in the run directory they share. No torch.

Each node's launcher writes only its own: who it is, a heartbeat, how its ranks ended. Node 0 makes the attempt, lets
the ranks be started once all nodes are there and fit each other, and alone writes the records of the whole run.
Clocks of hosts differ, so silence is what a node counts by its own monotonic clock since another's heartbeat changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from engine.events import Attempt, identity, read_json, write_json
from engine.events.processes import host_name
from engine.events.run_directory import BEAT_SECONDS
from engine.rank_processes import ENDING_SIGNALS
from engine.versions import versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.events import RunDirectory
    from engine.rank_processes import Signals

SILENT_SECONDS = 30.0
"""Without a heartbeat for so long a node counts as lost. A busy shared file system delays one by seconds."""

JOIN_SECONDS = 600.0
"""Time all nodes have to come: people paste commands on some."""


class NodesApart(RuntimeError):
    """The nodes did not come together, or do not fit each other; the message says which, why and what to do."""


class Pace(NamedTuple):
    """Seconds by which nodes hear of each other."""

    limit: float = JOIN_SECONDS
    """Time all nodes have to come."""
    silent: float = SILENT_SECONDS
    """Silence by which a node counts as lost."""
    beat: float = BEAT_SECONDS
    """Between heartbeats."""


class Place(NamedTuple):
    """Where the ranks of this node stand among all, and where they meet."""

    node: int = 0
    nodes: int = 1
    address: str = "127.0.0.1"
    """Of node 0, as this node reaches it."""
    port: int = 0
    interface: str = "lo"
    """Network interface towards it."""


class Nodes:
    """All nodes of one attempt, seen from one."""

    def __init__(self, attempt: Attempt, node: int, count: int, pace: Pace) -> None:
        self.attempt = attempt
        self.node = node
        self.others = [other for other in range(count) if other != node]
        self.lost: dict[int, float] = {}
        """Seconds without a heartbeat of each node that counts as lost."""
        self.pace = pace
        self._beats = 0
        self._seen: dict[int, Any] = {}
        self._silence = dict.fromkeys(self.others, 0.0)
        self._looked: float | None = None
        self._beaten: float | None = None
        self._launch: dict[str, Any] | None = None
        attempt.nodes_dir.mkdir(mode=0o700, exist_ok=True)

    def offer(self, about: Mapping[str, Any]) -> None:
        """Write who this node is, its ranks once they run among it."""
        write_json(self.attempt.node_json(self.node), {"node": self.node, **about})

    def complete(self, launch: dict[str, Any]) -> None:
        """Have ``launch.json``, which is node 0's, tell the ranks of all nodes as soon as they have told theirs."""
        self._launch = launch

    def told(self, node: int) -> dict[str, Any] | None:
        """What a node wrote of itself; None before it has come."""
        return read_json(self.attempt.node_json(node))

    def ended(self, node: int) -> dict[str, Any] | None:
        """How a node's ranks ended; None while some run."""
        record = read_json(self.attempt.node_exits(node))
        return record if record is not None and not record.get("running") else None

    def beat(self) -> None:
        """Write a heartbeat if it is time for one, and look for the others'."""
        now = time.monotonic()
        if self._beaten is None or now - self._beaten >= self.pace.beat:
            self._beaten = now
            self._beats += 1
            beat = {"node": self.node, "host": host_name(), "beat": self._beats, "wall": time.time()}
            try:
                write_json(self.attempt.node_beat(self.node), beat)
            except OSError as error:  # a full or stalled disk: others see silence if it lasts
                print(f"cannot write {self.attempt.node_beat(self.node)}: {error}", flush=True)
        self._listen(time.monotonic())
        if self._launch is not None:
            self._complete(self._launch)

    def _complete(self, launch: dict[str, Any]) -> None:
        ranks = [rank for other in self.others for rank in (self.told(other) or {}).get("ranks", [])]
        if len(launch["ranks"]) + len(ranks) == launch["world_size"]:
            with contextlib.suppress(OSError):  # a full disk: tried again with the next heartbeat
                write_json(self.attempt.launch_json, {**launch, "ranks": [*launch["ranks"], *ranks]})
                self._launch = None

    def _listen(self, now: float) -> None:
        # While this node itself was held up, by a shared disk that stalls say, nothing could be heard of any other.
        passed = 0.0 if self._looked is None else min(now - self._looked, 2 * self.pace.beat)
        self._looked = now
        for other in self.others:
            beat = (read_json(self.attempt.node_beat(other)) or {}).get("beat")
            if beat != self._seen.get(other):
                self._seen[other], self._silence[other] = beat, 0.0
                self.lost.pop(other, None)
            elif self.told(other) is not None:
                self._silence[other] += passed
            if self._silence[other] >= self.pace.silent and self.ended(other) is None:
                self.lost[other] = self._silence[other]

    @property
    def is_over(self) -> bool:
        """Whether the ranks of this node have nothing to wait for: another node's ranks failed, or it is lost."""
        if self.lost:
            return True
        for other in self.others:
            record = read_json(self.attempt.node_exits(other)) or {}
            if record.get("first") is not None or record.get("launcher_signal") or record.get("refused"):
                return True
        return False

    def refuse(self, problem: str) -> NoReturn:
        """Leave where the other nodes look for it why no rank starts here.

        Raises:
            NodesApart: ``problem``.
        """
        record: dict[str, Any] = {"ranks": {}, "first": None, "launcher_signal": None, "refused": problem, "running": 0}
        write_json(self.attempt.node_exits(self.node), record)
        raise NodesApart(problem)

    def is_settled(self) -> bool:
        """Whether every other node has ended or is lost."""
        return all(other in self.lost or self.ended(other) is not None for other in self.others)

    def exits(self) -> dict[str, Any]:
        """The records of all nodes as one, as ``exits.json`` has them."""
        found = {node: self.ended(node) or {} for node in sorted((self.node, *self.others))}
        ranks: dict[str, Any] = {}
        for record in found.values():
            ranks |= record.get("ranks", {})
        firsts = [str(record["first"]) for record in found.values() if record.get("first") is not None]
        # As on one node: one that a signal ended is the cause, and one that ends with an error lost its peer.
        first = min(firsts, key=lambda rank: (ranks[rank]["signal"] is None, ranks[rank]["time"]), default=None)
        signalled = [node for node, record in found.items() if record.get("launcher_signal")]
        return {
            "ranks": dict(sorted(ranks.items(), key=lambda item: int(item[0]))),
            "first": None if first is None else int(first),
            "launcher_signal": found[signalled[0]]["launcher_signal"] if signalled else None,
            "launcher_node": signalled[0] if signalled else None,
            "lost_nodes": [
                {"node": node, "host": (self.told(node) or {}).get("host"), "silent_seconds": round(seconds, 1)}
                for node, seconds in sorted(self.lost.items())
            ],
        }


def about_this_node(run: RunDirectory, ranks: int, gpus: list[str]) -> dict[str, Any]:
    """What a node tells of itself before ranks run: all that has to fit the other nodes."""
    return {
        "host": host_name(),
        "launcher": identity(),
        "wall": time.time(),
        "versions": versions(),
        "run_yaml": hashlib.sha256(run.run_yaml.read_bytes()).hexdigest(),
        "ranks_per_node": ranks,
        "gpus": gpus,
        "ranks": [],
    }


def misfit(node: int, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """Why a node can't take part in a run with node 0, and what to do; None if it can."""
    who = f"node {node} ({theirs.get('host')})"
    if theirs.get("run_yaml") != ours["run_yaml"]:
        return f"{who} reads another run.yaml than node 0: give every node the same shared run directory."
    if theirs.get("ranks_per_node") != ours["ranks_per_node"]:
        return (
            f"hardware.ranks_per_node: {who} would start {theirs.get('ranks_per_node')} ranks, node 0"
            f" {ours['ranks_per_node']}; set it to a number that every node has GPUs for."
        )
    versions_there = theirs.get("versions") or {}
    for name, version in ours["versions"].items():
        if versions_there.get(name) != version:
            return f"{who} has {name} {versions_there.get(name, 'not')}, node 0 {version}: install the same on both."
    return None


def begin(run: RunDirectory, about: Mapping[str, Any], count: int, signals: Signals, pace: Pace) -> Nodes:
    """Node 0's part: make an attempt and wait until every other node has joined it and fits.

    Raises:
        NodesApart: one did not come in time, or does not fit; the others are told.
    """
    nodes = Nodes(run.new_attempt(), 0, count, pace)
    nodes.offer(about)
    deadline = time.monotonic() + pace.limit
    while missing := [other for other in nodes.others if nodes.told(other) is None]:
        problem = _waited(nodes, signals)
        if problem is None and time.monotonic() >= deadline:
            names = ", ".join(map(str, missing))
            problem = f"node {names} did not join within {pace.limit:.0f} s: see that its command runs there and that "
            problem += f"{run.path} is the same folder on every node."
        gone = next((why for other in nodes.others if (why := _gone(nodes, other))), None)
        if problem := problem or gone:
            nodes.refuse(problem)
    for other in nodes.others:
        if problem := misfit(other, nodes.told(other) or {}, about):
            nodes.refuse(problem)
    return nodes


def join(
    run: RunDirectory, about: Mapping[str, Any], node: int, count: int, signals: Signals, pace: Pace
) -> tuple[Nodes, dict[str, Any]]:
    """Another node's part: join the attempt that node 0 makes; returns its ``launch.json`` too once ranks may start.

    Raises:
        NodesApart: node 0 made none in time, or said why there will be none.
    """
    nodes = Nodes(_attempt_to_join(run, node, signals, pace), node, count, pace)
    nodes.offer(about)
    while True:
        gone = _gone(nodes, 0)  # looked for first: one that has started ranks may have ended by now, too
        launch = read_json(nodes.attempt.launch_json)
        if launch is not None:
            return nodes, launch
        if problem := gone or _waited(nodes, signals):
            nodes.refuse(problem)


def _attempt_to_join(run: RunDirectory, node: int, signals: Signals, pace: Pace) -> Attempt:
    """The newest attempt whose node 0 is seen to live, and that waits for this node still."""
    deadline = time.monotonic() + pace.limit
    seen: tuple[int, Any] | None = None
    while True:
        attempt = run.last_attempt()
        if attempt is not None and not attempt.launch_json.exists() and not attempt.node_exits(0).exists():
            beat = (read_json(attempt.node_beat(0)) or {}).get("beat")
            if seen is not None and beat is not None and seen[0] == attempt.number and seen[1] != beat:
                return attempt
            if seen is None or seen[0] != attempt.number:
                seen = (attempt.number, beat)
        if _ending(signals.wait(pace.beat / 4)):
            raise NodesApart(f"node {node} was told to end before node 0 had made an attempt.")
        if time.monotonic() >= deadline:
            raise NodesApart(
                f"node {node} waited {pace.limit:.0f} s for node 0 to make an attempt in {run.path}: start node 0, and"
                " see that this is the same folder there."
            )


def _waited(nodes: Nodes, signals: Signals) -> str | None:
    """Beat and wait a little; why it is over if this launcher was told to end."""
    nodes.beat()
    ending = _ending(signals.wait(nodes.pace.beat / 4))
    return f"node {nodes.node} got {ending} before all nodes had met." if ending else None


def _gone(nodes: Nodes, other: int) -> str | None:
    """Why another node will start no ranks; None as far as it will."""
    if (record := nodes.ended(other)) is not None:
        return f"node {other} ended: {record.get('refused') or 'it says nothing more'}"
    if other in nodes.lost:
        return f"node {other} fell silent before the ranks were started, for {nodes.lost[other]:.0f} s."
    return None


def _ending(came: bytes) -> str | None:
    return next((signal.Signals(number).name for number in came if number in ENDING_SIGNALS), None)


def interface_towards(address: str) -> str:
    """The network interface of this host through which ``address`` is reached.

    Raises:
        OSError: the name can't be resolved, or no interface leads there.
    """
    import psutil  # only here: a run on one node needs none

    family, _, _, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)  # of a datagram socket: asks the routes, sends nothing
        own = str(probe.getsockname()[0])
    if own.startswith("127.") or own == "::1":
        return "lo"
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == own for one in addresses):
            return str(name)
    raise OSError(f"no network interface has the address {own}, from which {address} is reached")
