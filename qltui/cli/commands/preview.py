"""``preview``: the first rows as the model will see them, and how long the rows are."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import TYPE_CHECKING

import msgspec

from engine.config.inspection import Coverage, LengthsProgress
from engine.config.schema import ConfigError
from qltui import words
from qltui.cli import exits, output
from qltui.configs import loading
from qltui.runs.helper_process import Unanswered
from qltui.runs.inspection import Inspection, InspectionRefused
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from engine.config import RunConfig
    from engine.config.inspection import Lengths, Preview, PreviewRow, Segment

BAR = 40
"""Columns of the longest bar."""
MOST_ROWS = 1000
CHARACTERS = 4000
"""Of a row that are shown."""
QUANTILES_SHOWN = ("50", "90", "99", "100")


def run_preview(arguments: argparse.Namespace) -> int:
    """Print rows, what is learnt of them in «», and lengths; 1 if there is nothing to show or a row cannot be used."""
    if not 1 <= arguments.rows <= MOST_ROWS:
        print(f"qltui preview: error: argument --rows: 1 to {MOST_ROWS} can be shown", file=sys.stderr)
        return exits.USAGE
    try:
        config = loading.load(arguments.target, arguments.assignments)
    except ConfigError as error:
        output.print_problems(error.problems)
        return exits.NO
    try:
        preview, lengths, problem = asyncio.run(_ask(config, arguments.rows))
    except Unanswered as error:
        raise exits.Refused(str(error)) from None
    if arguments.json:
        output.print_json({"preview": msgspec.to_builtins(preview), "lengths": msgspec.to_builtins(lengths)})
    else:
        print("\n".join([*_rows(preview, config), *(_lengths(lengths) if lengths else [])]))
    if problem:
        print(f"qltui: {clean(problem)}", file=sys.stderr)
    return exits.NO if problem or any(row.problem for row in preview.rows) else exits.FINE


async def _ask(config: RunConfig, rows: int) -> tuple[Preview, Lengths | None, str | None]:
    """(rows, lengths, why one of them is not there)."""
    inspection = Inspection()
    try:
        preview = await inspection.preview(config, rows=rows, characters=CHARACTERS)
        lengths = None
        if preview.problem is None:
            try:
                lengths = await _last(inspection.lengths(config))
            except InspectionRefused as refusal:
                return preview, None, str(refusal)
        return preview, lengths, preview.problem
    finally:
        await inspection.close()


async def _last(answers: AsyncIterator[LengthsProgress | Lengths]) -> Lengths | None:
    """The answer, without the progress before it."""
    found = None
    async for answer in answers:
        found = None if isinstance(answer, LengthsProgress) else answer
    return found


def _rows(preview: Preview, config: RunConfig) -> list[str]:
    if preview.format is None:
        return [clean(f"{preview.source}: columns {', '.join(preview.columns)}")]
    mapping = ", ".join(ours if ours == theirs else f"{theirs} as {ours}" for ours, theirs in preview.mapping.items())
    lines = [clean(f"{preview.source}: {preview.format.value} ({mapping}); {preview.template or 'no template'}")]
    for row in preview.rows:
        lines += ["", clean(_heading(row, config)), *_marked(row.segments)]
        if not row.is_shown_whole:
            lines.append(f"  ... (the first {CHARACTERS:,} characters)")
    return [*lines, ""]


def _heading(row: PreviewRow, config: RunConfig) -> str:
    if row.problem:
        return f"Row {row.number} {row.problem}"
    if row.is_raw:
        return f"Row {row.number}: as in the file"
    about = "about " if row.is_estimated else ""
    parts = [f"Row {row.number}: {about}{row.tokens:,} tokens"]
    if row.is_cut:
        parts.append(f"cut to {row.kept:,} (data.max_length={config.data.max_length})")
    if row.label is not None:
        parts.append(f"class {row.label}")
    else:
        parts.append(f"{row.trained:,} learnt" if row.trained else "nothing learnt: the row is dropped")
    return ", ".join(parts)


def _marked(segments: list[Segment]) -> list[str]:
    """The text, what is learnt between marks."""
    text = "".join(f"«{one.text}»" if one.trained else one.text for one in segments)
    return [f"  {clean(line)}".rstrip() for line in text.split("\n")] if text else []


def _lengths(lengths: Lengths) -> list[str]:
    looked_at = {
        Coverage.WHOLE: f"all {lengths.rows:,} rows",
        Coverage.SPREAD: f"{lengths.rows:,} rows from all over about {lengths.total_rows or 0:,}",
        Coverage.BEGINNING: f"the first {lengths.rows:,} rows",
    }[lengths.coverage]
    shares = ", ".join(f"{percentage} % up to {lengths.quantiles[percentage]:,}" for percentage in QUANTILES_SHOWN)
    lines = [f"Tokens of {looked_at}: {shares}"]
    highest = max(one.rows for one in lengths.bins)
    width = len(f"{lengths.bins[-1].last:,}")
    for one in itertools.dropwhile(lambda one: not one.rows, lengths.bins):
        bar = "█" * round(BAR * one.rows / highest) or ("▏" if one.rows else "")
        lines.append(f"  {one.first:>{width},} to {one.last:>{width},}  {one.rows:>7,}  {bar}".rstrip())
    share = words.share(lengths.cut / lengths.rows)
    lines.append(f"Longer than data.max_length={lengths.max_length}: {lengths.cut:,} ({share})")
    if lengths.lost:
        lines.append(f"Of those with nothing left to learn: {lengths.lost:,}; they are dropped")
    if lengths.packed:
        packed = lengths.packed
        lines.append(
            f"Packed: {packed.rows_a_sequence:,.1f} rows a sequence, {words.share(packed.filled)} full;"
            f" {words.share(packed.padding)} of a micro batch is padding, and {words.share(lengths.padding)} unpacked"
        )
    if lengths.unusable:
        lines.append(clean(f"Cannot be used: {lengths.unusable:,} more (the first: {lengths.problem})"))
    return lines
