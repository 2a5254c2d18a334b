"""Strategies down, methods across: what each takes of a GPU, moved over with arrows or mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from qltui.advice.matrix import METHODS, Mark, Square

if TYPE_CHECKING:
    from textual import events

MARKS = {
    Mark.FITS: ("○", "$success"), Mark.TIGHT: ("▲", "$warning"), Mark.TOO_LARGE: ("·", "$muted"),
    Mark.BLOCKED: ("×", "$error"), Mark.UNKNOWN: ("?", "$muted"),
}  # fmt: skip
"""Mark and colour of a square."""
MEANINGS = {
    Mark.FITS: "fits, with the plan's error to spare", Mark.TIGHT: "fits, unless the plan errs as much as it may",
    Mark.TOO_LARGE: "does not fit as it is", Mark.BLOCKED: "a rule blocks it",
    Mark.UNKNOWN: "nothing blocks it; its memory is not known",
}  # fmt: skip
BEST = ("★", "$accent")
LEGEND = "★ best   ○ fits   ▲ tight   · doesn't fit   × blocked"
HEADS = {"full": "full", "lora": "LoRA", "int8": "int8 LoRA", "qlora": "QLoRA"}
ROW, COLUMN = 17, 13
"""Columns of a row's name, and of a square."""
GIB = 2**30


class StrategyMatrix(Widget, can_focus=True):
    """The matrix; Enter or a click chooses the square under the cursor."""

    DEFAULT_CSS = """
    StrategyMatrix { height: auto; width: auto; min-width: 70; }
    """
    BINDINGS: ClassVar[list[Binding | tuple[str, str] | tuple[str, str, str]]] = [
        Binding("up", "move(-1, 0)", "up", show=False, id="matrix.up", tooltip="Row above"),
        Binding("down", "move(1, 0)", "down", show=False, id="matrix.down", tooltip="Row below"),
        Binding("left", "move(0, -1)", "left", show=False, id="matrix.left", tooltip="Method before"),
        Binding("right", "move(0, 1)", "right", show=False, id="matrix.right", tooltip="Next method"),
        Binding(
            "enter", "choose", "choose", show=False, id="matrix.choose", tooltip="Take the square under the cursor"
        ),
        Binding("w", "why", "why", show=False, id="matrix.why", tooltip="Why not this: all that blocks it, its memory"),
        Binding("e", "evidence", "evidence", show=False, id="matrix.evidence", tooltip="Where it was run and measured"),
    ]

    class Moved(Message):
        """The cursor stands on another square."""

        def __init__(self, square: Square) -> None:
            super().__init__()
            self.square = square

    class Chosen(Message):
        """A square was chosen."""

        def __init__(self, square: Square) -> None:
            super().__init__()
            self.square = square

    class Explained(Message):
        """More is asked of a square: ``why`` or ``evidence``."""

        def __init__(self, square: Square, what: str) -> None:
            super().__init__()
            self.square = square
            self.what = what

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._squares: list[list[Square]] = []
        self._best: tuple[str, str] | None = None
        self._chosen: tuple[str, str] | None = None
        self._cursor: tuple[int, int] | None = None

    def show(
        self, squares: list[list[Square]], best: tuple[str, str] | None, chosen: tuple[str, str] | None,
        *, is_open: bool = False,
    ) -> None:  # fmt: skip
        """Show the squares; ``best`` and ``chosen`` are (row, column) in words.

        The cursor begins on the chosen one, on the best one while nobody chose (``is_open``); it goes with what is
        chosen where a fix or an undo chooses another.
        """
        begins_on = (best if is_open and self._cursor is None else None) or chosen
        is_new = self.square is None or (self.square.place == self._chosen != chosen)
        self._squares, self._best, self._chosen = squares, best, chosen
        if is_new and squares:
            places = {square.place: (y, x) for y, row in enumerate(squares) for x, square in enumerate(row)}
            self._cursor = places.get(begins_on or ("", ""), (0, 0))
        self.refresh(layout=True)
        if self.square is not None:
            self.post_message(self.Moved(self.square))

    @property
    def square(self) -> Square | None:
        """The one under the cursor."""
        if self._cursor is None or not self._squares:
            return None
        row, column = self._cursor
        return self._squares[row][column]

    def render(self) -> Content:
        head = Content.styled("GiB per GPU".ljust(ROW), "$muted")
        head += Content("").join(Content.styled(HEADS[method.value].ljust(COLUMN), "bold") for method in METHODS)
        rows = [self._row(number, row) for number, row in enumerate(self._squares)]
        return Content("\n").join([head, *rows, Content.styled(LEGEND, "$muted")])

    def _row(self, number: int, row: list[Square]) -> Content:
        text = Content(row[0].place[0].ljust(ROW))
        for column, square in enumerate(row):
            mark, colour = BEST if square.place == self._best else MARKS[square.mark]
            size = f"{square.fit.total / GIB:6.1f}" if square.fit else "".rjust(6)
            arrow = "◂" if square.place == self._chosen else " "
            style = colour
            if (number, column) == self._cursor:
                style = f"bold $background on {colour}" if self.has_focus else f"{colour} on $panel"
            text += Content.assemble((f"{mark} {size} {arrow}", style)) + Content(" " * (COLUMN - 10))
        return text

    def action_move(self, down: int, right: int) -> None:
        """Move the cursor; it stops at the edges."""
        if self._cursor is not None and self._squares:
            self._place(self._cursor[0] + down, self._cursor[1] + right)

    def _place(self, row: int, column: int) -> None:
        self._cursor = (
            min(max(row, 0), len(self._squares) - 1), min(max(column, 0), len(self._squares[0]) - 1)
        )  # fmt: skip
        self.refresh()
        if self.square is not None:
            self.post_message(self.Moved(self.square))

    def action_choose(self) -> None:
        """Take the square under the cursor."""
        if self.square is not None:
            self.post_message(self.Chosen(self.square))

    def action_why(self) -> None:
        """Say all that is against the square under the cursor."""
        if self.square is not None:
            self.post_message(self.Explained(self.square, "why"))

    def action_evidence(self) -> None:
        """Say what is known by having run it."""
        if self.square is not None:
            self.post_message(self.Explained(self.square, "evidence"))

    def help_lines(self) -> list[Content]:
        """Marks and what they mean."""
        meanings = (*((*MARKS[mark], meaning) for mark, meaning in MEANINGS.items()), (*BEST, "the planner's choice"))
        return [
            Content("Strategies down, methods across: GiB that a GPU needs at its peak, all else as chosen."),
            *(Content.assemble((f"{mark} ", colour), meaning) for mark, colour, meaning in meanings),
            Content("◂ what is chosen now"),
        ]

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; one on the square under the cursor takes it."""
        row, column = event.y - 1, (event.x - ROW) // COLUMN
        if not (self._squares and 0 <= row < len(self._squares) and 0 <= column < len(METHODS)):
            return
        if (row, column) == self._cursor:
            self.action_choose()
        else:
            self._place(row, column)

    def on_focus(self) -> None:
        """The cursor shows."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor steps back."""
        self.refresh()
