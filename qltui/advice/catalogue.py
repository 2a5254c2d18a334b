"""``docs/rules.md`` from the rules themselves: ``python -m qltui.advice.catalogue > docs/rules.md``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qltui.advice.rule import Concerns
from qltui.advice.rules import SUBJECTS
from qltui.advice.verdicts import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qltui.advice.rule import Rule

HEAD = """# Rules

Written by `python -m qltui.advice.catalogue` from the declarations in `qltui/advice/rules/`.

A **block** surely fails or silently damages what is trained, and a launch with one is refused; `--force ID` overrides
it by name, unless it is *never forced*, as the engine refuses it too. A **warn** may fail, or does not do what it says.
An **info** works; something else is simpler, faster or smaller. A rule bounded by versions holds for these alone; where
another program's versions are not known, it warns at most. *Ours* are runs of our own engine, *others* the files of
other programs that `qltui check` reads.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield HEAD
    for subject, rules in SUBJECTS.items():
        yield f"## {subject}"
        yield ""
        yield "| Id | Severity | For | When | Why | Source |"
        yield "|---|---|---|---|---|---|"
        yield from map(_row, rules)
        yield ""
    yield "## What the memory plan finds"
    yield ""
    yield "Runs of ours, where the model is known and the GPUs are: what the plan of [plan.md](plan.md) comes to."
    yield ""
    yield "| Id | Severity | When | Why | Source |"
    yield "|---|---|---|---|---|"
    for one in VERDICTS:
        yield f"| `{one.id}` | {one.severity} | {one.case} | {one.why} | {one.source} |"
    yield ""


def _row(rule: Rule) -> str:
    versions = f" ({', '.join(map(str, rule.versions))})" if rule.versions else ""
    whose = "both" if rule.concerns is Concerns.ALL else rule.concerns.value
    severity = f"{rule.severity.value}, never forced" if rule.engine_refuses else rule.severity.value
    cells = (f"`{rule.id}`", severity, whose, rule.case + versions, f"{rule.why} {rule.remedy}", rule.source)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
