"""The user's data as token ids: read once, checked row by row, tokenised, kept in the run directory.

Rank 0 does it and the others read what it wrote, as does a resumed run: it sees the very same rows, even if the
user's file has changed since.
"""

from __future__ import annotations

import random
import shutil
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import datasets
import pyarrow
import pyarrow.compute

from engine.classification import TOKEN_TYPES, held_out_by_class, nothing_to_classify
from engine.config import RunConfig, Task
from engine.encoding import Encoder, make_encoder
from engine.errors import BadInput
from engine.events import read_json, write_json
from engine.rows import checked_batches, find_format
from engine.sources import Source, open_source
from engine.templates import PLAIN_CHAT_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase

SECONDS_BETWEEN_POLLS = 0.2

TOKENS = pyarrow.list_(pyarrow.int32())
TYPES = pyarrow.list_(pyarrow.int8())
LEARNT = {
    Task.CAUSAL_LM: {"input_ids": TOKENS, "labels": TOKENS},
    Task.SEQUENCE_CLASSIFICATION: {"input_ids": TOKENS, "label": pyarrow.int32()},
}
COMPARED = {
    Task.CAUSAL_LM: {"prompt_ids": TOKENS, "answer": pyarrow.large_string(), "question": pyarrow.large_string()},
    Task.SEQUENCE_CLASSIFICATION: {"answer": pyarrow.large_string(), "question": pyarrow.large_string()},
}
"""Columns of the rows to train on, and those that rows to evaluate on have besides."""


class Rows(NamedTuple):
    """Tokenised rows, memory-mapped."""

    train: datasets.Dataset
    """Columns input_ids and labels (-100 where there is no loss); of a classification input_ids, label (index of the
    class) and, for models that are told a pair's texts apart by them, token_type_ids."""
    evaluation: datasets.Dataset | None
    """The same, and of the last answer prompt_ids (the tokens before it), answer (its text) and question; empty for
    rows of plain text. Of a classification the name of the class as answer, and the text as question."""
    summary: dict[str, Any]
    """Fields of the ``data`` event."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row to train on."""
        tokens = self.train.data.column("input_ids")
        return [length for chunk in tokens.chunks for length in pyarrow.compute.list_value_length(chunk).to_pylist()]

    @property
    def labels(self) -> list[str] | None:
        """Names of the classes by index; None unless the task is a classification."""
        return self.summary.get("labels")


def prepare_rows(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    is_main: bool,
    progress: Callable[[str], None],
) -> Rows:
    """The run's rows in ``folder``, made by the main rank if they aren't there yet.

    The others wait for the folder itself, not in a collective, which would time out while much data is tokenised.
    ``progress`` takes a line for people now and then.

    Raises:
        BadInput: the data cannot be used (main rank).
    """
    datasets.disable_progress_bars()
    if is_main and not folder.exists():
        aside = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(aside, ignore_errors=True)  # of an attempt that was killed
        try:
            _write(config, tokenizer, aside, progress)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    elif not folder.exists():
        progress(f"waiting for rank 0 to tokenise the data into {folder}")
        while not folder.exists():
            time.sleep(SECONDS_BETWEEN_POLLS)
    return _read(folder, tokenizer)


