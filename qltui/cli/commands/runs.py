"""``runs`` and ``status``."""

from __future__ import annotations

from qltui.cli import exits, output
from qltui.cli.selecting import find_run
from qltui.runs import status, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def run_runs(arguments: argparse.Namespace) -> int:
    """Print every run, live ones first."""
    runs = store.list_runs()
    if arguments.json:
        output.print_json(runs)
        return exits.FINE
    if not runs:
        print("No runs yet. Start one: qltui launch demo-cpu")
    width = max((len(run["id"]) for run in runs), default=0)
    for run in runs:
        print(f"{run['id']:{width}}  {output.progress(run)}")
    return exits.FINE


def run_status(arguments: argparse.Namespace) -> int:
    """Print how one run stands."""
    found = status.read(find_run(arguments.run))
    if arguments.json:
        output.print_json(found)
    else:
        print(output.describe(found))
    return exits.FINE
