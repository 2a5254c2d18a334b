"""The first rows as the model will see them, what is learnt told apart, and how long the rows are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import work
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from qltui.runs.helper_process import Unanswered
from qltui.runs.inspection import Inspection, Overtaken
from qltui.ui import words

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from engine.config import RunConfig
    from engine.config.inspection import Lengths, LengthsProgress, Preview, PreviewRow

PAUSE = 0.12
"""Seconds without another change before the data is looked at."""
BARS = " ▁▂▃▄▅▆▇█"
WORTH_SAYING = 0.01
"""Share of padding."""
WITHOUT_MODEL = "Choose a model to see the rows as it will see them."


class DataPreview(VerticalScroll):
    """Asks the engine's helper, which is kept alive as long as this is shown somewhere."""

    DEFAULT_CSS = """
    DataPreview {
        height: 1fr;
        min-height: 4;
        border-top: solid $rule;
        padding: 0 1;
        & Static { height: auto; }
        & #lengths { color: $muted; }
    }
    """

    class Answered(Message):
        """The data was looked at; ``preview`` is None where it cannot be read."""

        def __init__(self, preview: Preview | None, config: RunConfig) -> None:
            super().__init__()
            self.preview = preview
            self.config = config

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._inspection = Inspection()
        self._asked: RunConfig | None = None
        self.answer: Preview | None = None
        """Of what was asked last; None until it is there, and where the data cannot be read."""

    def compose(self) -> ComposeResult:
        yield Static(id="source", markup=False)
        yield Static(id="lengths", markup=False)
        yield Static(id="rows", markup=False)

    async def on_unmount(self) -> None:
        """Nothing is left running."""
        await self._inspection.close()

    def show(self, config: RunConfig) -> None:
        """Show the data of ``config``; nothing is asked again for what does not concern it."""
        if self._asked is not None and concerns(self._asked) == concerns(config):
            return
        self._asked = config
        self.query_one("#source", Static).update(Content.styled("… reading the first rows", "$muted"))
        self._look(config)

    def wait_for_a_model(self) -> None:
        """Say why there are no rows: only a model's tokenizer tells what they come to."""
        self._asked = self.answer = None
        self.query_one("#source", Static).update(Content.styled(WITHOUT_MODEL, "$muted"))
        for line in ("#lengths", "#rows"):
            self.query_one(line, Static).update("")

    @work(exclusive=True, group="preview", exit_on_error=False)
    async def _look(self, config: RunConfig) -> None:
        await asyncio.sleep(PAUSE)
        try:
            self.answer = await self._inspection.preview(config)
        except Overtaken:
            return
        except Unanswered as error:
            self.answer = None
            self._refused("#source", error)
            self.query_one("#rows", Static).update("")
            self.query_one("#lengths", Static).update("")
            self.post_message(self.Answered(None, config))
            return
        self._tell(self.answer)
        self.post_message(self.Answered(self.answer, config))
        if self.answer.problem:  # lengths would end in the same
            self.query_one("#lengths", Static).update("")
            return
        try:
            async for answer in self._inspection.lengths(config):
                self.query_one("#lengths", Static).update(lengths_text(answer, max(self.size.width - 4, 20)))
        except Overtaken:
            return
        except Unanswered as error:
            self._refused("#lengths", error)

    def _refused(self, line: str, error: Unanswered) -> None:
        self.query_one(line, Static).update(Content.assemble(("✗ ", "$error"), words.plain(error)))

    def _tell(self, preview: Preview) -> None:
        found = preview.format.value if preview.format else "?"
        head = [Content.assemble((found, "bold"), f"  {words.plain(preview.template)}")]
        if preview.problem:
            head.append(Content.assemble(("✗ ", "$error"), words.plain(preview.problem)))
        self.query_one("#source", Static).update(Content("\n").join(head))
        self.query_one("#rows", Static).update(Content("\n").join(map(row_text, preview.rows)))


def concerns(config: RunConfig) -> tuple[object, ...]:
    """All that a preview depends on."""
    return config.model, config.data, config.training.micro_batch_size


def row_text(row: PreviewRow) -> Content:
    """A row: what is learnt bright, what is not dimmed and between brackets, so that colour alone tells nothing."""
    if row.problem:
        return Content.assemble((f"\n{row.number}  ", "bold $error"), (f"✗ {words.plain(row.problem)}", "$error"))
    about = "about " if row.is_estimated else ""
    told = f"{about}{row.tokens:,} tokens, {row.trained:,} learnt" if row.label is None else f"class {row.label}"
    if row.is_cut:
        told += f", cut to {row.kept:,}"
    if row.is_raw:
        told = "as in the file"
    text = Content.assemble((f"\n{row.number}  ", "bold"), (words.plain(told), "$muted"), "\n")
    for segment in row.segments:
        shown = words.plain(segment.text)
        text += Content(shown) if segment.trained or row.is_raw else Content.styled(f"[{shown}]", "$faint")
    return text if row.is_shown_whole else text + Content.styled(" …", "$muted")


def lengths_text(answer: Lengths | LengthsProgress, width: int) -> Content:
    """How long the rows are, in a line of bars and a line of words."""
    from engine.config.inspection import Lengths

    if not isinstance(answer, Lengths):
        return Content(f"… measuring rows: {words.share(answer.share)}")
    if not answer.rows:
        return Content("")
    most = max(one.rows for one in answer.bins)
    bars = "".join(BARS[0 if not one.rows else max(1, round(one.rows / most * 8))] for one in answer.bins)
    ends = f"{answer.bins[0].first} {bars} {answer.quantiles.get('100', answer.bins[-1].last):,} tokens"
    of_all = f" of about {answer.total_rows:,}" if answer.total_rows and answer.total_rows != answer.rows else ""
    told = f"{answer.rows:,} rows{of_all}: half up to {answer.quantiles.get('50', 0):,} tokens"
    cut = f"{words.share(answer.cut / answer.rows)} are cut at {answer.max_length:,}" if answer.cut else "none is cut"
    unusable = f"; {answer.unusable:,} cannot be used: {words.plain(answer.problem)}" if answer.unusable else ""
    return Content(f"{ends[:width]}\n{told}; {cut}{unusable}{_packing_text(answer)}")


def _packing_text(answer: Lengths) -> str:
    """What packing makes of the rows; without it, what padding takes."""
    padding = words.share(answer.padding)
    if answer.packed is None:
        return f"; {padding} of a micro batch is padding" if answer.padding >= WORTH_SAYING else ""
    packed = answer.packed
    less = f"; {words.share(packed.padding)} padding instead of {padding}" if answer.padding >= WORTH_SAYING else ""
    return f"\npacked: {packed.rows_a_sequence:,.1f} rows a sequence, {words.share(packed.filled)} full{less}"
