"""Text to be read that scrolls."""

from __future__ import annotations

from textual.actions import SkipAction
from textual.containers import VerticalScroll


class Reading(VerticalScroll):
    """Leaves page up to its screen where there is nothing above.

    The screen could take the key first, by a priority. Then it would come before keys that arrived with it, as over a
    slow line.
    """

    def action_page_up(self) -> None:
        """Scroll, unless this is the top."""
        if self.scroll_y <= 0:
            raise SkipAction
        super().action_page_up()
