"""From a row to text, and which characters of it the model is to write.

A row is rendered once and tokenised once, as a whole; answers are found as spans of characters and carried over to
tokens by their offsets (``engine.tokens``). Tokenising the pieces one by one would give other tokens at the seams.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from engine.config import DataFormat
from engine.config.formats import SHAREGPT_ROLES

PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '### ' + (message['role'] | capitalize) + ':\n' + (message['content'] or '') }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token or '' }}{% endif %}{{ '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\n' }}{% endif %}"
)
"""For conversations when the tokenizer has no chat template; it becomes the tokenizer's, so that it is saved too."""

ALPACA_PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
ALPACA_PROMPT_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
"""The prompts of Stanford Alpaca, for its rows when the tokenizer has no chat template."""

SENTINEL = "\uf8f0answer\uf8f1"
"""Stands in for an answer to see where the template puts it; no data begins or ends with these characters."""

Message = dict[str, Any]


class TemplateProblem(ValueError):
    """The chat template cannot render a row; a clause that goes on from 'row 7 '."""


class Rendered(NamedTuple):
    """A row as text."""

    text: str
    answers: list[tuple[int, int]]
    """Characters the model is to write, [start, end) of each answer, what ends the turn included; in order."""
    ends_with_answer: bool
    """Nothing follows the last answer, so that EOS must."""
    question: str = ""
    """What is asked last, for people; empty where nothing is."""

    def beginning(self, length: int) -> Rendered:
        """Its first characters, the answers cut as the text is."""
        if len(self.text) <= length:
            return self
        answers = [(start, min(end, length)) for start, end in self.answers if start < length]
        return Rendered(self.text[:length], answers, ends_with_answer=False, question=self.question)


Renderer = Callable[[Mapping[str, Any]], Rendered]


class RowTemplate(NamedTuple):
    """How rows of a format become text."""

    description: str
    """For people."""
    render: Renderer
    is_chat: bool
    """The text is a chat template's, which writes BOS itself where the model wants one."""
    is_alpaca: bool = False


def row_template(row_format: DataFormat, tokenizer: Any) -> RowTemplate:
    """How rows of this format become text with this tokenizer.

    Raises:
        TemplateProblem: the tokenizer's chat template cannot render a conversation.
    """
    if row_format is DataFormat.TEXT:
        return RowTemplate("text as it is", _render_text, is_chat=False)
    if row_format is DataFormat.PROMPT_COMPLETION:
        return RowTemplate("prompt and completion as they are", _render_prompt_completion, is_chat=False)
    has_template = bool(tokenizer.chat_template)
    if row_format is DataFormat.ALPACA and not has_template:
        return RowTemplate("Alpaca prompt", _render_alpaca, is_chat=False, is_alpaca=True)
    if not has_template:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    is_plain = tokenizer.chat_template == PLAIN_CHAT_TEMPLATE
    chat = ChatTemplate(tokenizer)
    to_conversation = _CONVERSATIONS[row_format]
    return RowTemplate(
        "plain turns, as the tokenizer has no chat template" if is_plain else "chat template",
        lambda row: chat.render(*to_conversation(row)),
        is_chat=True,
    )


def question_text(template: RowTemplate, tokenizer: Any, turns: list[Message]) -> str:
    """What a model trained on rows of such a template is given to answer the last of the turns.

    Formats that know no turns take the last one alone, as it is or within Alpaca's prompt.

    Raises:
        TemplateProblem: the chat template refuses these turns.
    """
    if template.is_chat:
        with _template_errors():
            return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    asked: str = turns[-1]["content"]
    return ALPACA_PROMPT.format(instruction=asked) if template.is_alpaca else asked


def stop_token_ids(tokenizer: Any) -> list[int]:
    """Tokens an answer ends with: EOS, and the end of a turn in the chat template where that is another one."""
    found = set() if tokenizer.eos_token_id is None else {tokenizer.eos_token_id}
    if tokenizer.chat_template:
        with suppress(TemplateProblem):  # then no conversation was learnt with it either
            terminator = ChatTemplate(tokenizer).terminator
            found |= set(tokenizer(terminator, add_special_tokens=False)["input_ids"]) & ending_token_ids(tokenizer)
    return sorted(found)


def ending_token_ids(tokenizer: Any) -> set[int]:
    """Special tokens, any of which ends an answer that it follows."""
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return (special - {tokenizer.unk_token_id}) | ({tokenizer.eos_token_id} - {None})


