"""Rows of text files, told apart, checked and named as their format has them; imports nothing slow."""

from __future__ import annotations

import csv
import itertools
import json
import time
from typing import TYPE_CHECKING, Any, Protocol

from engine.config import DataFormat, Task
from engine.config.formats import (
    FILE_FORMATS,
    MAPPING_EXAMPLE,
    ROW_FORMATS,
    detect,
    format_problem,
    row_problem,
    wanted,
)
from engine.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

ROWS_AT_A_TIME = 256
SECONDS_BETWEEN_REPORTS = 5.0
MAX_CELL_CHARACTERS = 2**30

Row = dict[str, Any]
NumberedRow = tuple[int, Row]
"""With its number, from 1 as in the file."""


class RowSource(Protocol):
    """Rows in order, of a file or a hub split, and what messages call it."""

    label: str
    columns: Sequence[str]

    def __len__(self) -> int: ...
    def rows(self) -> Iterator[NumberedRow]: ...


def find_format(source: RowSource, given: DataFormat, mapping: dict[str, str], task: Task) -> DataFormat:
    """The format of the rows: as given, or told by their columns.

    Raises:
        BadInput: the columns fit no format of the task, or the one that is given is of another task.
    """
    if problem := format_problem(given, task):
        raise BadInput(f"data.format: {problem}.")
    found = detect(source.columns, mapping, task) if given is DataFormat.AUTO else given
    if found is None:
        raise BadInput(
            f"{source.label}: the columns ({', '.join(source.columns) or 'none'}) fit no format. Wanted is one of "
            f"{wanted(task)}. Name yours in data.columns, as in {MAPPING_EXAMPLE[task]}."
        )
    return found


def checked_batches(
    source: RowSource, row_format: DataFormat, mapping: dict[str, str], progress: Callable[[str], None], doing: str
) -> Iterator[list[NumberedRow]]:
    """All rows, some at a time, with the columns named as the format names them.

    ``progress`` takes a line for people now and then, in which ``doing`` (as in 'tokenised') says what became of them.

    Raises:
        BadInput: a row cannot be used; the message has its number.
    """
    rows = _checked_rows(source, row_format, mapping)
    done, reported = 0, time.monotonic()
    while batch := list(itertools.islice(rows, ROWS_AT_A_TIME)):
        yield batch
        done += len(batch)
        if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            progress(f"{doing} {done:,} of {len(source):,} rows of {source.label}")


def _checked_rows(source: RowSource, row_format: DataFormat, mapping: dict[str, str]) -> Iterator[NumberedRow]:
    for number, row in source.rows():
        problem = row_problem(row, row_format, mapping)
        if problem:
            needs = " + ".join(ROW_FORMATS[row_format].required)
            raise BadInput(
                f"{source.label}: row {number} {problem}. Rows of the format {row_format.value} need {needs}; mend or "
                "remove the row, or set data.format or data.columns."
            )
        yield number, {**row, **{ours: row.get(theirs) for ours, theirs in mapping.items()}}


def text_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if FILE_FORMATS[path.suffix.lower()] == "csv":
            yield from _csv_rows(path, file)
            return
        start = next((line for line in file if line.strip()), "")
        file.seek(0)
        rows = _list_items(path, file.read()) if start.lstrip().startswith("[") else _lines(path, file)
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict):
                raise BadInput(f"{path}: row {number} is not an object with named fields but {type(row).__name__}.")
            yield row


def _lines(path: Path, file: Iterable[str]) -> Iterator[Any]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise BadInput(
                f"{path}: line {number} is not valid JSON ({error}). Give one object a line, or one list of objects."
            ) from None


def _list_items(path: Path, text: str) -> Iterator[Any]:
    try:
        yield from json.loads(text)
    except ValueError as error:
        raise BadInput(f"{path}: is not valid JSON ({error}).") from None


def _csv_rows(path: Path, file: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every cell is text: '007' and 'NA' are answers, not a number and a missing value."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    try:
        filled = (values for values in reader if values)
        columns = next(filled, [])
        for number, values in enumerate(filled, 1):
            if len(values) > len(columns):
                raise BadInput(
                    f"{path}: row {number} has {len(values)} values for {len(columns)} columns. Put values that hold "
                    "the separator in quotes."
                )
            yield dict(zip(columns, values, strict=False))
    except csv.Error as error:
        raise BadInput(f"{path}: line {reader.line_num} is not valid CSV ({error}).") from None
