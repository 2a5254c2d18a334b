"""How far predictions of memory are off, as markdown: ``python -m points.table comparison.json [PAGE]``.

With a page its part between the markers is made anew; else it is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from statistics import median

from cells.pages import with_part

from engine.config import Method, StrategyName
from points.compared import Compared, Comparison, read

BEGIN = "<!-- compared: written by `make docs` from tests/points/comparison.json -->"
END = "<!-- /compared -->"
Ratios = list[tuple[Compared, float]]
"""Runs, each with predicted by measured bytes."""


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("Usage: python -m points.table comparison.json [PAGE]")
    text = tables(read(Path(sys.argv[1])))
    if len(sys.argv) == 2:
        print(text)
    else:
        page = Path(sys.argv[2])
        page.write_text(with_part(page.read_text("utf-8"), BEGIN, END, text), "utf-8")


def tables(comparison: Comparison) -> str:
    """Everybody's errors over all runs, then by method and by strategy."""
    return "\n\n".join((
        over_all(comparison),
        by_kind(comparison, Method, lambda point: point.method),
        by_kind(comparison, StrategyName, lambda point: point.strategy),
    ))  # fmt: skip


def over_all(comparison: Comparison) -> str:
    """A row for each half of our plan and each tool."""
    ours = of_plan(comparison)
    halves = {
        f"this plan, {half}": [(point, ratio) for point, ratio in ours if point.held_out is held_out]
        for half, held_out in (("fitted on", False), ("held out", True))
    }
    total = len(comparison.points)
    return markdown(
        ("", "runs", "median error", "worst above", "worst below"),
        [
            (name, f"{len(found)} of {total}", typical(found), above(found), below(found))
            for name, found in (halves | of_tools(comparison)).items()
        ],
    )


def by_kind(comparison: Comparison, kinds: type[StrEnum], kind_of: Callable[[Compared], StrEnum]) -> str:
    """A row for each kind of run there is, a column for each tool."""
    everybody = {"this plan": of_plan(comparison)} | of_tools(comparison)
    present = set(map(kind_of, comparison.points))
    return markdown(
        ("", *everybody),
        [
            (kind, *(summary([one for one in found if kind_of(one[0]) is kind]) for found in everybody.values()))
            for kind in kinds
            if kind in present
        ],
    )


def of_plan(comparison: Comparison) -> Ratios:
    return [(point, point.ratio()) for point in comparison.points]


def of_tools(comparison: Comparison) -> dict[str, Ratios]:
    return {tool: comparison.ratios(tool) for tool in comparison.tools}


def summary(found: Ratios) -> str:
    """Median error, the range of errors, and how many runs they are of."""
    if not found:
        return "-"
    lowest, highest = ends(found)
    return f"{typical(found)} ({percent(lowest)} to {percent(highest)}; {len(found)})"


def typical(found: Ratios) -> str:
    """Median of errors whatever their sign."""
    return percent(median(abs(ratio - 1) for _, ratio in found), sign="") if found else "-"


def above(found: Ratios) -> str:
    """The worst prediction of too much."""
    return percent(ends(found)[1]) if any(ratio > 1 for _, ratio in found) else "never"


def below(found: Ratios) -> str:
    """The worst prediction of too little."""
    return percent(ends(found)[0]) if any(ratio < 1 for _, ratio in found) else "never"


def ends(found: Ratios) -> tuple[float, float]:
    """The smallest and the largest error."""
    ratios = [ratio for _, ratio in found]
    return min(ratios) - 1, max(ratios) - 1


def percent(share: float, sign: str = "+") -> str:
    """One decimal below 10 %, none from there."""
    return f"{share:{sign}.{1 if abs(share) < 0.0995 else 0}%}".replace("-", "−").replace("%", " %")


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    main()
