"""Rows as the model will see them, and how long they are, for people who still choose; by the code that trains."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import math
import os
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec.structs import replace

from engine.classification import label_name
from engine.config import Task
from engine.config.formats import ROW_FORMATS, row_problem
from engine.config.inspection import Coverage, LengthsProgress, Preview, PreviewRow, Segment
from engine.encoding import make_encoder
from engine.errors import BadInput, first_line
from engine.histogram import Measured, describe
from engine.rows import find_format, renamed
from engine.sampling import Rows, draw, fingerprint, first_rows
from engine.tokenizer import load_tokenizer, set_chat_template
from engine.tokens import IGNORED

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from engine.config import DataFormat, RunConfig
    from engine.config.inspection import Lengths, LengthsRequest, PreviewRequest
    from engine.encoding import Encoder
    from engine.rows import NumberedRow, Row
    from engine.tokens import TokenRow

KEPT = 8
"""Tokenizers, beginnings of files and lists of lengths kept, of each."""
ROWS_KEPT = 20
"""Rows read of a file at least, so that a few more are there when asked for."""
LEAST_TEXT = 50_000
CHARACTERS_PER_TOKEN = 8
"""Of a row, as many characters are tokenised as ``data.max_length`` tokens surely take, and at least so many."""
WITHOUT_LIMIT = 2**30
ROWS_AT_A_TIME = 16
SECONDS_BETWEEN_REPORTS = 0.2


ANY_CLASS = "any"
"""Stands in for the class of a row to classify: which there are is known when all rows are read."""

Kept = TypeVar("Kept")


class Inspector:
    """Answers requests, with what was read kept between them."""

    def __init__(self) -> None:
        self._tokenizers: _Newest[Any] = _Newest()
        self._rows: _Newest[Rows] = _Newest()
        self._measured: _Newest[Measured] = _Newest()

    def preview(self, request: PreviewRequest) -> Preview:
        """The first rows.

        Raises:
            BadInput: there are none to be had, or no tokenizer.
        """
        config = request.config
        rows = self._first_rows(config, request.rows)
        seen = Preview(id=request.id, source=rows.label, columns=list(rows.columns))
        try:
            row_format = find_format(rows, config.data.format, config.data.columns, config.model.task)
        except BadInput as error:
            return replace(seen, problem=str(error))
        mapping = _mapping(row_format, config.data.columns, rows.columns)
        seen = replace(seen, format=row_format, mapping=mapping, is_all=rows.is_all)
        try:
            _, tokenizer = self._tokenizer(config)
            encoder = _encoder(config, tokenizer, rows, _longest_text(config))
        except BadInput as error:
            return replace(seen, problem=str(error), rows=[_as_in_file(one, request) for one in rows.numbered])
        shown = [_shown(one, request, encoder, tokenizer, rows.label) for one in rows.numbered]
        return replace(seen, template=encoder.description, rows=shown)

    def lengths(self, request: LengthsRequest) -> Iterator[LengthsProgress | Lengths | None]:
        """Progress now and then, the answer at last, None where something else may be done.

        Raises:
            BadInput: no row can be used.
        """
        config = request.config
        tokenizer_key, tokenizer = self._tokenizer(config)
        longest_text = _longest_text(config)
        key = (
            tokenizer_key, tokenizer.chat_template, fingerprint(config), config.data.format, config.data.loss_on,
            tuple(config.data.columns.items()), config.model.task, config.training.seed, longest_text,
            request.rows, request.seconds,
        )  # fmt: skip
        measured = self._measured.get(key)
        if measured is None:
            measured = Measured()
            whole = replace(config, data=replace(config.data, max_length=WITHOUT_LIMIT))
            rows = self._first_rows(config, ROWS_KEPT)
            encoder = _encoder(whole, tokenizer, rows, longest_text)
            for share in _measure(request, encoder, rows.label, measured):
                yield None if share is None else LengthsProgress(request.id, len(measured.lengths), share)
            self._measured.put(key, measured)
        yield describe(request, config.data.path, measured)

    def _first_rows(self, config: RunConfig, count: int) -> Rows:
        key = fingerprint(config)
        kept = self._rows.get(key)
        if kept is None or (len(kept) < count and not kept.is_all):
            kept = self._rows.put(key, first_rows(config, max(count, ROWS_KEPT)))
        return replace(kept, numbered=kept.numbered[:count], is_all=kept.is_all and len(kept) <= count)

    def _tokenizer(self, config: RunConfig) -> tuple[Hashable, Any]:
        """A copy to put chat templates into, that of the configuration or its own for now; and what tells it apart."""
        model = config.model
        path = model.tokenizer or model.path
        key = (path, None if model.tokenizer else model.revision, model.trust_remote_code, _files(path))
        kept = self._tokenizers.get(key)
        if kept is None:
            plain = replace(config, data=replace(config.data, chat_template=None))
            kept = self._tokenizers.put(key, load_tokenizer(plain, prefer_cache=True))
        tokenizer = copy.copy(kept)
        set_chat_template(tokenizer, config)
        return key, tokenizer


class _Newest(Generic[Kept]):
    """The values asked for last."""

    def __init__(self) -> None:
        self._values: OrderedDict[Hashable, Kept] = OrderedDict()

    def get(self, key: Hashable) -> Kept | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: Hashable, value: Kept) -> Kept:
        self._values[key] = value
        if len(self._values) > KEPT:
            self._values.popitem(last=False)
        return value


def _files(path: str) -> Hashable:
    """What is in a model's folder, and since when; the hub's are told apart by their names."""
    try:
        found = [(entry.name, entry.stat()) for entry in os.scandir(path)]
    except OSError:  # no folder, or not to be looked into: loading says why
        return None
    return tuple(sorted((name, one.st_mtime_ns, one.st_size) for name, one in found))


def _mapping(row_format: DataFormat, given: dict[str, str], columns: Sequence[str]) -> dict[str, str]:
    wanted = ROW_FORMATS[row_format]
    named = {ours: given.get(ours, ours) for ours in (*wanted.required, *wanted.optional)}
    return {ours: theirs for ours, theirs in named.items() if theirs in columns}


def _longest_text(config: RunConfig) -> int:
    return max(LEAST_TEXT, CHARACTERS_PER_TOKEN * config.data.max_length)


def _encoder(config: RunConfig, tokenizer: Any, rows: Rows, longest_text: int) -> Encoder:
    return make_encoder(config, tokenizer, rows, lambda line: None, labels=[ANY_CLASS], longest_text=longest_text)


def _encode(encoder: Encoder, rows: Sequence[NumberedRow], config: RunConfig) -> list[TokenRow]:
    """Rows that were checked, as tokens."""
    named = [(number, renamed(row, config.data.columns)) for number, row in rows]
    if config.model.task is Task.SEQUENCE_CLASSIFICATION:
        named = [(number, {**row, "label": ANY_CLASS}) for number, row in named]
    return encoder.encode(named)


def _encode_one(encoder: Encoder, numbered: NumberedRow, config: RunConfig, label: str) -> TokenRow | str:
    """A row as tokens, or what is wrong with it in a clause that goes on from 'row 7 '."""
    number, row = numbered
    if problem := row_problem(row, encoder.row_format, config.data.columns):
        return problem
    try:
        return _encode(encoder, [numbered], config)[0]
    except BadInput as error:
        return str(error).removeprefix(f"{label}: row {number} ").rstrip(".")
    # Half of a surrogate pair, say, which JSON lets pass and no tokenizer takes.
    except Exception as error:
        return f"cannot be tokenised: {first_line(error)}"


def _shown(numbered: NumberedRow, request: PreviewRequest, encoder: Encoder, tokenizer: Any, label: str) -> PreviewRow:
    number, row = numbered
    config = request.config
    encoded = _encode_one(encoder, numbered, config, label)
    if isinstance(encoded, str):
        return PreviewRow(number=number, problem=encoded)
    is_classified = config.model.task is Task.SEQUENCE_CLASSIFICATION
    ids = encoded.columns["input_ids"]
    labels = [IGNORED] * len(ids) if is_classified else encoded.columns["labels"]
    segments, is_whole = _segments(tokenizer, ids, labels, request.characters)
    return PreviewRow(
        number=number,
        segments=segments,
        tokens=encoded.length,
        kept=len(ids),
        trained=encoded.targets,
        is_estimated=encoded.is_estimated,
        is_shown_whole=is_whole,
        label=label_name(row[config.data.columns.get("label", "label")]) if is_classified else None,
    )


def _as_in_file(numbered: NumberedRow, request: PreviewRequest) -> PreviewRow:
    """A row without a tokenizer to show it with."""
    number, row = numbered
    text = json.dumps(row, ensure_ascii=False, default=str)
    shown = Segment(text[: request.characters], trained=False)
    return PreviewRow(number=number, segments=[shown], is_raw=True, is_shown_whole=len(text) <= request.characters)


def _segments(tokenizer: Any, ids: list[int], labels: list[int], characters: int) -> tuple[list[Segment], bool]:
    """Tokens as text, up to so many characters; and whether that is all of them."""
    segments: list[Segment] = []
    left = characters
    begin = 0
    for trained, run in itertools.groupby(labels, lambda label: label != IGNORED):
        end = begin + len(list(run))
        # A token takes a character at least, nearly always.
        text = _decoded_after(tokenizer, ids[max(begin - 1, 0) : begin], ids[begin : min(end, begin + left + 1)])
        segments.append(Segment(text[:left], trained))
        if len(text) > left:
            return segments, False
        left -= len(text)
        begin = end
    return segments, True


def _decoded_after(tokenizer: Any, before: list[int], ids: list[int]) -> str:
    """The text of tokens that follow another: some decoders leave out the blank that a text begins with."""

    def decode(tokens: list[int]) -> str:
        text: str = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    return decode(before + ids)[len(decode(before)) if before else 0 :]


def _measure(request: LengthsRequest, encoder: Encoder, label: str, measured: Measured) -> Iterator[float | None]:
    """Look at rows until there are enough, or time is up; gives the share of the work done now and then."""
    drawn = draw(request.config, request.rows)
    began = reported = time.monotonic()
    found, share = 0, 0.0
    for stretch in drawn.stretches:
        now = time.monotonic()
        if len(measured.lengths) >= request.rows or (found and now - began > request.seconds):
            is_over = False
            break
        if now - reported > SECONDS_BETWEEN_REPORTS:
            reported = now
            yield max(len(measured.lengths) / request.rows, min(share, 1.0), (now - began) / request.seconds)
        found += len(stretch.rows) + len(stretch.unusable)
        share += stretch.share
        for problem in stretch.unusable:
            measured.refuse(problem)
        wanted = stretch.rows[: request.rows - len(measured.lengths)]
        for begin in range(0, len(wanted), ROWS_AT_A_TIME):
            _add(wanted[begin : begin + ROWS_AT_A_TIME], encoder, request.config, label, measured)
            yield None
    else:
        is_over = drawn.coverage is Coverage.BEGINNING or math.isclose(share, 1)
    is_whole = is_over and found == len(measured.lengths) + measured.unusable
    measured.coverage = Coverage.WHOLE if is_whole else drawn.coverage
    if is_whole:
        measured.total_rows = found
    elif share:
        measured.total_rows = round(found / share)


def _add(rows: Sequence[Row], encoder: Encoder, config: RunConfig, label: str, measured: Measured) -> None:
    for encoded in _encode_each(encoder, [(0, row) for row in rows], config, label):
        if isinstance(encoded, str):
            measured.refuse(encoded)
        else:
            measured.lengths.append(encoded.length)
            measured.first_targets.append(_first_target(encoded))


def _encode_each(
    encoder: Encoder, rows: Sequence[NumberedRow], config: RunConfig, label: str
) -> Sequence[TokenRow | str]:
    """As ``_encode_one``, all at once where all are sound, which is quicker."""
    if not any(row_problem(row, encoder.row_format, config.data.columns) for _, row in rows):
        with contextlib.suppress(Exception):  # one by one they say what it is
            return _encode(encoder, rows, config)
    return [_encode_one(encoder, row, config, label) for row in rows]


def _first_target(row: TokenRow) -> int | None:
    """The place of the first token to learn; a class is learnt however a row is cut."""
    if "labels" not in row.columns:
        return 0 if row.targets else None
    return next((place for place, label in enumerate(row.columns["labels"]) if place and label != IGNORED), None)
