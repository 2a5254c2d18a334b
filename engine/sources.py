"""Rows as the user has them: from a file or the hub, one by one with the number a message can name."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets

from engine.errors import BadInput, first_line, is_disk_full
from engine.rows import find_builder, find_local, text_rows, told_plainly

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
        self._classes = class_names(dataset.features)

    def __len__(self) -> int:
        return len(self._indices)

    def part(self, indices: Sequence[int]) -> Source:
        """The rows at these places, counted from 0; they keep their numbers."""
        return Source(self.label, self._dataset, self.columns, is_json=self._is_json, indices=indices)

    def rows(self) -> Iterator[NumberedRow]:
        """The rows in order."""
        for index, row in zip(self._indices, self._dataset.select(self._indices), strict=True):
            yield (
                (row["number"], json.loads(row["json"]))
                if self._is_json
                else (
                    index + 1,
                    with_class_names(row, self._classes),
                )
            )


def class_names(features: datasets.Features) -> dict[str, list[str]]:
    """Names of the classes, by columns that hold their numbers."""
    return {column: kind.names for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)}


def with_class_names(row: Row, classes: dict[str, list[str]]) -> Row:
    """The row with classes by name rather than number; of hub data, -1 and null are rows without a class."""
    numbers = {column: -1 if row[column] is None else row[column] for column in classes}
    return row | {column: classes[column][n] if n >= 0 else None for column, n in numbers.items()}


def open_source(path: str, *, field: str, name: str | None, split: str, cache: Path) -> Source:
    """The rows ``path`` names: a file, a folder of data files, or a hub data set.

    ``cache`` is a folder of our own, so that a file that changed is never answered from an older copy; data sets of
    the hub keep their usual cache, which goes by commit and serves without network.

    Raises:
        BadInput: there is no such thing, or it cannot be read, or it is empty.
    """
    local = find_local(path, field)
    if local is None:
        source = _open_hub(path, name, split)
    elif local.is_dir():
        source = _load(f"{path} ({split})", path, name=name, split=split, cache_dir=str(cache))
    else:
        source = _open_file(local, cache)
    if len(source) == 0:
        raise BadInput(f"{source.label}: has no rows. Give {field} data with at least one row.", "dataset_too_small")
    return source


def _open_file(path: Path, cache: Path) -> Source:
    builder = find_builder(path)
    with told_plainly(path):
        if builder == "parquet" and path.stat().st_size:
            return _load(str(path), builder, data_files=str(path), split="train", cache_dir=str(cache))
        return _open_text(path, cache)


def _open_text(path: Path, cache: Path) -> Source:
    """JSON lines, one JSON list of objects, or CSV.

    The rows are parsed here and go through ``datasets`` as JSON texts: its own builders read texts that look like
    numbers or dates as such, shift the columns of CSV rows with a value too many, and cannot say which line is broken.
    """
    first = next(text_rows(path), None)
    if first is None:
        raise BadInput(f"{path}: is empty. Give a file with at least one row.", "dataset_too_small")
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


def open_stream(path: str, *, name: str | None, split: str) -> tuple[str, Iterator[NumberedRow]]:
    """What a folder or a hub data set is called, and its rows, fetched as they are asked for.

    Raises:
        BadInput: it cannot be read.
    """
    label = f"{path} ({split})"
    if not Path(path).is_dir() and datasets.config.HF_HUB_OFFLINE:
        return label, _open_hub(path, name, split).rows()  # from the cache, which is no stream
    with _hub_errors(path):
        dataset = _dataset(label, path, name=name, split=split, streaming=True)
    return label, _streamed(label, dataset)


def _streamed(label: str, dataset: datasets.IterableDataset) -> Iterator[NumberedRow]:
    classes = class_names(dataset.features or {})
    with _library_errors(label):
        for number, row in enumerate(dataset, 1):
            yield number, with_class_names(row, classes)


def _open_hub(path: str, name: str | None, split: str) -> Source:
    with _hub_errors(path):
        return _load(f"{path} ({split})", path, name=name, split=split)


@contextlib.contextmanager
def _hub_errors(path: str) -> Iterator[None]:
    try:
        yield
    except ConnectionError:
        raise BadInput(
            f"{path}: is no local file, and the hub cannot be reached or is switched off (HF_HUB_OFFLINE). Check the "
            "path, or the network.",
            "hub_not_found_or_offline",
        ) from None
    except datasets.exceptions.DatasetNotFoundError as error:
        raise BadInput(
            f"{path}: is no local file and no data set on the hub that you may read. Check the path or the id; a "
            "private one needs HF_TOKEN.",
            "hub_auth_gated" if "gated" in first_line(error) else "hub_not_found_or_offline",
        ) from None


def _load(label: str, builder: str, **options: Any) -> Source:
    dataset = _dataset(label, builder, **options)
    return Source(label, dataset, dataset.column_names)


def _dataset(label: str, builder: str, **options: Any) -> Any:
    with _library_errors(label):
        return datasets.load_dataset(builder, **options)


@contextlib.contextmanager
def _library_errors(label: str) -> Iterator[None]:
    """What the builders raise is theirs: parser errors of all kinds, unknown splits and subsets as ValueError."""
    try:
        yield
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError, BadInput):
        raise
    except Exception as error:
        if is_disk_full(error) or is_disk_full(error.__cause__):
            raise
        root = error.__cause__ or error
        reason = str(root).strip().splitlines() or [type(root).__name__]
        is_file = Path(label).exists()
        is_network = isinstance(root, OSError) and not is_file  # a damaged Parquet file is one, too
        raise BadInput(
            f"{label}: cannot be read: {reason[0].rstrip('.')}.{' Write it again.' if is_file else ''}",
            None if is_network else "dataset_column_error",
        ) from None
