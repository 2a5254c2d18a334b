"""How many tokens the rows of a local data file have: counted by the model's tokenizer, or estimated from their bytes.

Without torch and Transformers: the tokenizer's own file is read by the library under theirs, ``tokenizers``.
"""

from __future__ import annotations

import heapq
import json
import os
from contextlib import suppress
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.choices import DataFormat
from engine.config.formats import FILE_FORMATS, SHAREGPT_ROLES, detect, row_problem
from qltui.advice.lengths import Lengths, of_rows
from qltui.configs import chat_template, hub, model_files
from qltui.configs.data_files import QUICK, THOROUGH, UnusableData, read_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engine.config.run_config import RunConfig
    from qltui.configs.data_files import Limits

    Row = Mapping[str, Any]
    Message = dict[str, Any]
    Counts = Callable[[Sequence["Content"]], list[int]]

BYTES_PER_TOKEN = 3.7
"""Of UTF-8. Counted with the tokenizers of Mistral (131K tokens), Qwen (152K), DeepSeek (129K): 4.8 in English chats,
4.5 in code, 2.7 to 4.5 in fourteen other languages. Rows of numbers have more tokens: each digit is one."""
LEAST_BYTES = 2.0
"""What a token has at least but for digits, for the longest row that may come; so counted with Mistral's 32K tokens."""
BYTES_OF_512, BYTES_A_DOUBLING = 1.6, 0.33
"""The same for a vocabulary of 512, and what each doubling adds: counted with byte-level BPE of 512 to 32K tokens in
English prose that it was not trained on. One that was trained on rows like these has tokens up to twice as long."""
SMALL = 32_000
"""Tokens of a vocabulary below which the estimate is that much less sure."""
DOUBT_IF_SMALL = 0.5
OF_A_TURN = 5
"""Tokens that chat templates put around a turn: ``<|im_start|>user\\n`` and ``<|im_end|>\\n``."""
OF_AN_END = 1
OF_ALPACA = 35
"""Tokens of Alpaca's prompt around a row."""
COUNTED = 1_000
"""Rows that are tokenised, spread evenly over the file."""
EXTREMES = 32
"""Rows with the most bytes, and with the fewest, that are tokenised for the longest and the shortest."""


class Content(NamedTuple):
    """What of a row becomes tokens."""

    texts: list[str]
    messages: list[Message] = []
    """Of a conversation; empty otherwise."""
    tools: Any = None
    framing: int = 0
    """Tokens put around the texts, about, where no chat template says which."""
    is_pair: bool = False

    @property
    def bytes(self) -> int:
        """Of the texts in UTF-8."""
        return sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in self.texts)


def estimated(config: RunConfig) -> Lengths | None:
    """By bytes, from as much as is read in no time; None where the data is no file here that can be used."""
    return _to_train_on(config, lambda path: _by_bytes(config, path, QUICK))


def measured(config: RunConfig) -> Lengths | None:
    """By the model's tokenizer, from the whole file if it isn't huge; by bytes where no tokenizer is here.

    Takes a second or so. None where the data is no file here that can be used.
    """
    if not os.path.isfile(config.data.path):
        return None
    count = _counts(config)
    if count is None:
        return _to_train_on(config, lambda path: _by_bytes(config, path, THOROUGH))
    return _to_train_on(config, lambda path: _by_tokens(config, path, count))


def _to_train_on(config: RunConfig, of_file: Callable[[str], Lengths | None]) -> Lengths | None:
    """Of the rows to train on; the longest may also be one to evaluate on."""
    data = config.data
    lengths = of_file(data.path)
    if lengths is None:
        return None
    if data.eval_path is None:
        return lengths._replace(rows=max(1, round(lengths.rows * (1 - data.eval_fraction))))
    held_out = of_file(data.eval_path)
    if held_out is None or held_out.longest is None or lengths.longest is None:
        return lengths._replace(longest=None, shortest=None)
    return lengths._replace(longest=max(lengths.longest, held_out.longest))


