"""What a cause is, and the signs it is known by."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from qltui.runs.diagnosis.causes.literal import literals


class Role(IntEnum):
    """What a sign says of the order of events; of several signs in a log the lowest role tells the cause."""

    ROOT = 0
    """It names what went wrong."""
    DEATH = 1
    """A process was ended from outside, and could not say why."""
    UNKNOWN = 2
    """An exception nobody has a sign for."""
    PEER = 3
    """A process lost another one, or waited for it in vain."""
    INTERRUPT = 4
    """Somebody ended the run."""
    WRAPPER = 5
    """A launcher tells that what it started has failed."""


class Sign(NamedTuple):
    """Words in a log that tell of a cause."""

    pattern: re.Pattern[str]
    """Searched in an exception with its message, or in a line."""
    frames: re.Pattern[str] | None = None
    """Searched in the files and functions of the traceback, one call a line; None: any, or none at all."""
    role: Role = Role.ROOT
    alone: bool = True
    """Whether a line outside a traceback counts in a whole log: programs also tell there of what they got over."""
    is_native: bool = False
    """No exception's text: kernels, drivers, schedulers and launchers print it, and such a line counts in full."""
    is_certain: bool = True
    """Whether it can hardly mean anything else."""
    says: str = ""
    """What happened, in place of the cause's own sentence."""
    words: tuple[str, ...] = ()
    """One of them is in every text that has the pattern; none where that is not known."""


class Fix(NamedTuple):
    """Something to do about it."""

    title: str
    command: str = ""
    """A shell command, where one does it."""
    patch: tuple[tuple[str, object], ...] = ()
    """Fields of a RunConfig and their new values, where that does it."""
    effect: str = ""
    """What it changes, where that is known."""


class Cause(NamedTuple):
    """Something a run dies of."""

    id: str
    title: str
    says: str
    """What happened and why, in one or two plain sentences."""
    fixes: tuple[Fix, ...]
    """The cheapest first."""
    signs: tuple[Sign, ...]
    """The most specific first."""


def sign(
    *patterns: str,
    frames: str | None = None,
    role: Role = Role.ROOT,
    alone: bool = True,
    is_native: bool = False,
    is_certain: bool = True,
    says: str = "",
) -> Sign:
    """A sign of words: regular expressions of which one is to be found, ``.`` in them matches line ends too."""
    pattern = "|".join(patterns)
    return Sign(
        re.compile(pattern, re.DOTALL), re.compile(frames) if frames else None,
        role, alone, is_native, is_certain, says, literals(pattern),
    )  # fmt: skip
