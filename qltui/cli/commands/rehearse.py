"""``rehearse``: the run on CPU ranks with a small model, before GPUs are paid for."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

from engine.config.choices import StrategyName
from engine.config.schema import ConfigError
from qltui import words
from qltui.advice.findings import Severity
from qltui.cli import exits, output
from qltui.configs import loading
from qltui.runs import rehearsal
from qltui.runs.rehearsal_plan import rehearsed_strategy
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from engine.config import RunConfig


def run_rehearse(arguments: argparse.Namespace) -> int:
    """Rehearse; progress goes to stderr, what was proven and what was not to stdout."""
    # The app cancels a rehearsal so, also an app that was started where interrupts are ignored, which is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        config = loading.load(arguments.target, arguments.assignments)
        usage = _usage(config, arguments.ranks)
        if usage:
            print(f"qltui rehearse: error: {usage}", file=sys.stderr)
            return exits.USAGE
        problems = rehearsal.check(config)
        if problems:
            raise ConfigError(problems)
        outcome = rehearsal.rehearse(config, arguments.ranks, _say)
    except ConfigError as error:
        output.print_problems(error.problems)
        return _not_rehearsed(str(error), arguments.json)
    except rehearsal.RehearsalRefused as error:
        print(f"qltui: {clean(str(error))}", file=sys.stderr)
        return _not_rehearsed(str(error), arguments.json)
    if arguments.json:
        output.print_json(_document(outcome))
    else:
        print("\n".join(_lines(outcome)))
    return exits.FINE if outcome.failure is None else exits.NO


def _usage(config: RunConfig, ranks: int | None) -> str | None:
    """What is wrong with ``--ranks``."""
    strategy = config.strategy.name
    several = rehearsed_strategy(strategy) is not StrategyName.SINGLE
    if ranks is None or (ranks >= 2 if several else ranks == 1):
        return None
    wanted = "two ranks or more" if several else "one rank"
    return f"argument --ranks: {strategy.value} is rehearsed on {wanted}, not on {ranks}"


def _say(line: str) -> None:
    print(clean(line), file=sys.stderr, flush=True)


def _not_rehearsed(reason: str, as_json: bool) -> int:
    if as_json:
        failure = {"phase": None, "rank": None, "error": None, "message": reason}
        output.print_json(
            {"ok": False, "run": None, "ranks": None, "changed": [], "proven": [], "unproven": [], "audits": {},
             "plan": None, "failure": failure}
        )  # fmt: skip
    return exits.NO


def _document(outcome: rehearsal.Outcome) -> dict[str, Any]:
    return {
        "ok": outcome.failure is None,
        "run": outcome.run.id,
        "ranks": outcome.ranks,
        "changed": [
            {"field": one.field, "from": one.before, "to": one.after, "why": one.why} for one in outcome.changed
        ],
        "proven": [{"what": one.what, "detail": one.detail} for one in outcome.proven],
        "unproven": outcome.unproven,
        "audits": outcome.audits,
        "plan": outcome.plan,
        "failure": outcome.failure,
    }


def _lines(outcome: rehearsal.Outcome) -> list[str]:
    lines = ["Proven", *_table((one.what, one.detail) for one in outcome.proven)]
    lines += ["", "Changed for the rehearsal"]
    lines += _table((one.field, f"{one.before} -> {one.after}: {one.why}") for one in outcome.changed)
    lines += ["", "The run itself on this machine", *_table(_planned(outcome.plan))]
    lines += ["", "A rehearsal leaves unproven", *(f"  {clean(one)}" for one in outcome.unproven), ""]
    if outcome.failure:
        lines += [f"Failed: {clean(str(outcome.failure['message']))}", f"See: qltui logs {outcome.run.id}"]
    else:
        lines.append(f"The rehearsal went well. It stays as {outcome.run.id}")
    return lines


def _planned(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is predicted of the run itself, and what would stop it or should be known."""
    memory = plan["memory"]
    if memory is not None:
        total, capacity, error = (words.size(memory[f"{name}_bytes"]) for name in ("total", "capacity", "error"))
        yield "memory", f"{total} of {capacity} on the fullest GPU, give or take {error}"
    elif plan["machine"]["gpus"]:
        yield "memory", "not planned: the model is not known, or the run takes no GPU"
    else:
        yield "memory", "not planned: no GPU is here. qltui plan FILE --gpus 4xA40 plans it for other machines"
    for finding in plan["findings"]:
        if finding["severity"] != Severity.INFO:
            yield finding["severity"], f"{finding['message']} [{finding['rule']}]"


def _table(rows: Any) -> list[str]:
    shown = [(clean(name), clean(text)) for name, text in rows]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"  {name:{width}}  {text}" for name, text in shown] or ["  nothing"]
