"""From rendered rows to token ids and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from engine.templates import Rendered, ending_token_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

IGNORED = -100
"""Label of tokens without loss."""


class TokenRow(NamedTuple):
    """A row as it is kept for training or evaluation."""

    columns: dict[str, Any]
    """By the names of the Arrow file."""
    length: int
    """In tokens, before it was cut."""
    targets: int
    """What the loss is taken over: tokens, or one class. A row without any teaches nothing."""
    is_estimated: bool = False
    """``length`` is: the text was tokenised in part."""


class Encoded(NamedTuple):
    """A row as tokens, not yet cut to any length."""

    input_ids: list[int]
    labels: list[int]
    """The ids again where there is loss, elsewhere -100."""
    prompt_ids: list[int]
    """What comes before the last answer; empty where nothing does."""
    answer: str
    """The last answer as its tokens read, special ones left out; empty where there is no prompt."""
    question: str
    """What is asked last, for people."""

    def cut(self, max_length: int) -> TokenRow:
        """The row's first tokens; answer and prompt stay whole, to be compared with what the model writes."""
        labels = self.labels[:max_length]
        columns = self._asdict() | {"input_ids": self.input_ids[:max_length], "labels": labels}
        targets = sum(label != IGNORED for label in labels[1:])  # the first token is predicted by nothing
        return TokenRow(columns, len(self.input_ids), targets)


def encode(tokenizer: Any, rows: Sequence[Rendered], *, add_special_tokens: bool, loss_on_all: bool) -> list[Encoded]:
    """Tokenise rows, each as a whole.

    ``add_special_tokens`` lets the tokenizer put BOS in front as it does for plain text; never a second one.
    """
    batch = tokenizer(
        [row.text for row in rows],
        add_special_tokens=add_special_tokens,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    endings = ending_token_ids(tokenizer)
    return [
        _encode_row(tokenizer, row, ids, np.array(offsets, dtype=np.int64).reshape(-1, 2), endings, loss_on_all)
        for row, ids, offsets in zip(rows, batch["input_ids"], batch["offset_mapping"], strict=True)
    ]


def _encode_row(
    tokenizer: Any, row: Rendered, ids: list[int], offsets: np.ndarray[Any, Any], endings: set[int], loss_on_all: bool
) -> Encoded:
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos is not None and ids[:2] == [bos, bos]:  # the text had one, the tokenizer added its own
        ids, offsets = ids[1:], offsets[1:]
    learnt = np.zeros(len(ids), dtype=bool)
    last_answer = np.zeros(0, dtype=np.int64)
    for start, end in row.answers:
        answer = _tokens_of(offsets, start, end)
        learnt[answer] = True
        if len(answer):
            last_answer = answer
    if row.ends_with_answer and len(last_answer) and eos is not None:
        last = int(last_answer[-1])
        if ids[last] not in endings:  # what follows is white space, or the EOS that some tokenizers add
            ids, learnt = [*ids[: last + 1], eos], np.append(learnt[: last + 1], True)
    labels = ids if loss_on_all else np.where(learnt, ids, IGNORED).tolist()
    if not len(last_answer) or row.answers[-1][0] == 0:
        return Encoded(ids, labels, [], "", row.question)
    text = tokenizer.decode([ids[index] for index in last_answer], skip_special_tokens=True).strip()
    return Encoded(ids, labels, ids[: int(last_answer[0])], text, row.question)


def _tokens_of(offsets: np.ndarray[Any, Any], start: int, end: int) -> np.ndarray[Any, Any]:
    """Indices of the tokens that hold any of the characters [start, end).

    A token across the seam belongs to the answer: its characters cannot be learnt otherwise. Tokens without width are
    white space that the tokenizer trims from offsets, which then stand at its end.
    """
    begins, ends = offsets[:, 0], offsets[:, 1]
    overlaps = (begins < end) & (ends > start)
    trimmed = (begins == ends) & (begins > start) & (begins <= end)
    return np.flatnonzero(overlaps | trimmed)
