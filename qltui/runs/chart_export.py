"""A chart as files: the values as CSV, the picture as SVG, and as PNG where ``rsvg-convert`` is installed.

Told apart are the lines of the picture by colour, by dashes and by their names; whoever prints it in grey reads it too.
"""

from __future__ import annotations

import csv
import math
import os
import re
import shutil
import subprocess
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from qltui.runs.axes import level_ticks, tick_text, ticks, time_text, time_ticks
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qltui.runs.axes import View
    from qltui.runs.curves import Curve

WIDTH, HEIGHT = 960, 540
LEFT, RIGHT, TOP, BOTTOM = 80, 24, 56, 56
"""Room around the plot, in pixels of the picture."""
LEGEND_ROW = 20
COLOURS = ("#0f766e", "#b45309", "#4338ca", "#15803d", "#be123c", "#334155")
DASHES = ("", "8 3", "2 3", "10 3 2 3", "5 5", "1 2")
LABELS = 8
SUFFIXES = (".csv", ".svg", ".png")
RSVG = "rsvg-convert"
PNG_SECONDS = 30


class ExportedLine(NamedTuple):
    """A line of a chart."""

    name: str
    curve: Curve
    own: Callable[[float], float]
    """A place on the axis in the line's own unit."""
    placed: Callable[[float], float]
    """And back."""
    scattered: bool = False
    by_wall: bool = False
    """Whether its own unit is wall seconds and not the step."""
    wall: Callable[[float], float] | None = None
    """Wall seconds of a step, where they are known."""


class Picture(NamedTuple):
    """A chart as it is looked at."""

    title: str
    lines: list[ExportedLine]
    view: View
    time: bool
    """Whether the axis is one of seconds since the first step."""
    smoothing: float
    unit: float
    """What heights are labelled in."""


class Written(NamedTuple):
    """What was written, and what could not be."""

    files: list[Path]
    note: str
    """Why there is no PNG; empty if there is."""


def file_stem(run_folder: Path, title: str) -> Path:
    """Where a chart of a run goes unless another place is said: a name in its folder ``charts`` that is free."""
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "chart"
    stem, number = run_folder / "charts" / name, 1
    while any(stem.with_name(stem.name + suffix).exists() for suffix in SUFFIXES):
        number += 1
        stem = run_folder / "charts" / f"{name}-{number}"
    return stem


