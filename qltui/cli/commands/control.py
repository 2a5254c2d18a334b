"""``stop`` and ``resume``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from engine.config.schema import ConfigError
from qltui.cli import exits, output
from qltui.cli.selecting import find_run
from qltui.runs import launching, status

if TYPE_CHECKING:
    import argparse

    from engine.events import RunDirectory


def run_stop(arguments: argparse.Namespace) -> int:
    """Ask a live run to save and stop, or to end at once."""
    run = find_run(arguments.run)
    was_queued = status.read_written(run)["state"] == "queued"
    try:
        launching.request_stop(run, now=arguments.now)
    except launching.LaunchRefused as error:
        raise exits.Refused(str(error)) from None
    if was_queued:
        print(f"{run.id} is taken out of the queue.", file=sys.stderr)
        return exits.FINE
    how = "ends now; what was not saved is lost" if arguments.now else "saves and stops after its current step"
    print(f"{run.id} {how}. Follow it: qltui watch {run.id}", file=sys.stderr)
    return exits.FINE


def run_resume(arguments: argparse.Namespace) -> int:
    """Start a new attempt of a run that is not running, or apply one of its diagnosis' fixes."""
    run = find_run(arguments.run)
    try:
        if arguments.apply is None:
            launching.resume(run, queue=arguments.queue)
        else:
            run = _apply(run, arguments)
    except (launching.LaunchRefused, ConfigError) as error:
        raise exits.Refused(str(error)) from None
    print(run.id, flush=True)
    output.print_wait(status.read_written(run))
    if arguments.wait:
        from qltui.cli.waiting import wait

        return wait(run, sys.stderr)
    return exits.FINE


def _apply(run: RunDirectory, arguments: argparse.Namespace) -> RunDirectory:
    """What goes on with a fix: the run itself or a new one; what of it begins anew is said on stderr."""
    from qltui.runs import recovery  # only here: a plain resume does without

    if arguments.queue:
        raise exits.Refused("--queue goes with a plain resume, not with --apply.")
    try:
        started = recovery.apply(run, arguments.apply)
    except recovery.CannotApply as error:
        raise exits.Refused(str(error)) from None
    if started.id != run.id:
        print(f"A new run goes on for {run.id}. {recovery.told(started)}", file=sys.stderr)
    return started
