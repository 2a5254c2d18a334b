"""Text that is said again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Static

if TYPE_CHECKING:
    from textual.visual import Visual, VisualType


class Line(Static):
    """Saying what stands there already costs nothing, and what takes the same room only its own paint.

    Textual's own would lay the whole screen out anew for either.
    """

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show something else."""
        if content == self.content:
            return
        before = self.visual
        super().update(content, layout=False)
        if layout and self._room_of(before) != self._room_of(self.visual):
            self.refresh(layout=True)

    def _room_of(self, visual: Visual) -> tuple[int, int]:
        """Columns and rows that are made by what is said; 0 where the styles say how many there are."""
        styles, width = self.styles, self.content_size.width
        rules = styles.get_rules()
        return (
            visual.get_optimal_width(rules, self.app.size.width) if styles.is_auto_width else 0,
            visual.get_height(rules, width) if styles.is_auto_height and width else 0,
        )
