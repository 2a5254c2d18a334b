"""A machine to train on: described in a few characters, or the one this runs on.

``parse`` knows the cards of ``cards.py``; ``here`` asks NVML and the host, and says in ``notes`` what neither told.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qltui.facts import gpus, host
from qltui.facts.cards import AMD, BRIDGES, CARDS, STAND_INS, Known

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB, GIB, GB_PER_SECOND, TERA = 1024**2, 1024**3, 1e9, 1e12
NETWORK = 12.5e9
"""Bytes/s between nodes where nobody says otherwise: 100 Gbit/s."""

SIZE = re.compile(r"[-_\s]+([0-9]{1,9})\s*(?:g|gb|gib)\b|[-_\s]+([0-9]{1,9})$", re.IGNORECASE)
"""The 80 of ``H100-80``, ``A100 80GB SXM`` and ``A100-80G``."""

HOST = re.compile(
    r"[\s,;]+host\b[\s=:]*(?:([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*(?:g|gb|gib)|(.*))$", re.IGNORECASE | re.DOTALL
)
"""The end of ``4xA40,host=16G``: GiB of host memory, or something else."""

SAME_MEMORY = 0.02
"""Share by which a card's memory may be another than the table's and it is still called by its name."""
MOST_NODES, MOST_GPUS, MOST_GIGABYTES = 1024, 64, 1024
EXAMPLES = "4xA40, 8xH100-80, 2x24G, 2n8xH100-80 (two nodes), 4xA40,host=16G, 1xA40+1x24G or cpu"


class UnknownMachine(ValueError):
    """A description of a machine that means none; its text is one line: what, why, and how to write it."""

    def __init__(self, text: str, why: str, nearest: Sequence[str] = ()) -> None:
        self.text, self.why, self.nearest = text, why, tuple(nearest)
        shown = text if len(text) <= 40 else f"{text[:39]}…"
        guess = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(f"{shown!r} is no machine: {why}.{guess} Write for instance {EXAMPLES}.")


class Card(NamedTuple):
    """What counts of a GPU."""

    name: str
    memory_bytes: int
    """What CUDA can use: NVML's total less what the driver keeps."""
    capability: tuple[int, int]
    bandwidth: float
    """Bytes/s of its own memory."""
    flops: float
    """Dense bf16 tensor flop/s, summing in float32; fp16 where there is no bf16."""
    link: float
    """Bytes/s in each direction to a peer GPU of the same host."""


class Machine(NamedTuple):
    """One node's hardware, and how many nodes like it. None is what is not known."""

    nodes: int
    cards: tuple[Card, ...]
    """Of one node; empty for CPU ranks."""
    host_memory: int | None = None
    """Bytes a node, or what a container may use of them."""
    host_available: int | None = None
    shm: int | None = None
    """Bytes of /dev/shm."""
    disk_free: int | None = None
    """Bytes free for runs."""
    cores: float | None = None
    peer_access: bool | None = None
    """Whether every GPU can reach the memory of every other one of its node."""
    mig: bool = False
    """Whether some of the cards are slices of one GPU."""
    network: float = NETWORK
    """Bytes/s between nodes."""
    notes: tuple[str, ...] = ()
    """What was assumed or could not be found out, and why: whole sentences."""
    devices: tuple[gpus.Gpu, ...] = ()
    """The GPU behind each card, by number and UUID; none of a machine that was described."""

    def card_named(self, name: str) -> int | None:
        """Position of the card that a run calls ``name``, an index or a UUID; None if there is none."""
        if not self.devices:
            return int(name) if name.isdecimal() and int(name) < len(self.cards) else None
        places = (place for place, gpu in enumerate(self.devices) if gpus.find(name, [gpu]) is not None)
        return next(places, None)

    @property
    def gpus_per_node(self) -> int:
        return len(self.cards)

    @property
    def gpus(self) -> int:
        """Of all nodes."""
        return self.nodes * len(self.cards)


