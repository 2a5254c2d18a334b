"""The matrix of strategies and methods, and what choices that are not finished come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import StrategyName
from qltui.advice.findings import Severity
from qltui.advice.matrix import METHODS, Mark, matrix, rows
from qltui.advice.memory import fit, job_on
from qltui.facts.architecture import find
from qltui.facts.machine import parse
from qltui.runs.assessment import versions_here
from qltui.runs.outlook import MISSING, mended, outlook, read_choices, texts_of

MODEL = "meta-llama/Llama-3.1-8B"
STRATEGY = ("strategy.name", "strategy.offload_parameters", "strategy.offload_optimizer")
CHOSEN = {"model.path": MODEL, "data.path": "rows.jsonl"}


def squares(machine: str, **values: str):
    config = read_choices({**CHOSEN, **{path.replace("__", "."): text for path, text in values.items()}}, Path("/"))
    return matrix(config, parse(machine), find(MODEL), versions_here())


def test_every_strategy_with_every_method_and_offload_where_there_is_any() -> None:
    found = squares("4xA40")
    assert [(row[0].strategy, row[0].offload) for row in found] == rows()
    assert all([one.method for one in row] == list(METHODS) for row in found)
    assert [row[0].place[0] for row in found][-2:] == ["fsdp2 + offload", "zero3 + offload"]


def test_a_square_is_what_the_plan_says_of_its_configuration() -> None:
    for row in squares("2xA40"):
        for one in row:
            texts = {path: getattr(value, "value", str(value).lower()) for path, value in one.patch.items()}
            config = read_choices({**CHOSEN, **texts}, Path("/"))
            if one.mark is not Mark.BLOCKED:
                assert one.fit == fit(job_on(config, find(MODEL), parse("2xA40")), parse("2xA40"))


@pytest.mark.parametrize(
    ("machine", "place", "mark"),
    [
        ("4xA40", ("single", "full"), Mark.TOO_LARGE),
        ("4xA40", ("ddp", "qlora"), Mark.FITS),
        ("4xA40", ("pipeline", "full"), Mark.BLOCKED),
        ("4xA40", ("fsdp2", "int8"), Mark.FITS),
        ("1x20G", ("single", "qlora"), Mark.TIGHT),
    ],
)
def test_marks(machine: str, place: tuple[str, str], mark: Mark) -> None:
    one = next(one for row in squares(machine) for one in row if one.place == place)
    assert one.mark is mark, one.why
    assert one.why.endswith((".", "]"))
    assert bool(one.blocks) is (mark is Mark.BLOCKED)


def test_without_gpus_memory_is_not_known() -> None:
    config = read_choices(CHOSEN, Path("/"))
    here = parse("1xA40")._replace(cards=())
    marks = {one.mark for row in matrix(config, here, find(MODEL), versions_here()) for one in row}
    assert marks == {Mark.UNKNOWN, Mark.BLOCKED}


def test_choices_need_not_be_finished() -> None:
    begun = outlook({}, parse("2x24G"), described=True, base=Path("/"))
    assert begun.config is not None
    assert begun.config.model.path == MISSING["model.path"]
    assert begun.architecture is None
    assert begun.best is None
    named = outlook({"model.path": MODEL}, parse("2x24G"), described=True, base=Path("/"))
    assert named.architecture == find(MODEL)
    assert named.best == "ddp"
    assert named.squares


def test_a_text_that_cannot_be_is_told_and_nothing_is_planned() -> None:
    wrong = outlook({**CHOSEN, "training.micro_batch_size": "0"}, parse("2x24G"), described=True, base=Path("/"))
    assert wrong.config is None
    assert wrong.findings == []
    assert wrong.squares == []
    assert [problem.field for problem in wrong.problems] == ["training.micro_batch_size"]


def test_a_described_machine_does_not_know_the_gpus_here() -> None:
    values = {**CHOSEN, "hardware.gpus": "['3']"}
    there = outlook(values, parse("2x24G"), described=True, base=Path("/")).config
    here = outlook(values, parse("2x24G"), described=False, base=Path("/")).config
    assert there is not None
    assert here is not None
    assert there.hardware.gpus == []
    assert here.hardware.gpus


def test_a_fix_mends_what_was_found() -> None:
    values = {**CHOSEN, "strategy.name": "pipeline", "method.name": "full"}
    (blocked, *_) = outlook(values, parse("2xA40"), described=True, base=Path("/")).findings
    assert blocked.rule == "engine-pipeline-full"
    again = outlook(mended(values, blocked), parse("2xA40"), described=True, base=Path("/"))
    assert "engine-pipeline-full" not in {one.rule for one in again.findings}
    assert again.config is not None
    assert again.config.strategy.name is not StrategyName.PIPELINE


def test_the_planners_square_sets_what_it_takes_to_fit() -> None:
    values = {
        "model.path": "zai-org/GLM-4-9B-0414", "data.path": "rows.jsonl", "method.name": "lora",
        "strategy.name": "zero2", "data.max_length": "8192",
    }  # fmt: skip
    machine = parse("4x24G")
    found = outlook(values, machine, described=True, base=Path("/"))
    assert found.best is not None
    square = next(one for row in found.squares for one in row if one.place == (found.best, "lora"))
    assert square.mark is Mark.FITS
    again = outlook({**values, **texts_of(square.patch)}, machine, described=True, base=Path("/"))
    assert again.advice is not None
    assert again.advice.fit == square.fit
    assert {one.severity for one in again.findings} <= {Severity.INFO}
    chosen = next(one for row in again.squares for one in row if one.place == square.place)
    assert set(chosen.patch) == {*STRATEGY, "method.name"}, "it fits as it is now"


def test_a_field_that_is_left_to_the_program_is_mended_to_nothing() -> None:
    values = {**CHOSEN, "strategy.name": "ddp", "hardware.ranks_per_node": "4"}
    found = outlook(values, parse("2xA40"), described=True, base=Path("/")).findings
    many = next(one for one in found if one.rule == "more-ranks-than-gpus")
    assert mended(values, many)["hardware.ranks_per_node"] == ""
