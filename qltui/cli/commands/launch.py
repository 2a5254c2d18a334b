"""``launch``: load, check, start."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from engine.config.schema import ConfigError
from qltui.cli import exits, output
from qltui.configs import loading, preflight

if TYPE_CHECKING:
    import argparse

    from engine.config.run_config import RunConfig
    from engine.events import RunDirectory


def run_launch(arguments: argparse.Namespace) -> int:
    """Start a run and print its id, alone on stdout; what the options ask for follows on stderr."""
    assignments = list(arguments.assignments)
    if arguments.name is not None:
        assignments.append(f"name={arguments.name}")
    try:
        config = loading.load(arguments.target, assignments)
    except ConfigError as error:
        output.print_problems(error.problems)
        return exits.NO
    problems = preflight.check(config)
    if problems:
        output.print_problems(problems)
        return exits.NO
    if arguments.dry_run:
        from qltui.configs.writing import run_yaml

        print(run_yaml(config), end="")
        print("Nothing was started: this is the run.yaml a launch would write.", file=sys.stderr)
        return exits.FINE
    run = _start(config)
    print(run.id, flush=True)
    return _stay(run, arguments)


def _start(config: RunConfig) -> RunDirectory:
    from qltui.runs import launching

    try:
        run = launching.create(config)
        launching.start(run)
    except launching.LaunchRefused as error:
        raise exits.Refused(str(error)) from None
    return run


def _stay(run: RunDirectory, arguments: argparse.Namespace) -> int:
    if arguments.watch and sys.stdin.isatty() and sys.stdout.isatty():
        from qltui.cli.commands.watch import show

        return show(run)
    if arguments.watch or arguments.wait:
        from qltui.cli.waiting import wait

        return wait(run, sys.stderr)
    print(f"Watch it: qltui watch {run.id}   Stop it: qltui stop {run.id}", file=sys.stderr)
    return exits.FINE
