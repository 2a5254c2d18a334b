"""Other programs' files against GPUs: what surely does not fit is told in their own keys, and of doubt nothing is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qltui.advice import fitting_others
from qltui.advice.findings import Finding, Severity
from qltui.cli.main import main
from qltui.configs.foreign.as_run import as_run
from qltui.facts.architecture import find
from qltui.facts.machine import parse

VERDICTS = ("does-not-fit", "nothing-fits")
AXOLOTL = """\
base_model: Qwen/Qwen3-8B
load_in_4bit: true
adapter: qlora
lora_r: 32
lora_target_linear: true
sequence_len: 4096
micro_batch_size: 8  # rows
gradient_accumulation_steps: 2
optimizer: adamw_torch_fused
bf16: true
"""
FACTORY = """\
model_name_or_path: meta-llama/Llama-3.1-8B
stage: sft
do_train: true
finetuning_type: lora
lora_target: all
cutoff_len: 8192
per_device_train_batch_size: 4
gradient_accumulation_steps: 4
bf16: true
"""
SFT = "python trl/scripts/sft.py --model_name_or_path {model} --use_peft --load_in_4bit --output_dir out {more}\n"
OWN = "python train.py --model_name_or_path Qwen/Qwen3-8B --load_in_4bit true --per_device_train_batch_size 64 {more}\n"


def check(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    main(["check", *map(str, arguments), "--json"])
    found = json.loads(capsys.readouterr().out)
    return found, [one for one in found["findings"] if one["rule"] in VERDICTS]


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_what_surely_does_not_fit_is_warned_of_and_mended_in_its_own_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "recipe.yml", AXOLOTL)
    found, (finding,) = check(capsys, file, "--gpus", "1x24G")
    assert (finding["rule"], finding["severity"]) == ("does-not-fit", "warn")
    assert (finding["field"], finding["line"]) == ("micro_batch_size", 7)
    assert "rows of 4096 tokens (sequence_len)" in finding["message"]
    assert "With micro_batch_size=1, gradient_accumulation_steps=16 and all layers recomputed" in finding["message"]
    assert found["plan"]["fits"] is False
    assert main(["check", str(file), "--gpus", "1x24G", "--fix"]) == 0
    text = file.read_text()
    assert "micro_batch_size: 1  # rows\ngradient_accumulation_steps: 16\n" in text
    assert "gradient_checkpointing: true" in text
    capsys.readouterr()
    found, after = check(capsys, file, "--gpus", "1x24G")
    assert (after, found["plan"]["fits"], found["diff"]) == ([], True, None)


def test_where_nothing_fits_the_machine_is_named_that_would_run_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "sft.yaml", FACTORY)
    found, (finding,) = check(capsys, file, "--gpus", "1x24G")
    assert (finding["rule"], finding["severity"], finding["fix"]) == ("nothing-fits", "warn", None)
    assert (finding["field"], found["blocked"]) == ("per_device_train_batch_size", False)
    named = re.search(r"would run it: (\d+) x \d+ GiB \((.+?)\)", finding["message"])
    assert named, finding["message"]
    _, there = check(capsys, file, "--gpus", f"{named[1]}x{named[2]}")
    assert [one["rule"] for one in there] != ["nothing-fits"]
    assert finding["message"].endswith("or fewer bits (qlora).")
    _, (finding,) = check(capsys, write(tmp_path, "q.yaml", f"{FACTORY}quantization_bit: 4\n"), "--gpus", "1x8G")
    assert (finding["rule"], finding["message"].endswith("a smaller model or shorter rows.")) == ("nothing-fits", True)


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("train.sh", SFT.format(model="meta-llama/Llama-3.3-70B-Instruct", more=""), "nothing-fits"),
        ("full.yml", "base_model: Qwen/Qwen3-32B\nsample_packing: true\nbf16: true\n", "nothing-fits"),
    ],
)
def test_only_what_takes_far_too_much_with_the_shortest_rows_blocks(
    name: str, text: str, rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, (finding,) = check(capsys, write(tmp_path, name, text), "--gpus", "1x24G")
    assert (finding["rule"], finding["severity"], found["blocked"]) == (rule, "block", True)


def test_programs_defaults_stand_for_what_is_not_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "sft.sh", SFT.format(model="Qwen/Qwen3-8B", more=""))
    found, (finding,) = check(capsys, file, "--gpus", "1x16G")
    assert "rows of 1024 tokens, the program's default" in finding["message"]
    file.write_text(SFT.format(model="Qwen/Qwen3-8B", more="--per_device_train_batch_size 8 --max_length 1024"))
    said, (again,) = check(capsys, file, "--gpus", "1x16G")
    assert said["plan"]["per_gpu"] == found["plan"]["per_gpu"]
    assert again["rule"] == finding["rule"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yml", AXOLOTL.replace("micro_batch_size: 8", "micro_batch_size: ${ROWS}")),
        ("a.yml", AXOLOTL.replace("sequence_len: 4096", "sequence_len: auto")),
        ("a.yml", AXOLOTL.replace("Qwen/Qwen3-8B", "nobody/knows-this")),
        ("a.yml", AXOLOTL.replace("Qwen/Qwen3-8B", "mistralai/Mixtral-8x7B-v0.1")),
        ("a.yml", AXOLOTL + "rl: dpo\n"),
        ("a.yml", AXOLOTL + "plugins:\n  - axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin\n"),
        ("a.yml", AXOLOTL.replace("adapter: qlora", "adapter: other")),
        ("a.yaml", FACTORY + "use_unsloth: true\n"),
        ("a.yaml", FACTORY.replace("finetuning_type: lora", "finetuning_type: full") + "optim: adafactor\n"),
        ("a.sh", OWN.format(more="")),
        ("a.sh", OWN.format(more="--max_length 4096 --auto_find_batch_size true")),
    ],
)
def test_files_that_leave_it_open_are_passed_by(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(capsys, write(tmp_path, name, text), "--gpus", "1x12G")[1] == []


def test_rows_that_may_be_short_are_no_reason_to_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = AXOLOTL.replace("sequence_len: 4096", "sequence_len: 131072")
    file = write(tmp_path, "recipe.yml", text)
    assert [one["severity"] for one in check(capsys, file, "--gpus", "1x24G")[1]] == ["warn"]
    file.write_text(text + "sample_packing: true\n")
    assert [one["severity"] for one in check(capsys, file, "--gpus", "1x24G")[1]] == ["block"]


def test_trained_in_full_others_may_take_half_of_what_is_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "full.yml", "base_model: Qwen/Qwen3-8B\nsample_packing: true\nbf16: true\n")
    found, verdicts = check(capsys, file, "--gpus", "1xH100")
    gpu = found["plan"]["per_gpu"]
    assert gpu["capacity_bytes"] < gpu["total_bytes"] - gpu["error_bytes"] < 2 * gpu["capacity_bytes"]
    assert verdicts == []


def test_without_gpus_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "recipe.yml", AXOLOTL)
    assert check(capsys, file)[1] == []
    assert check(capsys, file, "--gpus", "cpu")[1] == []


def test_the_gpus_that_are_here_count_unless_the_file_is_for_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qltui.facts.machine.here", lambda *_: parse("1x16G"))
    file = write(tmp_path, "train.sh", f"accelerate launch --num_processes 1 {SFT[7:]}".format(
        model="Qwen/Qwen3-8B", more=""))  # fmt: skip
    found, (finding,) = check(capsys, file)
    assert (finding["rule"], finding["severity"], found["plan"]) == ("does-not-fit", "warn", None)
    file.write_text(file.read_text().replace("num_processes 1", "num_processes 4"))
    assert check(capsys, file)[1] == []


def test_what_a_launcher_may_shard_is_judged_by_the_strategy_that_takes_least(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_file = write(tmp_path, "sft.sh", SFT.format(model="meta-llama/Llama-3.3-70B-Instruct", more=""))
    assert check(capsys, open_file, "--gpus", "8x24G")[1] == []
    assert main(["check", str(open_file), "--gpus", "8x24G"]) == 0
    assert "does not fit, if nothing shards it (the files name no strategy)" in " ".join(
        capsys.readouterr().out.split()
    )
    said = f"torchrun --nproc_per_node 8 {SFT[7:]}".format(
        model="meta-llama/Llama-3.3-70B-Instruct", more="--per_device_train_batch_size 1"
    )
    _, (finding,) = check(capsys, write(tmp_path, "ddp.sh", said), "--gpus", "8x24G")
    assert finding["rule"] == "does-not-fit"
    assert "What would fit is" in finding["message"]
    large = SFT.format(model="Qwen/Qwen3-8B", more="--per_device_train_batch_size 64 --max_length 8192")
    _, (sharded,) = check(capsys, write(tmp_path, "large.sh", large), "--gpus", "2x24G")
    assert sharded["message"].startswith("However it is sharded, each GPU")


def test_how_weights_are_loaded_is_left_to_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """70 B in 4 bit are 38 GiB, and half of that on each of two GPUs: with FSDP there are ways to load no more.

    Our engine's is to load by block; that others may load the whole first, a rule of theirs says.
    """
    sharded = AXOLOTL.replace("Qwen/Qwen3-8B", "meta-llama/Llama-3.3-70B-Instruct").replace("size: 8", "size: 1")
    sharded = sharded.replace("sequence_len: 4096", "sequence_len: 256") + "gradient_checkpointing: true\n"
    settings = "fsdp_version: 2\nfsdp_config:\n  state_dict_type: FULL_STATE_DICT\n"
    file = write(tmp_path, "recipe.yml", sharded + "bnb_config_kwargs: {bnb_4bit_quant_storage: uint8}\n" + settings)
    found, verdicts = check(capsys, file, "--gpus", "2x32G")
    assert (found["blocked"], found["plan"]["fits"], verdicts) == (False, True, [])
    assert "fsdp-quantised-load-spike" in [one["rule"] for one in found["findings"]]


def test_nothing_is_asked_of_what_a_rule_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sharded = "fsdp_version: 2\nfsdp_config:\n  state_dict_type: FULL_STATE_DICT\n"
    blocked = AXOLOTL.replace("adamw_torch_fused", "adamw_bnb_8bit") + sharded
    found, verdicts = check(capsys, write(tmp_path, "recipe.yml", blocked), "--gpus", "1x24G")
    assert (found["blocked"], verdicts) == (True, [])


MODELS = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B", "meta-llama/Llama-3.3-70B-Instruct")
files = st.fixed_dictionaries({
    "model": st.sampled_from(MODELS), "method": st.sampled_from(["full", "lora", "qlora4", "int8"]),
    "micro_batch_size": st.sampled_from([1, 2, 3, 8]), "max_length": st.sampled_from([512, 2048, 16384]),
    "gradient_accumulation_steps": st.sampled_from([1, 4]), "gc": st.sampled_from(["none", "hf"]),
    "packing": st.booleans(),
})  # fmt: skip
strategies = st.sampled_from([None, "single", "ddp", "zero2", "zero3", "fsdp2"])


def judge(values: dict[str, Any], gpus: str) -> list[Finding]:
    machine = parse(gpus)
    filled = fitting_others.completed(values, "axolotl", values.keys())
    assert filled is not None
    config = as_run(filled, machine.gpus)
    assert config is not None
    return fitting_others.judge(config, filled, {name: name for name in values}, find(values["model"]), machine)


@settings(max_examples=60, deadline=None)
@example(
    {"model": MODELS[0], "method": "full", "micro_batch_size": 8, "max_length": 16384, "gc": "none",
     "gradient_accumulation_steps": 1, "packing": False}, None, "1x24G",
)  # fmt: skip
@given(files, strategies, st.sampled_from(["1x24G", "2x24G", "8xH100-80", "1xT4"]))
def test_a_fix_mends_and_what_can_be_mended_never_blocks(
    values: dict[str, Any], strategy: str | None, gpus: str
) -> None:
    values = {**values, "strategy": strategy} if strategy else values
    found = judge(values, gpus)
    assert len(found) <= 1
    for finding in found:
        assert finding.rule in VERDICTS
        if finding.fix:
            assert finding.severity is Severity.WARN
            mended = {**values, **finding.fix}
            rows = values["micro_batch_size"] * values["gradient_accumulation_steps"]
            assert mended["micro_batch_size"] * mended["gradient_accumulation_steps"] == rows
            assert judge(mended, gpus) == []
    larger = judge(values, "8xB300")
    assert not larger or found, "what does not fit the largest fits no smaller one"
