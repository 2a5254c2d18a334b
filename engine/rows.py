"""Rows of text files, told apart, checked and named as their format has them; imports nothing slow."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

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
from engine.errors import BadInput, is_disk_full
from engine.json_list import NotAList, list_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROWS_AT_A_TIME = 256
SECONDS_BETWEEN_REPORTS = 5.0
MAX_ROW_CHARACTERS = 2**30
BEGINNING_CHARACTERS = 4096

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
        raise BadInput(f"data.format: {problem}.", "dataset_column_error")
    found = detect(source.columns, mapping, task) if given is DataFormat.AUTO else given
    if found is None:
        raise BadInput(
            f"{source.label}: the columns ({', '.join(source.columns) or 'none'}) fit no format. Wanted is one of "
            f"{wanted(task)}. Name yours in data.columns, as in {MAPPING_EXAMPLE[task]}.",
            "dataset_column_error",
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
        if problem := row_problem(row, row_format, mapping):
            needs = " + ".join(ROW_FORMATS[row_format].required)
            raise BadInput(
                f"{source.label}: row {number} {problem}. Rows of the format {row_format.value} need {needs}; mend or "
                "remove the row, or set data.format or data.columns.",
                "dataset_column_error",
            )
        yield number, renamed(row, mapping)


def renamed(row: Row, mapping: Mapping[str, str]) -> Row:
    """The row with the columns of the format beside the user's."""
    return {**row, **{ours: row.get(theirs) for ours, theirs in mapping.items()}}


def find_local(path: str, field: str) -> Path | None:
    """The file or folder that ``path`` names; None for the id of a hub data set.

    Raises:
        BadInput: it can only be a path, and there is nothing, or it cannot be looked at.
    """
    local = Path(path)
    with told_plainly(local):
        if local.is_file() or local.is_dir():
            return local
    if path.startswith(("/", ".", "~")) or local.suffix.lower() in FILE_FORMATS:
        raise BadInput(
            f"{path}: there is no such file. Give {field} the path of a file, or the id of a hub data set.",
            "hub_not_found_or_offline",
        )
    return None


def find_builder(path: Path) -> str:
    """How a file is read, by its ending: json, csv or parquet.

    Raises:
        BadInput: files of this kind are not read.
    """
    builder = FILE_FORMATS.get(path.suffix.lower())
    if builder is None:
        raise BadInput(
            f"{path}: files of this kind are not read. Give one ending in {', '.join(FILE_FORMATS)}.",
            "dataset_column_error",
        )
    return builder


@contextlib.contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turns what reading a file raises into BadInput; a full disk, which is found as copies are written, stays one."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise
        raise BadInput(f"{path}: cannot be read ({error.strerror or error}).") from None
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}: line {_line_not_utf8(path)} is not UTF-8 text ({error.reason}). Save it as UTF-8.",
            "dataset_column_error",
        ) from None


def _line_not_utf8(path: Path) -> int:
    """The first line of a file that is not UTF-8; a decoder knows only where in its own buffer that is."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def text_rows(path: Path, longest: int = MAX_ROW_CHARACTERS) -> Iterator[Row]:
    """Rows of JSON lines, one JSON list of objects, or CSV, each read when it is asked for.

    ``longest`` is how many characters a row may have before the file is taken for something else.

    Raises:
        BadInput, OSError, UnicodeDecodeError: it cannot be read, or not as rows.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        beginning = _beginning(file)
        if "\0" in beginning:
            raise BadInput(
                f"{path}: is not text, it holds zero bytes. Give a text file in UTF-8, or a .parquet file.",
                "dataset_column_error",
            )
        if FILE_FORMATS[path.suffix.lower()] == "csv":
            yield from _csv_rows(path, file, longest)
            return
        items = _list_items(path, file, longest) if beginning.startswith("[") else _lines(path, file, longest)
        for number, row in enumerate(items, 1):
            if not isinstance(row, dict):
                raise BadInput(
                    f"{path}: row {number} is not an object with named fields but {type(row).__name__}.",
                    "dataset_column_error",
                )
            yield row


def _beginning(file: TextIO) -> str:
    """The first characters that are no white space; the file is at its beginning again."""
    found = ""
    while not found and (piece := file.read(BEGINNING_CHARACTERS)):
        found = piece.lstrip()
    file.seek(0)
    return found


def _lines(path: Path, file: TextIO, longest: int) -> Iterator[Any]:
    for number, line in enumerate(_physical_lines(path, file, longest), 1):
        if line.strip():
            yield _object(path, number, line)


def _physical_lines(path: Path, file: TextIO, longest: int) -> Iterator[str]:
    """Lines with their ends; without a limit the first line of a file of another kind could be all of it."""
    for number, line in enumerate(iter(lambda: file.readline(longest), ""), 1):
        if len(line) == longest and line[-1] not in "\r\n":
            raise BadInput(
                f"{path}: line {number} is longer than {longest:,} characters. Give one row a line.",
                "dataset_column_error",
            )
        yield line


def _object(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path}: line {number} is not valid JSON ({error}). Give one object a line, or one list of objects.",
            "dataset_column_error",
        ) from None


def _list_items(path: Path, file: TextIO, longest: int) -> Iterator[Any]:
    try:
        yield from list_items(file, longest)
    except (NotAList, RecursionError) as error:
        raise BadInput(f"{path}: is not valid JSON ({error}).", "dataset_column_error") from None


def _csv_rows(path: Path, file: TextIO, longest: int) -> Iterator[Row]:
    """Every cell is text: '007' and 'NA' are answers, not a number and a missing value."""
    csv.field_size_limit(longest)
    reader = csv.reader(_physical_lines(path, file, longest), delimiter=delimiter(path), strict=True)
    try:
        filled = (values for values in reader if values)
        columns = next(filled, [])
        for number, values in enumerate(filled, 1):
            if len(values) > len(columns):
                raise BadInput(
                    f"{path}: row {number} has {len(values)} values for {len(columns)} columns. Put values that hold "
                    "the separator in quotes.",
                    "dataset_column_error",
                )
            yield dict(zip(columns, values, strict=False))
    except csv.Error as error:
        raise BadInput(f"{path}: line {reader.line_num} is not valid CSV ({error}).", "dataset_column_error") from None


def delimiter(path: Path) -> str:
    """What stands between the values of a CSV file."""
    return "\t" if path.suffix.lower() == ".tsv" else ","