def parse(text: str) -> Machine:
    """The machine that ``text`` describes; raises UnknownMachine.

    ``[NODESn][COUNTx]CARD[-GIGABYTES][,host=GIGABYTESG]``, where CARD is a name or a size as ``24G``; unlike ones are
    joined by ``+``. The host's memory is that of each node, all of it free.
    """
    host_memory = _host_memory(text)
    stripped = HOST.sub("", text).strip()
    if not stripped:
        raise UnknownMachine(text, "nothing is named")
    counted = re.fullmatch(r"([0-9]+)\s*n(?:odes?)?\s*(.*)", stripped, re.IGNORECASE | re.DOTALL)
    nodes = _count(text, counted[1], "nodes", MOST_NODES) if counted else 1
    node = counted[2] if counted else stripped
    if node.lower() == "cpu":
        return Machine(nodes, (), host_memory)
    rows: list[Known | None] = []
    cards: list[Card] = []
    notes: dict[str, None] = {}
    for group in node.split("+"):
        many = re.fullmatch(r"\s*(-?[0-9]+)\s*[x×*]\s*(.*?)\s*", group, re.IGNORECASE | re.DOTALL)
        count = _count(text, many[1], "GPUs", MOST_GPUS) if many else 1
        row, card, note = _described(text, many[2] if many else group.strip())
        rows += [row] * count
        cards += [card] * count
        if note:
            notes[note] = None
    if len(rows) > MOST_GPUS:
        raise UnknownMachine(text, f"{len(rows)} GPUs in a node are more than {MOST_GPUS}")
    return Machine(nodes, tuple(cards), host_memory, peer_access=_peers(rows), notes=tuple(notes))


def _host_memory(text: str) -> int | None:
    """Bytes of host memory that the description names; None if it names none."""
    named = HOST.search(text)
    if named is None:
        return None
    if named[1] is None or float(named[1]) < 1:
        raise UnknownMachine(text, "the host's memory is written as host=64G")
    return int(float(named[1]) * GIB)


def _count(text: str, digits: str, what: str, most: int) -> int:
    if len(digits) > 9 or not 1 <= int(digits) <= most:
        raise UnknownMachine(text, f"there can be 1 to {most} {what}, not {digits[:9]}{'…' * (len(digits) > 9)}")
    return int(digits)


def _peers(rows: list[Known | None]) -> bool | None:
    """GPUs on NVLink reach each other; drivers keep GeForce cards from it over PCIe; for others the board decides."""
    if len(rows) < 2:
        return None
    named = [row for row in rows if row]
    if any(re.fullmatch(r"RTX [2-5]0[5-9]0.*|Titan RTX", row.name) for row in named):
        return False
    return True if len(named) == len(rows) and named[0].nvlink and len(set(named)) == 1 else None


def _described(text: str, name: str) -> tuple[Known | None, Card, str]:
    """Row, card and perhaps a note for one card of the description; no row where it names but a size."""
    if size := re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(?:g|gb|gib)", name, re.IGNORECASE):
        card, note = _of_size(text, float(size[1]))
        return None, card, note
    if not name:
        raise UnknownMachine(text, "a card's name is missing")
    rows = known_cards().get(key(name), [])
    if not rows and name.isdecimal():
        raise UnknownMachine(text, f"{name[:9]} is neither a card nor a size", [f"{name}G"] if len(name) < 4 else ())
    if not rows and (sized := SIZE.search(name)):
        rows = _sized(text, name[: sized.start()] + name[sized.end() :], int(sized[1] or sized[2]))
    if not rows:
        raise _unknown_card(text, name)
    row, *others = rows
    also = ", ".join(other.name for other in others)
    note = f"{name} is taken as {row.name}; the table also has {also}." if also else ""
    return row, _card(row), note


