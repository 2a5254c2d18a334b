"""The cause, out of all that a log shows: what came first, what is only a consequence, what was survived.

1. What a run survived does not count: a bar that moves on afterwards, more figures than a buffer holds, an end as it
   should be. A buffer matters, as figures are often printed after a traceback that happened later.
2. Of the rest the most telling role wins (:class:`~qltui.runs.diagnosis.causes.cause.Role`), of these the first in the
   log. Launchers' reports say which rank was first.
3. Without any, a loss that ends as no number or zero is the cause; else nothing is.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from qltui.runs.diagnosis.causes import CAUSES
from qltui.runs.diagnosis.causes.cause import Role
from qltui.runs.diagnosis.progress import Figures
from qltui.runs.diagnosis.symptoms import Symptom, read_symptoms
from qltui.runs.diagnosis.tracebacks import Raised

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qltui.runs.diagnosis.causes.cause import Sign
    from qltui.runs.diagnosis.prefixes import Line
    from qltui.runs.diagnosis.progress import Progress

BUFFER = 80
"""Lines of figures that may be printed after what came after them: a buffer of 8 KiB holds about as many."""
ALIKE = 100
"""Lines with the same sign that are kept."""
OTHERS = 20
"""Symptoms that are looked at."""
EXCERPT = 5
"""Lines up to which a log is taken for what somebody cut out: the error itself."""
LAST = 10
"""Lines at the end of a log, in which an error that a logger writes is taken for what ended it."""
BAD_AT_END = 3
"""Losses of zero, or gradients without a number, in a row that are no chance."""
LOSS = next(cause for cause in CAUSES if cause.id == "loss_nan_or_zero")
_SURVIVED = re.compile(
    r"(?i)\b(?:\w*warn(?:ing)?|info|skip(?:ping|ped)?|retry(?:ing)?|ignor(?:ed|ing)|fall(?:ing)? ?back"
    r"|continu(?:e|ing))\b"
)
_MENTIONED = re.compile(r"(?i)\b[a-z_.]*(?:error|exception): ?\S")
"""An exception somewhere in a sentence."""
_KILLS = re.compile(r"Unable to shutdown process (?P<pid>\d+) via .{0,40}forcefully exiting via")
_PROCESS = re.compile(r"(?i)\bpid:? ?(?P<pid>\d+)")
_KILLED_TASKS = re.compile(r"srun: error: .*: tasks? [\d,-]+: Killed")
_LOGGED_ERROR = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL)\b|\blevel=error\b|❌|^E\d{4} |Error: |[Ff]ailed(?: with \w+)?: "
)


class Verdict(NamedTuple):
    """What a log comes to."""

    symptom: Symptom | None
    """What tells the cause; None if nothing does."""
    others: list[Symptom]
    """What else there is to see of the end."""
    bad_losses: list[tuple[int, str]]
    """(line, text) of losses that are no number or zero, if those are the cause."""
    first_rank: int | None
    """The rank that a launcher says failed first."""


class _Told(NamedTuple):
    place: int
    number: int
    text: str
    progress: Progress


def judge(parts: Iterable[Raised | Line]) -> Verdict:
    """The verdict on a log."""
    symptoms = _Symptoms()
    cut_out: list[Symptom] = []
    told: list[_Told] = []
    first_rank = _FirstRank()
    figures = Figures()
    left = _Left()
    lines = 0
    for place, part, symptom in read_symptoms(parts):
        lines += 1
        if symptom is not None and not left.were_killed(symptom):
            symptoms.take(symptom)
        if not isinstance(part, Raised):
            first_rank.see(part)
            left.see(part)
            if lines <= EXCERPT and _MENTIONED.search(part.text) and not _SURVIVED.search(part.text):
                cut_out.append(_mention(place, part))
            if progress := figures.read(part.text):
                told.append(_Told(place, part.number, part.text, progress))
    found = sorted(symptoms.found, key=lambda one: order(one, first_rank.rank))
    reports = [one.place for one in found if one.role is Role.WRAPPER and one.raised is None]
    fatal = list(islice((one for one in found if not _is_survived(one, reports, told)), OTHERS))
    end = max(lines - LAST, told[-1].place if told else 0)
    if lines > EXCERPT and all(one.is_remark and not _is_last_word(one, end) for one in fatal):
        fatal = []  # nothing shows that it died
    if lines <= EXCERPT and not fatal and not told:
        fatal = cut_out
    bad = _bad_end(told)
    worst = fatal[0] if fatal else None
    if bad and (worst is None or worst.role >= Role.INTERRUPT):
        return Verdict(None, fatal, bad, None)
    return Verdict(worst, fatal[1:], [], first_rank.rank)


def _mention(place: int, line: Line) -> Symptom:
    """An exception without a known cause in the middle of a line, as people write it who ask about it."""
    return Symptom(place, line.number, line.rank, line.writer, line.text, None, None, Role.UNKNOWN, None, None)


def _is_last_word(one: Symptom, end: int) -> bool:
    """Whether a program that caught an error ended with telling it."""
    return one.place >= end and _LOGGED_ERROR.search(one.text) is not None


def order(one: Symptom, first_rank: int | None) -> tuple[float, bool, bool, int]:
    """What tells most comes first.

    A mere mention of a cause comes after all that was raised: before what peers say if it is certain, else last.
    """
    is_noticed_only = one.top is not None and one.top.is_noticed_only
    is_other = first_rank is not None and one.rank is not None and one.rank != first_rank
    role = float(one.role)
    if one.role is Role.INTERRUPT and one.sign is not None and one.sign.is_certain:
        role = Role.PEER  # peers of who was interrupted complain afterwards, and those of who hung before
    if one.is_mention:
        role = Role.WRAPPER + 0.5 if one.is_remark else Role.UNKNOWN + 0.5
    return role, is_noticed_only, is_other and one.role is not Role.ROOT, one.place


class _Symptoms:
    """Symptoms, of very many alike the first ones and the newest."""

    def __init__(self) -> None:
        self.found: list[Symptom] = []
        self._alike: Counter[Sign | None] = Counter()
        self._newest: dict[Sign | None, int] = {}

    def take(self, symptom: Symptom) -> None:
        """Add one."""
        self._alike[symptom.sign] += 1
        if self._alike[symptom.sign] > ALIKE and symptom.raised is None:
            self.found[self._newest[symptom.sign]] = symptom
            return
        self._newest[symptom.sign] = len(self.found)
        self.found.append(symptom)


def _is_survived(one: Symptom, reports: list[int], told: list[_Told]) -> bool:
    """Whether the run went on after it; ``reports`` are the places where launchers tell of a failure."""
    if one.top is not None and one.top.is_noticed_only and "thread" not in one.top.said_before:
        return True
    middle = bisect(told, one.place, key=lambda item: item.place)
    before, after = told[:middle], told[middle:]
    if not after:
        return False
    reported = any(place > one.place for place in reports)
    if one.is_mention and not reported and any(item.progress.loss is not None for item in after):
        return True
    if any(item.progress.ended_well for item in after) and not reported and one.role is not Role.INTERRUPT:
        return True
    last_bar = next((item.progress.bar for item in reversed(before) if item.progress.bar), None)
    if last_bar is not None:  # one later state is no sign of life: a bar is drawn once more when it is closed
        bars = {bar for item in after if (bar := item.progress.bar) and bar[1] == last_bar[1] and bar[0] > last_bar[0]}
        if len(bars) > 1:
            return True
    figures = [item for item in after if item.progress.loss is not None]
    said = one.top.said_before if one.top is not None else ""
    least = 2 if _SURVIVED.search(said) or (last_bar is None and _is_timed(before)) else BUFFER
    return len(figures) > least and any(item.progress.loss is not None for item in before)


def _is_timed(before: list[_Told]) -> bool:
    """Whether figures come through a logger, which holds nothing back."""
    return any(re.match(r"\S* ?(?:INFO|\[INFO\])", item.text) for item in before[-3:])


def _bad_end(told: list[_Told]) -> list[tuple[int, str]]:
    """Losses at the end that are no number, or zero; of a log without losses gradients that are no number."""
    losses = [item for item in told if item.progress.loss is not None]
    losses = losses or [item for item in told if item.progress.grad_norm is not None]
    bad: list[_Told] = []
    for item in reversed(losses):
        if not item.progress.is_bad:
            break
        bad.append(item)
    is_nan = any(item.progress.is_nan for item in bad)
    if not bad or (not is_nan and len(bad) < min(BAD_AT_END, len(losses))):
        return []
    return [(item.number, item.text) for item in reversed(bad)]


class _FirstRank:
    """Which rank torchrun's report calls the first observed failure."""

    def __init__(self) -> None:
        self.rank: int | None = None
        self._in_report = False

    def see(self, line: Line) -> None:
        if "Root Cause (first observed failure)" in line.text:
            self._in_report = True
        elif self._in_report and (found := re.search(r"\brank\s*:\s*(\d+)", line.text)):
            self.rank, self._in_report = int(found[1]), False


class _Left:
    """What a launcher ends itself after another part failed: that which does not end when told to is killed."""

    def __init__(self) -> None:
        self._processes: set[str] = set()
        self._is_step_over = False

    def see(self, line: Line) -> None:
        if "forcefully exiting" in line.text and (found := _KILLS.search(line.text)):
            self._processes.add(found["pid"])
        elif line.text.startswith("srun: Terminating job step"):
            self._is_step_over = True

    def were_killed(self, symptom: Symptom) -> bool:
        """Whether the symptom tells of no more than that."""
        if symptom.role is not Role.DEATH:
            return False
        if self._is_step_over and _KILLED_TASKS.match(symptom.text):
            return True
        process = _PROCESS.search(symptom.text)
        return process is not None and process["pid"] in self._processes
