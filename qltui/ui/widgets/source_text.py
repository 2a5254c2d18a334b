"""A file's text as it is, whole and in colours: long lines go on in the next, so that nothing is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pygments.token import Token  # type: ignore[import-untyped]
from textual.highlight import HighlightTheme, highlight
from textual.widgets import Static

from qltui.ui.widgets.reading import Reading

if TYPE_CHECKING:
    from textual.app import ComposeResult

LANGUAGES = {".yaml": "yaml", ".json": "json"}
"""Pygments' name by the end of a file's."""


class Colours(HighlightTheme):
    """What a configuration is made of, in the theme's own colours."""

    STYLES = {
        Token.Comment: "$muted",
        Token.Name.Tag: "$primary",
        Token.Keyword: "$accent",
        Token.Literal.Number: "$warning",
        Token.Literal.String: "$success",
        Token.Punctuation: "$muted",
    }


class SourceText(Reading):
    """Shows one text."""

    DEFAULT_CSS = """
    SourceText { height: 1fr; scrollbar-gutter: stable; }
    SourceText Static { height: auto; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.text = ""

    def compose(self) -> ComposeResult:
        yield Static(markup=False)

    def show(self, text: str, name: str) -> None:
        """Show a text from its beginning, coloured as a file of this name is."""
        self.text = text
        language = next((word for end, word in LANGUAGES.items() if name.endswith(end)), "text")
        self.query_one(Static).update(highlight(_printable(text), language=language, theme=Colours))
        self.scroll_home(animate=False)


def _printable(text: str) -> str:
    """The text with what would move the cursor, or hide something, spelled out."""
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode("ascii") for one in text
    )
