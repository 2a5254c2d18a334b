"""Picture and table of predicted beside measured memory, from a file of points."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from points import plot, table

GIB = 2**30


def point(method: str, strategy: str, predicted: float, held_out: bool, **others: float | None) -> dict[str, Any]:
    """Of a run that took 10 GiB; ``predicted`` and ``others`` in GiB."""
    return {
        "name": f"{method} {strategy}", "model": "m", "method": method, "strategy": strategy, "ranks": 2,
        "held_out": held_out, "measured": 10 * GIB, "predicted": int(predicted * GIB),
        "others": {tool: None if size is None else int(size * GIB) for tool, size in others.items()},
    }  # fmt: skip


POINTS: dict[str, Any] = {
    "points": [
        point("qlora", "ddp", 10.2, False, high=15, low=None),
        point("qlora", "fsdp2", 9.9, True, high=40, low=1),
        point("full", "fsdp2", 10.5, True, high=None, low=5),
    ],
    "measured with": "more than is read",
}


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    place = tmp_path / "measured.json"
    place.write_text(json.dumps(POINTS), "utf-8")
    return place


def run(monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["points", *map(str, arguments)])
    main()


def test_table_says_how_far_each_tool_is_off(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, table.main, measured)
    assert capsys.readouterr().out.splitlines() == [
        "|  | runs | median error | worst above | worst below |",
        "| --- | --- | --- | --- | --- |",
        "| this plan, fitted on | 1 of 3 | 2.0 % | +2.0 % | never |",
        "| this plan, held out | 2 of 3 | 3.0 % | +5.0 % | −1.0 % |",
        "| high | 2 of 3 | 175 % | +300 % | never |",
        "| low | 2 of 3 | 70 % | never | −90 % |",
        "",
        "|  | this plan | high | low |",
        "| --- | --- | --- | --- |",
        "| full | 5.0 % (+5.0 % to +5.0 %; 1) | - | 50 % (−50 % to −50 %; 1) |",
        "| qlora | 1.5 % (−1.0 % to +2.0 %; 2) | 175 % (+50 % to +300 %; 2) | 90 % (−90 % to −90 %; 1) |",
        "",
        "|  | this plan | high | low |",
        "| --- | --- | --- | --- |",
        "| ddp | 2.0 % (+2.0 % to +2.0 %; 1) | 50 % (+50 % to +50 %; 1) | - |",
        "| fsdp2 | 3.0 % (−1.0 % to +5.0 %; 2) | 300 % (+300 % to +300 %; 1) | 70 % (−90 % to −50 %; 2) |",
    ]


def test_picture_is_the_same_bytes_for_the_same_numbers(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, other = (tmp_path / name for name in ("first.svg", "second.svg", "other.svg"))
    run(monkeypatch, plot.main, measured, first)
    run(monkeypatch, plot.main, measured, second)
    ElementTree.fromstring(first.read_bytes())
    assert first.read_bytes() == second.read_bytes()
    changed = copy.deepcopy(POINTS)
    changed["points"][0]["predicted"] *= 2
    measured.write_text(json.dumps(changed), "utf-8")
    run(monkeypatch, plot.main, measured, other)
    assert other.read_bytes() != first.read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"measured": 0}, r"`int` >= 1 - at `\$.points\[0\].measured`"),
        ({"method": "magic"}, r"'magic' - at `\$.points\[0\].method`"),
        ({"others": {"low": "much"}}, r"`\$.points\[0\].others\[...\]`"),
    ],
)
def test_a_bad_point_is_named(
    measured: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    measured.write_text(json.dumps({"points": [POINTS["points"][0] | change]}), "utf-8")
    with pytest.raises(SystemExit, match=said) as ended:
        run(monkeypatch, table.main, measured)
    assert str(measured) in str(ended.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "Cannot read .*No such file"), ("", "does not hold points"), ('{"points": []}', "length >= 1")],
)
def test_a_file_without_points_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, said: str
) -> None:
    place = tmp_path / "measured.json"
    if text is not None:
        place.write_text(text, "utf-8")
    with pytest.raises(SystemExit, match=said):
        run(monkeypatch, plot.main, place, tmp_path / "picture.svg")
    assert not (tmp_path / "picture.svg").exists()
