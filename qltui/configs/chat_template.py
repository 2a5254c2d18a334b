"""A model's chat template, found in its tokenizer's folder and rendered as Transformers does, without Transformers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jinja2.parser import Parser

SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class ChatTemplate(NamedTuple):
    """Jinja's text, and the special tokens it may name."""

    source: str
    special: dict[str, str]

    def renderer(self) -> Callable[[list[dict[str, Any]], Any], str | None]:
        """What makes a text of (messages, tools), in Jinja's sandbox; None where the template refuses them.

        A template that is none refuses all of them.
        """
        from jinja2 import TemplateError, nodes
        from jinja2.ext import Extension, loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        class Generation(Extension):
            """``{% generation %}`` marks what the assistant writes, and changes nothing of the text."""

            tags = {"generation"}

            def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
                next(parser.stream)
                return parser.parse_statements(("name:endgeneration",), drop_needle=True)

        def refuse(message: str) -> None:
            raise TemplateError(message)

        jinja = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
        )
        jinja.filters["tojson"] = _to_json
        jinja.globals |= {"raise_exception": refuse, "strftime_now": _now}
        try:
            template = jinja.from_string(self.source)
        except TemplateError:
            return lambda messages, tools: None

        def render(messages: list[dict[str, Any]], tools: Any) -> str | None:
            try:
                return template.render(
                    messages=messages, tools=tools, documents=None, add_generation_prompt=False, **self.special
                )
            except Exception:  # a template is a program: it raises whatever its author did not think of
                return None

        return render


def find(folder: Path | None, named: Path | None) -> ChatTemplate | None:
    """The template that ``named`` holds, or else that of the tokenizer in ``folder``; None if there is none."""
    config = _json(folder / "tokenizer_config.json") if folder else {}
    source = _text(named) if named else None
    if source is None and folder is not None:
        source = _text(folder / "chat_template.jinja") or _of_config(config.get("chat_template"))
    if source is None:
        return None
    special = {name: token for name in SPECIAL if (token := _token(config.get(name))) is not None}
    return ChatTemplate(source, special)


def _of_config(value: Any) -> str | None:
    """Written as it is, or among several as the one called default."""
    if isinstance(value, list):
        named = {one.get("name"): one.get("template") for one in value if isinstance(one, dict)}
        value = named.get("default")
    return value if isinstance(value, str) and value else None


def _token(value: Any) -> str | None:
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8") or None
    except (OSError, UnicodeDecodeError):
        return None


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    """Jinja's own filter writes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _now(form: str) -> str:
    import time

    return time.strftime(form)
