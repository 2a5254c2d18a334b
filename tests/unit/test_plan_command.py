"""``qltui plan``: what it prints, and what it answers where there is nothing to plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qltui.cli.main import main

ROWS = {"text": "The tide comes in twice a day."}


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS) + "\n")
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: {path: Qwen/Qwen3-8B}\ndata: {path: rows.jsonl, max_length: 2048}\n"
        "method: {name: qlora}\nstrategy: {name: ddp}\n"
        "training: {micro_batch_size: 2, gradient_accumulation_steps: 4}\n"
    )
    return file


def plan(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, dict[str, Any]]:
    code = main(["plan", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_document_has_what_is_promised(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = plan(capsys, run_file, "--gpus", "4xA40")
    assert code == 0
    assert found["fits"] is True
    per_gpu = found["per_gpu"]
    assert per_gpu["total_bytes"] == sum(per_gpu["parts"].values())
    assert 0 < per_gpu["error_bytes"] < per_gpu["total_bytes"] < per_gpu["capacity_bytes"]
    assert found["seconds_per_step"] > 0
    assert found["host"]["total_bytes"] == 0
    assert {"summary", "fits", "total_bytes", "seconds_per_step", "patch"} <= found["alternatives"][0].keys()
    assert found["alternatives"][0]["patch"]["strategy.name"] == "ddp"
    assert all({"summary", "rule"} <= one.keys() for one in found["rejected"])


def test_what_does_not_fit_exits_1_and_says_what_would(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = plan(capsys, run_file, "--gpus", "2x24G", "--set", "max_length=8192")
    assert code == 1
    assert found["fits"] is False
    assert all(one["fits"] for one in found["alternatives"])
    assert main(["plan", str(run_file), "--gpus", "2x24G", "--set", "max_length=8192"]) == 1
    text = capsys.readouterr().out
    assert "does not fit" in text
    assert "Ways to run it on these GPUs" in text


def test_what_does_not_fit_is_a_finding_with_its_fix(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = plan(capsys, run_file, "--gpus", "2x24G", "--set", "max_length=8192")
    (finding,) = (one for one in found["findings"] if one["rule"] == "does-not-fit")
    assert finding["severity"] == "block"
    assert any(finding["fix"].items() <= one["patch"].items() for one in found["alternatives"])
    _, found = plan(capsys, run_file, "--gpus", "1xT4", "--set", "method=full", "--set", "strategy=single")
    assert [one["rule"] for one in found["findings"] if one["severity"] == "block"] == ["nothing-fits"]
    assert found["alternatives"] == []
    assert main(["plan", str(run_file), "--gpus", "1xT4", "--set", "method=full", "--set", "strategy=single"]) == 1
    assert "[nothing-fits]" in capsys.readouterr().out


def test_a_patch_makes_it_fit(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = plan(capsys, run_file, "--gpus", "2x24G", "--set", "max_length=4096")
    patch = found["alternatives"][0]["patch"]
    sets = [word for path, value in patch.items() for word in ("--set", f"{path}={json.dumps(value).strip(chr(34))}")]
    code, again = plan(capsys, run_file, "--gpus", "2x24G", "--set", "max_length=4096", *sets)
    assert code == 0
    assert again["per_gpu"]["total_bytes"] == found["alternatives"][0]["total_bytes"]


def test_offload_is_counted_on_the_host(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offload = ["--set", "strategy=fsdp2", "--set", "strategy.offload_parameters=true"]
    _, found = plan(capsys, run_file, "--gpus", "2x24G", *offload, "--set", "strategy.offload_optimizer=true")
    assert found["host"]["total_bytes"] > 3 << 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpus", "4xA4O"], "--gpus: '4xA4O'"),
        (["--gpus", "cpu"], "memory is planned for GPUs"),
        (["--gpus", "4xA40", "--set", "model=Qwen/Qwen3-8C"], "Qwen/Qwen3-8B"),
        (["--gpus", "4xA40", "--set", "data.max_length=none"], "data.max_length"),
    ],
)
def test_what_cannot_be_planned_is_said(
    arguments: list[str], said: str, run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(run_file), *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert len(captured.err.strip().splitlines()) == 1
