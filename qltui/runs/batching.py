"""The rows of one optimizer step: what they come to, and how to get as many as are wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.ranks import ONE_RANK, ranks_per_node
from qltui.advice import planner
from qltui.advice.evaluation import blocks
from qltui.advice.lengths import of_samples
from qltui.advice.our_runs import anywhere, used_cards
from qltui.configs import row_lengths
from qltui.runs.assessment import find_architecture, versions_here

if TYPE_CHECKING:
    from engine.config import RunConfig
    from qltui.advice.lengths import Lengths
    from qltui.facts.machine import Machine

KEPT = 8
"""Files whose lengths are remembered."""
_lengths: dict[tuple[object, ...], Lengths | None] = {}


class Batch(NamedTuple):
    """What one optimizer step takes."""

    micro: int
    """Rows a rank computes at once."""
    accumulated: int
    ranks: int
    """That compute rows of their own."""
    epoch: int | None
    """Rows to train on in an epoch, about; None where the data is no file here."""
    tokens: float
    """Of a row: on average where its file was read, else the most it may have."""

    @property
    def rows(self) -> int:
        """The global batch."""
        return self.micro * self.accumulated * self.ranks

    @property
    def steps(self) -> float | None:
        """Of an epoch."""
        return None if self.epoch is None else self.epoch / self.rows

    @property
    def product(self) -> str:
        """What it is made of, in words."""
        ranks = f"{self.ranks:,} rank{'s' * (self.ranks > 1)}"
        return f"= {self.micro:,} micro × {self.accumulated:,} accumulated × {ranks}"

    @property
    def pace(self) -> str:
        """Steps of an epoch and tokens of a step, in words."""
        tokens = f"{round(self.rows * self.tokens):,} tokens a step"
        if self.steps is None:
            return f"up to {tokens}"
        steps = max(1, round(self.steps))
        return f"{steps:,} step{'s' * (steps > 1)} an epoch · about {tokens}"


def batch(config: RunConfig, machine: Machine) -> Batch:
    """What a step takes on ``machine``; of a data file that is here the beginning is read, once."""
    training = config.training
    ranks = _ranks(config, machine)
    lengths = lengths_of(config)
    lengths = of_samples(lengths, config) if lengths else None
    longest = config.data.max_length
    tokens = lengths.mean(longest) if lengths else longest
    rows = lengths.rows if lengths else None
    return Batch(training.micro_batch_size, training.gradient_accumulation_steps, ranks, rows, tokens)


def divided(config: RunConfig, machine: Machine, rows: int, *, described: bool) -> dict[str, Any]:
    """Values by dotted path with which a step takes ``rows``, or as near to it as ranks divide it.

    The planner chooses them for the strategy that is set; where it cannot tell what fits, the micro batch stays where
    it divides the rows of a rank.
    """
    config = anywhere(config) if described else config
    architecture = find_architecture(config.model.path, config.model.revision)
    cards = used_cards(config, machine)
    if architecture is not None and cards:
        versions = versions_here()
        used = machine._replace(cards=cards)
        choice = planner.choose(
            config, architecture, used, lengths=lengths_of(config), rows=rows,
            blocks=lambda one: blocks(one, machine, architecture, versions),
        )  # fmt: skip
        wanted = config.strategy.name, config.strategy.offload_parameters
        for way in choice.ranked:
            if (way.config.strategy.name, way.config.strategy.offload_parameters) == wanted:
                return {path: value for path, value in way.patch.items() if path.startswith("training.")}
    each = max(1, round(rows / _ranks(config, machine)))
    micro = max(size for size in range(1, min(each, config.training.micro_batch_size) + 1) if each % size == 0)
    return {"training.micro_batch_size": micro, "training.gradient_accumulation_steps": each // micro}


def _ranks(config: RunConfig, machine: Machine) -> int:
    """That compute rows of their own; a machine of several nodes is planned for whole."""
    if config.strategy.name in ONE_RANK:
        return 1
    return ranks_per_node(config, len(machine.cards)) * max(machine.nodes, config.hardware.nodes)


def lengths_of(config: RunConfig) -> Lengths | None:
    """Lengths of the rows, estimated from the beginning of a data file that is here; None where none is.

    Kept as long as neither the file nor how it is read changes.
    """
    data = config.data
    if not os.path.isfile(data.path):
        return None
    try:
        seen = os.stat(data.path)
    except OSError:
        return None
    key = (
        data.path, seen.st_mtime_ns, seen.st_size, data.format, tuple(data.columns.items()), data.eval_path,
        data.eval_fraction, data.chat_template, config.model.path, config.model.task,
    )  # fmt: skip
    if key not in _lengths:
        while len(_lengths) >= KEPT:
            _lengths.pop(next(iter(_lengths)), None)
        _lengths[key] = row_lengths.estimated(config)
    return _lengths[key]
