"""``compare``: what two runs have done otherwise, and what came of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from qltui.cli import exits, output
from qltui.cli.selecting import find_run
from qltui.runs.comparison import ABSENT, Comparison, Difference, compare, parent_of
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

NOT_SAID = "(not said)"


def run_compare(arguments: argparse.Namespace) -> int:
    """Print the fields that differ and the final figures side by side."""
    one = find_run(arguments.run)
    other = find_run(arguments.other) if arguments.other else parent_of(one)
    if other is None:
        raise exits.Refused(f"{one.id} continues no run that is kept here. Name the one to compare it with.")
    if one.path == other.path:
        raise exits.Refused(f"both are {one.id}. Name two runs.")
    found = compare([one, other] if arguments.other else [other, one])
    for problem in found.problems:
        print(f"qltui: {clean(problem)}", file=sys.stderr)
    if arguments.json:
        output.print_json(document(found))
    else:
        print("\n".join(lines(found)))
    return exits.NO if found.problems else exits.FINE


def document(found: Comparison) -> dict[str, Any]:
    """A comparison for ``--json``."""
    return {
        "schema_version": 1,
        "runs": [{key: run[key] for key in ("id", "name", "run_dir", "note", "tags")} for run in found.runs],
        "fields": [one._asdict() for one in found.fields],
        "circumstances": [one._asdict() for one in found.circumstances],
        "figures": {figure.name: figure.values for figure in found.figures},
        "problems": found.problems,
    }


def lines(found: Comparison) -> list[str]:
    """A comparison for people: a table, with what the fields mean under it."""
    head = ("", *(run["id"] for run in found.runs))
    figures = [(figure.name, *figure.texts) for figure in found.figures]
    table = _aligned([head, *_rows(found.fields), *_rows(found.circumstances), *figures])
    parts = [table[:1]]
    begin = 1
    for title, rows in (
        ("fields", found.fields), ("versions and machine", found.circumstances), ("results", found.figures),
    ):  # fmt: skip
        said = table[begin : begin + len(rows)]
        if rows or (title == "fields" and not found.problems):
            parts.append([f"{title}:", *(said or ["  none differs"])])
        begin += len(rows)
    meanings = [wrapped for one in found.fields for wrapped in output.wrapped(clean(f"  {one.path}: {one.meaning}"))]
    parts += [["what the fields mean:", *meanings]] if meanings else []
    return "\n\n".join("\n".join(part) for part in parts).splitlines()


def _rows(differences: Sequence[Difference]) -> list[tuple[str, ...]]:
    return [(one.path, *(value if value != ABSENT else NOT_SAID for value in one.values)) for one in differences]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    cleaned = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cleaned, strict=True)]
    return [
        "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cleaned
    ]
