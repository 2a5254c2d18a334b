"""Whether a run fits the GPUs, as findings: what would make it fit, or the smallest machine that would run it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from engine.config import LoraInit, Method, get
from engine.config.schema import as_text
from qltui import words
from qltui.advice import planner
from qltui.advice.findings import Finding, Severity
from qltui.advice.our_runs import anywhere, usable_cards, used_cards
from qltui.advice.verdicts import DOES_NOT_FIT, NOTHING_FITS
from qltui.facts.cards import CARDS
from qltui.facts.machine import Machine, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.config import RunConfig
    from qltui.advice.lengths import Lengths
    from qltui.advice.memory import Fit
    from qltui.facts.architecture import Architecture

    BlocksOn = Callable[[RunConfig, Machine], list[str]]
    """Ids of the rules that block a configuration on a machine."""


SIZES = (
    *("RTX 3070", "RTX 3060 12GB", "RTX 4080", "RTX 4090", "RTX 5090", "RTX 6000 Ada"),
    *("H100 SXM", "RTX PRO 6000", "H200", "B200", "B300"),
)
"""A common card of each size."""
COUNTS = (1, 2, 4, 8)


def judge(
    config: RunConfig, architecture: Architecture, machine: Machine, fitted: Fit, blocks_on: BlocksOn,
    lengths: Lengths | None = None,
) -> list[Finding]:  # fmt: skip
    """What is to be said of a run that takes ``fitted`` of the GPUs of ``machine``; nothing if it surely fits.

    ``lengths`` are those of its rows, where ``fitted`` was planned for them.
    """
    if fitted.capacity is None or fitted.is_safe:
        return []
    rows = planner.rows_of_a_step(config, architecture, machine._replace(cards=used_cards(config, machine)))
    usable = machine._replace(cards=usable_cards(config, machine))
    choice = planner.choose(
        config, architecture, usable, lengths=lengths, rows=rows, blocks=lambda one: blocks_on(one, machine)
    )
    surely = fitted.surely_exceeds
    if surely and not choice.ranked:
        return [nothing_fits(config, architecture, usable, choice, rows, blocks_on, lengths)]
    return [_does_not_fit(config, fitted, fitted.capacity, choice, surely=surely)]


def _does_not_fit(config: RunConfig, fitted: Fit, capacity: int, choice: planner.Choice, *, surely: bool) -> Finding:
    at_load = " while the model loads" if fitted.is_at_load else ""
    takes = f"{words.size(fitted.total)}{at_load}, give or take {words.size(fitted.error)}"
    message = f"{'Each' if surely else 'It may not fit: each'} GPU would take {takes}, and has {words.size(capacity)}."
    if at_load and config.method.lora.init is LoraInit.OLORA:
        message += " OLoRA takes its adapters out of quantised weights, so they are whole on each GPU first."
    safe = next((one for one in choice.ranked if one.fit.is_safe), None)
    best = safe or (choice.ranked[0] if surely else None)
    patch = _changes(config, best.patch) if best else {}
    if best and patch:
        fits = "It fits" if best.fit.is_safe else "It may just fit"
        settings = ", ".join(f"{path}={as_text(value)}" for path, value in patch.items())
        on_host = f" on each GPU and {words.size(best.host)} of each host's memory" if best.host else ""
        message += f" {fits} as {best.summary}, with {words.size(best.fit.total)}{on_host}: set {settings}."
    else:
        message += " Leave it more room: shorter rows, a smaller micro batch, or more layers recomputed."
    return Finding(
        DOES_NOT_FIT.id, Severity.BLOCK if surely else Severity.WARN, next(iter(patch), "training.micro_batch_size"),
        message, DOES_NOT_FIT.why, DOES_NOT_FIT.source, patch,
    )  # fmt: skip


def _changes(config: RunConfig, patch: dict[str, Any]) -> dict[str, Any]:
    """What of ``patch`` the configuration does not say already."""
    return {path: value for path, value in patch.items() if get(config, path) != value}


def nothing_fits(
    config: RunConfig, architecture: Architecture, machine: Machine, choice: planner.Choice, rows: int,
    blocks_on: BlocksOn, lengths: Lengths | None,
) -> Finding:  # fmt: skip
    least = min((one.total for one in choice.rejected if one.total is not None), default=None)
    room = min(card.memory_bytes for card in machine.cards)
    needs = f"; the least takes {words.size(least)} on a GPU" if least else ""
    larger = planner.smallest(
        anywhere(config), architecture, ladder(), rows=rows, blocks_on=blocks_on, lengths=lengths
    )  # fmt: skip
    message = (
        f"Nothing fits {machine.gpus} x {words.size(room)}, whatever the strategy, micro batch, recomputed layers and"
        f" offload{needs}. {way_out(config, larger)}"
    )
    return Finding(NOTHING_FITS.id, Severity.BLOCK, "hardware.gpus", message, NOTHING_FITS.why, NOTHING_FITS.source, {})


def way_out(config: RunConfig, larger: Machine | None) -> str:
    """The smallest machine that would run it, None if there is none, and what else to do."""
    if larger is None:
        would = f"Not even {label(ladder()[-1])} would run it"
    else:
        would = f"The smallest machine that would run it: {label(larger)}"
    ways = [
        *(["such a one"] if larger else []), "a smaller model", "shorter rows",
        *(["fewer bits (qlora)"] if config.method.name is not Method.QLORA else []),
    ]  # fmt: skip
    return f"{would}. Use {', '.join(ways[:-1])} or {ways[-1]}."


@cache
def ladder() -> list[Machine]:
    """Machines of common cards in one node, the one with the least memory first, of equal ones that with fewer GPUs."""
    machines = [parse(f"{count}x{name}") for name in SIZES for count in COUNTS]
    return sorted(machines, key=lambda one: (one.gpus * _size_of(one), one.gpus))


def label(machine: Machine) -> str:
    """One of the ladder in words: ``2 x 80 GiB (H100 SXM)``."""
    return f"{machine.gpus} x {_size_of(machine)} GiB ({machine.cards[0].name})"


def _size_of(machine: Machine) -> int:
    """GiB of one of its GPUs as they are sold, a little more than what can be used."""
    return round(next(row.total for row in CARDS if row.name == machine.cards[0].name) / 1024)
