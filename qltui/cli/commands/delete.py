"""``delete``: what goes is told, asked, and only then deleted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qltui import words
from qltui.cli import exits
from qltui.cli.selecting import find_run
from qltui.runs import removal
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from qltui.runs.removal import Removal


def run_delete(arguments: argparse.Namespace) -> int:
    """Delete runs, all or none of those that are named: if one is refused, every one stays."""
    runs = {run.path: run for run in map(find_run, arguments.runs)}.values()
    try:
        planned = [removal.preview(run, keep_adapters=arguments.keep_adapters) for run in runs]
    except removal.RemovalRefused as error:
        raise exits.Refused(clean(str(error))) from None
    if not arguments.yes and not _agreed(planned):
        print("Nothing was deleted.", file=sys.stderr)
        return exits.NO
    for plan in planned:
        try:
            freed = removal.remove(plan.run, keep_adapters=plan.keeps_adapters)
        except removal.RemovalRefused as error:
            raise exits.Refused(clean(str(error))) from None
        how = f"{plan.run.id}: all but {', '.join(plan.kept)} deleted" if plan.kept else f"{plan.run.id} deleted"
        print(f"{how}, {words.size(freed)} freed.")
    return exits.FINE


def _agreed(planned: Sequence[Removal]) -> bool:
    """Whether the user, who is told what goes, says yes.

    Raises:
        Refused: there is nobody to ask.
    """
    for plan in planned:
        print(clean(f"{plan.run.id}: {' '.join(plan.sentences)}"), file=sys.stderr)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise exits.Refused("Nothing was deleted: there is no terminal to ask on. Pass --yes to delete without asking.")
    what = "it" if len(planned) == 1 else f"these {len(planned)} runs"
    print(f"Delete {what}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