def export_chart(picture: Picture, stem: Path) -> Written:
    """Write ``stem`` with ``.csv``, ``.svg`` and, where it can be made, ``.png``; folders are made as needed.

    Raises:
        OSError: a file cannot be written.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    table, drawing, image = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows(picture))
    drawing.write_text(svg(picture), "utf-8")
    program = shutil.which(RSVG)
    if program is None:
        return Written([table, drawing], f"no PNG: {RSVG} is not installed (Debian: librsvg2-bin)")
    try:
        subprocess.run(
            [program, "-z", "2", "-o", os.fspath(image), os.fspath(drawing)],
            check=True, capture_output=True, timeout=PNG_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return Written([table, drawing], f"no PNG: {RSVG} failed ({type(error).__name__})")
    return Written([table, drawing, image], "")


def rows(picture: Picture) -> Iterator[list[str]]:
    """The table: a line's name, its step or its wall seconds, and the value, NaN and infinities included.

    All points are in it, whatever part of them is looked at.
    """
    yield ["line", "step", "wall_seconds", "value"]
    for line in picture.lines:
        points = sorted(
            [*zip(line.curve.x, line.curve.y, strict=True), *zip(line.curve.gaps, line.curve.strange, strict=True)]
        )
        for x, y in points:
            wall = x if line.by_wall else line.wall(x) if line.wall else None
            where = ["" if line.by_wall else f"{x:.12g}", "" if wall is None else f"{wall:.3f}"]
            yield [clean(line.name), *where, repr(y)]


def svg(picture: Picture) -> str:
    """The picture, of what is looked at alone."""
    view = picture.view
    legend = [LEGEND_ROW * (number // 3) for number in range(len(picture.lines))]
    top = TOP + (legend[-1] if legend else 0)
    inside = _Inside(view, LEFT, top, WIDTH - LEFT - RIGHT, HEIGHT - top - BOTTOM)
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#334155">',
        f"<title>{_text(picture.title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="16" font-weight="bold" fill="#0f172a">{_text(picture.title)}</text>',
        *_axes(picture, inside),
        f'<clipPath id="plot"><rect x="{inside.left}" y="{inside.top - 2}" width="{inside.width}" '
        f'height="{inside.height + 4}"/></clipPath>',
        '<g clip-path="url(#plot)">',
    ]
    for number, line in enumerate(picture.lines):
        body += _line(picture, line, number, inside)
    body.append("</g>")
    for number, line in enumerate(picture.lines):
        body += _legend(line, number, LEFT + 260 * (number % 3), 42 + legend[number])
    if picture.smoothing and not all(line.scattered for line in picture.lines):
        body.append(
            f'<text x="{WIDTH - RIGHT}" y="22" text-anchor="end" fill="#64748b">smoothed {picture.smoothing:g}; '
            "pale: lowest to highest</text>"
        )
    return "\n".join([*body, "</svg>", ""])


class _Inside(NamedTuple):
    """The plot within the picture, in pixels."""

    view: View
    left: int
    top: int
    width: int
    height: int

    def x(self, place: float) -> float:
        return self.left + self.view.across(place) * self.width

    def y(self, value: float) -> float:
        share = min(max(self.view.height_of(value), -10.0), 11.0)
        return self.top + (1 - share) * self.height


def _axes(picture: Picture, inside: _Inside) -> Iterator[str]:
    view = inside.view
    right, bottom = inside.left + inside.width, inside.top + inside.height
    heights, step = level_ticks(view, picture.unit, LABELS)
    for value in heights:
        y = inside.y(value)
        yield f'<path d="M{inside.left} {y:.1f}H{right}" stroke="#e2e8f0"/>'
        text = tick_text(value / picture.unit, step)
        yield f'<text x="{inside.left - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    for place in (time_ticks if picture.time else ticks)(view.left, view.right, LABELS):
        x = inside.x(place)
        yield f'<path d="M{x:.1f} {bottom}v5" stroke="#64748b"/>'
        text = time_text(place) if picture.time else tick_text(place)
        yield f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{text}</text>'
    yield f'<path d="M{inside.left} {inside.top}V{bottom}H{right}" fill="none" stroke="#64748b"/>'
    name = "time since the first step" if picture.time else "step"
    yield f'<text x="{right}" y="{bottom + 42}" text-anchor="end">{name}</text>'


def _line(picture: Picture, line: ExportedLine, number: int, inside: _Inside) -> Iterator[str]:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    curve, view = line.curve, inside.view
    begin, end = curve.within(line.own(view.left), line.own(view.right))
    if line.scattered:
        for index in range(begin, end):
            if curve.y[index] > 0 or not view.log:
                x, y = inside.x(line.placed(curve.x[index])), inside.y(curve.y[index])
                yield f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2"/>'
        return
    begin, end = max(begin - 1, 0), min(end + 1, len(curve))
    style = f'fill="none" stroke="{colour}" stroke-linejoin="round"'
    raw = _path(_bucketed(line, begin, end, inside), curve.gaps, line, inside)
    if not picture.smoothing:
        yield f'<path d="{raw}" {style} stroke-width="1.6" stroke-dasharray="{dash}"/>'
    else:
        yield f'<path d="{raw}" {style} stroke-opacity="0.3"/>'
        xs, ys = curve.smoothed(begin, end, picture.smoothing, WIDTH * 8)
        smooth = _path(zip(xs, ys, strict=True), curve.gaps, line, inside)
        yield f'<path d="{smooth}" {style} stroke-width="2" stroke-dasharray="{dash}"/>'
    for gap in curve.gaps[
        bisect_left(curve.gaps, line.own(view.left)) : bisect_right(curve.gaps, line.own(view.right))
    ]:
        x = inside.x(line.placed(gap))
        yield f'<path d="M{x:.1f} {inside.top}v8" stroke="#be123c" stroke-width="2"><title>not a number</title></path>'


def _bucketed(line: ExportedLine, begin: int, end: int, inside: _Inside) -> Iterator[tuple[float, float]]:
    """The points, of many in a pixel the lowest and the highest, in the order they came."""
    curve = line.curve
    if end - begin <= inside.width * 4:
        yield from zip(curve.x[begin:end], curve.y[begin:end], strict=True)
        return
    index = begin
    for pixel in range(inside.width + 1):
        place = inside.view.left + (inside.view.right - inside.view.left) * (pixel + 1) / inside.width
        stop = min(max(curve.within(line.own(place), line.own(place))[0], index), end)
        found = curve.extremes(index, stop)
        if found:
            yield curve.x[index], curve.y[index]
            yield curve.x[index], found[0]
            yield curve.x[index], found[1]
            yield curve.x[stop - 1], curve.y[stop - 1]
        index = stop


def _path(points: Iterator[tuple[float, float]], gaps: list[float], line: ExportedLine, inside: _Inside) -> str:
    """A path through points, broken where a gap lies between two of them."""
    parts: list[str] = []
    before = math.nan
    for x, y in points:
        if inside.view.log and y <= 0:
            continue
        broken = not parts or (bool(gaps) and bisect_right(gaps, before) != bisect_left(gaps, x))
        parts.append(f"{'M' if broken else 'L'}{inside.x(line.placed(x)):.1f} {inside.y(y):.1f}")
        before = x
    return "".join(parts)


def _legend(line: ExportedLine, number: int, x: int, y: int) -> Iterator[str]:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    if line.scattered:
        yield f'<path d="M{x + 10} {y - 8}l8 8m0 -8l-8 8" stroke="{colour}" stroke-width="2"/>'
    else:
        yield f'<path d="M{x} {y - 4}h28" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
    yield f'<text x="{x + 36}" y="{y}">{_text(line.name)}</text>'


def _text(value: str) -> str:
    return escape(clean(value))
