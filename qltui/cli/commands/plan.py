"""``plan``: the memory of each GPU, the time of a step, and other ways to run, before anything is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.quick_msgspec import msgspec
from engine.config.schema import ConfigError
from qltui import words
from qltui.advice import planner
from qltui.advice.evaluation import advise, blocks
from qltui.advice.findings import Severity
from qltui.advice.our_runs import anywhere, usable_cards, used_cards
from qltui.advice.speed import ERROR
from qltui.cli import exits, output
from qltui.configs import hub, loading
from qltui.facts import architecture as architectures
from qltui.facts import machine as machines
from qltui.runs import store
from qltui.runs.assessment import as_problem, versions_here
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse

    from engine.config.run_config import RunConfig
    from qltui.advice.evaluation import Advice
    from qltui.advice.memory import Fit, Part
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

BAR = 60
"""Columns of a bar."""
FILLS = "█▓▒░▚▞▗▖▘▝"


class Plan(NamedTuple):
    """All that is said of one configuration on one machine."""

    config: RunConfig
    architecture: Architecture
    machine: Machine
    advice: Advice
    fit: Fit
    choice: planner.Choice


def run_plan(arguments: argparse.Namespace) -> int:
    """Print the plan; 1 if the configuration does not fit, or nothing can be said of it."""
    try:
        config = loading.load(arguments.target, arguments.assignments)
    except ConfigError as error:
        output.print_problems(error.problems)
        return exits.NO
    plan = _plan(config, arguments.gpus)
    if arguments.json:
        output.print_json(document(plan))
    else:
        print("\n".join(line for text in _lines(plan) for line in output.wrapped(clean(text))))
    return exits.FINE if plan.fit.fits else exits.NO


def _plan(config: RunConfig, described: str | None) -> Plan:
    try:
        machine = machines.here(store.runs_home()) if described is None else machines.parse(described)
    except machines.UnknownMachine as error:
        raise exits.Refused(f"--gpus: {error}") from error
    config = config if described is None else anywhere(config)
    if not used_cards(config, machine):
        example = "as in --gpus 4xA40" if described is None else "this describes none"
        raise exits.Refused(f"plan: memory is planned for GPUs, and there is none; say which you mean, {example}.")
    try:
        fetched = hub.cached_model(config.model.path, config.model.revision)
        architecture = architectures.find(config.model.path, fetched)
    except (architectures.UnknownModel, architectures.BadConfig) as error:
        raise exits.Refused(f"model.path: {error}") from error
    return plan_run(config, architecture, machine)


def plan_run(config: RunConfig, architecture: Architecture, machine: Machine) -> Plan:
    """All that can be said of a run that takes GPUs of the machine."""
    versions = versions_here()
    advice = advise(config, machine, architecture, versions)
    assert advice.fit is not None, "it takes GPUs, and the model is known"
    used = machine._replace(cards=used_cards(config, machine))
    usable = machine._replace(cards=usable_cards(config, machine))
    choice = planner.choose(
        config, architecture, usable, rows=planner.rows_of_a_step(config, architecture, used),
        blocks=lambda one: blocks(one, machine, architecture, versions),
    )  # fmt: skip
    return Plan(config, architecture, machine, advice, advice.fit, choice)


def document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON."""
    return {
        "fits": plan.fit.fits,
        "per_gpu": {
            "total_bytes": plan.fit.total, "capacity_bytes": plan.fit.capacity, "error_bytes": plan.fit.error,
            "parts": {part.value: size for part, size in plan.fit.parts.items() if size},
            "phases": {phase.value: sum(parts.values()) for phase, parts in plan.fit.plan.phases.items()},
        },
        "host": {"total_bytes": plan.advice.host},
        "seconds_per_step": plan.advice.seconds,
        "why": plan.choice.why,
        "alternatives": [
            {
                "summary": one.summary, "fits": one.fit.fits, "total_bytes": one.fit.total,
                "seconds_per_step": one.time.total, "patch": msgspec.to_builtins(one.patch),
            }
            for one in plan.choice.ranked
        ],
        "rejected": [{"summary": one.summary, "rule": one.rule} for one in plan.choice.rejected],
        "findings": [
            {
                "rule": one.rule, "severity": one.severity.value, "field": one.field, "message": one.message,
                "fix": msgspec.to_builtins(one.fix),
            }
            for one in plan.advice.findings
        ],
        "notes": list(plan.machine.notes),
    }  # fmt: skip


