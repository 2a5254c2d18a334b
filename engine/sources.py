"""Rows as the user has them: from a file or the hub, one by one with the number a message can name."""

from __future__ import annotations

import csv
import itertools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets

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

ROWS_AT_A_TIME = 256
SECONDS_BETWEEN_REPORTS = 5.0
MAX_CELL_CHARACTERS = 2**30


Row = dict[str, Any]
NumberedRow = tuple[int, Row]
"""With its number, from 1 as in the file."""


class Source:
    """Rows of one file or hub split, or some of them, kept on disk and read when asked for."""

    def __init__(
        self,
        label: str,
        dataset: datasets.Dataset,
        columns: Sequence[str],
        *,
        is_json: bool = False,
        indices: Sequence[int] | None = None,
    ) -> None:
        self.label = label
        """What messages call it: the path or hub id, with the split."""
        self.columns = columns
        self._dataset = dataset
        self._is_json = is_json
        self._indices = range(len(dataset)) if indices is None else indices
        kinds = dataset.features.items()
        self._classes = {column: kind.names for column, kind in kinds if isinstance(kind, datasets.ClassLabel)}
        """Names of the classes, by columns that hold their numbers."""

    def __len__(self) -> int:
        return len(self._indices)

    def part(self, indices: Sequence[int]) -> Source:
        """The rows at these places, counted from 0; they keep their numbers."""
        return Source(self.label, self._dataset, self.columns, is_json=self._is_json, indices=indices)

    def rows(self) -> Iterator[NumberedRow]:
        """The rows in order."""
        for index, row in zip(self._indices, self._dataset.select(self._indices), strict=True):
            yield (row["number"], json.loads(row["json"])) if self._is_json else (index + 1, self._named(row))

    def _named(self, row: Row) -> Row:
        """The row with classes by name rather than number; of hub data, -1 and null are rows without a class."""
        numbers = {column: -1 if row[column] is None else row[column] for column in self._classes}
        return row | {column: self._classes[column][n] if n >= 0 else None for column, n in numbers.items()}


def open_source(path: str, *, field: str, name: str | None, split: str, cache: Path) -> Source:
    """The rows ``path`` names: a file, a folder of data files, or a hub data set.

    ``cache`` is a folder of our own, so that a file that changed is never answered from an older copy; data sets of
    the hub keep their usual cache, which goes by commit and serves without network.

    Raises:
        BadInput: there is no such thing, or it cannot be read, or it is empty.
    """
    local = Path(path)
    if local.is_file():
        source = _open_file(local, cache)
    elif local.is_dir():
        source = _load(f"{path} ({split})", path, name=name, split=split, cache_dir=str(cache))
    elif path.startswith(("/", ".", "~")) or local.suffix.lower() in FILE_FORMATS:
        raise BadInput(f"{path}: there is no such file. Give {field} the path of a file, or the id of a hub data set.")
    else:
        source = _open_hub(path, name, split)
    if len(source) == 0:
        raise BadInput(f"{source.label}: has no rows. Give {field} data with at least one row.")
    return source


def find_format(source: Source, given: DataFormat, mapping: dict[str, str], task: Task) -> DataFormat:
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
    source: Source, row_format: DataFormat, mapping: dict[str, str], progress: Callable[[str], None], doing: str
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


def _checked_rows(source: Source, row_format: DataFormat, mapping: dict[str, str]) -> Iterator[NumberedRow]:
    for number, row in source.rows():
        problem = row_problem(row, row_format, mapping)
        if problem:
            needs = " + ".join(ROW_FORMATS[row_format].required)
            raise BadInput(
                f"{source.label}: row {number} {problem}. Rows of the format {row_format.value} need {needs}; mend or "
                "remove the row, or set data.format or data.columns."
            )
        yield number, {**row, **{ours: row.get(theirs) for ours, theirs in mapping.items()}}


def _open_file(path: Path, cache: Path) -> Source:
    builder = FILE_FORMATS.get(path.suffix.lower())
    if builder is None:
        raise BadInput(f"{path}: files of this kind are not read. Give one ending in {', '.join(FILE_FORMATS)}.")
    try:
        if builder == "parquet" and path.stat().st_size:
            return _load(str(path), builder, data_files=str(path), split="train", cache_dir=str(cache))
        return _open_text(path, cache)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error}).") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from None


def _open_text(path: Path, cache: Path) -> Source:
    """JSON lines, one JSON list of objects, or CSV.

    The rows are parsed here and go through ``datasets`` as JSON texts: its own builders read texts that look like
    numbers or dates as such, shift the columns of CSV rows with a value too many, and cannot say which line is broken.
    """
    first = next(_text_rows(path), None)
    if first is None:
        raise BadInput(f"{path}: is empty. Give a file with at least one row.")
    features = datasets.Features({"number": datasets.Value("int64"), "json": datasets.Value("large_string")})
    try:
        dataset = datasets.Dataset.from_generator(
            _records, gen_kwargs={"path": path}, features=features, cache_dir=str(cache)
        )
    except datasets.exceptions.DatasetGenerationError as error:
        raise error.__cause__ or error from None
    return Source(str(path), dataset, [name for name, value in first.items() if value is not None], is_json=True)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(_text_rows(path), 1):
        yield {"number": number, "json": json.dumps(row)}


def _text_rows(path: Path) -> Iterator[dict[str, Any]]:
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


def _open_hub(path: str, name: str | None, split: str) -> Source:
    try:
        return _load(f"{path} ({split})", path, name=name, split=split)
    except ConnectionError:
        raise BadInput(
            f"{path}: is no local file, and the hub cannot be reached or is switched off (HF_HUB_OFFLINE). Check the "
            "path, or the network."
        ) from None
    except datasets.exceptions.DatasetNotFoundError:
        raise BadInput(
            f"{path}: is no local file and no data set on the hub that you may read. Check the path or the id; a "
            "private one needs HF_TOKEN."
        ) from None


def _load(label: str, builder: str, **options: Any) -> Source:
    try:
        dataset = datasets.load_dataset(builder, **options)
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError):
        raise
    # What the builders raise is theirs: parser errors of all kinds, unknown splits and subsets as ValueError.
    except Exception as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise BadInput(f"{label}: cannot be read: {reason[0].rstrip('.')}.") from None
    return Source(label, dataset, dataset.column_names)