def _sized(text: str, name: str, gigabytes: int) -> list[Known]:
    """The rows of that name and about that size; none where the name is unknown."""
    rows = known_cards().get(key(name), [])
    near = [row for row in rows if abs(row.gigabytes - gigabytes) <= 0.07 * row.gigabytes]
    if rows and not near:
        sizes = " or ".join(map(str, sorted({row.gigabytes for row in rows})))
        namesakes = [row.name for row in CARDS if row.gigabytes == gigabytes and key(name) in key(row.name)]
        why = f"{rows[0].name if len(rows) == 1 else name} has {sizes} GB, not {gigabytes}"
        raise UnknownMachine(text, why, namesakes)
    return near


def _unknown_card(text: str, name: str) -> UnknownMachine:
    import difflib

    if name.lower() == "cpu":
        return UnknownMachine(text, "cpu stands alone")
    wanted = key(SIZE.sub("", name))
    amd = next((model for model in AMD if wanted.startswith(model.lower())), None)
    if amd:
        size = AMD[amd]
        return UnknownMachine(text, f"{amd} runs no CUDA, which training needs here; for its memory alone give {size}G")
    by_key = {key(label): label for row in CARDS for label in (row.name, *row.others)}
    near = difflib.get_close_matches(wanted, by_key, n=3, cutoff=0.6)
    return UnknownMachine(text, f"the table has no card {name[:40]!r}", [by_key[one] for one in near])


def _of_size(text: str, gigabytes: float) -> tuple[Card, str]:
    """A card known by its size: speeds and the share the driver keeps are those of a common one about as large."""
    if not 1 <= gigabytes <= MOST_GIGABYTES:
        raise UnknownMachine(text, f"a card has 1 to {MOST_GIGABYTES} GB, not {gigabytes:g}")
    stand_ins = [row for row in CARDS if row.name in STAND_INS]
    row = min(stand_ins, key=lambda one: abs(one.gigabytes - gigabytes))
    memory = int(_memory(row) * gigabytes / row.gigabytes)
    card = _card(row)._replace(name=f"{gigabytes:g} GB", memory_bytes=memory)
    return card, f"{gigabytes:g}G names no card: its speed is taken to be that of {row.name}."


def as_text(machine: Machine) -> str:
    """A description that ``parse`` takes for GPUs like these: by name where the table has them, else by size."""
    nodes = f"{machine.nodes}n" if machine.nodes > 1 else ""
    kinds = [_short(card) for card in machine.cards]
    return nodes + ("+".join(f"{kinds.count(kind)}x{kind}" for kind in dict.fromkeys(kinds)) or "cpu")


def _short(card: Card) -> str:
    row = _row_of(card.name, card.memory_bytes)
    if row is not None and abs(_memory(row) / card.memory_bytes - 1) <= SAME_MEMORY:
        return row.name
    like = min((row for row in CARDS if row.name in STAND_INS), key=lambda row: abs(_memory(row) - card.memory_bytes))
    return f"{max(1, round(like.gigabytes * card.memory_bytes / _memory(like)))}G"


def _memory(row: Known) -> int:
    """Bytes that CUDA can use."""
    return (row.total - row.reserved) * MIB


def _card(row: Known) -> Card:
    return Card(
        row.name,
        _memory(row),
        row.capability,
        row.bandwidth * GB_PER_SECOND,
        row.flops * TERA,
        row.link * GB_PER_SECOND,
    )


def key(name: str) -> str:
    """A card's name without what people leave out: maker, brand, case, blanks and dashes."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(?:nvidia)?(?:geforce|tesla|quadro)?(?:rtx)?", "", letters)


@cache
def known_cards() -> dict[str, list[Known]]:
    """The rows of every name, in the table's order; made when a GPU is first looked up."""
    index: dict[str, list[Known]] = {}
    for row in CARDS:
        for name in dict.fromkeys(map(key, (row.name, *row.others))):
            index.setdefault(name, []).append(row)
    return index


