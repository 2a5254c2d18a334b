"""What a log shows of an end: exceptions and telling lines, each with the causes its words stand for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from qltui.runs.diagnosis.causes import CAUSES, WRAPPERS
from qltui.runs.diagnosis.causes.cause import Role
from qltui.runs.diagnosis.causes.literal import Index
from qltui.runs.diagnosis.tracebacks import Raised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qltui.runs.diagnosis.causes.cause import Cause, Sign
    from qltui.runs.diagnosis.prefixes import Line

_LEVELS = ("Warning", "WARN", "INFO", "DEBUG")
_LEVEL = re.compile(r"Warning\b|\b(?:WARN(?:ING)?|INFO|DEBUG)\b")
_BEGINS_AS_WARNING = re.compile(r"\[?[WI]\d{4} |\[[WI]\b|[Ww]arning\b|\s*warnings\.warn")
_TELLS_THOUGH = ("NCCL WARN", "death signal, shutting down workers", "closing signal SIG", "Killing subprocess")
"""In lines at the level of a warning that can tell of an end: NCCL has none above, and launchers tell so that they end
the other ranks."""
PLACED = 300
"""Characters in which a line tells its level."""
HINTS = (
    "rror", "xcept", "xit", "ignal", "SIG", "illed", "oom", "OOM", "memory", "Memory", "fail", "Fail", "FAIL",
    "imed out", "imeout", "TIME LIMIT", "CANCEL", "Watchdog", "watchdog", "ssert", "Xid", "fault", "Terminated", "^C",
    "annot", "an't", "not ", "No ", "no ", "NCCL", "refused", "closed", "reset", "in use", "mismatch", "nan", "NaN",
    "EADDR", "ENOSPC", "Broken pipe", "abort", "require", "must ", "undefined", "invalid", "lost", "nterrupt",
    "Unable", "unable", "bad_alloc", "xceeded", "fallen", "killed", "terminated", "crashed", "low on ",
    "select device", "empty", "expects", "expected", "loss scale", "PTX", "shared", "does", "did not receive",
    "already", "neither", "double free", "corrupt", "llegal instr", "Ctrl + C", "ppears to have died", " written",
    "Killing sub", "issing", "You should",
)  # fmt: skip
"""Without one of these a line outside a traceback has no sign; to see that is quicker than to search for all."""
LONGEST = 8000
"""Characters of a text that are searched."""
STRONG = (
    "rror",
    "xcept",
    "xit",
    "ignal",
    "SIG",
    "illed",
    "oom",
    "of memory",
    "Watchdog",
    "ssert",
    "Xid",
    "fault",
    "NCCL",
)
TEXTS, SHAPES = 3_000, 20_000
"""Unlike lines, but for their long numbers, that are searched for signs: a log with more of them prints texts, of which
from the first number on only those with a strong hint are searched, and from the second on none."""
_LONG_NUMBER = re.compile(r"\d{4,}")


class Symptom(NamedTuple):
    """One thing in the log that tells of an end."""

    place: int
    """Its place in the order of the log."""
    number: int
    """Its line."""
    rank: int | None
    writer: str
    text: str
    cause: Cause | None
    """None: an exception for which no sign is known, or what wraps another."""
    sign: Sign | None
    role: Role
    raised: Raised | None
    """The exception that tells it, if one does: where it was raised, with its calls."""
    top: Raised | None
    """The exception the traceback ended with, which may be another of the chain."""

    @property
    def is_mention(self) -> bool:
        """Whether it is a mere line with an exception's words, as programs also print of what they get over."""
        return self.raised is None and self.role is Role.ROOT and self.sign is not None and not self.sign.is_native

    @property
    def is_remark(self) -> bool:
        """Whether it is a mention of what runs that go on remark as well."""
        return self.is_mention and self.sign is not None and not (self.sign.is_certain and self.sign.alone)


