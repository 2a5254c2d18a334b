"""What the rules find, each with its reason and the key that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from qltui.advice.findings import Severity
from qltui.ui import words

if TYPE_CHECKING:
    from textual import events

    from qltui.advice.findings import Finding

MARKS = {Severity.BLOCK: ("✗", "$error"), Severity.WARN: ("▲", "$warning"), Severity.INFO: ("i", "$secondary")}
"""Mark and colour of each severity."""


class FindingRow(Static, can_focus=True):
    """One finding; with the cursor on it, why and from where it is known."""

    DEFAULT_CSS = """
    FindingRow { height: auto; padding: 0 1; }
    FindingRow:focus { background: $boost; }
    """
    BINDINGS: ClassVar[list[Binding | tuple[str, str] | tuple[str, str, str]]] = [
        Binding("enter", "mend", "mend", id="finding.mend", show=False, tooltip="Apply what mends it"),
    ]

    def __init__(self, finding: Finding) -> None:
        super().__init__(markup=False)
        self.finding = finding

    def on_mount(self) -> None:
        self._tell()

    def on_focus(self, event: events.Focus) -> None:
        """Unfold."""
        self._tell(unfolded=True)

    def on_blur(self, event: events.Blur) -> None:
        """Fold."""
        self._tell()

    def _tell(self, *, unfolded: bool = False) -> None:
        finding = self.finding
        mark, colour = MARKS[finding.severity]
        text = Content.assemble(
            (f"{mark} {finding.severity.value}  ", f"bold {colour}"), words.plain(finding.message),
            (f"  [{finding.rule}]", "$faint"),
        )  # fmt: skip
        if finding.fix:
            text += Content.styled("  F5 mends it", "bold $accent")
        if unfolded:
            text += Content.styled(
                f"\nwhy  {words.plain(finding.why)}\nsource  {words.plain(finding.source)}", "$muted"
            )
        self.update(text)

    def action_mend(self) -> None:
        """Ask for its fix to be applied."""
        self.post_message(FindingsPanel.Mend(self.finding))


class FindingsPanel(VerticalScroll):
    """All findings, the gravest first."""

    DEFAULT_CSS = """
    FindingsPanel { height: 1fr; }
    """

    class Mend(Message):
        """A finding's fix is asked for."""

        def __init__(self, finding: Finding) -> None:
            super().__init__()
            self.finding = finding

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=False)
        self._shown: list[Finding] = []

    async def show(self, findings: list[Finding]) -> None:
        """Show these; nothing moves if they are the same as before."""
        if findings == self._shown and self.children:
            return
        self._shown = findings
        await self.remove_children()
        if findings:
            await self.mount(*(FindingRow(finding) for finding in findings))
        else:
            await self.mount(Static(Content.styled("✓ nothing found", "$success"), markup=False))

    @property
    def wanted(self) -> Finding | None:
        """The finding that F5 means: the one with the cursor, else the first that has a fix."""
        focused = self.screen.focused
        if isinstance(focused, FindingRow):
            return focused.finding
        return next((one for one in self._shown if one.fix), None)


def counted(findings: list[Finding]) -> str:
    """How many there are of each severity, in words."""
    counts = {severity: sum(one.severity is severity for one in findings) for severity in Severity}
    return ", ".join(f"{count} {severity.value}" for severity, count in counts.items() if count) or "none"
