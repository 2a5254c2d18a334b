"""What is known of the run under the cursor, beside the list of runs."""

from __future__ import annotations

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

    def show(self, detail: Detail | None) -> None:
        """Show a run, or that there is none."""
        lines = [
            ChartLine("training", detail.loss), ChartLine("evaluation", detail.evaluation, scattered=True),
        ] if detail else []  # fmt: skip
        self.query_one(ChartCanvas).show(lines)
        told = [*head(detail.status), *facts(detail)] if detail else []
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


def facts(detail: Detail) -> Iterator[Content]:
    """Figures, notes, and where it is, a line each."""
    status = detail.status
    total = status["total_steps"]
    yield _fact("step", f"{status['step']:,}" + (f" of {total:,}" if total else ""))
    if words.is_live(status):
        yield _fact("left", words.duration(status["eta_seconds"]))
    yield _fact("loss", words.number(status["loss"], ".4f"))
    yield from _if_known("eval loss", status["eval_loss"], words.number(status["eval_loss"], ".4f"))
    yield from _if_known("accuracy", status.get("accuracy"), words.share(status.get("accuracy")))
    match = status["exact_match"]
    both = f"{words.share(match.get('before'))} before, {words.share(match.get('after'))} after"
    yield from _if_known("exact match", match.get("after"), both)
    yield _fact("tokens/s", words.number(status["tokens_per_second"]))
    peak = measured_peak(status)
    planned = f", {words.size(detail.planned)} planned" if detail.planned else ""
    yield from _if_known("peak memory", peak or detail.planned, f"{words.size(peak)}{planned}")
    if status.get("tags"):
        yield _fact("tags", " ".join(f"#{words.plain(tag)}" for tag in status["tags"]))
    if status.get("note"):
        first, *more = status["note"].splitlines()
        yield _fact("note", words.plain(first))
        yield from (_fact("", words.plain(line)) for line in more)
    yield _fact("method", " · ".join(words.plain(status[key]) for key in ("method", "strategy") if status[key]) or "–")
    yield from _if_known("model", status["model"], words.path(status["model"] or ""))
    yield from _if_known("data", status["data"], words.path(status["data"] or ""))
    if status["attempt"] > 1:
        yield _fact("attempt", str(status["attempt"]))
    yield _fact("folder", words.path(status["run_dir"]))
    if not detail.is_whole:
        yield Content.styled("its curves are still being read", "$muted")


def _fact(name: str, value: str) -> Content:
    return Content.assemble((f"{name:{LABEL}}  ", "$muted"), value)


def _if_known(name: str, value: object, text: str) -> Iterator[Content]:
    if value is not None:
        yield _fact(name, text)
