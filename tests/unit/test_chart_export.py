"""A chart as files: all values in the table, what is looked at in the picture."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from qltui.runs import chart_export
from qltui.runs.axes import View
from qltui.runs.chart_export import ExportedLine, Picture, export_chart, file_stem, rows, svg
from qltui.runs.curves import Curve

NAN = float("nan")
SVG = "{http://www.w3.org/2000/svg}"


def line(points: list[tuple[float, float]], name: str = "training", **options: object) -> ExportedLine:
    curve = Curve()
    curve.follow(points)
    return ExportedLine(name, curve, float, float, **options)  # type: ignore[arg-type]


def picture(*lines: ExportedLine, view: View | None = None, **options: object) -> Picture:
    chosen = {"time": False, "smoothing": 0.0, "unit": 1.0, **options}
    return Picture("demo: Loss", list(lines), view or View(0, 100, 0, 3), **chosen)  # type: ignore[arg-type]


def test_the_table_has_every_value_and_what_is_none() -> None:
    steps = line([(1, 0.1), (2, NAN), (3, float("inf")), (4, 1e-300)], wall=lambda step: 1e9 + step)
    samples = line([(1.5e9, 7.0)], "GPU 0", by_wall=True)
    text = io.StringIO()
    csv.writer(text).writerows(rows(picture(steps, samples, view=View(2, 3, 0, 1))))
    head, *found = csv.reader(io.StringIO(text.getvalue()))
    assert head == ["line", "step", "wall_seconds", "value"]
    assert [row[:3] for row in found[:2]] == [["training", "1", "1000000001.000"], ["training", "2", "1000000002.000"]]
    values = [float(row[3]) for row in found]
    assert math.isnan(values[1])
    assert [*values[:1], *values[2:]] == [0.1, float("inf"), 1e-300, 7.0]
    assert found[-1][:3] == ["GPU 0", "", "1500000000.000"]


def paths(text: str, stroke: str) -> list[str]:
    return [
        path.get("d", "") for path in ElementTree.fromstring(text).iter(f"{SVG}path") if path.get("stroke") == stroke
    ]


def test_a_spike_among_many_points_is_in_the_picture() -> None:
    points = [(float(x), 9.0 if x == 71_234 else 1.0) for x in range(100_000)]
    text = svg(picture(line(points), view=View(0, 100_000, 0, 10)))
    assert len(text) < 300_000, "and not every point is"
    heights = [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", max(paths(text, chart_export.COLOURS[0]), key=len))]
    inside = chart_export.HEIGHT - chart_export.TOP - chart_export.BOTTOM
    assert min(heights) == pytest.approx(chart_export.TOP + inside * 0.1, abs=1)


def test_a_gap_breaks_the_line_and_is_marked() -> None:
    text = svg(picture(line([(0, 1.0), (10, 2.0), (20, NAN), (30, 1.0), (40, 2.0)])))
    drawn = next(d for d in paths(text, chart_export.COLOURS[0]) if d.count("L") > 1)
    assert drawn.count("M") == 2
    assert "not a number" in text


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.85])
@pytest.mark.parametrize("time", [False, True])
def test_the_picture_is_sound_and_names_its_lines(log: bool, smoothing: float, time: bool) -> None:
    lines = [line([(float(x), x / 50) for x in range(100)], f"run {n} <&>\x1b[2J") for n in range(8)]
    lines.append(line([(50, 1.0), (60, -1.0)], "evaluation", scattered=True))
    view = View(10, 90, -1 if log else -1.0, 1, log)
    text = svg(picture(*lines, view=view, smoothing=smoothing, time=time))
    words = [element.text for element in ElementTree.fromstring(text).iter(f"{SVG}text")]
    assert {f"run {n} <&>" for n in range(8)} | {"evaluation", "demo: Loss"} <= set(words)
    assert ("step" in words) is not time
    assert len({path.get("stroke-dasharray") for path in ElementTree.fromstring(text).iter(f"{SVG}path")}) > 4


def test_files_are_written_and_a_missing_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    stem = file_stem(tmp_path, "Gradient norm")
    assert stem == tmp_path / "charts" / "gradient-norm"
    written = export_chart(picture(line([(1, 1.0), (2, 2.0)])), stem)
    assert [path.name for path in written.files] == ["gradient-norm.csv", "gradient-norm.svg"]
    assert "rsvg-convert is not installed" in written.note
    assert all(path.stat().st_size for path in written.files)
    assert file_stem(tmp_path, "Gradient norm").name == "gradient-norm-2", "none is written over unasked"


@pytest.mark.skipif(not shutil.which("rsvg-convert"), reason="rsvg-convert is not installed")
def test_a_png_is_made_where_it_can_be(tmp_path: Path) -> None:
    written = export_chart(picture(line([(1, 1.0), (2, 2.0)])), tmp_path / "a.b")
    assert written.note == ""
    assert written.files[-1].name == "a.b.png"
    assert written.files[-1].read_bytes().startswith(b"\x89PNG")


def test_a_program_that_fails_costs_the_png_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: "/bin/false")
    written = export_chart(picture(line([(1, 1.0), (2, 2.0)])), tmp_path / "loss")
    assert [path.suffix for path in written.files] == [".csv", ".svg"]
    assert "failed" in written.note
