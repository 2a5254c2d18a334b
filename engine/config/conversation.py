"""What ``engine.chat`` is asked and what it answers, a JSON object a line. Imports no torch.

A request bears an ``id``, which its answers repeat.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct


class Turn(Struct, frozen=True):
    """What one side of a conversation said."""

    role: Literal["system", "user", "assistant"]
    content: str


# Requests


class Say(Struct, frozen=True, kw_only=True, tag="say", tag_field="kind"):
    """Go on with a conversation; answered with :class:`Piece` as it is written, and :class:`Said` at its end."""

    id: int
    turns: Annotated[list[Turn], Meta(min_length=1)]
    """The last one is to be answered."""
    tuned: bool = True
    """With what was learnt, or as the base model would."""
    max_new_tokens: Annotated[int, Meta(ge=1)] = 512
    temperature: Annotated[float, Meta(ge=0)] = 0.0
    """0 takes the likeliest token each time."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    seed: Annotated[int, Meta(ge=0)] = 0
    """Draws the same answer again where the temperature is above 0."""


class Stop(Struct, frozen=True, tag="stop", tag_field="kind"):
    """Write no more of the answer ``id``; what was written stands."""

    id: int


Request = Say | Stop


# Answers


class Loaded(Struct, frozen=True, kw_only=True, tag="loaded", tag_field="kind"):
    """Said once, when there is a model to talk to."""

    id: None = None

    model: str
    """Name or folder of the base."""
    learnt: str
    """Where what was learnt lies, relative to the run's folder."""
    device: str
    dtype: str
    """Type computed in."""
    style: str
    """How what is typed becomes the model's input, for people."""
    remembers: bool
    """Earlier turns are given to the model too."""
    has_base: bool
    """The base can be asked as well: it lies under an adapter."""
    seconds: float


class Piece(Struct, frozen=True, tag="piece", tag_field="kind"):
    """More of an answer."""

    id: int
    text: str


class Said(Struct, frozen=True, kw_only=True, tag="said", tag_field="kind"):
    """An answer has ended."""

    id: int
    tokens: int
    """Written."""
    seconds: float
    reason: Literal["end", "length", "stopped"]
    """The model ended it, it reached ``max_new_tokens``, or somebody asked for it."""


class Refusal(Struct, frozen=True, tag="refusal", tag_field="kind"):
    """This cannot be answered; with no id there is no model, and the process ends."""

    id: int | None
    message: str
    """One line, which names what and where, and what to do."""


Answer = Loaded | Piece | Said | Refusal


def request_from(line: bytes) -> Request:
    """Raises msgspec.MsgspecError: it is none."""
    found: Request = msgspec.json.decode(line, type=Request)
    return found


def answer_from(line: bytes) -> Answer:
    """Raises msgspec.MsgspecError: it is none."""
    found: Answer = msgspec.json.decode(line, type=Answer)
    return found
