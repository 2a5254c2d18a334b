"""All that is known of a run before it is launched: what its files lack, what the rules find, what it will take.

One function for ``launch``, ``check`` and the app, so that all of them refuse the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.config.schema import Problem, nearest
from qltui.advice.evaluation import advise, blocks
from qltui.advice.findings import Severity
from qltui.advice.rules import RULES
from qltui.advice.verdicts import VERDICTS
from qltui.configs import hub, preflight
from qltui.facts import architecture as architectures
from qltui.facts import machine as machines
from qltui.facts import versions
from qltui.runs import store

if TYPE_CHECKING:
    from collections.abc import Collection

    from engine.config import RunConfig
    from qltui.advice.evaluation import Advice
    from qltui.advice.findings import Finding
    from qltui.advice.fitting_rows import Epoch
    from qltui.advice.lengths import Lengths
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

REFUSED = frozenset(rule.id for rule in RULES if rule.engine_refuses)
"""Ids of the rules that say what the engine itself refuses: none of them can be forced."""


class Assessment(NamedTuple):
    """A run on a machine."""

    config: RunConfig
    machine: Machine
    architecture: Architecture | None
    """None where nothing on this machine tells what the model is made of."""
    problems: list[Problem]
    """Of what it needs to find, and of ids to be forced that cannot be; none of them can be overridden."""
    advice: Advice
    forced: frozenset[str]
    """Ids of rules that do not stop it."""
    lengths: Lengths | None = None
    """Of its rows, where it takes GPUs and the data is a file here; the advice is for them then."""

    @property
    def epoch(self) -> Epoch | None:
        """What a pass over its rows takes; None where ``lengths`` is."""
        if self.lengths is None or self.architecture is None:
            return None
        from qltui.advice.fitting_rows import epoch

        return epoch(self.config, self.architecture, self.machine, self.lengths)

    @property
    def blocks(self) -> list[Finding]:
        """The findings that stop it."""
        return [one for one in self.advice.findings if one.severity is Severity.BLOCK and one.rule not in self.forced]

    @property
    def refusals(self) -> list[Problem]:
        """Everything that stops it, a line each; empty if it may be launched."""
        return self.problems + [as_problem(finding) for finding in self.blocks]

    @property
    def warnings(self) -> list[Finding]:
        """What may go wrong and stops nothing."""
        return [one for one in self.advice.findings if one.severity is Severity.WARN]

    @property
    def overridden(self) -> list[Finding]:
        """The findings that would stop it and were forced."""
        return [one for one in self.advice.findings if one.severity is Severity.BLOCK and one.rule in self.forced]

    def again(self, config: RunConfig) -> list[Finding]:
        """What is to be said of another configuration of this model on this machine."""
        return advise_for(config, self.machine, self.architecture, self.lengths, self.forced).findings

    @property
    def idle_forces(self) -> list[str]:
        """Ids that were forced and do not block it."""
        return sorted(self.forced - {finding.rule for finding in self.overridden})


def assess(
    config: RunConfig, machine: Machine | None = None, forced: Collection[str] = (), *, thorough: bool = False
) -> Assessment:
    """What is known of a run on ``machine``, or on this one. Reads files, the GPU driver and the hub's cache alone.

    The lengths of rows are estimated, which takes no time, and counted by the tokenizer where that may make it fit, or
    where ``thorough`` asks for it.
    """
    here = machine or machines.here(store.runs_home())._replace(nodes=config.hardware.nodes)
    architecture = find_architecture(config.model.path, config.model.revision)
    wrong = {rule: problem for rule in forced if (problem := _not_forcible(rule))}
    allowed = frozenset(forced) - wrong.keys()
    problems = [*wrong.values(), *preflight.check(config)]
    advice = advise(config, here, architecture, versions_here(), allowed)
    if architecture is None or advice.fit is None:
        return Assessment(config, here, architecture, problems, advice, allowed)
    from qltui.configs import row_lengths

    lengths = row_lengths.measured(config) if thorough else row_lengths.estimated(config)
    refined = _on_rows(advice, config, here, architecture, allowed, lengths)
    if not thorough and lengths is not None and refined.fit is not None and not refined.fit.is_safe:
        lengths = row_lengths.measured(config)
        refined = _on_rows(advice, config, here, architecture, allowed, lengths)
    return Assessment(config, here, architecture, problems, refined, allowed, lengths)


def advise_for(
    config: RunConfig, machine: Machine, architecture: Architecture | None, lengths: Lengths | None,
    forced: Collection[str] = (),
) -> Advice:  # fmt: skip
    """The advice on a run with the libraries that are here, for rows of these lengths where they are known."""
    advice = advise(config, machine, architecture, versions_here(), forced)
    if architecture is None or advice.fit is None:
        return advice
    return _on_rows(advice, config, machine, architecture, forced, lengths)


def _on_rows(
    advice: Advice, config: RunConfig, machine: Machine, architecture: Architecture, forced: Collection[str],
    lengths: Lengths | None,
) -> Advice:  # fmt: skip
    """``advice`` as it is where nothing is known of the rows."""
    if lengths is None:
        return advice
    from qltui.advice.fitting_rows import advise_on_rows

    here = versions_here()
    return advise_on_rows(
        advice, config, architecture, machine, lengths,
        lambda one, there: blocks(one, there, architecture, here, forced), forced,
    )  # fmt: skip


def find_architecture(model: str, revision: str | None = None) -> Architecture | None:
    """The architecture of a model as far as this machine knows it; asks no network."""
    try:
        return architectures.find(model, hub.cached_model(model, revision))
    except (architectures.UnknownModel, architectures.BadConfig):
        return None


def versions_here() -> dict[str, str]:
    """Of the libraries a run stands on, those installed."""
    there = versions.all_installed()
    return {name: there[name] for name in versions.TESTED if name in there}


def as_problem(finding: Finding) -> Problem:
    """A finding in a line that ends with its id, which ``--force`` takes."""
    told = finding.message.startswith(f"{finding.field}=") or finding.message.startswith(f"{finding.field}:")
    return Problem("", "" if told else finding.field or "", f"{finding.message} [{finding.rule}]")


def _not_forcible(rule: str) -> Problem | None:
    """Why this id cannot be forced; None if it can, should it block."""
    ids = known_ids()
    if rule not in ids:
        return Problem(f"--force {rule}", "", "there is no such rule.", nearest(rule, ids))
    if rule in REFUSED:
        return Problem(f"--force {rule}", "", "the engine itself refuses such a run, so it cannot be forced.")
    return None


def known_ids() -> set[str]:
    """Of every rule, and of what the memory plan finds."""
    return {*(rule.id for rule in RULES), *(verdict.id for verdict in VERDICTS)}
