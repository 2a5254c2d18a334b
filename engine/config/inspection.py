"""What ``engine.inspect`` is asked and what it answers, a JSON object a line. Imports no torch.

A request bears an ``id``, which its answers repeat. Lengths are in tokens.
"""

import json
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from engine.config.choices import DataFormat
from engine.config.run_config import RunConfig

LONGEST_LINE = 2**26
"""Bytes of a request or an answer at most."""


class Coverage(StrEnum):
    """Which of the rows were looked at."""

    WHOLE = "whole"
    SPREAD = "spread"
    """Some, from everywhere."""
    BEGINNING = "beginning"
    """The first ones: the file cannot be entered in the middle."""


# Requests


class Ping(Struct, frozen=True, tag="ping", tag_field="kind"):
    """Answered with :class:`Pong`."""

    id: int


class PreviewRequest(Struct, frozen=True, kw_only=True, tag="preview", tag_field="kind"):
    """The first rows as the model will see them; answered with :class:`Preview`."""

    id: int
    config: RunConfig
    """Of which model, data and task count."""
    rows: Annotated[int, Meta(ge=1, le=1000)] = 5
    characters: Annotated[int, Meta(ge=1)] = 4000
    """Of a row that are shown at most."""


class LengthsRequest(Struct, frozen=True, kw_only=True, tag="lengths", tag_field="kind"):
    """How long the rows are; answered with :class:`LengthsProgress` now and then, and :class:`Lengths`."""

    id: int
    config: RunConfig
    """Of which model, data, task and seed count; the seed draws the rows."""
    rows: Annotated[int, Meta(ge=1)] = 2000
    """To look at, at most."""
    seconds: Annotated[float, Meta(gt=0)] = 5.0
    """To look for, at most; one row at least is looked at."""
    bins: Annotated[int, Meta(ge=1, le=200)] = 20


Request = Ping | PreviewRequest | LengthsRequest


# Answers


class Pong(Struct, frozen=True, tag="pong", tag_field="kind"):
    id: int


class Segment(Struct, frozen=True):
    """Neighbouring tokens that are all learnt or all not."""

    text: str
    """As the tokenizer decodes them, special tokens included."""
    trained: bool


class PreviewRow(Struct, frozen=True, kw_only=True):
    """A row, or what is wrong with it."""

    number: int
    """From 1, as in the file."""
    problem: str | None = None
    segments: list[Segment] = []
    tokens: int = 0
    """Of the whole row."""
    kept: int = 0
    """Of them within ``data.max_length``."""
    trained: int = 0
    """Of those that the loss is taken over; none, and the row is dropped. Of a classification 1."""
    is_estimated: bool = False
    """``tokens`` is: so long a text is tokenised in part."""
    is_shown_whole: bool = True
    """All that is kept is among the segments."""
    label: str | None = None
    """Its class."""
    is_raw: bool = False
    """It stands there as in the file, since there is no tokenizer to show it as the model will see it."""

    @property
    def is_cut(self) -> bool:
        """Whether it is longer than ``data.max_length``."""
        return self.tokens > self.kept


class Preview(Struct, frozen=True, kw_only=True, tag="preview", tag_field="kind"):
    id: int
    source: str
    """What the data is called: path, or hub id with the split."""
    columns: list[str]
    """Of the first row."""
    format: DataFormat | None = None
    """As given or found; None if the columns fit none, and ``problem`` says so."""
    mapping: dict[str, str] = {}
    """The source's columns by the names of the format, those that are there."""
    template: str = ""
    """How a row becomes text, for people."""
    rows: list[PreviewRow] = []
    is_all: bool = False
    """There are no other rows."""
    problem: str | None = None
    """Why there are no rows to show; the columns are known all the same."""


class LengthsProgress(Struct, frozen=True, tag="lengths_progress", tag_field="kind"):
    id: int
    rows: int
    share: float
    """Of the work done, from 0 to 1."""


class Bin(Struct, frozen=True):
    """Rows with ``first`` to ``last`` tokens."""

    first: int
    last: int
    rows: int


class PackedLengths(Struct, frozen=True, kw_only=True):
    """What rows come to that are packed into sequences (``data.packing``)."""

    rows_a_sequence: float
    filled: float
    """Share of the sequences' tokens that are rows'."""
    padding: float
    """Share of what micro batches of sequences compute that is padding."""


class Lengths(Struct, frozen=True, kw_only=True, tag="lengths", tag_field="kind"):
    id: int
    source: str
    coverage: Coverage
    rows: int
    """That were looked at and can be used."""
    total_rows: int | None
    """Of the source, estimated unless the coverage is whole; None if nothing tells."""
    unusable: int
    """That were looked at and cannot be used."""
    problem: str | None
    """What is wrong with the first of those."""
    mean: float
    quantiles: dict[str, int]
    """Rows with at most so many tokens, by their percentage: 0 is the shortest row, 100 the longest."""
    bins: list[Bin]
    """Of equal width but the last, which goes up to the longest row."""
    max_length: int
    cut: int
    """Rows longer than that."""
    lost: int
    """Of those, rows with nothing left to learn."""
    padding: float = 0.0
    """Share of what micro batches of unpacked rows compute that is padding."""
    packed: PackedLengths | None = None
    """None where rows are not packed, or none is left to learn from."""


class Superseded(Struct, frozen=True, tag="superseded", tag_field="kind"):
    """A newer request of the same kind came; there is no other answer."""

    id: int


class Refusal(Struct, frozen=True, tag="refusal", tag_field="kind"):
    """The request cannot be answered."""

    id: int | None
    """None if the request could not even be read."""
    message: str
    """One line, which names what and where, and what to do."""


Answer = Pong | Preview | LengthsProgress | Lengths | Superseded | Refusal


def request_from(line: bytes) -> Request:
    """Raises msgspec.MsgspecError: it is none."""
    found: Request = msgspec.json.decode(line, type=Request)
    return found


def answer_from(line: bytes) -> Answer:
    """Raises msgspec.MsgspecError: it is none."""
    found: Answer = msgspec.json.decode(line, type=Answer)
    return found


def as_line(message: Request | Answer) -> bytes:
    """A line to send; half a surrogate pair, which is no text, becomes '?'."""
    try:
        encoded = msgspec.json.encode(message)
    except UnicodeEncodeError:
        encoded = json.dumps(msgspec.to_builtins(message), ensure_ascii=False).encode("utf-8", "replace")
    return encoded + b"\n"


def id_of(line: bytes) -> int | None:
    """The id of a line that may be no request."""
    try:
        value: Any = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, int) else None
