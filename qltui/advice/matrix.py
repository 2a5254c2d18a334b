"""Every strategy with every method on a machine: what each takes of a GPU, and why it cannot be where it cannot."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engine.config import Method, StrategyName
from engine.config.cells import OFFLOADS_PARAMETERS
from qltui import words
from qltui.advice import planner
from qltui.advice.evaluation import evaluate
from qltui.advice.findings import Severity
from qltui.advice.memory import fit
from qltui.advice.our_runs import used_cards
from qltui.advice.setup import Setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.config import RunConfig
    from qltui.advice.findings import Finding
    from qltui.advice.lengths import Lengths
    from qltui.advice.memory import Fit
    from qltui.advice.planner import Candidate
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

METHODS = (Method.FULL, Method.LORA, Method.INT8, Method.QLORA)
"""From most memory to least: the columns."""


class Mark(StrEnum):
    """How a square stands."""

    FITS = "fits"
    TIGHT = "tight"
    """It fits, and would not if the plan errs by as much as it may."""
    TOO_LARGE = "too large"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"
    """No rule blocks it; its memory is not known, for want of a model or a GPU."""


class Square(NamedTuple):
    """One strategy with one method, all else as configured."""

    strategy: StrategyName
    method: Method
    offload: bool
    mark: Mark
    fit: Fit | None
    blocks: list[Finding]
    """Why it is blocked."""
    patch: dict[str, Any]
    """What choosing it sets, by dotted path."""

    @property
    def place(self) -> tuple[str, str]:
        """Row and column."""
        return row_name(self.strategy, offload=self.offload), self.method.value

    @property
    def why(self) -> str:
        """How it stands, in a sentence."""
        if self.blocks:
            return self.blocks[0].message
        if self.fit is None or self.fit.capacity is None:
            return "Its memory is not known yet."
        at_load = " while the model loads" if self.fit.is_at_load else ""
        takes = f"{words.size(self.fit.total)} of {words.size(self.fit.capacity)} on each GPU{at_load}, give or take"
        takes += f" {words.size(self.fit.error)}"
        ends = {Mark.TOO_LARGE: "it does not fit.", Mark.TIGHT: "it may just fit."}
        return f"{takes}: {ends.get(self.mark, 'it fits.')}"


def planned(square: Square, way: Candidate) -> Square:
    """The square of the planner's way: as it stands where it surely fits so, else with all that the planner sets."""
    if square.mark is Mark.FITS:
        return square
    return square._replace(mark=_mark(way.fit, []), fit=way.fit, patch={**square.patch, **way.patch})


def row_name(strategy: StrategyName, *, offload: bool) -> str:
    """A row of the matrix in words."""
    return f"{strategy.value} + offload" if offload else strategy.value


def rows() -> list[tuple[StrategyName, bool]]:
    """(strategy, whether it offloads), from top to bottom."""
    plain = [(strategy, False) for strategy in StrategyName]
    return plain + [(strategy, True) for strategy in StrategyName if strategy in OFFLOADS_PARAMETERS]


def matrix(
    config: RunConfig, machine: Machine, architecture: Architecture | None, versions: Mapping[str, str],
    lengths: Lengths | None = None,
) -> list[list[Square]]:  # fmt: skip
    """Rows of squares, in the order of :func:`rows` and ``METHODS``; for rows of these lengths where they are known."""
    return [
        [
            _square(config, machine, architecture, versions, lengths, strategy, method, offload=offload)
            for method in METHODS
        ]
        for strategy, offload in rows()
    ]


def _square(
    config: RunConfig, machine: Machine, architecture: Architecture | None, versions: Mapping[str, str],
    lengths: Lengths | None, strategy: StrategyName, method: Method, *, offload: bool,
) -> Square:  # fmt: skip
    patch = {
        "strategy.name": strategy, "method.name": method,
        "strategy.offload_parameters": offload, "strategy.offload_optimizer": offload,
    }  # fmt: skip
    changed = msgspec.structs.replace(
        config,
        strategy=msgspec.structs.replace(
            config.strategy, name=strategy, offload_parameters=offload, offload_optimizer=offload
        ),
        method=msgspec.structs.replace(config.method, name=method),
    )
    findings = evaluate(Setup.of_run(changed, machine, architecture, versions))
    blocks = [one for one in findings if one.severity is Severity.BLOCK]
    fitted = None
    cards = used_cards(changed, machine)
    if architecture is not None and cards and not blocks:
        used = machine._replace(cards=cards)
        fitted = fit(planner.job_of(changed, architecture, used, lengths), used)
    return Square(strategy, method, offload, _mark(fitted, blocks), fitted, blocks, patch)


def _mark(fitted: Fit | None, blocks: list[Finding]) -> Mark:
    if blocks:
        return Mark.BLOCKED
    if fitted is None:
        return Mark.UNKNOWN
    return Mark.FITS if fitted.is_safe else Mark.TIGHT if fitted.fits else Mark.TOO_LARGE
