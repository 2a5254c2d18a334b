"""What a rule is: a condition on a Setup, declared with its reason, its source and what mends it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.advice import words
from qltui.advice.findings import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qltui.advice.setup import Setup
    from qltui.advice.versions import Bound

TRANSFORMERS = "transformers 5.23.0"
ACCELERATE = "accelerate 1.15.0"
PEFT = "peft 0.21.2"
DEEPSPEED = "deepspeed 0.19.8"
BITSANDBYTES = "bitsandbytes 0.50.2"
TORCH = "torch 2.13.0"
MEASURED = "measured on 2 x H200 with torch 2.11.0, transformers 5.17.0, accelerate 1.15.0, peft 0.21.2, 2026-11-21"
REPRODUCED = f"reproduced on 2 CPU ranks with {TORCH}, {TRANSFORMERS}, {ACCELERATE}, {PEFT}"
GITHUB = "https://github.com"


class Concerns(StrEnum):
    """Whose configurations a rule is about."""

    OURS = "ours"
    """Runs of our own engine."""
    OTHERS = "others"
    """Files of other programs; our engine avoids it by how it is built."""
    ALL = "all"


class Rule(NamedTuple):
    """One condition and all that is said when it holds."""

    id: str
    """Stable: what ``--force`` takes and ``docs/rules.md`` lists."""
    severity: Severity
    field: str | None
    """The name in Setup, or the dotted path of RunConfig for what only our runs have."""
    when: Callable[[Setup], bool]
    case: str
    """The condition in words."""
    message: str | Callable[[Setup], str]
    """What is wrong. ``{name}`` stands for a value of the setup in words, ``{value}`` for the field's."""
    remedy: str
    why: str
    source: str
    fix: Mapping[str, Any] | Callable[[Setup], Mapping[str, Any]] = {}
    """New values by name in Setup, or by dotted path for what only our runs have."""
    versions: tuple[Bound, ...] = ()
    """All must hold; a package whose version is not known holds no bound."""
    concerns: Concerns = Concerns.OTHERS
    engine_refuses: bool = False
    """Whether the engine, or what it is built on, refuses such a run itself, so that ``--force`` would help nobody."""

    def holds(self, setup: Setup) -> bool:
        """Whether the rule fires."""
        return self.when(setup) and all(bound.holds(setup.versions) for bound in self.versions)

    def finding(self, setup: Setup) -> Finding:
        """What is said of a setup for which it holds."""
        message = self.message(setup) if callable(self.message) else words.fill(self.message, setup, self.field)
        fix = self.fix(setup) if callable(self.fix) else self.fix
        why, severity = self.why, self.severity
        if self.versions:
            there = ", ".join(f"{bound.package} {setup.versions[bound.package]}" for bound in self.versions)
            why = f"{why} This holds for {' with '.join(map(str, self.versions))}"
            if setup.versions_are_its_own:
                why += f"; installed is {there}."
            else:
                why += f", and {setup.engine} is taken to run with {there}."
                severity = Severity.WARN if severity is Severity.BLOCK else severity
        if not setup.ours:
            return Finding(self.id, severity, self.field, f"{message} {self.remedy}", why, self.source, dict(fix))
        path = None if self.field is None else words.path_of(self.field)
        patch = {words.path_of(name) or name: words.value_of(name, value) for name, value in fix.items()}
        return Finding(self.id, severity, path, f"{message} {self.remedy}", why, self.source, patch)
