"""The user's data as token ids: read once, checked row by row, tokenised, kept in the run directory.

Rank 0 does it and the others read what it wrote, as does a resumed run: it sees the very same rows, even if the
user's file has changed since.
"""

from __future__ import annotations

import itertools
import random
import shutil
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import datasets
import pyarrow
from jinja2 import TemplateSyntaxError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.config import DataFormat, LossOn, RunConfig
from engine.errors import BadInput
from engine.events import read_json, write_json
from engine.sources import Source, checked_rows, find_format, open_source
from engine.templates import PLAIN_CHAT_TEMPLATE, RowTemplate, TemplateProblem, row_template
from engine.tokens import IGNORED, Encoded, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROWS_AT_A_TIME = 256
SECONDS_BETWEEN_POLLS = 0.2
SECONDS_BETWEEN_REPORTS = 5.0

TRAIN_SCHEMA = pyarrow.schema({"input_ids": pyarrow.list_(pyarrow.int32()), "labels": pyarrow.list_(pyarrow.int32())})
EVALUATION_SCHEMA = pyarrow.schema(
    [
        *TRAIN_SCHEMA,
        ("prompt_ids", pyarrow.list_(pyarrow.int32())),
        ("answer", pyarrow.large_string()),
        ("question", pyarrow.large_string()),
    ]
)


class Rows(NamedTuple):
    """Tokenised rows, memory-mapped."""

    train: datasets.Dataset
    """Columns input_ids and labels (-100 where there is no loss)."""
    evaluation: datasets.Dataset | None
    """The same, and of the last answer prompt_ids (the tokens before it), answer (its text) and question; empty for
    rows of plain text."""
    summary: dict[str, Any]
    """Fields of the ``data`` event."""


def load_tokenizer(config: RunConfig) -> PreTrainedTokenizerBase:
    """The model's tokenizer, or the one named instead, with a pad token and the configured chat template.

    Raises:
        BadInput: there is none, or it cannot be used.
    """
    field = "model.tokenizer" if config.model.tokenizer else "model.path"
    path = config.model.tokenizer or config.model.path
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path,
            revision=None if config.model.tokenizer else config.model.revision,
            trust_remote_code=config.model.trust_remote_code,
        )
    # Broken files surface as whatever the parser of that file raises, tokenizers' own as a bare Exception.
    except Exception as error:
        raise BadInput(f"{path}: {_why_no_tokenizer(path, error)} ({field}).") from error
    if not tokenizer.is_fast:
        raise BadInput(
            f"{path}: has no fast tokenizer (tokenizer.json), without which answers cannot be told from prompts "
            f"({field}). Convert it with Transformers' AutoTokenizer and save_pretrained."
        )
    if config.data.chat_template:
        tokenizer.chat_template = _read_template(Path(config.data.chat_template))
    if tokenizer.pad_token_id is None:
        # Padding is masked by position, so any token does; nothing is added to the vocabulary.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def _why_no_tokenizer(path: str, error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "its tokenizer is Python code that comes with it; set model.trust_remote_code=true if you trust it"
    if isinstance(error, OSError) and not Path(path).exists():
        return "is no local folder, and the hub cannot be reached or has no such model; check the path or the id"
    if "Couldn't instantiate the backend tokenizer" in str(error):
        return "holds no tokenizer; copy tokenizer.json and tokenizer_config.json there, or set model.tokenizer"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"its tokenizer cannot be read: {reason.rstrip('.')}; fetch tokenizer.json again, or set model.tokenizer"


