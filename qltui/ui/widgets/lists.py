"""Lists that leave Enter to their screen, which names in its footer what it does.

The screen could take Enter before the list does, by a priority. Then it would come before keys that arrived with it, as
over a slow line: "down, enter" would open what the cursor had left.
"""

from __future__ import annotations

from textual.widgets import OptionList


class Choices(OptionList):
    """A list to choose from; an option is selected by a click alone."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter selects nothing here, and goes on to the screen."""
        return action != "select"
