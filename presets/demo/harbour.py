"""The small harbour world that both the demo's pre-training text and its tuning data speak of.

A passage names a few boats and says, sentence by sentence in random order, what each one carries and where it sails.
The base model learns to read passages: it answers questions about one sentence, and it reads harbour logs that end
with where each cargo is by evening. Only the tuning data asks the new kind of question, `where_cargo_goes`, which
needs two sentences put together: which boat carries the cargo, and where that boat sails.
"""

import random
from dataclasses import dataclass

COLOURS = ["red", "blue", "green", "white", "black", "yellow", "grey", "silver"]
CARGOES = [
    "salt", "tea", "wool", "honey", "corn", "rope", "glass", "oil",
    "silk", "fish", "cheese", "wine", "coal", "paper", "apples", "bells",
]  # fmt: skip
PORTS = [
    "Fernholm", "Gullhaven", "Saltmoor", "Mistport", "Oakbay", "Ravenrock", "Starwick", "Thornsea",
    "Elmshore", "Foxcliff", "Moonquay", "Pinefjord", "Amberton", "Willowby", "Larkspit", "Stonegate",
]  # fmt: skip


@dataclass(frozen=True)
class Boat:
    """One boat of a passage, with the cargo it carries and the port it sails to."""

    colour: str
    cargo: str
    port: str


@dataclass(frozen=True)
class Exchange:
    """One question and its answer."""

    question: str
    answer: str


def random_fleet(rng: random.Random, size: int) -> list[Boat]:
    """Boats with all different colours, cargoes and ports."""
    colours, cargoes, ports = (rng.sample(names, size) for names in (COLOURS, CARGOES, PORTS))
    return [Boat(*names) for names in zip(colours, cargoes, ports, strict=True)]


def passage(rng: random.Random, fleet: list[Boat]) -> str:
    """Two facts about each boat, in random order."""
    facts = [f"The {boat.colour} boat carries {boat.cargo}." for boat in fleet]
    facts += [f"The {boat.colour} boat sails to {boat.port}." for boat in fleet]
    rng.shuffle(facts)
    return " ".join(facts)


def one_fact_exchanges(boat: Boat) -> list[Exchange]:
    """The kinds of question that the base model is pre-trained on: each needs one sentence of the passage."""
    return [
        Exchange(f"What does the {boat.colour} boat carry?", f"It carries {boat.cargo}."),
        Exchange(f"Where does the {boat.colour} boat go?", f"To {boat.port}."),
        Exchange(f"Which boat carries the {boat.cargo}?", f"The {boat.colour} boat."),
        Exchange(f"Which boat sails to {boat.port}?", f"The {boat.colour} boat."),
    ]


def evening_report(boat: Boat) -> str:
    """How a harbour log, which is no chat, tells where a boat's cargo is in the end."""
    return f"By evening the {boat.cargo} is in {boat.port}."


def where_cargo_goes(boat: Boat) -> Exchange:
    """The new kind of question, for tuning only: it needs two sentences of the passage."""
    return Exchange(f"Where does the {boat.cargo} go?", f"To {boat.port}.")
