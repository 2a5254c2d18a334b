"""How the rows of a source become tokens: by its format, the tokenizer's template and the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jinja2 import TemplateSyntaxError

from engine.classification import encode_classified, find_labels, knows_token_types
from engine.config import DataFormat, LossOn, RunConfig, Task
from engine.errors import BadInput
from engine.rows import find_format
from engine.templates import RowTemplate, TemplateProblem, row_template
from engine.tokens import TokenRow, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedTokenizerBase

    from engine.rows import NumberedRow, RowSource


class Encoder(NamedTuple):
    """How the rows of a source become tokens."""

    row_format: DataFormat
    description: str
    """How a row becomes text, for people."""
    labels: list[str] | None
    """Names of the classes; None unless the task is a classification."""
    encode: Callable[[Sequence[NumberedRow]], list[TokenRow]]
    token_types: bool = False
    """Rows have a column of token types."""


def make_encoder(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    source: RowSource,
    progress: Callable[[str], None],
    labels: list[str] | None = None,
    longest_text: int | None = None,
) -> Encoder:
    """The encoder of a source; of a classification with the given classes, or else those found in its rows.

    Only the first ``longest_text`` characters of a row are tokenised if that is given, and its length estimated: a row
    of megabytes takes many seconds, and what lies beyond ``data.max_length`` is not trained on.
    """
    data = config.data
    row_format = find_format(source, data.format, data.columns, config.model.task)
    if config.model.task is Task.SEQUENCE_CLASSIFICATION:
        classes = labels or find_labels(config, source, row_format, progress)
        column = data.columns.get("label", "label")
        token_types = longest_text is None and knows_token_types(config, tokenizer)  # they make no row longer

        def encode_rows(rows: Sequence[NumberedRow]) -> list[TokenRow]:
            shares, rows = _shortened(rows, longest_text) if longest_text else (None, rows)
            encoded = encode_classified(
                tokenizer, rows, classes, data.max_length, token_types=token_types, source=source.label, column=column
            )
            return _with_whole_lengths(encoded, shares) if shares else encoded

        return Encoder(row_format, "text as the tokenizer frames it", classes, encode_rows, token_types)
    try:
        template = row_template(row_format, tokenizer)
    except (TemplateProblem, TemplateSyntaxError) as problem:
        where = data.chat_template or config.model.tokenizer or config.model.path
        raise BadInput(f"{where}: the chat template cannot be used: {problem} (data.chat_template).") from None
    return Encoder(
        row_format,
        template.description,
        None,
        lambda rows: _encode_texts(config, tokenizer, source, template, rows, longest_text),
    )


def _encode_texts(
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    source: RowSource,
    template: RowTemplate,
    rows: Sequence[NumberedRow],
    longest_text: int | None,
) -> list[TokenRow]:
    rendered = []
    for number, row in rows:
        try:
            rendered.append(template.render(row))
        except TemplateProblem as problem:
            raise BadInput(f"{source.label}: row {number} {problem}.", "dataset_column_error") from None
    whole = rendered
    if longest_text:
        rendered = [row.beginning(longest_text) for row in whole]
    encoded = encode(
        tokenizer, rendered, add_special_tokens=not template.is_chat, loss_on_all=config.data.loss_on is LossOn.ALL
    )
    cut = [row.cut(config.data.max_length) for row in encoded]
    shares = [len(part.text) / max(len(row.text), 1) for part, row in zip(rendered, whole, strict=True)]
    return _with_whole_lengths(cut, shares) if longest_text else cut


def _shortened(rows: Sequence[NumberedRow], longest: int) -> tuple[list[float], list[NumberedRow]]:
    """Rows of texts to classify with the first characters of each, and the share of the row that this is."""
    shares, shortened = [], []
    for number, row in rows:
        texts = {name: row.get(name) or "" for name in ("text", "text_pair")}
        kept = {name: text[:longest] for name, text in texts.items()}
        shares.append(sum(map(len, kept.values())) / max(sum(map(len, texts.values())), 1))
        shortened.append((number, {**row, **kept}))
    return shares, shortened


def _with_whole_lengths(rows: Sequence[TokenRow], shares: Sequence[float]) -> list[TokenRow]:
    """Lengths of whole rows, judged by the share of their text that was tokenised."""
    return [
        row._replace(length=round(row.length / share), is_estimated=True) if 0 < share < 1 else row
        for row, share in zip(rows, shares, strict=True)
    ]
