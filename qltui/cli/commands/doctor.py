"""``doctor``: what of this machine helps or hinders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.cli import exits, output
from qltui.facts.doctor import examine, worst
from qltui.runs.store import runs_home

if TYPE_CHECKING:
    import argparse


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print a line for each fact; 1 if one of them is bad."""
    facts = examine(runs_home())
    verdict = worst(facts)
    if arguments.json:
        output.print_json({"verdict": verdict, "facts": [fact._asdict() for fact in facts]})
    else:
        for fact in facts:
            remedy = f"  {fact.remedy}" if fact.remedy else ""
            print(f"{fact.verdict:4}  {fact.name:13} {fact.value}{remedy}")
    return exits.NO if verdict == "bad" else exits.FINE
