"""``merge``: a run's adapter and its base as one model, or whether vLLM takes the adapter as it is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from engine.config.reading import read_file
from engine.config.schema import ConfigError
from qltui import words
from qltui.cli import exits, output
from qltui.cli.selecting import find_run
from qltui.runs import serving
from qltui.runs.merging import MergeRefused, merge
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from engine.events import RunDirectory


def run_merge(arguments: argparse.Namespace) -> int:
    """Merge, with progress on stderr; or check for vLLM, 1 if it would refuse the adapter."""
    if (arguments.out is None) != arguments.check_vllm:
        print("qltui merge: error: one of --out DIR and --check-vllm is needed", file=sys.stderr)
        return exits.USAGE
    run = find_run(arguments.run)
    return _check(run, arguments) if arguments.check_vllm else _merge(run, arguments)


def _merge(run: RunDirectory, arguments: argparse.Namespace) -> int:
    options = ["--out", arguments.out, "--base", arguments.base]
    for name in ("checkpoint", "dtype"):
        if (value := getattr(arguments, name)) is not None:
            options += [f"--{name}", str(value)]
    begun = time.monotonic()
    try:
        merged = merge(run, options, _Progress(begun))
    except MergeRefused as refusal:
        raise exits.Refused(clean(str(refusal))) from None
    seconds = time.monotonic() - begun
    if arguments.json:
        output.print_json({"schema_version": 1, "run": run.id, **merged, "seconds": round(seconds, 1)})
    else:
        print("\n".join(clean(line) for line in _lines(run, merged, seconds)))
    return exits.FINE


SECONDS_BETWEEN_LINES = 5.0
"""Of a log; on a terminal one line changes."""


class _Progress:
    """Says on stderr how far it is."""

    def __init__(self, begun: float) -> None:
        self._begun = self._said = begun

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._said < SECONDS_BETWEEN_LINES and not sys.stderr.isatty():
            return
        self._said = now
        left = (now - self._begun) * (total - done) / done if 0 < done < total else None
        told = f"{words.size(done)} of {words.size(total)}" + (f", {words.duration(left)} left" if left else "")
        end = "\n" if done == total or not sys.stderr.isatty() else "\033[K\r"
        print(told, end=end, file=sys.stderr, flush=True)


def _lines(run: RunDirectory, merged: dict[str, Any], seconds: float) -> list[str]:
    base = "the weights it was trained with" if merged["base"] == "dequantized" else "the weights of the base's files"
    lines = [
        f"{merged['out']}: {words.size(merged['bytes'])} in {merged['dtype']}, {merged['changed']} of "
        f"{merged['tensors']} tensors changed by {merged['adapter']}, on {base}; {words.duration(seconds)}.",
    ]
    if not merged["base_is_checked"]:
        lines.append(f"{run.id} did not record its base, so nobody knows that it is still the same.")
    if merged["is_untied"]:
        lines.append("Embedding and head were one weight in the base; the adapter made them two.")
    return [*lines, f"Serve it: vllm serve {merged['out']}"]


def _check(run: RunDirectory, arguments: argparse.Namespace) -> int:
    """Say what vLLM takes of the adapter, and the command that serves it, or the one that merges first."""
    try:
        config = read_file(run.run_yaml)
        served = serving.check(config, _adapter(run, arguments.checkpoint), config.name)
    except ConfigError as error:
        output.print_problems(error.problems)
        return exits.NO
    except serving.NoAdapter as error:
        raise exits.Refused(clean(str(error))) from None
    command = served.command if served.is_taken else f"qltui merge {run.id} --out DIR && vllm serve DIR"
    if arguments.json:
        points = [point._asdict() for point in served.points]
        output.print_json(
            {"schema_version": 1, "run": run.id, "adapter": str(served.adapter), "vllm": served.version,
             "accepted": served.is_taken, "points": points, "command": command}
        )  # fmt: skip
    else:
        width = max(len(point.what) for point in served.points)
        lines = [f"{point.verdict:8}{point.what:{width}}  {point.says}  [{point.source}]" for point in served.points]
        verdict = "takes" if served.is_taken else "refuses"
        lines.append(f"vLLM {served.version} {verdict} {served.adapter} as it is. Serve it: {command}")
        print("\n".join(line for text in lines for line in output.wrapped(clean(text))))
    return exits.FINE if served.is_taken else exits.NO


def _adapter(run: RunDirectory, step: int | None) -> Path:
    """The folder of the run's newest adapter, or of the one at a checkpoint.

    Raises:
        NoAdapter: there is none.
    """
    found = run.saved_adapters()
    folder = found.get(step) if step is not None else next(reversed(found.values()), None)
    if folder is None:
        where = "" if step is None else f" at step {step}"
        raise serving.NoAdapter(f"{run.id} has saved no adapter{where}; a run that trains every weight saves none.")
    return folder
