"""``qltui plan``: what it prints, and what it answers where there is nothing to plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qltui.cli.main import main

SENTENCE = "The tide comes in twice a day. "
"""About eight tokens."""


def write_rows(folder: Path, *sentences: int) -> None:
    """The run's data: a row for each number, of as many sentences."""
    rows = "".join(json.dumps({"text": SENTENCE * count}) + "\n" for count in sentences)
    (folder / "rows.jsonl").write_text(rows)


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    write_rows(tmp_path, 5_000)
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: {path: Qwen/Qwen3-8B}\ndata: {path: rows.jsonl, max_length: 1024}\n"
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
    keys = {"summary", "fits", "total_bytes", "host_bytes", "seconds_per_step", "patch"}
    assert keys <= found["alternatives"][0].keys()
    assert found["alternatives"][0]["host_bytes"] == 0
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
    assert finding["why"] and finding["source"]
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
    full = ["--gpus", "2x24G", "--set", "method=full"]
    _, found = plan(capsys, run_file, *full)
    weights_gradients_and_moments = 8.19e9 * 4 * 4
    assert len(found["alternatives"]) == 2
    for one in found["alternatives"]:
        again = 8.19e9 * 4 if one["patch"]["strategy.name"] == "zero3" else 0  # gradients
        assert 1 < one["host_bytes"] / (weights_gradients_and_moments + again) < 1.2, "weights pinned in powers of two"
    main(["plan", str(run_file), *full])
    text = capsys.readouterr().out
    assert all(f"{one['host_bytes'] / 2**30:.1f} GiB of each host's memory" in text for one in found["alternatives"])


@pytest.mark.parametrize(
    ("length", "verdict", "code"),
    [(1024, "fits", 0), (1904, "may just fit", 0), (2064, "may not fit", 0), (2400, "does not fit", 1)],
)
def test_heading_finding_and_exit_code_say_the_same_as_check(
    length: int, verdict: str, code: int, run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_file.write_text(f"model: Qwen/Qwen3-8B\ndata: rows.jsonl\nmax_length: {length}\ntraining: {{loss: full}}\n")
    assert main(["plan", str(run_file), "--gpus", "1x24G"]) == code
    text = " ".join(capsys.readouterr().out.split())
    assert f"rows of up to {length} tokens: {verdict} " in text
    assert ("It may not fit: " in text) is ("may" in verdict)
    assert ("block: " in text) is (code == 1)
    assert main(["check", str(run_file), "--gpus", "1x24G"]) == code
    assert f": {verdict}" in capsys.readouterr().out


def test_what_fits_and_is_blocked_exits_1_and_says_so(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--gpus", "1xA40", "--set", "hardware.ranks_per_node=2"]
    code, found = plan(capsys, run_file, *options)
    assert (code, found["fits"], found["blocked"]) == (1, True, True)
    assert main(["plan", str(run_file), *options]) == 1
    assert "tokens: fits, but is blocked by more-ranks-than-gpus" in " ".join(capsys.readouterr().out.split())


def test_the_parameters_of_a_small_model_are_told_in_millions(capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "demo-cpu", "--gpus", "2xA40"])
    assert ": 1.87 M parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gpus", "4xA4O"], "--gpus: '4xA4O'"),
        (["--gpus", "cpu"], "--gpus cpu describes none; say which you mean, as in --gpus 4xA40"),
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


