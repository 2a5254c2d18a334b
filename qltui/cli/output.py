"""How results are written: one JSON document, or lines for people. Text from elsewhere is made printable first."""

from __future__ import annotations

import json
import sys

from qltui import words
from qltui.runs.sanitise import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.config.schema import Problem

UNBROKEN = "\N{NO-BREAK SPACE}"
"""Stands for a space at which a line is not to be wrapped."""


def print_json(value: Any) -> None:
    """Print one JSON document; a number that JSON has no word for (a loss of NaN) becomes null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None  # NaN is less than nothing
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def print_problems(problems: Iterable[Problem]) -> None:
    """Print each problem to stderr, one a line."""
    for problem in problems:
        print(f"qltui: {clean(str(problem))}", file=sys.stderr)


def wrapped(text: str) -> list[str]:
    """A line for people as the lines that fit the terminal, later ones a little further in; a pipe gets it whole."""
    if not sys.stdout.isatty():
        return [text.replace(UNBROKEN, " ")]
    import os
    import textwrap

    indent = " " * (len(text) - len(text.lstrip(" ")) + 2)
    lines = textwrap.wrap(
        text, os.get_terminal_size(sys.stdout.fileno()).columns, subsequent_indent=indent, drop_whitespace=True,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(UNBROKEN, " ") for line in lines] or [""]


def print_wait(status: dict[str, Any]) -> None:
    """Say on stderr what a queued run waits for."""
    if status["waiting_for"]:
        print(clean(f"Queued. {status['waiting_for']['reason']}"), file=sys.stderr)


def steps(status: dict[str, Any]) -> str:
    """Steps done of how many."""
    total = status["total_steps"]
    return f"step {status['step']}/{total}" if total else f"step {status['step']}"


def progress(status: dict[str, Any]) -> str:
    """One line on a run that goes on."""
    parts = [f"{status['state']:10}"]
    if status["step"] or status["total_steps"]:
        parts.append(steps(status))
    if status["loss"] is not None:
        parts.append(f"loss {words.number(status['loss'], '.4f')}")
    if status["tokens_per_second"]:
        parts.append(f"{words.number(status['tokens_per_second'])} tokens/s")
    if status["eta_seconds"]:
        parts.append(f"{words.duration(status['eta_seconds'])} left")
    if status["waiting_for"]:
        parts.append(f"waits for {status['waiting_for']['id']}")
    return clean("  ".join(parts)).rstrip()


def describe(status: dict[str, Any]) -> str:
    """Everything people want to know of how a run stands, or ended."""
    rows = [
        ("run", f"{status['id']}, attempt {status['attempt']}"),
        ("state", status["state"]),
        ("because", status["reason"]),
        ("waits for", status["waiting_for"] and _wait(status["waiting_for"])),
        ("note", _if_known(status.get("note") or None, _flat)),
        ("tags", ", ".join(status.get("tags", ()))),
        ("not known", status.get("unseen")),
        *((("recovered" if one["by_itself"] else "changed"), _recovery(one)) for one in status["recoveries"]),
        ("progress", steps(status)),
        ("left", _if_known(status["eta_seconds"], words.duration)),
        ("loss", _if_known(status["loss"], _four_digits)),
        ("eval loss", _if_known(status["eval_loss"], _four_digits)),
        ("speed", _if_known(status["tokens_per_second"], lambda value: f"{words.number(value)} tokens/s")),
        *((f"rank {rank['rank']}", _rank(rank)) for rank in status["ranks"]),
        ("audits", ", ".join(f"{name} {result}" for name, result in status["audits"].items())),
        ("accuracy", _if_known(status.get("accuracy"), words.share)),
        *_answers(status),
        ("adapter", status["adapter_dir"]),
        ("folder", status["run_dir"]),
    ]
    return "\n".join(f"{name:12} {clean(str(value))}" for name, value in rows if value)


def _answers(status: dict[str, Any]) -> list[tuple[str, str | None]]:
    match, sample = status["exact_match"], status["sample"]
    rows: list[tuple[str, str | None]] = []
    if match["before"] is not None or match["after"] is not None:
        rows.append(("exact match", f"{words.share(match['before'])} before, {words.share(match['after'])} after"))
    if sample:
        rows += [("sample", _flat(sample["prompt"])), ("  wanted", _flat(sample["wanted"]))]
        rows += [("  before", _flat(sample["before"])), ("  after", _flat(sample["after"]))]
    return rows


def _recovery(one: dict[str, Any]) -> str:
    """What a run died of and how it went on."""
    into = f" as {one['into']}" if one.get("into") else ""
    return f"attempt {one['attempt']} died at step {one['step']} ({one['cause']}); it went on{into}: {one['fix']}"


def _flat(text: Any) -> str | None:
    return None if text is None else " ".join(str(text).split()) or "(nothing)"


def _rank(rank: dict[str, Any]) -> str:
    memory = words.size(rank["memory_peak"])
    seconds = words.number(rank["step_time"], ".3f")
    return f"step {rank['step']}, {seconds} s a step, memory peak {memory}"


def _wait(waiting_for: dict[str, Any]) -> str:
    return f"{waiting_for['id']}: {waiting_for['reason']}"


def _four_digits(value: float) -> str:
    return words.number(value, ".4f")


def _if_known(value: Any, form: Any) -> str | None:
    return None if value is None else form(value)
