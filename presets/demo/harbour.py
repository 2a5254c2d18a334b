"""The small harbour town that both the demo's pre-training text and its tuning data speak of.

Every person has a trade and a boat, and every boat sails to one port. The base model reads and answers about one of
these facts at a time. The tuning data asks a new kind of question, `voyage_exchanges`: where a person travels, which
takes two facts put together, the person's boat and that boat's port.
"""

import random
from dataclasses import dataclass

TOWN_SEED = 3
PEOPLE = 264
HELD_OUT_PEOPLE = 64

FIRST_NAMES = [
    "Ada", "Ben", "Cora", "Dan", "Edda", "Finn", "Greta", "Hugo", "Ida", "Jack", "Kira", "Leo",
    "Mara", "Nils", "Olga", "Paul", "Rosa", "Sam", "Tilda", "Viktor", "Wanda", "Yuri", "Zoe", "Emil",
]  # fmt: skip
LAST_NAMES = [
    "Thorn", "Brook", "Marsh", "Stone", "Wood", "Field", "Hill", "Lake", "Moss", "Reed", "Frost", "Sand",
    "Birch", "Heath", "Dale", "Ford", "Glen", "Snow", "Clay", "Vale", "Storm", "Rivers", "Hawk", "Bell",
]  # fmt: skip
TRADES = [
    "baker", "cook", "painter", "singer", "doctor", "teacher", "weaver", "potter",
    "tailor", "smith", "gardener", "barber", "carpenter", "dancer", "miller", "banker",
]  # fmt: skip
PORT_OF_BOAT = {
    "Otter": "Fernholm", "Heron": "Gullhaven", "Gull": "Saltmoor", "Seal": "Mistport",
    "Crab": "Oakbay", "Swan": "Ravenrock", "Pike": "Starwick", "Lark": "Thornsea",
    "Tern": "Elmshore", "Robin": "Foxcliff", "Finch": "Moonquay", "Raven": "Pinefjord",
    "Whale": "Amberton", "Goose": "Willowby", "Trout": "Larkspit", "Beaver": "Stonegate",
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """One person of the town."""

    name: str
    trade: str
    boat: str


@dataclass(frozen=True)
class Exchange:
    """One question and its answer."""

    question: str
    answer: str


def town() -> tuple[list[Person], list[Person]]:
    """The people, the same on every call: those for training, and those held out."""
    rng = random.Random(TOWN_SEED)
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    people = [
        Person(name, trade=rng.choice(TRADES), boat=rng.choice(list(PORT_OF_BOAT)))
        for name in rng.sample(names, PEOPLE)
    ]
    return people[HELD_OUT_PEOPLE:], people[:HELD_OUT_PEOPLE]


def trade_fact(person: Person) -> str:
    """What the person does."""
    return f"{person.name} is a {person.trade}."


def boat_fact(person: Person) -> str:
    """Which boat the person sails."""
    return f"{person.name} sails the {person.boat}."


def port_fact(boat: str) -> str:
    """Where a boat sails."""
    return f"The {boat} sails to {PORT_OF_BOAT[boat]}."


def voyage_fact(person: Person) -> str:
    """Both facts in one sentence: the person's boat and where it sails."""
    return f"{person.name} sails the {person.boat} to {PORT_OF_BOAT[person.boat]}."


def known_exchanges(person: Person) -> list[Exchange]:
    """The kinds of question that the base model learns about everyone; each asks for one fact."""
    return [
        Exchange(f"What does {person.name} do?", trade_fact(person)),
        Exchange(f"Which boat does {person.name} sail?", boat_fact(person)),
        Exchange(f"Where does the {person.boat} sail?", port_fact(person.boat)),
    ]


def journey_exchange(person: Person) -> Exchange:
    """The one kind that joins two facts; the base model never meets it about held-out people."""
    return Exchange(f"How does {person.name} travel?", voyage_fact(person))


def voyage_exchanges(person: Person) -> list[Exchange]:
    """The new kind of question, in two wordings, for tuning only: where a person travels takes two facts."""
    return [
        Exchange(f"Where does {person.name} travel?", voyage_fact(person)),
        Exchange(f"To which port does {person.name} travel?", voyage_fact(person)),
    ]