def _read_template(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: the chat template cannot be read ({error}). Set data.chat_template.") from None


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
    parts = _open_parts(config, cache, progress)
    train = _tokenise(config, tokenizer, parts[0], folder / "train.arrow", TRAIN_SCHEMA, progress)
    counts = train.counts
    if len(parts) > 1:
        evaluation = _tokenise(
            config, tokenizer, parts[1], folder / "evaluation.arrow", EVALUATION_SCHEMA, progress
        )  # fmt: skip
        counts["eval_rows"] = evaluation.counts["rows"]
        counts["dropped"] += evaluation.counts["dropped"]
        counts["truncated"] += evaluation.counts["truncated"]
    names = ("rows", "eval_rows", "dropped", "truncated", "tokens", "target_tokens")
    summary: dict[str, Any] = {name: counts[name] for name in names}
    summary |= {"format": train.row_format.value, "template": train.template}
    shutil.rmtree(cache)
    write_json(
        folder / "rows.json",
        {"schema_version": 1, "summary": summary, "plain_template": tokenizer.chat_template == PLAIN_CHAT_TEMPLATE},
    )


class _Part(NamedTuple):
    """Rows to train on or to evaluate on."""

    source: Source
    indices: Sequence[int] | None = None
    """Which of the source's rows; all of them if None."""


def _open_parts(config: RunConfig, cache: Path, progress: Callable[[str], None]) -> list[_Part]:
    """The training rows and, if the configuration has any, the evaluation rows."""
    data = config.data
    progress(f"reading {data.path}")
    source = open_source(data.path, field="data.path", name=data.name, split=data.split, cache=cache)
    if data.eval_path:
        progress(f"reading {data.eval_path}")
        split = data.eval_split or data.split
        held_out = open_source(data.eval_path, field="data.eval_path", name=None, split=split, cache=cache)
        return [_Part(source), _Part(held_out)]
    if data.eval_split:
        if Path(data.path).is_file():
            raise BadInput(
                f"{data.path}: a file has no splits (data.eval_split). Use data.eval_fraction or data.eval_path."
            )
        held_out = open_source(data.path, field="data.path", name=data.name, split=data.eval_split, cache=cache)
        return [_Part(source), _Part(held_out)]
    if data.eval_fraction:
        if len(source) < 2:
            raise BadInput(f"{source.label}: has one row, of which no share can be held out (data.eval_fraction).")
        count = min(max(1, round(len(source) * data.eval_fraction)), len(source) - 1)
        held = set(random.Random(config.training.seed).sample(range(len(source)), count))
        return [
            _Part(source, [index for index in range(len(source)) if index not in held]),
            _Part(source, sorted(held)),
        ]
    return [_Part(source)]


class _Tokenised(NamedTuple):
    counts: Counter[str]
    row_format: DataFormat
    template: str


def _tokenise(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    part: _Part,
    path: Path,
    schema: pyarrow.Schema,
    progress: Callable[[str], None],
) -> _Tokenised:
    """Write the part's rows to an Arrow file, cut to length, those with nothing left to learn dropped."""
    data, source = config.data, part.source
    row_format = find_format(source, data.format, data.columns)
    try:
        template = row_template(row_format, tokenizer)
    except (TemplateProblem, TemplateSyntaxError) as problem:
        where = data.chat_template or config.model.tokenizer or config.model.path
        raise BadInput(f"{where}: the chat template cannot be used: {problem} (data.chat_template).") from None
    encoded = _encoded(config, tokenizer, part, row_format, template, progress)
    counts: Counter[str] = Counter()
    lengths: list[int] = []
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, schema) as file:
        while batch := list(itertools.islice(encoded, ROWS_AT_A_TIME)):
            kept = []
            for row in batch:
                lengths.append(len(row.input_ids))
                cut = row._replace(input_ids=row.input_ids[: data.max_length], labels=row.labels[: data.max_length])
                targets = sum(label != IGNORED for label in cut.labels[1:])  # the first token is predicted by nothing
                if not targets:
                    counts["dropped"] += 1
                    continue
                counts["rows"] += 1
                counts["truncated"] += len(row.input_ids) > data.max_length
                counts["tokens"] += len(cut.input_ids)
                counts["target_tokens"] += targets
                kept.append(cut._asdict())
            file.write_batch(pyarrow.RecordBatch.from_pylist(kept, schema=schema))
    if not counts["rows"]:
        raise BadInput(_nothing_left(source, data.max_length, lengths))
    return _Tokenised(counts, row_format, template.description)


def _encoded(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    part: _Part,
    row_format: DataFormat,
    template: RowTemplate,
    progress: Callable[[str], None],
) -> Iterator[Encoded]:
    """The part's rows as tokens, in order."""
    source = part.source
    total = len(source) if part.indices is None else len(part.indices)
    rows = checked_rows(source, row_format, config.data.columns, part.indices)
    done, reported = 0, time.monotonic()
    while batch := list(itertools.islice(rows, ROWS_AT_A_TIME)):
        rendered = []
        for number, row in batch:
            try:
                rendered.append(template.render(row))
            except TemplateProblem as problem:
                raise BadInput(f"{source.label}: row {number} {problem}.") from None
        yield from encode(
            tokenizer, rendered, add_special_tokens=not template.is_chat,
            loss_on_all=config.data.loss_on is LossOn.ALL,
        )  # fmt: skip
        done += len(batch)
        if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
            reported = time.monotonic()
            progress(f"tokenised {done:,} of {total:,} rows of {source.label}")


def _nothing_left(source: Source, max_length: int, lengths: list[int]) -> str:
    """Why no row was kept, with the length that would do."""
    if max(lengths) <= max_length:
        return f"{source.label}: no row has anything to learn. Set data.loss_on=all, or see that rows have answers."
    most = sorted(lengths)[int(0.95 * (len(lengths) - 1))]
    return (
        f"{source.label}: every answer is cut off by data.max_length={max_length}. Half of the rows have up to "
        f"{round(statistics.median(lengths))} tokens, 95 % up to {most}: set data.max_length={most}."
    )