def _read(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Rows:
    stored = read_json(folder / "rows.json")
    if stored is None:
        raise BadInput(f"{folder}: rows.json is missing or damaged. Remove the folder to have the data read again.")
    if stored["plain_template"]:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    evaluation = folder / "evaluation.arrow"
    return Rows(
        datasets.Dataset.from_file(str(folder / "train.arrow")),
        datasets.Dataset.from_file(str(evaluation)) if evaluation.exists() else None,
        stored["summary"],
    )


def _write(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, folder: Path, progress: Callable[[str], None]
) -> None:
    cache = folder / "cache"
    cache.mkdir(parents=True)
    train, *held_out = _open_sources(config, cache, progress)
    encoder = make_encoder(config, tokenizer, train, progress)
    schema = LEARNT[config.model.task] | ({TOKEN_TYPES: TYPES} if encoder.token_types else {})
    counts = _tokenise(config, train, encoder, folder / "train.arrow", schema, progress)
    for source in held_out:
        # Held-out rows may be laid out in another way, but their classes are those of the training rows.
        of_held_out = make_encoder(config, tokenizer, source, progress, encoder.labels)
        compared = schema | COMPARED[config.model.task]
        evaluation = _tokenise(config, source, of_held_out, folder / "evaluation.arrow", compared, progress)
        counts["eval_rows"] = evaluation["rows"]
        counts["dropped"] += evaluation["dropped"]
        counts["truncated"] += evaluation["truncated"]
    names = ("rows", "eval_rows", "dropped", "truncated", "tokens", "target_tokens")
    summary: dict[str, Any] = {name: counts[name] for name in names}
    summary |= {"format": encoder.row_format.value, "template": encoder.description}
    if encoder.labels is not None:
        summary["labels"] = encoder.labels
    shutil.rmtree(cache)
    write_json(
        folder / "rows.json",
        {"schema_version": 1, "summary": summary, "plain_template": tokenizer.chat_template == PLAIN_CHAT_TEMPLATE},
    )


def _open_sources(config: RunConfig, cache: Path, progress: Callable[[str], None]) -> list[Source]:
    """The training rows and, if the configuration has any, the evaluation rows."""
    data = config.data
    progress(f"reading {data.path}")
    source = open_source(data.path, field="data.path", name=data.name, split=data.split, cache=cache)
    if data.eval_path:
        progress(f"reading {data.eval_path}")
        split = data.eval_split or data.split
        held_out = open_source(data.eval_path, field="data.eval_path", name=None, split=split, cache=cache)
        return [source, held_out]
    if data.eval_split:
        if Path(data.path).is_file():
            raise BadInput(
                f"{data.path}: a file has no splits (data.eval_split). Use data.eval_fraction or data.eval_path."
            )
        held_out = open_source(data.path, field="data.path", name=data.name, split=data.eval_split, cache=cache)
        return [source, held_out]
    if data.eval_fraction:
        if len(source) < 2:
            raise BadInput(
                f"{source.label}: has one row, of which no share can be held out (data.eval_fraction).",
                "dataset_too_small",
            )
        held = _held_out(config, source, progress)
        return [
            source.part([index for index in range(len(source)) if index not in held]),
            source.part(sorted(held)),
        ]
    return [source]


def _held_out(config: RunConfig, source: Source, progress: Callable[[str], None]) -> set[int]:
    """Places of the rows that ``data.eval_fraction`` holds out, set by the seed."""
    data = config.data
    if config.model.task is Task.SEQUENCE_CLASSIFICATION:
        row_format = find_format(source, data.format, data.columns, config.model.task)
        return held_out_by_class(config, source, row_format, progress)
    count = min(max(1, round(len(source) * data.eval_fraction)), len(source) - 1)
    return set(random.Random(config.training.seed).sample(range(len(source)), count))


def _tokenise(
    config: RunConfig,
    source: Source,
    encoder: Encoder,
    path: Path,
    columns: dict[str, pyarrow.DataType],
    progress: Callable[[str], None],
) -> Counter[str]:
    """Write the source's rows to an Arrow file, those with nothing left to learn dropped, and count them."""
    schema = pyarrow.schema(columns)
    counts: Counter[str] = Counter()
    lengths: list[int] = []
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, schema) as file:
        for batch in checked_batches(source, encoder.row_format, config.data.columns, progress, "tokenised"):
            rows = encoder.encode(batch)
            kept = [row for row in rows if row.targets]
            lengths += [row.length for row in rows]
            counts["rows"] += len(kept)
            counts["dropped"] += len(rows) - len(kept)
            counts["truncated"] += sum(row.length > config.data.max_length for row in kept)
            counts["tokens"] += sum(len(row.columns["input_ids"]) for row in kept)
            counts["target_tokens"] += sum(row.targets for row in kept)
            file.write_batch(pyarrow.RecordBatch.from_pylist([row.columns for row in kept], schema=schema))
    if not counts["rows"]:
        raise BadInput(_nothing_left(config, source, lengths), "dataset_too_small")
    return counts


def _nothing_left(config: RunConfig, source: Source, lengths: list[int]) -> str:
    """Why no row was kept, with the length that would do."""
    if config.model.task is Task.SEQUENCE_CLASSIFICATION:
        return nothing_to_classify(source)
    max_length = config.data.max_length
    if max(lengths) <= max_length:
        return f"{source.label}: no row has anything to learn. Set data.loss_on=all, or see that rows have answers."
    most = sorted(lengths)[int(0.95 * (len(lengths) - 1))]
    return (
        f"{source.label}: every answer is cut off by data.max_length={max_length}. Half of the rows have up to "
        f"{round(statistics.median(lengths))} tokens, 95 % up to {most}: set data.max_length={most}."
    )
