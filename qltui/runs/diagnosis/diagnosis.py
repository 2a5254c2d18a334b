"""A diagnosis: the cause, where and in which phase, how sure, the evidence, and what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.runs.diagnosis.causes import NONE, UNKNOWN
from qltui.runs.diagnosis.causes.cause import Fix, Role
from qltui.runs.diagnosis.excerpt import read_lines
from qltui.runs.diagnosis.judge import LOSS, judge
from qltui.runs.diagnosis.kinds import kind_of
from qltui.runs.diagnosis.phases import phase_of, usual_phase
from qltui.runs.diagnosis.prefixes import strip_prefixes
from qltui.runs.diagnosis.tracebacks import read_tracebacks
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from qltui.runs.diagnosis.causes.cause import Cause
    from qltui.runs.diagnosis.judge import Verdict
    from qltui.runs.diagnosis.symptoms import Symptom

_NAMED_RANK = re.compile(r"\b[Rr]ank:? ?(\d+)\b")
CERTAIN, LIKELY, GUESS = "certain", "likely", "guess"
EVIDENCE = 8
"""Lines of evidence at most."""
SHOWN = 400
"""Characters of a line of evidence."""


class Evidence(NamedTuple):
    """A line that tells it."""

    file: str
    line: int
    text: str


class Diagnosis(NamedTuple):
    """What a run died of."""

    cause: str
    """A stable id, as docs/diagnosis.md lists them; ``none`` if nothing is wrong."""
    title: str
    phase: str | None
    rank: int | None
    """The rank that failed first, as far as the log tells."""
    confidence: str
    """``certain``, ``likely`` or ``guess``."""
    explanation: str
    evidence: list[Evidence]
    fixes: list[Fix]
    details: dict[str, Any]
    """More about the kind, such as the figures of an allocator."""

    def as_json(self) -> dict[str, Any]:
        """The document of ``qltui diagnose --json``."""
        return {
            "cause": self.cause, "title": self.title, "phase": self.phase, "rank": self.rank,
            "confidence": self.confidence, "explanation": self.explanation,
            "evidence": [one._asdict() for one in self.evidence],
            "fixes": [_fix_json(fix) for fix in self.fixes], "details": self.details,
        }  # fmt: skip


def from_json(told: Mapping[str, Any]) -> Diagnosis | None:
    """What :meth:`Diagnosis.as_json` wrote; None where a field is missing or is not what it should be."""
    try:
        fixes = [
            Fix(str(fix["title"]), str(fix.get("command", "")), tuple(fix.get("patch", {}).items()), str(fix["effect"]))
            for fix in told["fixes"]
        ]
        evidence = [Evidence(str(one["file"]), int(one["line"]), str(one["text"])) for one in told["evidence"]]
        return Diagnosis(
            str(told["cause"]), str(told["title"]), told["phase"], told["rank"], str(told["confidence"]),
            str(told["explanation"]), evidence, fixes, dict(told["details"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def diagnose_log(file: BinaryIO, name: str) -> Diagnosis:
    """The diagnosis of a log of any program; ``name`` is what evidence calls it."""
    verdict = judge(read_tracebacks(strip_prefixes(read_lines(file))))
    if verdict.bad_losses:
        number, text = verdict.bad_losses[0]
        confidence = CERTAIN if len(verdict.bad_losses) > 1 else LIKELY
        return of_cause(LOSS, confidence, [Evidence(name, number, shown(text))], phase=usual_phase(LOSS.id))
    if verdict.symptom is None:
        return of_cause(NONE, LIKELY, [])
    return diagnose_symptom(verdict.symptom, verdict, name)


def of_cause(
    cause: Cause, confidence: str, evidence: list[Evidence], *, says: str = "", rank: int | None = None,
    phase: str | None = None,
) -> Diagnosis:  # fmt: skip
    """The diagnosis of a cause that no words of a log had to tell."""
    return Diagnosis(
        cause.id, cause.title, phase, rank, confidence, says or cause.says, evidence, list(cause.fixes), {}
    )


def diagnose_symptom(symptom: Symptom, verdict: Verdict, name: str) -> Diagnosis:
    """The diagnosis that the worst symptom of a log comes to."""
    cause = symptom.cause or UNKNOWN
    kind = kind_of(cause.id, symptom.text)
    says = kind.says or (symptom.sign.says if symptom.sign and symptom.sign.says else cause.says)
    if cause is UNKNOWN:
        says = _root(symptom)
    named = _NAMED_RANK.search(symptom.text) if symptom.rank is None and symptom.raised is None else None
    rank = int(named[1]) if named else symptom.rank if symptom.rank is not None else verdict.first_rank
    fixes = [*kind.fixes, *(fix for fix in cause.fixes if fix not in kind.fixes)]
    return Diagnosis(
        cause.id, cause.title, phase_of(symptom), rank, confidence_of(symptom, cause), says,
        _evidence(symptom, verdict, name), fixes, kind.details,
    )  # fmt: skip


def _root(symptom: Symptom) -> str:
    first = clean(symptom.text.split("\n")[0])[:SHOWN]
    if symptom.raised is not None and symptom.raised.is_cut:
        return "The log ends within a traceback, before it tells what was raised."
    if symptom.role is Role.WRAPPER:
        return f"A launcher reports that what it started has failed, and the log does not show how: {first}"
    return f"It ended with an error for which no cause is known here: {first}"


def confidence_of(symptom: Symptom, cause: Cause) -> str:
    if cause is UNKNOWN or symptom.sign is None:
        return GUESS
    return CERTAIN if symptom.sign.is_certain and symptom.role is Role.ROOT else LIKELY


def _evidence(symptom: Symptom, verdict: Verdict, name: str) -> list[Evidence]:
    """The line that tells it, the call it came from, and what else points to it."""
    found = [Evidence(name, symptom.number, shown(symptom.text))]
    if symptom.raised is not None and symptom.raised.frames:
        frame = symptom.raised.frames[-1]
        at = f"raised in {frame.function or 'a module'}, {frame.file}" + (f" line {frame.line}" if frame.line else "")
        found.append(Evidence(name, symptom.raised.header, shown(at)))
    seen = {found[0].text}
    for other in verdict.others:
        text = shown(other.text)
        is_cut = other.raised is not None and other.raised.is_cut
        if not is_cut and text not in seen and len(found) < EVIDENCE:
            seen.add(text)
            found.append(Evidence(name, other.number, text))
    return found


def shown(text: str) -> str:
    lines = [clean(line).strip() for line in text.split("\n")[:4]]
    shown = re.sub(r"\s+", " ", " ".join(line for line in lines if line))
    return shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"


def _fix_json(fix: Fix) -> dict[str, Any]:
    found: dict[str, Any] = {"title": fix.title}
    if fix.patch:
        found["patch"] = dict(fix.patch)
    elif fix.command:
        found["command"] = fix.command
    return found | {"effect": fix.effect}