def _by_tokens(config: RunConfig, path: str, count: Counts) -> Lengths | None:
    contents, total, is_whole = _contents(config, path, THOROUGH)
    if not contents:
        return None
    step = -(-len(contents) // COUNTED)
    tokens = count(contents[::step])
    if not is_whole:
        return of_rows(tokens, total, shortest=None, longest=None, measured=True)
    ends = heapq.nlargest(EXTREMES, contents, _size) + heapq.nsmallest(EXTREMES, contents, _size)
    both = tokens + count(ends)
    return of_rows(tokens, total, shortest=min(both), longest=max(both), measured=True)


def _by_bytes(config: RunConfig, path: str, limits: Limits) -> Lengths | None:
    contents, total, is_whole = _contents(config, path, limits)
    if not contents:
        return None
    vocabulary = model_files.vocabulary(config.model.path, config.model.revision) or SMALL
    usual, least = _bytes_per_token(vocabulary)
    tokens = [content.bytes / usual + content.framing for content in contents]
    ends = heapq.nlargest(EXTREMES, contents, _size)
    longest = max(_most_tokens(content, least) for content in ends) if is_whole else None
    found = of_rows(tokens, total, shortest=None, longest=longest, measured=False)
    return found._replace(doubt=DOUBT_IF_SMALL) if vocabulary < SMALL else found


def _bytes_per_token(vocabulary: int) -> tuple[float, float]:
    """(as a rule, at least) of a model that knows so many tokens; a byte is the smallest there is."""
    if vocabulary >= SMALL:
        return BYTES_PER_TOKEN, LEAST_BYTES
    doublings = log2(max(vocabulary, 256)) - 9
    return BYTES_OF_512 + BYTES_A_DOUBLING * doublings, 1 + (LEAST_BYTES - 1) * (doublings + 1) / (log2(SMALL) - 8)


def _size(content: Content) -> int:
    return content.bytes


def _most_tokens(content: Content, least_bytes: float) -> int:
    digits = sum(text.count(digit) for text in content.texts for digit in "0123456789")
    return round(digits + (content.bytes - digits) / least_bytes) + content.framing


def _contents(config: RunConfig, name: str, limits: Limits) -> tuple[list[Content], int, bool]:
    """(what rows hold, rows of the file, whether these are all); rows that cannot be used are passed by."""
    data, path = config.data, Path(name)
    builder = FILE_FORMATS.get(path.suffix.lower())
    if builder is None or not os.path.isfile(path):
        return [], 0, False
    try:
        sample = read_sample(path, builder, limits)
    except UnusableData:
        return [], 0, False
    row_format = data.format
    if row_format is DataFormat.AUTO:
        found = detect(sample.columns, data.columns, config.model.task)
        if found is None:
            return [], 0, False
        row_format = found
    framed = _template(config) is None
    contents = [
        _content(_renamed(row.values, data.columns), row_format, framed)
        for row in sample.rows
        if row_problem(row.values, row_format, data.columns) is None
    ]
    return contents, sample.total, sample.is_whole


def _renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """With the columns' own names for those of the format."""
    return {**row, **{ours: row.get(theirs) for ours, theirs in columns.items()}} if columns else row


def _content(row: Row, row_format: DataFormat, framed: bool) -> Content:
    """What a row that can be used holds; ``framed`` where no chat template is at hand."""
    if row_format is DataFormat.TEXT:
        return Content([row["text"]], framing=OF_AN_END)
    if row_format is DataFormat.PROMPT_COMPLETION:
        return Content([row["prompt"] + row["completion"]], framing=OF_AN_END)
    if row_format is DataFormat.CLASSIFICATION:
        texts = [text for text in (row["text"], row.get("text_pair")) if text]
        return Content(texts, is_pair=len(texts) == 2)
    messages, tools = _conversation(row, row_format)
    texts = [message.get("content") or "" for message in messages]
    texts += [json.dumps(calls, default=str) for message in messages if (calls := message.get("tool_calls"))]
    texts += [json.dumps(tools, default=str)] if tools else []
    if row_format is DataFormat.ALPACA and framed:
        return Content(texts, framing=OF_ALPACA)
    return Content(texts, messages, tools, framing=OF_A_TURN * len(messages))


def _conversation(row: Row, row_format: DataFormat) -> tuple[list[Message], Any]:
    if row_format is DataFormat.ALPACA:
        given = row.get("input") or ""
        question = f"{row['instruction']}\n\n{given}" if given.strip() else row["instruction"]
        return [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}], None
    if row_format is DataFormat.SHAREGPT:
        turns = row["conversations"]
        return [{"role": SHAREGPT_ROLES[turn["from"]], "content": turn["value"]} for turn in turns], None
    tools = row.get("tools")
    if isinstance(tools, str):  # as data sets on the hub often keep them
        with suppress(ValueError):
            tools = json.loads(tools)
    return row["messages"], tools or None


def _without_nulls(value: Any) -> Any:
    """Columnar files give every object the fields of all others, as nulls."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _folder(config: RunConfig) -> Path | None:
    """Where the run's tokenizer lies on this machine."""
    model = config.model
    return hub.model_folder(model.tokenizer or model.path, None if model.tokenizer else model.revision)


def _template(config: RunConfig) -> chat_template.ChatTemplate | None:
    named = config.data.chat_template
    return chat_template.find(_folder(config), Path(named) if named else None)


def _counts(config: RunConfig) -> Counts | None:
    """What counts the tokens of rows with the run's tokenizer; None if it is not here, or not of the fast kind."""
    folder = _folder(config)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # what a broken file raises is the library's bare Exception; preflight and the engine say it
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ends = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    template = _template(config)
    render = template.renderer() if template else lambda messages, tools: None

    def count(contents: Sequence[Content]) -> list[int]:
        """Of rows that are all of one format."""
        is_chat = bool(contents[0].messages)
        rendered = [
            render(_without_nulls(one.messages), _without_nulls(one.tools) or None) if is_chat else None
            for one in contents
        ]
        texts = [_joined(one) if text is None else text for one, text in zip(contents, rendered, strict=True)]
        counted = tokenizer.encode_batch_fast(texts, add_special_tokens=not is_chat)
        lengths = []
        for one, content, text in zip(counted, contents, rendered, strict=True):
            is_ended = not is_chat and bool(one.ids) and one.ids[-1] in ends
            lengths.append(len(one.ids) + (content.framing - is_ended if text is None else 0))
        return lengths

    return count


def _joined(content: Content) -> str | tuple[str, str]:
    """The texts as the tokenizer takes them: one, or a pair to classify."""
    if content.is_pair:
        return content.texts[0], content.texts[1]
    return "\n\n".join(content.texts)
