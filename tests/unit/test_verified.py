"""What was proven by running it, as it is read, summed up, and shown in the README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cells.results import main as merge
from cells.table import OPTIONS_PAGE, beyond, table, with_options, with_table

from qltui.facts import verified

ROOT = Path(__file__).parents[2]


def run(device: str, count: int, *cells: tuple[str, str, str], **changed: Any) -> dict[str, Any]:
    """A run of a results file; cells are (strategy, method, result)."""
    made = [
        {"name": f"{strategy}-{method}", "strategy": strategy, "method": method, "task": "causal_lm", "option": "",
         "result": result, "reason": ""}
        for strategy, method, result in cells
    ]  # fmt: skip
    devices = [{"cuda": "NVIDIA H200", "cpu": "AMD EPYC"}[device]] * count
    there = {"torch": "2.13.0+cpu", "transformers": "5.23.0"}
    run = {"device": device, "devices": devices, "model": "tiny", "versions": there, "date": "2026-11-22"}
    return {**run, "cells": made, **changed}


def write(file: Path, *runs: dict[str, Any]) -> Path:
    file.write_text(json.dumps({"schema_version": 1, "runs": runs}))
    return file


def test_the_committed_table_is_up_to_date() -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    assert with_table(page) == page, "README.md is out of date: run `make docs`"
    options = (ROOT / OPTIONS_PAGE).read_text("utf-8")
    assert with_options(options) == options, f"{OPTIONS_PAGE} is out of date: run `make docs`"


def test_every_cell_of_the_committed_table_is_proven_or_refused() -> None:
    """On CPU ranks at least, but for pipeline, which CPU ranks don't have."""
    rows = [line for line in table(verified.sessions()).splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 7
    assert not [row for row in rows if "not verified" in row and not row.startswith("| pipeline")]


def test_gpus_go_before_cpu_ranks_and_failures_count_for_nothing(tmp_path: Path) -> None:
    file = write(
        tmp_path / "results.json",
        run("cpu", 2, ("ddp", "lora", "passed"), ("zero3", "lora", "passed"), ("single", "lora", "passed")),
        run("cuda", 2, ("ddp", "lora", "passed"), ("zero3", "lora", "failed"), ("single", "full", "passed")),
        run("cuda", 1, ("single", "lora", "passed")),
    )
    found = verified.sessions(file)
    assert [session.hardware for session in found] == ["2 x NVIDIA H200", "1 x NVIDIA H200", "2 CPU ranks"]
    cells = {line.split(" | ")[0].strip("| "): line for line in table(found).splitlines() if line.startswith("| ")}
    assert cells["ddp"] == "| ddp | not verified yet | 2 x H200 | not verified yet | not verified yet |"
    assert "2 CPU ranks" in cells["zero3"]
    assert cells["single"].startswith("| single | 1 x H200 | 1 x H200 |")
    assert cells["pipeline"].startswith("| pipeline | no (1) |")
    assert "(1) Refused before launch: pipeline places weights alone" in table(found)


def test_options_are_listed_where_they_passed_first(tmp_path: Path) -> None:
    cuda, cpu = run("cuda", 2, ("ddp", "lora", "passed"), ("ddp", "full", "passed")), run("cpu", 2)
    for cell in cuda["cells"]:
        cell["option"] = "adamw-8bit"
    cpu["cells"] = [*cuda["cells"], {**cuda["cells"][0], "strategy": "zero1"}, {**cuda["cells"][0], "result": "failed"}]
    lines = beyond(verified.sessions(write(tmp_path / "results.json", cpu, cuda)))
    on_gpus, on_cpu = ("\n".join(lines).split("## ")[place] for place in (1, 2))
    assert "| | ddp |\n|---|---|\n| adamw 8bit | full, lora |" in on_gpus
    assert "| | zero1 |\n|---|---|\n| adamw 8bit | lora |" in on_cpu


def test_the_summary_names_hardware_version_and_date(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = [
        run("cpu", 2, ("ddp", "lora", "passed"), ("zero3", "lora", "failed")),
        run("cuda", 2, ("ddp", "lora", "passed"), versions={"torch": "2.11.0"}),
        run("cuda", 1, ("single", "lora", "failed")),
    ]
    found = verified.sessions(write(tmp_path / "results.json", *runs))
    monkeypatch.setattr(verified, "sessions", lambda: found)
    assert verified.summary() == "2 x NVIDIA H200 (torch 2.11.0, 2026-11-22), 2 CPU ranks (torch 2.13.0, 2026-11-22)"


def test_merging_keeps_the_newer_result_of_a_cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    into = write(tmp_path / "into.json", run("cpu", 2, ("ddp", "lora", "failed"), ("ddp", "full", "passed")))
    newer = write(
        tmp_path / "newer.json",
        run("cpu", 2, ("ddp", "lora", "passed"), date="2026-11-23"),
        run("cpu", 2, ("ddp", "int8", "passed"), versions={"torch": "2.11.0"}),
    )
    monkeypatch.setattr("sys.argv", ["cells.results", str(into), str(newer)])
    merge()
    first, second = json.loads(into.read_text())["runs"]
    assert {cell["name"]: cell["result"] for cell in first["cells"]} == {"ddp-lora": "passed", "ddp-full": "passed"}
    assert first["date"] == "2026-11-23"
    assert [cell["name"] for cell in second["cells"]] == ["ddp-int8"]
