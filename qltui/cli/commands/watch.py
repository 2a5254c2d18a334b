"""``watch``: the monitor on a run, or its progress in lines where there is no terminal. Runs of other programs too."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qltui.cli import exits
from qltui.runs import store
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse

    from engine.events import RunDirectory


def run_watch(arguments: argparse.Namespace) -> int:
    """Show a run until it ends or the user leaves: one of ours, or else what there is at a path."""
    try:
        run = store.find(arguments.run)
    except store.RunNotFound as error:
        path = Path(arguments.run).expanduser()
        if path.exists():
            return show_foreign(path)
        if os.sep in arguments.run:
            raise exits.Refused(f"There is no such file or folder: {clean(str(path))}.") from None
        raise exits.Refused(str(error)) from None
    return show(run, readonly=arguments.readonly)


def show(run: RunDirectory, *, readonly: bool = False) -> int:
    """Open the monitor; without a terminal print lines and end with the run's own result."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        from qltui.ui.app import watch

        watch(run.path, readonly=readonly)
        return exits.FINE
    from qltui.cli.waiting import wait

    return wait(run, sys.stdout)


def show_foreign(path: Path) -> int:
    """The same for a run that another program started.

    Raises:
        Refused: there is none at the path.
    """
    from qltui.runs.foreign.finding import NoRun
    from qltui.runs.foreign.follow import ForeignFollower

    try:
        follower = ForeignFollower(path)
    except NoRun as error:
        raise exits.Refused(clean(str(error))) from None
    if sys.stdin.isatty() and sys.stdout.isatty():
        from qltui.ui import terminal
        from qltui.ui.app import QltuiApp
        from qltui.ui.screens.monitor import Monitor

        terminal.prepare()
        QltuiApp(lambda: Monitor(follower.path, readonly=True, source=follower)).run()
        return exits.FINE
    from qltui.cli.commands.watch_foreign import wait

    return wait(follower, sys.stdout)
