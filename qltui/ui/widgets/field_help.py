"""What the field with the cursor means, in a fixed place below the form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from qltui.ui import declared, words
from qltui.ui.widgets.findings_panel import MARKS
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from qltui.ui.widgets.config_form import FieldRow


class FieldHelp(Line):
    """Its meaning, what it is by default, how it is called elsewhere, and what a rule has to say of it."""

    DEFAULT_CSS = """
    FieldHelp { height: auto; max-height: 5; padding: 0 1; background: $surface; dock: bottom; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.display = False

    def show(self, row: FieldRow | None) -> None:
        """Tell of this field; of none, and there is nothing here."""
        self.display = row is not None
        if row is not None:
            self.update(told(row))


def told(row: FieldRow) -> Content:
    """The help of a field, two lines or more."""
    lines = [Content(row.field.meaning), Content.styled(declared.line(row.field), "$muted")]
    if row.finding is not None:
        mark, colour = MARKS[row.finding.severity]
        lines.append(Content.assemble((f"{mark} ", colour), words.plain(row.finding.message)))
    return Content("\n").join(lines)
