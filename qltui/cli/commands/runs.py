"""``runs`` and ``status``."""

from __future__ import annotations

from qltui.cli import exits, output
from qltui.cli.selecting import find_run
from qltui.runs import store
from qltui.runs.filtering import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def run_runs(arguments: argparse.Namespace) -> int:
    """Print every run, or those that are asked for, live ones first."""
    wanted = Filter(arguments.filter, arguments.tag)
    runs = store.list_runs()
    fitting = [run for run in runs if wanted.fits(run)]
    if arguments.json:
        output.print_json(fitting)
        return exits.FINE
    if not fitting:
        print(f"None of {len(runs)} runs fits." if runs else "No runs yet. Start one: qltui launch demo-cpu")
    width = max((len(run["id"]) for run in fitting), default=0)
    for run in fitting:
        tags = "".join(f"  #{tag}" for tag in run["tags"])
        print(f"{run['id']:{width}}  {output.progress(run)}{tags}")
    return exits.FINE


def run_status(arguments: argparse.Namespace) -> int:
    """Print how one run stands."""
    found = store.describe(find_run(arguments.run))
    if arguments.json:
        output.print_json(found)
    else:
        print(output.describe(found))
    return exits.FINE
