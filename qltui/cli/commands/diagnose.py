"""``diagnose``: why a run died, or what any training log shows of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from engine.config.schema import as_text
from qltui.cli import exits, output
from qltui.runs.diagnosis.diagnosis import diagnose_log
from qltui.runs.diagnosis.excerpt import is_text
from qltui.runs.sanitise import clean
from qltui.words import size

if TYPE_CHECKING:
    import argparse

    from qltui.runs.diagnosis.causes.cause import Fix
    from qltui.runs.diagnosis.diagnosis import Diagnosis

LOOKED_AT = 64 * 1024
"""Bytes by which a file is told from one that is no text."""
FIXES_SHOWN = 8


def run_diagnose(arguments: argparse.Namespace) -> int:
    """Print the diagnosis; 0 if nothing is wrong, 1 if something is."""
    if arguments.bundle is not None and arguments.target == "-":
        raise exits.Refused("--bundle takes a run or a log file: what is piped in is gone once it is read.")
    found = _diagnose(arguments.target)
    if arguments.json:
        output.print_json(found.as_json())
    else:
        print("\n".join(_lines(found)))
        if arguments.target != "-" and not os.path.isfile(arguments.target) and any(fix.patch for fix in found.fixes):
            print(f"\nChange it so and go on: qltui resume {arguments.target} --apply NUMBER")
    if arguments.bundle is not None:
        _bundle(arguments, found)
    return exits.FINE if found.cause == "none" else exits.NO


def _diagnose(target: str) -> Diagnosis:
    if target == "-":
        return diagnose_log(sys.stdin.buffer, "-")
    if os.path.isfile(target):
        try:
            with open(target, "rb") as file:
                if not is_text(file.read(LOOKED_AT)):
                    raise exits.Refused(
                        f"{target} is no log: most of it is no text. Give the file that was printed into."
                    )
                file.seek(0)
                return diagnose_log(file, target)
        except OSError as error:
            raise exits.Refused(f"{target} cannot be read: {error.strerror}.") from None
    return _of_run(target)


def _of_run(target: str) -> Diagnosis:
    from qltui.cli.selecting import find_run
    from qltui.runs.diagnosis.own_runs import NotEnded, diagnose_run

    try:
        return diagnose_run(find_run(target))
    except NotEnded as error:
        raise exits.Refused(str(error)) from None


def _bundle(arguments: argparse.Namespace, found: Diagnosis) -> None:
    """Write the archive and say what is in it: on the error stream where a program reads the other."""
    from pathlib import Path

    from qltui.cli.selecting import find_run
    from qltui.runs.bundle import bundle_log, bundle_run

    file = Path(arguments.bundle) if arguments.bundle else None
    try:
        if os.path.isfile(arguments.target):
            written = bundle_log(Path(arguments.target), found, file)
        else:
            written = bundle_run(find_run(arguments.target), found, file)
    except OSError as error:
        where = arguments.bundle or error.filename
        raise exits.Refused(f"The report can't be written to {where}: {error.strerror}.") from None
    stream = sys.stderr if arguments.json else sys.stdout
    lines = [f"  {size(count):>9}  {name}" for name, count in written.files]
    told = f"Report written to {written.path}, masked {written.masked} times. In it, to be read before it is published:"
    print("\n".join(["", told, *lines]), file=stream)


def _lines(found: Diagnosis) -> list[str]:
    if found.cause == "none":
        return [found.explanation]
    where = f" on rank {found.rank}" if found.rank is not None else ""
    when = f", in {found.phase}" if found.phase else ""
    lines = [f"{found.title[:1].upper()}{found.title[1:]}{where}{when}  ({found.cause}, {found.confidence})", ""]
    lines += [clean(found.explanation), "", "Evidence"]
    lines += [f"  {one.file}:{one.line}  {clean(one.text)}" for one in found.evidence]
    if found.fixes:
        lines += ["", "What to do"]
        for number, fix in enumerate(found.fixes[:FIXES_SHOWN], 1):
            lines += _fix_lines(number, fix)
    return lines


def _fix_lines(number: int, fix: Fix) -> list[str]:
    """A fix, how it is done, and what it changes."""
    sets = "  ".join(f"{field}={as_text(value)}" for field, value in fix.patch)
    return [f"  {number}. {fix.title}", *(f"     {clean(told)}" for told in (sets, fix.command, fix.effect) if told)]
