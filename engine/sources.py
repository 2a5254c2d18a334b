"""Rows as the user has them: from a file or the hub, one by one with the number a message can name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets

from engine.config.formats import FILE_FORMATS
from engine.errors import BadInput
from engine.rows import text_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engine.rows import NumberedRow, Row


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
    first = next(text_rows(path), None)
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
    for number, row in enumerate(text_rows(path), 1):
        yield {"number": number, "json": json.dumps(row)}


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
