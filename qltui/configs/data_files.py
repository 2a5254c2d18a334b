"""The rows of a data file, or the first of them, read with the standard library: what they are, before a launch."""

from __future__ import annotations

import codecs
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20


class Limits(NamedTuple):
    """As much as is looked at."""

    rows: int
    bytes: int


QUICK = Limits(2_000, 8 * MIB)
"""Enough to see the layout, little enough to be instant."""
THOROUGH = Limits(10_000_000, 64 * MIB)
"""Most files whole, in a second."""


class Row(NamedTuple):
    """A row and where it stands."""

    number: int
    """From 1, headers and blank lines not counted."""
    line: int | None
    """Line of the file it ends on, from 1; None where lines mean nothing."""
    values: dict[str, Any]


class Sample(NamedTuple):
    """A data file, or its beginning."""

    columns: list[str]
    rows: list[Row]
    total: int
    """Rows of the whole file; estimated from its size where only its beginning was read."""
    is_whole: bool
    """Whether these are all its rows."""


class UnusableData(Exception):
    """A data file that cannot be read as rows."""

    def __init__(self, message: str, remedy: str = "", line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.line = line


def read_sample(path: Path, builder: str, limits: Limits = QUICK) -> Sample:
    """The first rows of a file, as many as ``limits`` let through.

    ``builder`` is one of the values of ``engine.config.formats.FILE_FORMATS``.

    Raises:
        UnusableData: it cannot be read, is empty, or is not what its ending says.
    """
    try:
        about = path.stat()
        if about.st_size == 0:
            raise UnusableData("is empty.", "Give a file with rows.")
        read = _read_once if limits == QUICK else _read
        return read(path, builder, limits, about.st_size, about.st_mtime_ns)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnusableData(f"cannot be read ({reason}).", "Check its permissions.") from None


def _read(path: Path, builder: str, limits: Limits, size: int, _changed: int) -> Sample:
    sample = _parquet_sample(path, limits) if builder == "parquet" else _text_sample(path, builder, limits, size)
    if not sample.rows:
        raise UnusableData("has no rows.", "Give a file with rows.")
    return sample


_read_once = lru_cache(maxsize=2)(_read)
"""A launch asks twice: whether rows can be used, and how long they are."""


def _text_sample(path: Path, builder: str, limits: Limits, size: int) -> Sample:
    with path.open("rb") as file:
        data = file.read(limits.bytes + 1)
    is_whole = len(data) <= limits.bytes
    try:
        # A character cut in two at the end is no error; a byte order mark at the start is no text.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data[: limits.bytes], is_whole)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnusableData("is not UTF-8 text.", "Save it as UTF-8.", line) from None
    columns: list[str] = []
    if builder == "csv":
        found = _csv_rows(text, is_whole, "\t" if path.suffix.lower() == ".tsv" else ",", columns)
    elif text.lstrip()[:1] == "[":
        found = _array_rows(text, is_whole)
    else:
        found = _json_line_rows(text, is_whole)
    rows: list[Row] = []
    end = 0
    for row, end in found:  # noqa: B007 - where the last one ends
        rows.append(row)
        if len(rows) == limits.rows:
            break
    is_whole = is_whole and next(found, None) is None
    total = len(rows) if is_whole or not end else round(len(rows) * size / len(text[:end].encode()))
    columns = columns or list(dict.fromkeys(column for row in rows for column in row.values))
    return Sample(columns, rows, total, is_whole)


def _json_line_rows(text: str, is_whole: bool) -> Iterator[tuple[Row, int]]:
    """Rows, each with the place in ``text`` where it ends; so with the other formats."""
    lines = text.split("\n")
    if not is_whole:
        lines.pop()
        if not lines:
            raise UnusableData(f"has a first line longer than {len(text) // MIB} MB.", "Write one row a line.", 1)
    number = end = 0
    for line_number, line in enumerate(lines, 1):
        end += len(line) + 1
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            whole = _single_object(text) if number == 0 and is_whole else None
            if whole is not None:
                yield Row(1, None, whole), len(text)
                return
            _refuse_json(error, line_number)
        number += 1
        yield _object_row(number, line_number, value), end


def _single_object(text: str) -> dict[str, Any] | None:
    """The one row of a file that is a single object over several lines."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


SPACE = re.compile(r"\s*")


def _array_rows(text: str, is_whole: bool) -> Iterator[tuple[Row, int]]:
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
        yield _object_row(number, None, value), position
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


def _csv_rows(text: str, is_whole: bool, delimiter: str, columns: list[str]) -> Iterator[tuple[Row, int]]:
    """``columns`` gets their names. Where the text goes on, the last row may be cut, and is left out."""
    import csv
    import io

    csv.field_size_limit(len(text))
    buffer = io.StringIO(text, newline="")
    reader = csv.DictReader(buffer, delimiter=delimiter)
    try:
        columns += reader.fieldnames or ()
        for number, values in enumerate(reader, 1):
            if None in values:
                count = len(columns) + len(values[None])
                message = f"row {number} has {count} values for {len(columns)} columns."
                raise UnusableData(message, "Put values that hold the separator in quotes.", reader.line_num)
            if is_whole or buffer.tell() < len(text):
                yield Row(number, reader.line_num, dict(values)), buffer.tell()
    except csv.Error as error:
        raise UnusableData(f"is not valid CSV: {error}.", "Correct this line.", reader.line_num) from None


def _parquet_sample(path: Path, limits: Limits) -> Sample:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            about = file.metadata
            size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
            wanted = min(about.num_rows, limits.rows, max(1, about.num_rows * limits.bytes // max(size, 1)))
            values: list[dict[str, Any]] = []
            for batch in file.iter_batches(batch_size=max(wanted, 1)):
                values += batch.slice(0, wanted - len(values)).to_pylist()
                if len(values) == wanted:
                    break
            rows = [Row(number, None, row) for number, row in enumerate(values, 1)]
            return Sample(list(file.schema_arrow.names), rows, about.num_rows, len(rows) == about.num_rows)
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise UnusableData(f"is no readable Parquet file ({reason}).", "Write it again.") from None
