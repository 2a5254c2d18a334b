"""Rows to classify: which classes there are, and texts as tokens with the class they belong to."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig

from engine.errors import BadInput, cause_of_not_loaded, why_not_loaded
from engine.rows import checked_batches
from engine.tokens import TokenRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.config import DataFormat, RunConfig
    from engine.rows import NumberedRow, Row, RowSource

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
LABELS_SHOWN = 10
TOKEN_TYPES = "token_type_ids"

Tokens = dict[str, list[int]]
"""A row's ``input_ids``, and its ``token_type_ids`` where the model takes them."""


def find_labels(
    config: RunConfig, source: RowSource, row_format: DataFormat, progress: Callable[[str], None]
) -> list[str]:
    """The classes of the training rows by name, in the order of the model's outputs: sorted, numbers by value.

    Raises:
        BadInput: a row cannot be used, there are fewer than two classes, or not as many as the model is to have.
    """
    batches = checked_batches(source, row_format, config.data.columns, progress, "looked at the classes of")
    found = {label_name(row["label"]) for batch in batches for _, row in batch if _has_text(row)}
    are_numbers = all(WHOLE_NUMBER.fullmatch(name) for name in found)
    labels = sorted(found, key=lambda name: (int(name), name) if are_numbers else (0, name))
    column = config.data.columns.get("label", "label")
    if not labels:
        raise BadInput(nothing_to_classify(source), "dataset_too_small")
    if len(labels) == 1:
        raise BadInput(
            f"{source.label}: every row has {labels[0]!r} as its {column!r}, and a classification needs two classes or "
            "more. Add rows of others, or name another column in data.columns, as in {label: stars}.",
            "dataset_column_error",
        )
    wanted = config.model.num_labels
    if wanted not in (None, len(labels)):
        raise BadInput(
            f"{source.label}: {column!r} has {len(labels)} classes ({_listed(labels)}), not {wanted}. Set "
            f"model.num_labels to {len(labels)}, or leave it empty.",
            "label_out_of_range",
        )
    return labels


def held_out_by_class(
    config: RunConfig, source: RowSource, row_format: DataFormat, progress: Callable[[str], None]
) -> set[int]:
    """Places, counted from 0, of the rows that ``data.eval_fraction`` holds out: of each class its share.

    Every class keeps a row to train on; ``progress`` is told of classes too rare to be held out.

    Raises:
        BadInput: a row cannot be used, or no class has a row to spare.
    """
    share = config.data.eval_fraction
    places = _places_by_class(config, source, row_format, progress)
    if not places:
        raise BadInput(nothing_to_classify(source), "dataset_too_small")
    counts = _shares({name: len(rows) for name, rows in places.items()}, share)
    if not any(counts.values()):
        raise BadInput(
            f"{source.label}: no class has a second row, of which one could be held out (data.eval_fraction). Give "
            "data.eval_path, or more rows.",
            "dataset_too_small",
        )
    if rare := sorted(name for name, count in counts.items() if not count):
        progress(f"{source.label}: too few rows to hold any out (data.eval_fraction={share:g}) of {_listed(rare)}")
    chosen = random.Random(config.training.seed)
    return {place for name, count in counts.items() for place in chosen.sample(places[name], count)}


def _places_by_class(
    config: RunConfig, source: RowSource, row_format: DataFormat, progress: Callable[[str], None]
) -> dict[str, list[int]]:
    """Places of the rows with a text, by class; classes sorted by name."""
    batches = checked_batches(source, row_format, config.data.columns, progress, "looked at the classes of")
    rows = (row for batch in batches for _, row in batch)
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if _has_text(row):
            places.setdefault(label_name(row["label"]), []).append(place)
    return dict(sorted(places.items()))


def _shares(sizes: dict[str, int], share: float) -> dict[str, int]:
    """How many of each class to hold out, by largest remainder; all but one of a class at most."""
    counts = {name: int(size * share) for name, size in sizes.items()}
    missing = max(1, round(sum(sizes.values()) * share)) - sum(counts.values())
    for name in sorted(sizes, key=lambda name: counts[name] - sizes[name] * share):
        if missing > 0 and counts[name] < sizes[name] - 1:
            counts[name] += 1
            missing -= 1
    return counts


def nothing_to_classify(source: RowSource) -> str:
    """What people are told when every row is dropped."""
    return f"{source.label}: no row has a text to classify. See that data.columns names the column of texts."


def label_name(label: str | int) -> str:
    """A class by the text that stands for it in JSON; white space around it means nothing."""
    return str(label).lower() if isinstance(label, bool) else str(label).strip()


