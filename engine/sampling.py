"""A part of the rows of a file, read without reading all of it: the first ones, or some from everywhere.

Rows from everywhere are those that begin in blocks of bytes drawn at random. Each row begins in one block, so each is
as likely to be drawn as any other, however long it is.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from engine.config.inspection import Coverage
from engine.errors import BadInput
from engine.hub import require_hub
from engine.rows import NumberedRow, Row, delimiter, find_builder, find_local, text_rows, told_plainly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from engine.config import RunConfig

LONGEST_ROW = 2**25
"""In characters or bytes; a longer one is taken for a file of another kind."""
BEGINNING_BYTES = 64 * 1024
ROWS_OF_A_BLOCK = 4
"""Neighbours are often alike, so there should be few of them; each block costs a look."""
LEAST_BLOCK = 256
"""Bytes."""
MAX_BLOCKS = 2**17
ROWS_AT_A_TIME = 32
ROWS_LOOKED_AT = 200
"""For a value of CSV that goes over several lines; with one, a line is not known to be a row."""


class Rows(msgspec.Struct):
    """Some rows of a source; a ``engine.rows.RowSource``."""

    label: str
    columns: Sequence[str]
    numbered: list[NumberedRow]
    is_all: bool
    """There are no others."""

    def __len__(self) -> int:
        return len(self.numbered)

    def rows(self) -> Iterator[NumberedRow]:
        """The rows in order."""
        return iter(self.numbered)


class Drawn(NamedTuple):
    """Rows of one stretch of a file."""

    rows: list[Row]
    unusable: list[str]
    """What is wrong with lines that are no rows."""
    share: float
    """Of the file that was looked at for them."""


class Draw(NamedTuple):
    """Rows from everywhere in a file, or its first ones where nothing else can be had."""

    coverage: Coverage
    """What is covered if not all stretches are drawn."""
    stretches: Iterator[Drawn]


def fingerprint(config: RunConfig) -> tuple[Any, ...]:
    """Tells apart what ``data.path`` names, and what became of it since."""
    data = config.data
    local = find_local(data.path, "data.path")
    if local is None:
        return (data.path, data.name, data.split)
    with told_plainly(local):
        found = local.stat()
    return (str(local), data.name, data.split, found.st_mtime_ns, found.st_size)


def first_rows(config: RunConfig, count: int) -> Rows:
    """The first rows of ``data.path``.

    Raises:
        BadInput: it cannot be read, or holds no row.
    """
    label = config.data.path
    local = find_local(label, "data.path")
    if local is None or local.is_dir():
        label, rows = _stream(config)
        found = list(itertools.islice(rows, count + 1))
    else:
        with told_plainly(local):
            if local.stat().st_size == 0:
                raise BadInput(f"{label}: is empty. Give a file with at least one row.")
            found = list(enumerate(itertools.islice(_rows_in_order(local), count + 1), 1))
    if not found:
        raise BadInput(f"{label}: is empty. Give a file with at least one row.")
    # As the engine has it: of text a column is what the first row has a value for, of other files what they declare.
    is_text = local is not None and local.is_file() and find_builder(local) != "parquet"
    columns = [name for name, value in found[0][1].items() if not is_text or value is not None]
    return Rows(label, columns, found[:count], len(found) <= count)


def _stream(config: RunConfig) -> tuple[str, Iterator[NumberedRow]]:
    if find_local(config.data.path, "data.path") is None:
        require_hub(config.data.path, "data.path")
    from engine.sources import open_stream  # imports ``datasets``, which takes a second

    return open_stream(config.data.path, name=config.data.name, split=config.data.split)


def draw(config: RunConfig, wanted: int) -> Draw:
    """Rows from everywhere in ``data.path``, in an order set by the seed; about as many as ``wanted``, or more.

    Raises:
        BadInput: it cannot be read.
    """
    local = find_local(config.data.path, "data.path")
    if local is None or local.is_dir():
        return Draw(Coverage.BEGINNING, _in_order(row for _, row in _stream(config)[1]))
    builder = find_builder(local)
    seed = config.training.seed
    if builder == "parquet":
        return Draw(Coverage.SPREAD, _parquet_batches(local, wanted, seed))
    with told_plainly(local):
        parse = _line_parser(local, builder)
        if parse is None:
            return Draw(Coverage.BEGINNING, _in_order(_rows_in_order(local)))
        return Draw(Coverage.SPREAD, _blocks(local, parse, seed))


def _rows_in_order(path: Path) -> Iterator[Row]:
    if find_builder(path) == "parquet":
        return (row for batch in _parquet_batches(path, None, None) for row in batch.rows)
    return text_rows(path, LONGEST_ROW)


def _in_order(rows: Iterator[Row]) -> Iterator[Drawn]:
    while some := list(itertools.islice(rows, ROWS_AT_A_TIME)):
        yield Drawn(some, [], 0.0)


def _line_parser(path: Path, builder: str) -> Callable[[bytes], Row] | None:
    """What makes a row of a line; None where rows are not lines, as in a JSON list."""
    if builder == "json":
        with path.open("rb") as file:
            beginning = file.read(BEGINNING_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()
        return None if beginning.startswith(b"[") else _json_row
    with path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter(path))
        columns = next((values for values in reader if values), [])
        lines = reader.line_num
        lines_after = len(list(itertools.islice(reader, ROWS_LOOKED_AT)))
        if lines > 1 or reader.line_num != lines + lines_after:
            return None

    def csv_row(line: bytes) -> Row:
        found = next(csv.reader([line.decode("utf-8-sig")], delimiter=delimiter(path), strict=True))
        if len(found) > len(columns):
            raise ValueError(f"{len(found)} values for {len(columns)} columns")
        return dict(zip(columns, found, strict=False))

    return csv_row


def _json_row(line: bytes) -> Row:
    row = json.loads(line.decode("utf-8-sig"))
    if not isinstance(row, dict):
        raise ValueError("not an object with named fields")
    return row


def _blocks(path: Path, parse: Callable[[bytes], Row], seed: int) -> Iterator[Drawn]:
    """The rows that begin in a block, block after block, drawn at random until there are no more."""
    is_csv = find_builder(path) == "csv"
    with told_plainly(path), path.open("rb") as file:
        size = path.stat().st_size
        beginning = file.read(BEGINNING_BYTES)
        length = max(LEAST_BLOCK, ROWS_OF_A_BLOCK * len(beginning) // (beginning.count(b"\n") + 1))
        count = -(-size // length)
        for block in random.Random(seed).sample(range(count), min(count, MAX_BLOCKS)):
            begin = block * length
            end = min(begin + length, size)
            rows: list[Row] = []
            unusable: list[str] = []
            for start, line in _lines_beginning_in(file, begin, end):
                if not line.strip() or (is_csv and start == 0):
                    continue
                if len(line) > LONGEST_ROW:
                    raise BadInput(f"{path}: a line at byte {start:,} is longer than {LONGEST_ROW:,} bytes.")
                try:
                    rows.append(parse(line))
                except (ValueError, RecursionError, csv.Error) as error:
                    unusable.append(f"the line at byte {start:,} is no row ({error})")
            yield Drawn(rows, unusable, (end - begin) / size)


def _lines_beginning_in(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(place, line) of those whose first byte is at ``begin`` or after it, and before ``end``."""
    if begin:
        file.seek(begin - 1)
        if not file.readline(end - begin).endswith(b"\n"):  # none begins here
            return
    else:
        file.seek(0)
    start = file.tell()
    while start < end:
        line = file.readline(LONGEST_ROW + 1)
        yield start, line
        start += len(line)