def here(state_folder: Path | None = None) -> Machine:
    """This machine: the GPUs a program started here may use, and its host; disk is asked for with ``state_folder``."""
    survey = gpus.survey()
    notes = [*survey.notes]
    named = gpus.visible_gpus(survey.gpus)
    usable = _usable(named, notes)
    visible = [_as_cuda_sees(gpu) for gpu in usable]
    if survey.gpus and not named:
        notes.append("CUDA_VISIBLE_DEVICES hides every GPU of this machine.")
    links = gpus.links(visible)
    notes += links.notes
    cards = tuple(_found(gpu, links, notes) for gpu in visible)
    total, available = host.memory()
    if not total:
        notes.append("The host does not tell its memory: /proc/meminfo cannot be read.")
    shared = host.disk(Path("/dev/shm"))
    space = host.disk(host.nearest_folder(state_folder)) if state_folder else None
    return Machine(
        nodes=1,
        cards=cards,
        host_memory=total or None,
        host_available=available if total else None,
        shm=shared[0] if shared else None,
        disk_free=space[1] if space else None,
        cores=host.cpu_cores(),
        peer_access=links.peer_access,
        mig=any(gpu.mig for gpu in visible),
        network=host.network_speed() or NETWORK,
        notes=tuple(dict.fromkeys(notes)),
        devices=tuple(usable),
    )


def _usable(visible: list[gpus.Gpu], notes: list[str]) -> list[gpus.Gpu]:
    """Without those that were to be sliced and are not."""
    usable = []
    for gpu in visible:
        if gpu.mig and not gpu.slices and not gpu.uuid.startswith("MIG-"):
            notes.append(f"GPU {gpu.number} is in MIG mode and has no slices: nothing can use it.")
        else:
            usable.append(gpu)
    return usable


def _as_cuda_sees(gpu: gpus.Gpu) -> gpus.Gpu:
    """A program on a sliced GPU gets its first slice, unless another one is named to it."""
    return gpu.slices[0] if gpu.slices else gpu


def _found(gpu: gpus.Gpu, links: gpus.Links, notes: list[str]) -> Card:
    """A GPU of this machine: memory and capability as NVML tells, speeds from the table or a card like it."""
    row = _row_of(gpu.name, gpu.memory_bytes)
    if row is None:
        row = _like(gpu)
        notes.append(f"{gpu.name} is not in the table: its speed is taken to be that of {row.name}.")
    share = 1.0
    if gpu.mig:
        whole = _memory(row)
        share = min(1.0, gpu.memory_bytes / whole)
        notes.append(f"GPU {gpu.number} is sliced (MIG): one slice is used, with {share:.0%} of its memory and speed.")
    card = _card(row)
    return card._replace(
        name=gpu.name,
        memory_bytes=gpu.memory_bytes,
        capability=gpu.capability or card.capability,
        bandwidth=card.bandwidth * share,
        flops=card.flops * share,
        link=_link(row, links),
    )


def _row_of(name: str, memory: int) -> Known | None:
    """The table's row of an NVML name; of rows that share it, the one nearest in memory."""
    rows = known_cards().get(key(name.partition(" MIG ")[0]), [])
    return min(rows, key=lambda row: abs(_memory(row) - memory), default=None)


def _like(gpu: gpus.Gpu) -> Known:
    """The row to estimate an unknown card by: of its capability, or the nearest below it, the nearest in memory."""
    capability = gpu.capability or (8, 0)
    known = sorted({row.capability for row in CARDS})
    nearest = next((one for one in reversed(known) if one <= capability), known[0])
    rows = [row for row in CARDS if row.capability == nearest]
    return min(rows, key=lambda row: abs(_memory(row) - gpu.memory_bytes))


def _link(row: Known, links: gpus.Links) -> float:
    """Bytes/s to a peer: what NVML tells goes before the table."""
    if links.nvlink is None:
        return row.link * GB_PER_SECOND
    if links.nvlink:
        return (row.link if row.nvlink else BRIDGES.get(row.capability, row.link)) * GB_PER_SECOND
    if links.pcie:
        return links.pcie
    return (min(row.link, 31.5) if row.nvlink else row.link) * GB_PER_SECOND
