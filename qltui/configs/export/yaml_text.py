"""YAML as every reader takes it: 1.1, which most programs read, and 1.2."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from qltui.configs.writing import value_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WIDTH = 110


def comment(text: str) -> Iterator[str]:
    """Text as comment lines; what is indented is a file's, and stays as it is."""
    for line in text.splitlines():
        is_prose = line[:1] not in (" ", "")
        for part in textwrap.wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False) if is_prose else [line]:
            yield f"# {part}".rstrip()


def entry(key: str, value: Any, indent: str = "") -> Iterator[str]:
    """A key with its value, sections over several lines."""
    if isinstance(value, dict) and value:
        yield f"{indent}{key}:"
        yield from _section(value, indent + "  ")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        yield f"{indent}{key}:"
        for item in value:
            first, *rest = _section(item, indent + "    ")
            yield f"{indent}  - {first.lstrip()}"
            yield from rest
    else:
        yield f"{indent}{key}: {_flow(value)}"


def _section(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in values.items():
        yield from entry(key, value, indent)


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float):
        # YAML 1.1 takes 1e-05 for text: it wants a point, and the exponent's sign.
        mantissa, e, exponent = repr(value).partition("e")
        return repr(value) if not e or "." in mantissa else f"{mantissa}.0e{exponent}"
    return value_text(value)