class ChatTemplate:
    """A tokenizer's chat template, and where in its text the answers are."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        question = [{"role": "user", "content": "question"}]
        answered = self._text([*question, {"role": "assistant", "content": SENTINEL}])
        _, found, after = answered.partition(SENTINEL)
        if not found:
            raise TemplateProblem("cannot be rendered: the chat template leaves out what the assistant says")
        self.terminator = after.rstrip()
        """What ends an answer, as in '<|im_end|>'; '' if the template has no such thing."""
        opened, prompt = self._text(question), self._text(question, add_generation_prompt=True)
        self._header = prompt[len(opened) :] if prompt.startswith(opened) else ""
        """What opens an answer, as in '<|im_start|>assistant'; the model writes what follows it. Where a turn has no
        such thing (some templates add '<think>' to the prompt alone), an answer begins where its own text does."""

    def render(self, messages: list[Message], tools: list[Any] | None = None) -> Rendered:
        """A conversation as text with its answers.

        Raises:
            TemplateProblem: the template refuses it, or does not let the answers be told apart.
        """
        template = self._tokenizer.get_chat_template(tools=tools)
        if re.search(r"\{%-?\s*generation\s*-?%\}", template):
            text, spans = self._marked(messages, tools, template)
        else:
            text = self._text(messages, tools)
            spans = self._found(text, messages, tools)
        if self.terminator:
            spans = [
                (start, end + len(self.terminator) if text.startswith(self.terminator, end) else end)
                for start, end in spans
            ]
        asked = [message["content"] for message in messages if message["role"] == "user"]
        question = asked[-1] if asked and isinstance(asked[-1], str) else ""
        return Rendered(text, spans, messages[-1]["role"] == "assistant", question)

    def _marked(self, messages: list[Message], tools: Any, template: str) -> tuple[str, list[tuple[int, int]]]:
        """The template marks what the assistant writes with {% generation %}."""
        with _template_errors():
            texts, marked = render_jinja_template(
                conversations=[messages],
                tools=tools,
                chat_template=template,
                return_assistant_tokens_mask=True,
                **self._tokenizer.special_tokens_map,
            )
        return texts[0], [tuple(span) for span in marked[0]]

    def _found(self, text: str, messages: list[Message], tools: Any) -> list[tuple[int, int]]:
        """Each answer lies between what stays the same when another answer is put in its place.

        Comparing whole conversations, rather than growing ones, is right for templates that write a turn otherwise once
        another follows, as those do that drop earlier reasoning.
        """
        spans: list[tuple[int, int]] = []
        previous = 0
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            other = [*messages[:index], {"role": "assistant", "content": SENTINEL}, *messages[index + 1 :]]
            before, found, after = self._text(other, tools).partition(SENTINEL)
            if not found:  # the template leaves this turn out
                continue
            start = _common_prefix(text, before)
            opening = text.rfind(self._header, previous, start) if self._header else -1
            if (opening < 0 and start < len(before)) or not text.endswith(after):
                raise TemplateProblem(
                    "has an answer that cannot be told from its prompt, because the chat template writes other turns "
                    "differently for it; mark answers in the template with {% generation %} (data.chat_template)"
                )
            if opening >= 0:
                start = opening + len(self._header)
            previous = max(start, len(text) - len(after))
            spans.append((start, previous))
        return spans

    def _text(self, messages: list[Message], tools: Any = None, *, add_generation_prompt: bool = False) -> str:
        with _template_errors():
            text: str = self._tokenizer.apply_chat_template(
                messages, tools=tools, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        return text


def _common_prefix(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    if one.startswith(other):  # nearly always
        return len(other)
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


class _template_errors:  # noqa: N801 - used as a statement
    """Turns what a chat template raises into a TemplateProblem."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (TemplateError, TypeError, ValueError, LookupError, AttributeError)):
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise TemplateProblem(f"cannot be rendered by the chat template: {reason}") from None


def _render_text(row: Mapping[str, Any]) -> Rendered:
    return Rendered(row["text"], [(0, len(row["text"]))], ends_with_answer=True)


def _render_prompt_completion(row: Mapping[str, Any]) -> Rendered:
    text = row["prompt"] + row["completion"]
    return Rendered(text, [(len(row["prompt"]), len(text))], True, row["prompt"])


def _render_alpaca(row: Mapping[str, Any]) -> Rendered:
    given = row.get("input") or ""
    template = ALPACA_PROMPT_WITH_INPUT if given.strip() else ALPACA_PROMPT
    # One pass, so that braces in the data stay what they are.
    prompt = template.format(instruction=row["instruction"], input=given)
    text = prompt + row["output"]
    return Rendered(text, [(len(prompt), len(text))], True, row["instruction"])


def _conversation_of_alpaca(row: Mapping[str, Any]) -> tuple[list[Message], None]:
    given = row.get("input") or ""
    question = f"{row['instruction']}\n\n{given}" if given.strip() else row["instruction"]
    return [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}], None


def _conversation_of_sharegpt(row: Mapping[str, Any]) -> tuple[list[Message], None]:
    return [{"role": SHAREGPT_ROLES[turn["from"]], "content": turn["value"]} for turn in row["conversations"]], None


def _conversation_of_messages(row: Mapping[str, Any]) -> tuple[list[Message], list[Any] | None]:
    tools = row.get("tools")
    if isinstance(tools, str):  # as data sets on the hub often keep them
        tools = json.loads(tools) if tools.strip() else None
    messages: list[Message] = _without_nulls(row["messages"])
    return messages, _without_nulls(tools) or None


def _without_nulls(value: Any) -> Any:
    """Columnar files give every object the fields of all others, as nulls."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


_CONVERSATIONS: dict[DataFormat, Callable[[Mapping[str, Any]], tuple[list[Message], list[Any] | None]]] = {
    DataFormat.MESSAGES: _conversation_of_messages,
    DataFormat.SHAREGPT: _conversation_of_sharegpt,
    DataFormat.ALPACA: _conversation_of_alpaca,
}
