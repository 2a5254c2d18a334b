"""The first rows of a data file, read with the standard library, to refuse before launch what would fail."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_ROWS = 2_000
MAX_BYTES = 8 * 1024 * 1024
"""As much as is looked at: enough to see the layout, little enough to be instant."""


class Row(NamedTuple):
    """A row and where it stands."""

    number: int
    """From 1, headers and blank lines not counted."""
    line: int | None
    """Line of the file it ends on, from 1; None where lines mean nothing."""
    values: dict[str, Any]


class Sample(NamedTuple):
    """The beginning of a data file."""

    columns: list[str]
    rows: list[Row]


class UnusableData(Exception):
    """A data file that cannot be read as rows."""

    def __init__(self, message: str, remedy: str = "", line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.line = line


def read_sample(path: Path, builder: str) -> Sample:
    """The first rows of a file, up to :data:`MAX_ROWS` and :data:`MAX_BYTES`.

    ``builder`` is one of the values of ``engine.config.formats.FILE_FORMATS``.

    Raises:
        UnusableData: it cannot be read, is empty, or is not what its ending says.
    """
    try:
        if path.stat().st_size == 0:
            raise UnusableData("is empty.", "Give a file with rows.")
        sample = _parquet_sample(path) if builder == "parquet" else _text_sample(path, builder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnusableData(f"cannot be read ({reason}).", "Check its permissions.") from None
    if not sample.rows:
        raise UnusableData("has no rows.", "Give a file with rows.")
    return sample


def _text_sample(path: Path, builder: str) -> Sample:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    is_whole = len(data) <= MAX_BYTES
    try:
        # A character cut in two at the end is no error; a byte order mark at the start is no text.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data[:MAX_BYTES], is_whole)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnusableData("is not UTF-8 text.", "Save it as UTF-8.", line) from None
    if builder == "csv":
        return _csv_sample(text, is_whole, "\t" if path.suffix.lower() == ".tsv" else ",")
    beginning = text.lstrip()[:1]
    found = _array_rows(text, is_whole) if beginning == "[" else _json_line_rows(text, is_whole)
    rows = [row for row, _ in zip(found, range(MAX_ROWS), strict=False)]
    return Sample(list(dict.fromkeys(column for row in rows for column in row.values)), rows)


def _json_line_rows(text: str, is_whole: bool) -> Iterator[Row]:
    lines = text.split("\n")
    if not is_whole:
        lines.pop()
        if not lines:
            raise UnusableData("has a first line longer than 8 MB.", "Write one row a line.", 1)
    number = 0
    for line_number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            whole = _single_object(text) if number == 0 and is_whole else None
            if whole is not None:
                yield Row(1, None, whole)
                return
            _refuse_json(error, line_number)
        number += 1
        yield _object_row(number, line_number, value)


def _single_object(text: str) -> dict[str, Any] | None:
    """The one row of a file that is a single object over several lines."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


SPACE = re.compile(r"\s*")


def _array_rows(text: str, is_whole: bool) -> Iterator[Row]:
    """Elements of a JSON array, one by one, so that its beginning can be read alone."""
    decoder = json.JSONDecoder()
    position = _skip_space(text, text.index("[") + 1)
    number = 0
    while text[position : position + 1] != "]":
        try:
            value, position = decoder.raw_decode(text, position)
        except ValueError as error:
            if is_whole:
                _refuse_json(error, getattr(error, "lineno", None))
            return
        number += 1
        yield _object_row(number, None, value)
        position = _skip_space(text, position)
        if text[position : position + 1] == ",":
            position = _skip_space(text, position + 1)
        elif text[position : position + 1] != "]" and is_whole:
            line = text.count("\n", 0, position) + 1
            raise UnusableData("is not valid JSON: ',' or ']' is missing.", "Correct this line.", line)


def _skip_space(text: str, position: int) -> int:
    found = SPACE.match(text, position)
    return found.end() if found else position


def _refuse_json(error: ValueError, line: int | None) -> NoReturn:
    reason = getattr(error, "msg", str(error))
    message = "is not valid JSON" if line is None else f"line {line} is not valid JSON"
    raise UnusableData(f"{message}: {reason}.", "Correct this line.", line) from None


def _object_row(number: int, line: int | None, value: Any) -> Row:
    if not isinstance(value, dict):
        kind = {list: "a list", str: "text", type(None): "null"}.get(type(value), "a single value")
        raise UnusableData(f"row {number} is {kind}.", "Each row is an object: {column: value, ...}.", line)
    return Row(number, line, value)


def _csv_sample(text: str, is_whole: bool, delimiter: str) -> Sample:
    import csv
    import io

    csv.field_size_limit(MAX_BYTES)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[Row] = []
    try:
        columns = list(reader.fieldnames or ())
        for number, values in enumerate(reader, 1):
            if None in values:
                count = len(columns) + len(values[None])
                message = f"row {number} has {count} values for {len(columns)} columns."
                raise UnusableData(message, "Put values that hold the separator in quotes.", reader.line_num)
            rows.append(Row(number, reader.line_num, dict(values)))
            if number == MAX_ROWS:
                return Sample(columns, rows)
    except csv.Error as error:
        raise UnusableData(f"is not valid CSV: {error}.", "Correct this line.", reader.line_num) from None
    return Sample(columns, rows if is_whole else rows[:-1])


def _parquet_sample(path: Path) -> Sample:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            batch = next(file.iter_batches(batch_size=MAX_ROWS), None)
            values = batch.to_pylist() if batch is not None else []
            return Sample(list(file.schema_arrow.names), [Row(n, None, row) for n, row in enumerate(values, 1)])
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise UnusableData(f"is no readable Parquet file ({reason}).", "Write it again.") from None
