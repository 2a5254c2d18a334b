"""Fit and findings in a line, for where they have no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from qltui.ui.widgets.findings_panel import counted
from qltui.ui.widgets.fit_panel import verdict, why_not
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from qltui.runs.outlook import Outlook


class FoldedLine(Line):
    """Whether it fits, and how much the rules find."""

    def show(self, outlook: Outlook) -> None:
        """Show what the choices come to."""
        fitted = outlook.advice.fit if outlook.advice else None
        line = verdict(fitted) if fitted and fitted.capacity else Content.styled(why_not(outlook)[0], "$muted")
        if outlook.config is not None:
            found = counted(outlook.findings) if outlook.findings else "nothing found"
            line = Content.assemble(line, ("  ·  ", "$muted"), found, ("  F4 more", "$muted"))
        self.update(line)
