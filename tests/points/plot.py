"""Picture of predicted beside measured memory: ``python -m points.plot MEASURED.json docs/memory-plan.svg``.

Drawn without a background, in colours that stand out from white as from black; the same bytes for the same numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from points.compared import Compared, Comparison, read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

GIB = 2**30
BAND = 0.05
"""Share of the measured within which a prediction is called good."""
INK, OURS = "#757c88", "#2f81f7"
OTHERS = (("#d9822b", "s"), ("#2aa198", "^"), ("#c25bd1", "v"), ("#c9a100", "P"), ("#d1495b", "X"))
"""Colour and shape of each other tool, in turn."""
HALVES = (
    (False, "fitted on", {"marker": "o", "facecolors": "none", "edgecolors": OURS, "linewidths": 1.1, "s": 20}),
    (True, "held out", {"marker": "D", "facecolors": OURS, "linewidths": 0, "s": 17}),
)
"""Whether held out, name, and looks."""
FAINT = {"alpha": 0.6, "linewidths": 0, "s": 16}
STYLE = {
    "svg.hashsalt": "qltui", "svg.fonttype": "path", "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "axes.titlecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "grid.color": INK, "grid.alpha": 0.2, "axes.grid": True,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "lines.linewidth": 1,
}  # fmt: skip


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("Usage: python -m points.plot MEASURED.json PICTURE.svg")
    comparison = read(Path(sys.argv[1]))
    try:
        draw(comparison, Path(sys.argv[2]))
    except OSError as error:
        sys.exit(f"Cannot write {sys.argv[2]}: {error.strerror}.")


def draw(comparison: Comparison, picture: Path) -> None:
    """Write the picture as SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context(STYLE):
        figure = pyplot.figure(figsize=(11, 5.6), layout="constrained")
        fill(figure, comparison)
        figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def fill(figure: Figure, comparison: Comparison) -> None:
    """All bytes on the left; on the right our errors, and everybody's ratios."""
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 1.15))
    left = figure.add_subplot(grid[:, 0])
    all_bytes(left, comparison)
    our_errors(figure.add_subplot(grid[0, 1]), comparison)
    all_ratios(figure.add_subplot(grid[1, 1]), comparison)
    handles, labels = left.get_legend_handles_labels()
    ours_first = sorted(zip(handles, labels, strict=True), key=lambda entry: "plan" not in entry[1])
    legend = zip(*ours_first, strict=True)
    figure.legend(*legend, loc="outside lower center", ncols=len(labels), handletextpad=0.2, columnspacing=1.4)


def all_bytes(axes: Axes, comparison: Comparison) -> None:
    """Predicted over measured, others faint."""
    for tool, looks in looks_of(comparison).items():
        found = [(point.measured / GIB, ratio * point.measured / GIB) for point, ratio in comparison.ratios(tool)]
        axes.scatter(*columns(found), label=tool, **looks)
    for held_out, half, looks in HALVES:
        found = [(one.measured / GIB, one.predicted / GIB) for one in of_half(comparison, held_out)]
        axes.scatter(*columns(found), label=f"this plan, {half}", **looks)
    ends = [min(one.measured for one in comparison.points) / GIB / 1.3,
            max(one.measured for one in comparison.points) / GIB * 1.3]  # fmt: skip
    axes.plot(ends, ends, color=INK, zorder=0)
    axes.fill_between(ends, [end * (1 - BAND) for end in ends], [end * (1 + BAND) for end in ends],
                      color=INK, alpha=0.3, linewidth=0, label=f"measured ±{BAND:.0%}", zorder=0)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="measured peak, GiB on a GPU", ylabel="predicted, GiB", xlim=ends)
    axes.set_title(f"Predicted and measured memory of {len(comparison.points)} runs")
    tick(axes.xaxis, 1, 2, 5)
    tick(axes.yaxis, 1, 2, 5)


def our_errors(axes: Axes, comparison: Comparison) -> None:
    """How far our plan is off, near by."""
    axes.axhspan(-100 * BAND, 100 * BAND, color=INK, alpha=0.2, linewidth=0)
    axes.axhline(0, color=INK)
    for held_out, _, looks in HALVES:
        found = [(one.measured / GIB, 100 * (one.ratio() - 1)) for one in of_half(comparison, held_out)]
        axes.scatter(*columns(found), **looks)
    widest = max(2 * BAND, *(abs(one.ratio() - 1) for one in comparison.points))
    axes.set(xscale="log", xlabel="measured peak, GiB on a GPU", ylim=(-115 * widest, 115 * widest))
    axes.set_title("Error of this plan, %")
    tick(axes.xaxis, 1, 2, 5)


def all_ratios(axes: Axes, comparison: Comparison) -> None:
    """Predicted by measured, a row for each tool; a bar at the median."""
    rows = [
        (f"this plan, {half}", [one.ratio() for one in of_half(comparison, held_out)], OURS, looks)
        for held_out, half, looks in HALVES
    ]
    rows += [
        (tool, [ratio for _, ratio in comparison.ratios(tool)], looks["facecolors"], looks)
        for tool, looks in looks_of(comparison).items()
    ]
    axes.axvspan(1 - BAND, 1 + BAND, color=INK, alpha=0.3, linewidth=0)
    for row, (_, ratios, colour, looks) in enumerate(rows):
        spread = [row + 0.44 * (number * 0.618 % 1 - 0.5) for number in range(len(ratios))]
        axes.scatter(ratios, spread, **looks)
        if ratios:
            axes.plot([median(ratios)] * 2, [row - 0.36, row + 0.36], color=colour, linewidth=2)
    axes.set(xscale="log", xlabel="predicted / measured; a bar at the median", ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [f"{name} ({len(ratios)})" for name, ratios, _, _ in rows])
    axes.set_title("Ratio by tool (runs it says something of)")
    axes.grid(visible=False, axis="y")
    tick(axes.xaxis, 1)


def looks_of(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """How the points of each other tool look."""
    looks = [FAINT | {"facecolors": colour, "marker": shape} for colour, shape in OTHERS]
    return {tool: looks[number % len(looks)] for number, tool in enumerate(comparison.tools)}


def of_half(comparison: Comparison, held_out: bool) -> list[Compared]:
    return [point for point in comparison.points if point.held_out is held_out]


def columns(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def tick(axis: Axis, *multiples: int) -> None:
    """Label powers of ten times ``multiples``, in plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=multiples, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


if __name__ == "__main__":
    main()