def read_symptoms(parts: Iterable[Raised | Line]) -> Iterator[tuple[int, Raised | Line, Symptom | None]]:
    """(place, part, what it tells) of every part of a log; messages are whole by then, so this is done in the end."""
    known: dict[str, tuple[Cause | None, Sign] | None] = {}
    held: list[tuple[int, Raised | Line]] = []
    for place, part in enumerate(parts):
        held.append((place, part))
    inner = {id(before) for _, part in held if isinstance(part, Raised) and (before := part.before) is not None}
    for place, part in held:
        if isinstance(part, Raised):
            # The first of a chain is told of together with its last.
            yield place, part, None if id(part) in inner else of_raised(place, part)
        else:
            yield place, part, _of_line(place, part, known)


def of_raised(place: int, top: Raised) -> Symptom:
    """What an exception tells, looking at all it was raised from: the first of the chain that names a cause does."""
    known: list[tuple[Raised, Cause | None, Sign]] = []
    plain: Raised | None = None
    for one in reversed(list(top.chain())):
        found = _find(one.text, one.calls, raised=True)
        if found is not None:
            known.append((one, *found))
        else:
            plain = plain or one
    known.sort(key=lambda item: (item[2].role, not item[2].is_certain))
    if known and not (known[0][2].role is Role.WRAPPER and plain is not None):
        one, cause, sign = known[0]
        return _symptom(place, top, one, cause, sign, sign.role)
    return _symptom(place, top, plain or top, None, None, Role.UNKNOWN)


def _symptom(place: int, top: Raised, one: Raised, cause: Cause | None, sign: Sign | None, role: Role) -> Symptom:
    return Symptom(place, one.number, top.rank, top.writer, one.text, cause, sign, role, one, top)


def _of_line(place: int, line: Line, known: dict[str, tuple[Cause | None, Sign] | None]) -> Symptom | None:
    text = line.text
    if not any(map(text.__contains__, HINTS)):
        return None
    is_warning = _is_warning(text)
    if is_warning and not any(map(text.__contains__, _TELLS_THOUGH)):
        return None
    shape = _LONG_NUMBER.sub("0", text)  # short ones are exit codes and signals, which matter
    if shape not in known:
        if len(known) > SHAPES or (len(known) > TEXTS and not any(map(text.__contains__, STRONG))):
            return None
        known[shape] = _find(text, "", raised=False)
    found = known[shape]
    if found is None:
        return None
    cause, sign = found
    if is_warning and not sign.is_native:
        return None
    if line.is_of_message and not sign.is_native and sign.role is Role.ROOT:
        return None  # the exception tells it
    return Symptom(place, line.number, line.rank, line.writer, text, cause, sign, sign.role, None, None)


def _is_warning(text: str) -> bool:
    """Whether no program dies of what the line says, whatever that is."""
    text = text[:PLACED]
    if _BEGINS_AS_WARNING.match(text):
        return True
    return any(map(text.__contains__, _LEVELS)) and _LEVEL.search(text) is not None


def _find(text: str, calls: str, *, raised: bool) -> tuple[Cause | None, Sign] | None:
    """The best sign in a text: of the most telling role, certain before likely, then in the order of causes."""
    text = text[:LONGEST]
    joined = re.sub(r" *\n *", " ", text) if "\n" in text else ""  # as it was before something wrapped its lines
    signs, index = (_OF_RAISED, _RAISED_INDEX) if raised else (_OF_LINES, _LINES_INDEX)
    for place in index.places(f"{text}\n{joined}" if joined else text):
        cause, sign = signs[place]
        if sign.words and not any(map(text.__contains__, sign.words)) and not any(map(joined.__contains__, sign.words)):
            continue
        if sign.frames is not None and not sign.frames.search(calls):
            continue
        if sign.pattern.search(text) or (joined and sign.pattern.search(joined)):
            return cause, sign
    return None


_OF_RAISED: tuple[tuple[Cause | None, Sign], ...] = tuple(
    sorted(
        [*((cause, sign) for cause in CAUSES for sign in cause.signs), *((None, sign) for sign in WRAPPERS)],
        key=lambda item: (item[1].role, not item[1].is_certain),
    )
)
"""All signs, the most telling first."""
_OF_LINES = tuple(
    (cause, sign) for cause, sign in _OF_RAISED if sign.frames is None and (sign.alone or sign.role is Role.ROOT)
)
"""Those that a line outside a traceback may have."""
_RAISED_INDEX, _LINES_INDEX = (Index([sign.words for _, sign in signs]) for signs in (_OF_RAISED, _OF_LINES))