def _parquet_batches(path: Path, wanted: int | None, seed: int | None) -> Iterator[Drawn]:
    """Rows of a Parquet file a few at a time: all in order, or ``wanted`` of the beginnings of its groups."""
    import pyarrow
    import pyarrow.parquet

    with told_plainly(path):
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                total = file.metadata.num_rows
                named = _class_namer(file.schema_arrow)
                groups = list(range(file.num_row_groups))
                of_each = total
                if seed is not None and wanted is not None and wanted < total:
                    random.Random(seed).shuffle(groups)
                    of_each = -(-wanted // len(groups))
                for group in groups:
                    left = of_each
                    for batch in file.iter_batches(batch_size=min(ROWS_AT_A_TIME, of_each), row_groups=[group]):
                        rows = [named(row) for row in batch.slice(0, left).to_pylist()]
                        left -= len(rows)
                        yield Drawn(rows, [], len(rows) / total)
                        if not left:
                            break
        except pyarrow.ArrowException as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise BadInput(
                f"{path}: is no readable Parquet file ({reason}). Write it again.", "dataset_column_error"
            ) from None


def _class_namer(schema: Any) -> Callable[[Row], Row]:
    """Names classes that a file written by ``datasets`` holds as numbers."""
    if not schema.metadata or b"huggingface" not in schema.metadata:
        return lambda row: row
    from datasets import Features

    from engine.sources import class_names, with_class_names

    classes = class_names(Features.from_arrow_schema(schema))
    return lambda row: with_class_names(row, classes)
