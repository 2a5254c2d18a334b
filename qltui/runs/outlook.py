"""What can be said of a run while it is still being chosen: of texts by dotted path, some of them missing or wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config import ConfigError, RunConfig
from engine.config.reading import parse_assignment, read
from qltui.advice import planner
from qltui.advice.evaluation import blocks
from qltui.advice.matrix import matrix, planned, row_name
from qltui.advice.our_runs import anywhere, usable_cards
from qltui.configs.writing import typed_text
from qltui.runs.assessment import advise_for, find_architecture, versions_here
from qltui.runs.batching import batch, lengths_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engine.config import Problem
    from qltui.advice.evaluation import Advice
    from qltui.advice.findings import Finding
    from qltui.advice.lengths import Lengths
    from qltui.advice.matrix import Square
    from qltui.advice.planner import Choice
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine
    from qltui.runs.batching import Batch

MISSING = {"model.path": "(no model yet)", "data.path": "(no data yet)"}
"""What stands for fields that must be given, until they are."""


class Outlook(NamedTuple):
    """All that the choices so far come to."""

    config: RunConfig | None
    """None where a text cannot be what its field wants."""
    problems: list[Problem]
    """Of such texts."""
    machine: Machine
    architecture: Architecture | None
    """None where the model is not given, or not known."""
    advice: Advice | None
    squares: list[list[Square]]
    """The matrix; empty where ``config`` is None. The planner's first choice stands in it as it would be run."""
    choice: Choice | None
    """The planner's ranking for the method; None without a known model and GPUs."""
    batch: Batch | None = None
    """The rows of an optimizer step; None where ``config`` is."""

    @property
    def findings(self) -> list[Finding]:
        """The gravest first."""
        return self.advice.findings if self.advice else []

    @property
    def best(self) -> str | None:
        """The strategy that the planner would take, by its name in the matrix."""
        return _row_of_the_first(self.choice)


def outlook(values: Mapping[str, str], machine: Machine, *, described: bool, base: Path) -> Outlook:
    """What ``values``, texts by dotted path, come to on ``machine``.

    Reads a model's config.json and the beginning of a data file at most; asks neither network nor GPU. ``described``:
    the machine is another than this one, so that what is chosen of the GPUs here does not count. Relative paths count
    from ``base``.
    """
    try:
        config = read_choices(values, base)
    except ConfigError as error:
        return Outlook(None, error.problems, machine, None, None, [], None)
    if described:
        config = anywhere(config)
    known = config.model.path != MISSING["model.path"]
    architecture = find_architecture(config.model.path, config.model.revision) if known else None
    versions = versions_here()
    lengths = lengths_of(config)
    advice = advise_for(config, machine, architecture, lengths)
    choice = _choice(config, machine, architecture, versions, lengths)
    squares = _with_the_planners_way(matrix(config, machine, architecture, versions, lengths), config, choice)
    return Outlook(config, [], machine, architecture, advice, squares, choice, batch(config, machine))


def read_choices(values: Mapping[str, str], base: Path) -> RunConfig:
    """The configuration of texts by dotted path, with stand-ins for what must be given and is not yet.

    Raises:
        ConfigError: a text cannot be what its field wants.
    """
    given = {path: text for path, text in values.items() if text.strip()}
    assignments: dict[str, Any] = dict(
        parse_assignment(f"{path}={text}") for path, text in {**MISSING, **given}.items()
    )  # fmt: skip
    return read({}, where="", base=base, assignments=assignments)


def _choice(
    config: RunConfig, machine: Machine, architecture: Architecture | None, versions: Mapping[str, str],
    lengths: Lengths | None,
) -> Choice | None:  # fmt: skip
    cards = usable_cards(config, machine)
    if architecture is None or not cards:
        return None
    usable = machine._replace(cards=cards)
    return planner.choose(
        config, architecture, usable, lengths=lengths, blocks=lambda one: blocks(one, machine, architecture, versions)
    )


def _row_of_the_first(choice: Choice | None) -> str | None:
    if choice is None or not choice.ranked:
        return None
    first = choice.ranked[0].config.strategy
    return row_name(first.name, offload=first.offload_parameters)


def _with_the_planners_way(squares: list[list[Square]], config: RunConfig, choice: Choice | None) -> list[list[Square]]:
    """The squares; that of the planner's first choice sets what it takes to fit."""
    if choice is None or not choice.ranked:
        return squares
    place = _row_of_the_first(choice), config.method.name.value
    return [[planned(one, choice.ranked[0]) if one.place == place else one for one in row] for row in squares]


def mended(values: Mapping[str, str], finding: Finding) -> dict[str, str]:
    """The texts with a finding's fix in them."""
    return {**values, **texts_of(finding.fix)}


def texts_of(patch: Mapping[str, Any]) -> dict[str, str]:
    """A patch as one types it; what is to be left to the program is empty."""
    return {path: "" if value is None else typed_text(value) for path, value in patch.items()}
