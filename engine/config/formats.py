"""Row formats people have, told apart by their columns. Shared by the launch check and the engine; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from engine.config.choices import DataFormat, Task


class RowFormat(NamedTuple):
    """What a format wants of a row."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    task: Task = Task.CAUSAL_LM
    """What rows of this format teach."""


ROW_FORMATS: dict[DataFormat, RowFormat] = {
    DataFormat.MESSAGES: RowFormat(("messages",)),
    DataFormat.SHAREGPT: RowFormat(("conversations",)),
    DataFormat.ALPACA: RowFormat(("instruction", "output"), ("input",)),
    DataFormat.PROMPT_COMPLETION: RowFormat(("prompt", "completion")),
    DataFormat.TEXT: RowFormat(("text",)),
    DataFormat.CLASSIFICATION: RowFormat(("text", "label"), ("text_pair",), Task.SEQUENCE_CLASSIFICATION),
}
"""In the order they are looked for."""

MAPPING_EXAMPLE = {
    Task.CAUSAL_LM: "{prompt: question, completion: answer}",
    Task.SEQUENCE_CLASSIFICATION: "{text: review, label: stars}",
}
"""How ``data.columns`` names columns, for error messages."""

FILE_FORMATS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
"""Builder of the ``datasets`` library by file ending."""

SHAREGPT_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
NEVER_EMPTY = {Task.CAUSAL_LM: ("output", "completion", "text"), Task.SEQUENCE_CLASSIFICATION: ("label",)}
"""An empty prompt is a choice; an empty answer teaches nothing. Of texts to classify, some may be empty: they are
dropped and counted."""
HALF_A_PAIR = "has half of a surrogate pair, as in \\ud83d without what follows it"
ROLES = ("system", "user", "assistant", "tool", "developer")


def formats_of(task: Task) -> dict[DataFormat, RowFormat]:
    """The formats whose rows teach this task."""
    return {name: row_format for name, row_format in ROW_FORMATS.items() if row_format.task is task}


def detect(columns: Iterable[str], mapping: Mapping[str, str], task: Task) -> DataFormat | None:
    """The task's format whose required columns are all there, ``mapping`` (our name -> theirs) applied, or None."""
    present = set(columns) | {ours for ours, theirs in mapping.items() if theirs in set(columns)}
    for name, row_format in formats_of(task).items():
        if present.issuperset(row_format.required):
            return name
    return None


def format_problem(row_format: DataFormat, task: Task) -> str | None:
    """Why a format that was named does not suit the task, or None. One clause."""
    fitting = formats_of(task)
    if row_format is DataFormat.AUTO or row_format in fitting:
        return None
    return f"{row_format.value} is no format for {task.value}; use auto or {' or '.join(fitting)}"


def wanted(task: Task) -> str:
    """What a row may look like, for error messages."""
    return "; ".join(f"{name.value}: {' + '.join(row.required)}" for name, row in formats_of(task).items())


def row_problem(row: Mapping[str, Any], row_format: DataFormat, mapping: Mapping[str, str]) -> str | None:
    """Why a row cannot be used, or None. One clause, naming the column as the user's file has it."""
    required, optional, task = ROW_FORMATS[row_format]
    for ours in (*required, *optional):
        theirs = mapping.get(ours, ours)
        value = row.get(theirs)
        if value is None:
            if ours in optional:
                continue
            return f"has no {theirs!r}"
        if row_format in (DataFormat.MESSAGES, DataFormat.SHAREGPT):
            return _conversation_problem(value, theirs, row_format)
        if ours == "label" and isinstance(value, int):  # true and false too
            continue
        if not isinstance(value, str):
            return f"{theirs!r} is {type(value).__name__}, not text" + " or a whole number" * (ours == "label")
        if not value.strip() and ours in NEVER_EMPTY[task]:
            return f"{theirs!r} is empty"
        if not _is_text(value):
            return f"{theirs!r} {HALF_A_PAIR}"
    return None


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8; JSON lets halves of surrogate pairs pass, and no tokenizer takes them."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _conversation_problem(turns: Any, column: str, row_format: DataFormat) -> str | None:
    who, what = ("role", "content") if row_format is DataFormat.MESSAGES else ("from", "value")
    if not isinstance(turns, (list, tuple)) or not turns:
        return f"{column!r} is not a list of turns" if turns else f"{column!r} is empty"
    known = ROLES if row_format is DataFormat.MESSAGES else tuple(SHAREGPT_ROLES)
    answered = False
    for number, turn in enumerate(turns, 1):
        # A turn of the assistant may be nothing but calls of tools.
        calls = row_format is DataFormat.MESSAGES and isinstance(turn, Mapping) and turn.get("tool_calls")
        if not isinstance(turn, Mapping) or turn.get(who) is None or (turn.get(what) is None and not calls):
            return f"turn {number} of {column!r} has no {who!r} and {what!r}"
        if turn[who] not in known:
            return f"turn {number} of {column!r} is by {turn[who]!r}, not one of {', '.join(known)}"
        said = turn.get(what)
        if said is not None and not isinstance(said, str):
            return f"{what!r} of turn {number} of {column!r} is {type(said).__name__}, not text"
        if said and not _is_text(said):
            return f"{what!r} of turn {number} of {column!r} {HALF_A_PAIR}"
        answered |= turn[who] in ("assistant", "gpt") and bool((said and said.strip()) or calls)
    return None if answered else f"{column!r} has no answer by the assistant"
