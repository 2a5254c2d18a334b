"""What is known of the run under the cursor, beside the list of runs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from textual.containers import Container, VerticalScroll
from textual.content import Content

from qltui.runs.comparison import measured_peak, planned_peak
from qltui.runs.overlay import RunCurves
from qltui.ui import words
from qltui.ui.widgets.chart_canvas import ChartCanvas
from qltui.ui.widgets.chart_lines import Line as ChartLine
from qltui.ui.widgets.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.app import ComposeResult

    from engine.events import RunDirectory
    from qltui.runs.curves import Point

LABEL = 11
"""Columns of what a figure is called."""


class Detail(NamedTuple):
    """A run as it is shown."""

    status: dict[str, Any]
    loss: list[Point]
    evaluation: list[Point]
    planned: int | None
    """Bytes that the fullest GPU's allocator was expected to hold."""
    is_whole: bool
    """Whether all of its curves were read."""


def read(run: RunDirectory, curves: RunCurves | None = None, seconds: float = 0.2) -> tuple[Detail, RunCurves]:
    """Read a run for about so long; go on with the curves that were given back."""
    curves = curves or RunCurves(run)
    is_whole = curves.read(seconds)
    series = curves.series
    detail = Detail(
        curves.described, list(series["loss"]), list(series["eval_loss"]), planned_peak(run), is_whole
    )  # fmt: skip
    return detail, curves


class RunDetail(Container):
    """A small chart of the loss, and words and figures under it, or beside it where there is little height."""

    DEFAULT_CSS = """
    RunDetail {
        layout: vertical;
        & > ChartCanvas { height: 10; }
        & > VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
        & Line { height: auto; }
        &.-flat { layout: horizontal; }
        &.-flat > ChartCanvas { width: 2fr; height: 100%; margin-right: 2; }
        &.-flat > VerticalScroll { width: 3fr; height: 100%; }
    }
    """

    def compose(self) -> ComposeResult:
        yield ChartCanvas("Loss", empty="no step so far", written=lambda value: words.number(value, ".4f"))
        with VerticalScroll():
            yield Line(id="facts", markup=False)

    _detail: Detail | None = None

    def on_resize(self) -> None:
        """Words go on in other places."""
        self.call_after_refresh(self._say)

    def show(self, detail: Detail | None) -> None:
        """Show a run, or that there is none."""
        self._detail = detail
        lines = [
            ChartLine("training", detail.loss), ChartLine("evaluation", detail.evaluation, scattered=True),
        ] if detail else []  # fmt: skip
        self.query_one(ChartCanvas).show(lines)
        self._say()

    def _say(self) -> None:
        detail, width = self._detail, self.query_one(VerticalScroll).scrollable_content_region.width
        told = (
            [*head(detail.status), *(line for fact in facts(detail) for line in lined_up(*fact, width))]
            if detail
            else []
        )
        self.query_one("#facts", Line).update(Content("\n").join(told))


def head(status: dict[str, Any]) -> list[Content]:
    """Name and state of a run, with why it ended so or what is not known."""
    state, colour = words.state(words.plain(status["state"]))
    lines = [Content.assemble((words.plain(status["name"]), "bold"), "  ", (state, colour))]
    waiting = status.get("waiting_for")
    told = [status["reason"], status.get("unseen"), _awaited(waiting) if isinstance(waiting, dict) else None]
    return lines + [Content(words.plain(one)) for one in told if one]


def _awaited(waiting: dict[str, Any]) -> str:
    return f"waits for {waiting.get('name') or waiting.get('id')}: {waiting.get('reason') or 'in the queue'}"


def facts(detail: Detail) -> Iterator[tuple[str, str]]:
    """Figures, notes, and where it is: what each is called, and what it is."""
    status = detail.status
    total = status["total_steps"]
    yield ("step", f"{status['step']:,}" + (f" of {total:,}" if total else ""))
    if words.is_live(status):
        yield ("left", words.duration(status["eta_seconds"]))
    yield ("loss", words.number(status["loss"], ".4f"))
    yield from _if_known("eval loss", status["eval_loss"], words.number(status["eval_loss"], ".4f"))
    yield from _if_known("accuracy", status.get("accuracy"), words.share(status.get("accuracy")))
    match = status["exact_match"]
    both = f"{words.share(match.get('before'))} before, {words.share(match.get('after'))} after"
    yield from _if_known("exact match", match.get("after"), both)
    yield ("tokens/s", words.number(status["tokens_per_second"]))
    peak = measured_peak(status)
    planned = f", {words.size(detail.planned)} planned" if detail.planned else ""
    yield from _if_known("peak memory", peak or detail.planned, f"{words.size(peak)}{planned}")
    if status.get("tags"):
        yield ("tags", " ".join(f"#{words.plain(tag)}" for tag in status["tags"]))
    if status.get("note"):
        first, *more = status["note"].splitlines()
        yield ("note", words.plain(first))
        yield from (("", words.plain(line)) for line in more)
    yield ("method", " · ".join(words.plain(status[key]) for key in ("method", "strategy") if status[key]) or "–")
    yield from _if_known("model", status["model"], words.path(status["model"] or ""))
    yield from _if_known("data", status["data"], words.path(status["data"] or ""))
    if status["attempt"] > 1:
        yield ("attempt", str(status["attempt"]))
    yield ("folder", words.path(status["run_dir"]))
    if not detail.is_whole:
        yield ("loss", "its curve is still being read")


def lined_up(name: str, value: str, width: int) -> Iterator[Content]:
    """A fact in lines of this width, those after the first under the value."""
    room = max(width - LABEL - 2, LABEL)
    for line in textwrap.wrap(value, room, break_on_hyphens=False) or [""]:
        yield Content.assemble((f"{name:{LABEL}}  ", "$muted"), line)
        name = ""


def _if_known(name: str, value: object, text: str) -> Iterator[tuple[str, str]]:
    if value is not None:
        yield name, text
