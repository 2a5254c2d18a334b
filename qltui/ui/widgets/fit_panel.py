"""The memory of each GPU as planned: a bar of its parts against what the card has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from qltui.ui import words
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from qltui.advice.memory import Fit
    from qltui.runs.outlook import Outlook

FILLS = (
    ("█", "$primary"), ("▓", "$secondary"), ("▒", "$accent"), ("▚", "$success"), ("▞", "$warning"), ("░", "$muted"),
)  # fmt: skip
"""Fill and colour of the largest parts, in turn; the rest share the last."""
VERDICTS = {
    "fits": ("✓", "$success"), "may just fit": ("▲", "$warning"), "may not fit": ("▲", "$warning"),
    "does not fit": ("✗", "$error"),
}  # fmt: skip
"""Mark and colour of each verdict of the plan."""


class FitPanel(Line):
    """Whether it fits, in a few lines."""

    DEFAULT_CSS = """
    FitPanel { height: auto; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("…", id=id, markup=False)
        self._outlook: Outlook | None = None

    def show(self, outlook: Outlook) -> None:
        """Show what is planned."""
        self._outlook = outlook
        self.refresh_lines()

    def on_resize(self) -> None:
        """The bar is as wide as there is room."""
        self.refresh_lines()

    def refresh_lines(self) -> None:
        """Draw anew."""
        if self._outlook is not None:
            self.update(Content("\n").join(lines(self._outlook, max(self.size.width, 20))))


def lines(outlook: Outlook, width: int) -> list[Content]:
    """The panel's lines, ``width`` columns wide."""
    fitted = outlook.advice.fit if outlook.advice else None
    if fitted is None or fitted.capacity is None:
        return [Content.styled(text, "$muted") for text in why_not(outlook)]
    seconds = outlook.advice.seconds if outlook.advice else None
    more = [f"for rows of up to {fitted.sequence:,} tokens"]
    if seconds:
        more.append(f"a step takes about {words.duration(seconds) if seconds >= 1 else f'{seconds:.2f} s'}")
    if fitted.is_at_load:
        more.insert(0, "highest while the model loads")
    if outlook.advice and outlook.advice.host:
        more.append(f"host memory {words.size(outlook.advice.host)}")
    return [*plan_lines(fitted, width), Content.styled(", ".join(filter(None, more)), "$muted")]


def plan_lines(fitted: Fit, width: int) -> list[Content]:
    """Whether it fits, a bar of its parts ``width`` columns wide, and what they are."""
    parts = shown(fitted, width)
    bar = Content.assemble(*((fill * cells, colour) for _, _, cells, (fill, colour) in parts if cells))
    rest = width - len(bar.plain)
    legend = [
        Content.assemble((f"{fill} ", colour), f"{name} ", (words.size(size), "$muted"))
        for name, size, _, (fill, colour) in parts
    ]
    return [verdict(fitted), bar + Content.styled("·" * max(rest, 0), "$faint"), *_flowed(legend, width)]


def verdict(fitted: Fit) -> Content:
    """Whether it fits, in a line."""
    mark, colour = VERDICTS[fitted.verdict]
    takes = f"{words.size(fitted.total)} ± {words.size(fitted.error)} of {words.size(fitted.capacity or 0)}"
    return Content.assemble((f"{mark} {fitted.verdict}", f"bold {colour}"), f"  {takes}")


def why_not(outlook: Outlook) -> list[str]:
    """Why no memory can be planned."""
    if outlook.config is None:
        return ["Nothing is planned until the field that is wrong is mended."]
    if not outlook.machine.cards:
        return ["No GPU here: runs go on CPU ranks.", "Describe GPUs under Hardware to plan for them."]
    if outlook.architecture is None:
        return ["Choose a model to see what it takes of each GPU."]
    return ["Runs on CPU ranks take no GPU memory."]


def shown(fitted: Fit, width: int) -> list[tuple[str, int, int, tuple[str, str]]]:
    """(name, bytes, columns, fill) of the largest parts, and of all others together."""
    scale = width / max(fitted.capacity or 0, fitted.total)
    sizes = sorted(((size, part.value) for part, size in fitted.parts.items() if size), reverse=True)
    named = sizes[: len(FILLS) - 1]
    rest = sum(size for size, _ in sizes[len(named) :])
    listed = [(name, size) for size, name in named] + ([("other", rest)] if rest else [])
    return [(name, size, round(size * scale), fill) for (name, size), fill in zip(listed, FILLS, strict=False)]


def _flowed(pieces: list[Content], width: int) -> list[Content]:
    """Pieces in as many lines as they need, none cut."""
    found: list[Content] = []
    for piece in pieces:
        if found and len(found[-1].plain) + 2 + len(piece.plain) <= width:
            found[-1] = found[-1] + Content("  ") + piece
        else:
            found.append(piece)
    return found
