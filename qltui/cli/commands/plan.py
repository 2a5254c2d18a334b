"""``plan``: the memory of each GPU, the time of a step, and other ways to run, before anything is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.quick_msgspec import msgspec
from engine.config.schema import ConfigError
from qltui import words
from qltui.advice import planner
from qltui.advice.evaluation import blocks
from qltui.advice.findings import Severity
from qltui.advice.fitting_rows import OF_FITTING, epoch
from qltui.advice.lengths import of_samples
from qltui.advice.our_runs import anywhere, usable_cards, used_cards
from qltui.advice.verdicts import ROWS_CUT, ROWS_PADDED
from qltui.cli import exits, output
from qltui.configs import hub, loading, row_lengths
from qltui.facts import architecture as architectures
from qltui.facts import machine as machines
from qltui.runs import store
from qltui.runs.assessment import advise_for, as_problem, versions_here
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse

    from engine.config.run_config import RunConfig
    from qltui.advice.evaluation import Advice
    from qltui.advice.findings import Finding
    from qltui.advice.fitting_rows import Epoch
    from qltui.advice.lengths import Lengths
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
    lengths: Lengths | None
    """Of its rows, where the data is a file here."""
    epoch: Epoch | None

    @property
    def samples(self) -> int | None:
        """Of an epoch, as micro batches count them: rows, or sequences of packed ones."""
        return of_samples(self.lengths, self.config).rows if self.lengths else None

    @property
    def blocks(self) -> list[Finding]:
        """What would stop its launch."""
        return [one for one in self.advice.findings if one.severity is Severity.BLOCK]


def run_plan(arguments: argparse.Namespace) -> int:
    """Print the plan; 1 if something blocks the configuration, as not fitting does, or nothing can be said of it."""
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
    return exits.NO if plan.blocks else exits.FINE


def _plan(config: RunConfig, described: str | None) -> Plan:
    try:
        machine = machines.here(store.runs_home()) if described is None else machines.parse(described)
    except machines.UnknownMachine as error:
        raise exits.Refused(f"--gpus: {error}") from error
    config = config if described is None else anywhere(config)
    if not used_cards(config, machine):
        none = "there is none here" if described is None else f"--gpus {described} describes none"
        meant = config.hardware.planned_for
        meant = meant if meant not in ("", "cpu") else "4xA40"
        raise exits.Refused(f"plan: memory is planned for GPUs, and {none}; say which you mean, as in --gpus {meant}.")
    try:
        fetched = hub.cached_model(config.model.path, config.model.revision)
        architecture = architectures.find(config.model.path, fetched)
    except (architectures.UnknownModel, architectures.BadConfig) as error:
        raise exits.Refused(f"model.path: {error}") from error
    return plan_run(config, architecture, machine, row_lengths.measured(config))


def plan_run(
    config: RunConfig, architecture: Architecture, machine: Machine, lengths: Lengths | None = None
) -> Plan:  # fmt: skip
    """All that can be said of a run that takes GPUs of the machine, for rows of these lengths where they are known."""
    versions = versions_here()
    advice = advise_for(config, machine, architecture, lengths)
    assert advice.fit is not None, "it takes GPUs, and the model is known"
    used = machine._replace(cards=used_cards(config, machine))
    usable = machine._replace(cards=usable_cards(config, machine))
    choice = planner.choose(
        config, architecture, usable, lengths=lengths, rows=planner.rows_of_a_step(config, architecture, used),
        blocks=lambda one: blocks(one, machine, architecture, versions),
    )  # fmt: skip
    found = epoch(config, architecture, machine, lengths) if lengths else None
    return Plan(config, architecture, machine, advice, advice.fit, choice, lengths, found)


def document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON."""
    return {
        "fits": plan.fit.fits,
        "verdict": plan.fit.verdict,
        "blocked": bool(plan.blocks),
        "per_gpu": {
            "total_bytes": plan.fit.total, "capacity_bytes": plan.fit.capacity, "error_bytes": plan.fit.error,
            "parts": {part.value: size for part, size in plan.fit.parts.items() if size},
            "phases": {phase.value: sum(parts.values()) for phase, parts in plan.fit.plan.phases.items()},
        },
        "host": {"total_bytes": plan.advice.host},
        "seconds_per_step": plan.advice.seconds,
        "rows": _rows(plan.config, plan.lengths, plan.epoch) if plan.lengths and plan.epoch else None,
        "seconds_per_epoch": plan.epoch.seconds if plan.epoch else None,
        "why": plan.choice.why,
        "alternatives": [
            {
                "summary": one.summary, "fits": one.fit.fits, "total_bytes": one.fit.total,
                "host_bytes": one.host,
                "seconds_per_step": one.time.total,
                "seconds_per_epoch": one.seconds_per_row * plan.samples if plan.samples else None,
                "patch": msgspec.to_builtins(one.patch),
            }
            for one in plan.choice.ranked
        ],
        "rejected": [{"summary": one.summary, "rule": one.rule} for one in plan.choice.rejected],
        "findings": [
            {
                "rule": one.rule, "severity": one.severity.value, "field": one.field, "message": one.message,
                "why": one.why, "source": one.source,
                "fix": msgspec.to_builtins(one.fix),
            }
            for one in plan.advice.findings
        ],
        "notes": list(plan.machine.notes),
    }  # fmt: skip


