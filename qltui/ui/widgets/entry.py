"""Text that is typed in: a line, or several."""

from __future__ import annotations

from typing import Any

from textual.widgets import Input, TextArea


class Entry(Input):
    """A line to type in, whose cursor stands still: every blink travels over the line."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_blink = False


class Lines(TextArea):
    """Lines to type in, whose cursor stands still, too."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_blink = False
