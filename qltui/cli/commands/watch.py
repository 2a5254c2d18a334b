"""``watch``: the monitor on a run, or its progress in lines where there is no terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qltui.cli import exits
from qltui.cli.selecting import find_run

if TYPE_CHECKING:
    import argparse

    from engine.events import RunDirectory


def run_watch(arguments: argparse.Namespace) -> int:
    """Show a run until it ends or the user leaves."""
    return show(find_run(arguments.run), readonly=arguments.readonly)


def show(run: RunDirectory, *, readonly: bool = False) -> int:
    """Open the monitor; without a terminal print lines and end with the run's own result."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from qltui.ui.app import watch

        watch(run.path, readonly=readonly)
        return exits.FINE
    from qltui.cli.waiting import wait

    return wait(run, sys.stdout)