def test_without_the_data_rows_are_as_long_as_they_may_be(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, long = plan(capsys, run_file, "--gpus", "4xA40")
    (run_file.parent / "rows.jsonl").unlink()
    _, found = plan(capsys, run_file, "--gpus", "4xA40")
    assert (found["rows"], found["seconds_per_epoch"]) == (None, None)
    assert [one["seconds_per_epoch"] for one in found["alternatives"]] == [None] * len(found["alternatives"])
    assert found["per_gpu"] == long["per_gpu"], "a row of 40,000 tokens is cut"
    assert main(["plan", str(run_file), "--gpus", "4xA40"]) == 0
    text = capsys.readouterr().out
    assert "rows of 1024 tokens: fits" in text
    assert "epoch" not in text


def test_rows_that_were_read_set_memory_time_and_an_epoch(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, long = plan(capsys, run_file, "--gpus", "4xA40")
    write_rows(run_file.parent, *[10] * 790, *[60] * 10)
    code, found = plan(capsys, run_file, "--gpus", "4xA40")
    rows = found["rows"]
    assert code == 0
    assert (rows["rows"], rows["read"], rows["measured"]) == (800, 800, False)
    assert 70 < rows["mean_tokens"] < 100 < rows["longest_tokens"] < 1000
    assert rows["tokens_per_epoch"] == pytest.approx(800 * rows["mean_tokens"])
    assert rows["steps_per_epoch"] == 800 / (2 * 4 * 4)
    assert found["seconds_per_epoch"] == pytest.approx(rows["steps_per_epoch"] * found["seconds_per_step"])
    assert found["per_gpu"]["total_bytes"] < long["per_gpu"]["total_bytes"]
    assert found["seconds_per_step"] < long["seconds_per_step"]
    first = found["alternatives"][0]
    assert first["seconds_per_epoch"] == pytest.approx(800 / 32 * first["seconds_per_step"])
    assert main(["plan", str(run_file), "--gpus", "4xA40"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "800 rows of 90 tokens on average, estimated from their bytes" in text
    assert "tokens in 25 steps" in text
    assert "give or take 80 %" in text  # launching decides, and the lengths are estimates


def test_what_does_not_fit_at_max_length_fits_where_no_row_is_as_long(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = ["--gpus", "2x24G", "--set", "max_length=8192"]
    assert plan(capsys, run_file, *long)[0] == 1
    write_rows(run_file.parent, *range(1, 40))
    code, found = plan(capsys, run_file, *long)
    assert (code, found["fits"], found["findings"]) == (0, True, [])


def test_rows_shorter_than_the_model_takes_are_no_longer_than_it_was_made_for(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = ["--gpus", "4xA40", "--set", "max_length=100000"]
    assert "beyond-context-length" in {one["rule"] for one in plan(capsys, run_file, *wide)[1]["findings"]}
    write_rows(run_file.parent, *[10] * 20)
    assert "beyond-context-length" not in {one["rule"] for one in plan(capsys, run_file, *wide)[1]["findings"]}


def as_sets(patch: dict[str, Any]) -> list[str]:
    return [word for path, value in patch.items() for word in ("--set", f"{path}={json.dumps(value)}")]


def test_rows_that_are_cut_and_padding_are_told(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(run_file.parent, *[2] * 80, *[100] * 20)
    options = ["--gpus", "4xA40", "--set", "max_length=512", "--set", "micro_batch_size=8"]
    code, found = plan(capsys, run_file, *options)
    said = {one["rule"]: one for one in found["findings"] if one["rule"].startswith("rows-")}
    assert code == 0
    assert {one["severity"] for one in said.values()} == {"info"}
    assert "20 % of the rows are longer than 512 tokens" in said["rows-cut"]["message"]
    packed = said["rows-padded"]
    assert "Packed into sequences of 512 tokens" in packed["message"]
    assert packed["fix"] == {
        "data.packing": True, "training.micro_batch_size": 1, "training.gradient_accumulation_steps": 7,
    }, "7 sequences of 4.8 rows are the 32 rows of before"  # fmt: skip
    _, after = plan(capsys, run_file, *options, *as_sets(packed["fix"]))
    assert after["seconds_per_epoch"] < found["seconds_per_epoch"] * 0.9
    assert after["rows"]["padding"] == 0
    assert after["rows"]["tokens_per_epoch"] == found["rows"]["tokens_per_epoch"]

    options += ["--set", "model=facebook/opt-6.7b"]  # which mixes packed rows
    _, found = plan(capsys, run_file, *options)
    (padded,) = (one for one in found["findings"] if one["rule"] == "rows-padded")
    assert padded["fix"]["training.micro_batch_size"] * padded["fix"]["training.gradient_accumulation_steps"] == 8 * 4
    _, after = plan(capsys, run_file, *options, *as_sets(padded["fix"]))
    assert after["seconds_per_epoch"] < found["seconds_per_epoch"] * 0.9
    main(["plan", str(run_file), *options])
    text = capsys.readouterr().out
    assert "[rows-cut]" in text and "[rows-padded]" in text


def test_padding_of_short_rows_that_costs_no_time_has_no_fix(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(run_file.parent, *[1] * 80, *[4] * 20)
    _, found = plan(capsys, run_file, "--gpus", "4xH100", "--set", "micro_batch_size=8")
    (padded,) = (one for one in found["findings"] if one["rule"] == "rows-padded")
    assert padded["fix"] == {}
    assert "smaller ones would hardly be faster" in padded["message"], "launching kernels takes longer than computing"
