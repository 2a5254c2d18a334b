"""The rows of one optimizer step: what they come to, and a number of them divided."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.samples import write_rows

from engine.config.choices import Checkpointing
from qltui.advice.planner import with_values
from qltui.configs import loading
from qltui.facts import machine as machines
from qltui.runs.batching import batch, divided, lengths_of

LLAMA = "llama3-8b-qlora-fsdp2-4xa40"


@pytest.mark.parametrize(
    ("machine", "assignments", "ranks"),
    [
        ("4xA40", [], 4),
        ("2n4xA40", [], 8),
        ("8xA40", ["hardware.ranks_per_node=null"], 8),
        ("4xA40", ["strategy=single"], 1),
        ("4xA40", ["strategy=pipeline"], 1),
        ("cpu", ["hardware.device=cpu", "hardware.ranks_per_node=null"], 1),
    ],
)
def test_rows_are_those_of_all_ranks(machine: str, assignments: list[str], ranks: int) -> None:
    config = loading.load(LLAMA, [*assignments, "micro_batch_size=3", "training.gradient_accumulation_steps=5"])
    found = batch(config, machines.parse(machine))
    assert (found.ranks, found.rows) == (ranks, 15 * ranks)


@pytest.mark.parametrize(("rows", "machine"), [(64, "4xA40"), (6, "4xA40"), (64, "2n4xA40")])
def test_a_number_is_divided_over_ranks_as_near_as_they_come(rows: int, machine: str) -> None:
    config, there = loading.load(LLAMA), machines.parse(machine)
    after = with_values(config, divided(config, there, rows, described=True))
    assert after.strategy == config.strategy
    assert abs(batch(after, there).rows - rows) <= batch(after, there).ranks // 2
    assert after.training.gradient_checkpointing != Checkpointing.ALL


def test_without_a_plan_the_micro_batch_stays_where_it_divides_them() -> None:
    config, here = loading.load("demo-cpu"), machines.parse("cpu")
    micro, accumulated = "training.micro_batch_size", "training.gradient_accumulation_steps"
    assert divided(config, here, 48, described=False) == {micro: 8, accumulated: 3}
    assert divided(config, here, 28, described=False) == {micro: 7, accumulated: 2}
    assert divided(config, here, 1, described=False) == {micro: 1, accumulated: 1}


def test_lengths_are_read_anew_once_the_file_is_another(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_rows(file, {"prompt": "a", "completion": "b"})
    config = loading.load("demo-cpu", [f"data={file}", "data.eval_path=null"])
    first = lengths_of(config)
    assert first is not None and lengths_of(config) is first
    write_rows(file, *[{"prompt": "a", "completion": "b"}] * 5)
    second = lengths_of(config)
    assert (first.rows, second and second.rows) == (1, 5)
    file.unlink()
    assert lengths_of(config) is None