def _rows(config: RunConfig, lengths: Lengths, epoch: Epoch) -> dict[str, Any]:
    longest = config.data.max_length
    return {
        "rows": lengths.rows, "read": lengths.read, "measured": lengths.measured,
        "mean_tokens": lengths.mean(longest), "longest_tokens": lengths.longest_row(longest),
        "cut": lengths.cut(longest), "padding": epoch.padding, "tokens_per_epoch": epoch.tokens,
        "steps_per_epoch": epoch.steps, "error": epoch.error,
    }  # fmt: skip


def _lines(plan: Plan) -> list[str]:
    config, fitted, time = plan.config, plan.fit, plan.advice.time
    cards = ", ".join(f"{plan.machine.cards.count(card)} x {card.name}" for card in dict.fromkeys(plan.machine.cards))
    nodes = f" on each of {plan.machine.nodes} nodes" if plan.machine.nodes > 1 else ""
    known = "" if plan.architecture.known else ", an architecture estimated from its numbers"
    lines = [
        f"{config.model.path}: {_parameters(plan.architecture.parameters)} parameters{known}; {cards}{nodes}",
        "",
        f"As configured: {config.method.name.value}, {_summary(plan)}",
        *_fit_lines(fitted),
        *(
            [f"  {words.size(plan.advice.host)} of each host's memory, for what is offloaded"]
            if plan.advice.host
            else []
        ),
        *([f"  {_seconds(time.total)} a step, give or take {words.share(time.error)}"] if time else []),
        *(_epoch_lines(config, plan.lengths, plan.epoch) if plan.lengths and plan.epoch else []),
    ]
    said = [
        one for one in plan.advice.findings
        if one.severity is not Severity.INFO or one.rule in (ROWS_CUT.id, ROWS_PADDED.id)
    ]  # fmt: skip
    lines += [f"  {one.severity.value}: {as_problem(one)}" for one in said]
    if plan.choice.ranked:
        lines += [
            "",
            "Ways to run it on these GPUs, the best first",
            f"  {plan.choice.why}",
            *_table(plan.choice.ranked, plan.samples, "sequence" if config.data.packing else "row"),
        ]
    else:
        lines += ["", "Nothing fits these GPUs with this method and batch."]
    left_out = ", ".join(f"{one.summary} ({one.rule})" for one in plan.choice.rejected)
    if left_out:
        lines += ["", f"Left out: {left_out}"]
    return lines + [f"Note: {note}" for note in plan.machine.notes]


def _parameters(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M"


def _summary(plan: Plan) -> str:
    config, lengths = plan.config, plan.lengths
    training, longest = config.training, config.data.max_length
    others = [one.rule for one in plan.blocks if one.rule not in OF_FITTING]
    blocked = f", but is blocked by {', '.join(others)}" if others else ""
    batch = f"micro batch {training.micro_batch_size} x {training.gradient_accumulation_steps}"
    if plan.config.data.packing:
        rows = f"rows packed into sequences of up to {longest} tokens"
    else:
        rows = f"rows of up to {lengths.longest_row(longest)} tokens" if lengths else f"rows of {longest} tokens"
    return f"{config.strategy.name.value}, {batch}, {rows}: {plan.fit.verdict}{blocked}"


def _epoch_lines(config: RunConfig, lengths: Lengths, epoch: Epoch) -> list[str]:
    how = "counted with the model's tokenizer" if lengths.measured else "estimated from their bytes"
    read = f"{lengths.read:,} of them " if lengths.read < lengths.rows else ""
    padding = f", {words.share(epoch.padding)} of the computing is padding" if epoch.padding >= 0.01 else ""
    steps = words.counted(max(1, round(epoch.steps)), "step")
    sequences = words.counted(of_samples(lengths, config).rows, "sequence")
    packed = f", packed into {sequences}" if config.data.packing else ""
    return [
        f"  {words.counted(lengths.rows, 'row')} of {lengths.mean(config.data.max_length):.0f} tokens on average,"
        f" {read}{how}{packed}",
        f"  an epoch: {_tokens(epoch.tokens)} tokens in {steps}{padding}; about"
        f" {words.duration(epoch.seconds)}, give or take {words.share(epoch.error)}",
    ]


def _tokens(count: float) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e6 else f"{count:,.0f}"


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


def _table(ranked: list[planner.Candidate], samples: int | None, sample: str) -> list[str]:
    width = max(len(one.summary) for one in ranked)

    def host(one: planner.Candidate) -> str:
        return f", {words.size(one.host)} of each host's memory" if one.host else ""

    def epoch(one: planner.Candidate) -> str:
        return f", {words.duration(one.seconds_per_row * samples)} an epoch" if samples else ""

    return [
        f"  {one.summary:{width}}  {words.size(one.fit.total):>9}  {_seconds(one.time.total):>8}"
        f" for {words.counted(one.rows, sample)}{epoch(one)}{host(one)}"
        for one in ranked
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
