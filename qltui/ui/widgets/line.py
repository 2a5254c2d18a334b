"""Text that is said again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Static

if TYPE_CHECKING:
    from textual.visual import VisualType


class Line(Static):
    """Saying what stands there already costs nothing; Textual's own would lay the whole screen out anew."""

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show something else."""
        if content != self.content:
            super().update(content, layout=layout)