def _lines(plan: Plan) -> list[str]:
    config, fitted = plan.config, plan.fit
    cards = ", ".join(f"{plan.machine.cards.count(card)} x {card.name}" for card in dict.fromkeys(plan.machine.cards))
    nodes = f" on each of {plan.machine.nodes} nodes" if plan.machine.nodes > 1 else ""
    known = "" if plan.architecture.known else ", an architecture estimated from its numbers"
    lines = [
        f"{config.model.path}: {plan.architecture.parameters / 1e9:.2f} B parameters{known}; {cards}{nodes}",
        "",
        f"As configured: {config.method.name.value}, {_summary(config, fitted)}",
        *_fit_lines(fitted),
        f"  {_seconds(plan.advice.seconds or 0)} a step, give or take {words.share(ERROR)}",
    ]
    said = [one for one in plan.advice.findings if one.severity is not Severity.INFO]
    lines += [f"  {one.severity.value}: {as_problem(one)}" for one in said]
    if plan.choice.ranked:
        lines += [
            "",
            "Ways to run it on these GPUs, the best first",
            f"  {plan.choice.why}",
            *_table(plan.choice.ranked),
        ]
    else:
        lines += ["", "Nothing fits these GPUs with this method and batch."]
    left_out = ", ".join(f"{one.summary} ({one.rule})" for one in plan.choice.rejected)
    if left_out:
        lines += ["", f"Left out: {left_out}"]
    return lines + [f"Note: {note}" for note in plan.machine.notes]


def _summary(config: RunConfig, fitted: Fit) -> str:
    training = config.training
    verdict = "fits" if fitted.is_safe else "may just fit" if fitted.fits else "does not fit"
    batch = f"micro batch {training.micro_batch_size} x {training.gradient_accumulation_steps}"
    return f"{config.strategy.name.value}, {batch}, rows of {config.data.max_length} tokens: {verdict}"


def _fit_lines(fitted: Fit) -> list[str]:
    """A bar against the card's memory, and what its parts are."""
    capacity = fitted.capacity or fitted.total
    scale = BAR / max(capacity, fitted.total)
    parts = sorted(((size, part) for part, size in fitted.parts.items() if size), reverse=True)
    bar = "".join(_fill(number) * round(size * scale) for number, (size, _) in enumerate(parts))
    gib = f"{words.size(fitted.total)} of {words.size(capacity)} on each GPU, give or take {words.size(fitted.error)}"
    legend = [
        f"{_fill(number)} {part.value} {words.size(size)}".replace(" ", output.UNBROKEN)
        for number, (size, part) in enumerate(_shown(parts))
    ]
    phases = ", ".join(
        f"{phase.value} {words.size(sum(sizes.values()))}" for phase, sizes in fitted.plan.phases.items() if sizes
    )
    return [f"  {gib}", f"  {bar:·<{BAR}}", f"  {'  '.join(legend)}", f"  torch's allocator at most: {phases}"]


def _shown(parts: list[tuple[int, Part]]) -> list[tuple[int, Part]]:
    """Those that can be seen in the bar."""
    whole = sum(size for size, _ in parts)
    return [(size, part) for size, part in parts if size >= whole / BAR / 2]


def _fill(number: int) -> str:
    return FILLS[min(number, len(FILLS) - 1)]


def _table(ranked: list[planner.Candidate]) -> list[str]:
    width = max(len(one.summary) for one in ranked)
    return [
        f"  {one.summary:{width}}  {words.size(one.fit.total):>9}  {_seconds(one.time.total):>8} for {one.rows} rows"
        for one in ranked
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
