"""``launch``: load, ask files and rules, start."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from engine.config.schema import ConfigError
from qltui.advice.findings import Severity
from qltui.cli import exits, output
from qltui.cli.selecting import find_run
from qltui.configs import loading
from qltui.runs import status
from qltui.runs.assessment import Assessment, as_problem, assess
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

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
    assessed = assess(config, forced=arguments.forced)
    if arguments.adapt:
        assessed = _adapted(assessed)
    if assessed.refusals:
        output.print_problems(assessed.refusals)
        if assessed.blocks and config.hardware.planned_for:
            _offer(assessed, arguments)
        return exits.NO
    _print_findings(assessed, all_of_them=arguments.dry_run)
    if arguments.dry_run:
        from qltui.configs.writing import run_yaml

        print(run_yaml(assessed.config), end="")
        print("Nothing was started: this is the run.yaml a launch would write.", file=sys.stderr)
        return exits.FINE
    run = _start(assessed, arguments)
    print(run.id, flush=True)
    if arguments.per_node_commands:
        return _print_commands(run, assessed)
    output.print_wait(status.read_written(run))
    return _stay(run, arguments)


def _adapted(assessed: Assessment) -> Assessment:
    """The run as it fits this machine, each change told; as it was where it fits, or nothing would make it."""
    from qltui.runs.adaptation import Standing, adaptation

    found = adaptation(assessed)
    if found.standing is not Standing.ADAPTED:
        return assessed
    _say("Adapted to this machine:")
    for change in found.changes:
        _say(f"  {change}")
    return assess(found.config, forced=assessed.forced)


def _offer(assessed: Assessment, arguments: argparse.Namespace) -> None:
    """How the planner would have it, where that runs: what changes, and the command that does it."""
    from qltui.runs.adaptation import Standing, adaptation, as_assignments

    found = adaptation(assessed)
    if found.standing is Standing.NOTHING and found.reason not in {one.message for one in assessed.blocks}:
        _say(f"No other way either: {found.reason}")
    if not assessed.machine.cards and found.standing is Standing.NOTHING:
        _say(f"What can be tried without GPUs: qltui rehearse {shlex.quote(arguments.target)}")
    if found.standing is not Standing.ADAPTED:
        return
    _say("Adapted to this machine it would run:")
    for change in found.changes:
        _say(f"  {change}")
    command = ["qltui", "launch", arguments.target]
    command += ["--name", arguments.name] if arguments.name is not None else []
    command += _each("--set", arguments.assignments) + _each("--force", arguments.forced)
    _say(f"Launch it so:      {shlex.join([*command, '--adapt'])}")
    _say(f"The same by hand:  {shlex.join(command + _each('--set', as_assignments(found)))}")


def _each(option: str, values: Iterable[str]) -> list[str]:
    """An option that is given once for each value."""
    return [word for value in values for word in (option, value)]


def _print_findings(assessed: Assessment, *, all_of_them: bool) -> None:
    """What was overridden and what is warned of, a line each on stderr; hints too where ``all_of_them`` are wanted."""
    for finding in assessed.advice.findings:
        if all_of_them or finding.severity is not Severity.INFO:
            how = "forced" if finding.severity is Severity.BLOCK else finding.severity.value
            _say(f"{how}: {as_problem(finding)}")
    for rule in assessed.idle_forces:
        _say(f"--force {rule}: this rule does not block the run, so nothing was overridden.")


def _say(text: str) -> None:
    print(clean(text), file=sys.stderr)


def _start(assessed: Assessment, arguments: argparse.Namespace) -> RunDirectory:
    from qltui.runs import launching

    after = None if arguments.after is None else find_run(arguments.after)
    try:
        return launching.launch(assessed, queue=arguments.queue, after=after, by_hand=arguments.per_node_commands)
    except launching.LaunchRefused as error:
        raise exits.Refused(str(error)) from None


def _print_commands(run: RunDirectory, assessed: Assessment) -> int:
    """A line for each node on stdout; nothing is started here."""
    from qltui.runs.hosts import per_node_commands

    for command in per_node_commands(run, assessed.config):
        print(command)
    _say("A line for each node, to be run there within ten minutes of the first; --master-addr is the first node's.")
    return exits.FINE


def _stay(run: RunDirectory, arguments: argparse.Namespace) -> int:
    if arguments.watch and sys.stdin.isatty() and sys.stdout.isatty():
        from qltui.cli.commands.watch import show

        return show(run)
    if arguments.watch or arguments.wait:
        from qltui.cli.waiting import wait

        return wait(run, sys.stderr)
    print(f"Watch it: qltui watch {run.id}   Stop it: qltui stop {run.id}", file=sys.stderr)
    return exits.FINE