def knows_token_types(config: RunConfig, tokenizer: Any) -> bool:
    """Whether the model is to be told which tokens are of a pair's second text, as BERT is.

    The tokenizer must offer it and the model have embeddings for it: a causal model would take the types for words, or
    not at all.

    Raises:
        BadInput: the model's configuration cannot be read.
    """
    if TOKEN_TYPES not in tokenizer.model_input_names:
        return False
    model = config.model
    try:
        found = AutoConfig.from_pretrained(
            model.path, revision=model.revision, trust_remote_code=model.trust_remote_code
        )  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        reason = why_not_loaded(model.path, error)
        raise BadInput(
            f"model.path: {model.path}: its config.json cannot be read: {reason}",
            cause_of_not_loaded(model.path, error),
        ) from error
    return getattr(found, "type_vocab_size", 0) > 1


def encode_classified(
    tokenizer: Any,
    rows: Sequence[NumberedRow],
    labels: Sequence[str],
    max_length: int,
    *,
    token_types: bool,
    source: str,
    column: str,
) -> list[TokenRow]:
    """Tokenise rows, special tokens included, and cut to ``max_length`` tokens, of a pair the longer text.

    ``labels`` are the classes by name; ``token_types`` asks for the column of them (0, and 1 of a second text);
    ``source`` and ``column`` name the data and its column of classes in messages.

    Raises:
        BadInput: a row is of another class.
    """
    classes = {name: index for index, name in enumerate(labels)}
    made = []
    for (number, row), (tokens, length) in zip(rows, _tokens_of(tokenizer, rows, max_length, token_types), strict=True):
        name = label_name(row["label"])
        has_text = _has_text(row) and bool(tokens["input_ids"])
        if has_text and name not in classes:
            raise BadInput(
                f"{source}: row {number} has {name!r} as its {column!r}; training rows have {_listed(labels)}. Correct "
                "or remove the row, or add rows of that class to the training data.",
                "label_out_of_range",
            )
        question = "\n\n".join(text for text in _texts(row) if text)
        columns = {**tokens, "label": classes.get(name), "question": question, "answer": name}
        made.append(TokenRow(columns, length, targets=int(has_text)))
    return made


def _texts(row: Row) -> tuple[str, str]:
    """The text and the second one of a pair, empty where there is none."""
    second = row.get("text_pair") or ""
    return row["text"], second if second.strip() else ""


def _has_text(row: Row) -> bool:
    return any(text.strip() for text in _texts(row))


def _tokens_of(
    tokenizer: Any, rows: Sequence[NumberedRow], max_length: int, token_types: bool
) -> list[tuple[Tokens, int]]:
    """(columns after cutting, number of tokens before) of each row."""
    texts = [_texts(row) for _, row in rows]
    whole = _encode(tokenizer, texts, token_types)
    lengths = [len(tokens["input_ids"]) for tokens in whole]
    long = [index for index, length in enumerate(lengths) if length > max_length]
    cut = dict(zip(long, _encode(tokenizer, [texts[index] for index in long], token_types, max_length), strict=True))
    return [(cut.get(index, tokens), lengths[index]) for index, tokens in enumerate(whole)]


def _encode(
    tokenizer: Any, texts: Sequence[tuple[str, str]], token_types: bool, max_length: int | None = None
) -> list[Tokens]:
    """Texts and pairs of texts as tokens, cut where ``max_length`` is given so that special tokens stay."""
    # One call takes either texts or pairs: an empty second text would get special tokens of its own.
    pairs = [index for index, (_, second) in enumerate(texts) if second]
    single = [index for index, (_, second) in enumerate(texts) if not second]
    encoded: list[Tokens] = [{} for _ in texts]
    cut = {"truncation": "longest_first", "max_length": max_length} if max_length else {}
    for indices, has_pair in ((single, False), (pairs, True)):
        if not indices:
            continue
        second = {"text_pair": [texts[index][1] for index in indices]} if has_pair else {}
        batch = tokenizer(
            [texts[index][0] for index in indices], **second, **cut, return_token_type_ids=token_types,
            return_attention_mask=False, verbose=False,
        )  # fmt: skip
        for place, index in enumerate(indices):
            encoded[index] = {name: values[place] for name, values in batch.items()}
    # Transformers leaves the limit in the tokenizer, which would be saved with it.
    tokenizer.backend_tokenizer.no_truncation()
    return encoded


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:LABELS_SHOWN])
    return shown if len(labels) <= LABELS_SHOWN else f"{shown} and {len(labels) - LABELS_SHOWN} more"
