"""``qltui check``: our files and other programs', findings with their places, what mends them, and the memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qltui.cli.main import main

AXOLOTL = """\
# A recipe of the usual kind.
base_model: meta-llama/Llama-3.1-8B
load_in_4bit: true
adapter: qlora  # four bits
lora_r: 16
lora_target_linear: true
datasets:
  - path: tatsu-lab/alpaca
    type: alpaca
micro_batch_size: 1
gradient_accumulation_steps: 4
sequence_len: 4096
optimizer: adamw_bnb_8bit
fsdp_version: 2
fsdp_config:
  offload_params: false
  state_dict_type: FULL_STATE_DICT
  transformer_layer_cls_to_wrap: LlamaDecoderLayer
bf16: true
gradient_checkpointing: true
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yml"
    file.write_text(AXOLOTL)
    return file


def check(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, dict[str, Any]]:
    code = main(["check", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_findings_on_another_programs_file_name_its_lines(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = check(capsys, recipe)
    assert code == 1
    assert found["blocked"] is True
    assert found["files"] == [{"path": str(recipe), "format": "axolotl", "ignored": ["datasets"]}]
    by_rule = {finding["rule"]: finding for finding in found["findings"]}
    finding = by_rule["fsdp2-bitsandbytes-optimizer"]
    assert finding["severity"] == "block"
    assert (finding["field"], finding["line"]) == (
        "optimizer",
        AXOLOTL.splitlines().index("optimizer: adamw_bnb_8bit") + 1,
    )
    assert finding["why"]
    assert finding["source"]
    assert finding["fix"]
    assert all(line in found["diff"] for line in ("-optimizer: adamw_bnb_8bit", "+optimizer: "))


def test_fix_writes_the_values_and_keeps_the_rest(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.chmod(0o640)
    _, before = check(capsys, recipe)
    assert main(["check", str(recipe), "--fix"]) == 0
    printed = capsys.readouterr()
    assert f"wrote {recipe}" in printed.err
    assert "[fsdp2-bitsandbytes-optimizer]" not in printed.out
    assert "[fsdp2-4bit-storage-damaged]" in printed.out, "it still stands"
    text = recipe.read_text()
    assert text != AXOLOTL
    assert text.startswith("# A recipe of the usual kind.\n")
    assert "adapter: qlora  # four bits" in text
    assert recipe.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in recipe.parent.iterdir()] == ["recipe.yml"]
    _, after = check(capsys, recipe)
    mended = {one["rule"] for one in before["findings"]} - {one["rule"] for one in after["findings"]}
    assert "fsdp2-bitsandbytes-optimizer" in mended


def test_the_memory_is_planned_for_the_gpus_that_are_named(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = check(capsys, recipe, "--gpus", "4xA40")
    assert found["plan"]["per_gpu"]["capacity_bytes"] > 40 << 30
    assert found["plan"]["fits"] is True
    _, without = check(capsys, recipe)
    assert without["plan"] is None
    assert main(["check", str(recipe), "--gpus", "4xA40"]) == 1
    assert "memory: " in capsys.readouterr().out


def test_one_of_ours_is_planned_and_judged_for_other_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "The tide comes in."}\n')
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: Qwen/Qwen3-8B\ndata: rows.jsonl\nmethod: qlora\nstrategy: ddp\nprecision: bf16\nmax_length: 1024\n"
    )
    code, found = check(capsys, file, "--gpus", "2xT4")
    assert code == 1
    blocks = [finding for finding in found["findings"] if finding["severity"] == "block"]
    assert [finding["field"] for finding in blocks] == ["precision.compute"]
    assert found["plan"]["per_gpu"]["capacity_bytes"] < 17 << 30
    code, found = check(capsys, file, "--gpus", "2xA40")
    assert (code, found["blocked"], found["plan"]["fits"]) == (0, False, True)


def test_what_does_not_fit_blocks_and_is_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "The tide comes in. " * 2000}) + "\n")
    file = tmp_path / "run.yaml"
    file.write_text("model: Qwen/Qwen3-8B\ndata: rows.jsonl\nmethod: lora\nmax_length: 2048\n")
    code, found = check(capsys, file, "--gpus", "1x24G")
    assert code == 1
    (finding,) = (one for one in found["findings"] if one["severity"] == "block")
    assert (finding["rule"], list(finding["fix"])) == ("does-not-fit", ["training.gradient_checkpointing"])
    assert main(["check", str(file), "--gpus", "1x24G", "--fix"]) == 0
    assert "does-not-fit" not in capsys.readouterr().out
    code, found = check(capsys, file, "--gpus", "1x24G")
    assert (code, found["blocked"], found["plan"]["fits"]) == (0, False, True)
    code, found = check(capsys, file, "--gpus", "1xRTX 3070")
    assert [one["rule"] for one in found["findings"] if one["severity"] == "block"] == ["nothing-fits"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x01\x02", "binary"),
        (b"", "empty"),
        (b"a: [1, 2\nb: 3\n", "not valid YAML"),
        (b"services: {web: {image: nginx}}\n", "no known format"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", ""),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(content)
    code, found = check(capsys, file)
    assert code == 1
    assert [finding["rule"] for finding in found["findings"]] == ["unreadable"]
    assert said in found["findings"][0]["message"]
    assert found["findings"][0]["file"] == str(file)


def test_a_file_that_is_not_there_and_no_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = check(capsys, tmp_path / "none.yaml")
    assert code == 1
    assert "none.yaml" in found["findings"][0]["file"]
    assert main(["check", str(tmp_path / "none.yaml"), "--gpus", "4xA4O"]) == 1
    assert "--gpus: '4xA4O'" in capsys.readouterr().err


def test_what_another_program_may_take_does_not_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ds.json"
    file.write_text('{"zero_optimization": {"stage": 3},\n "zero_optimization": {"stage": 2}}')
    code, found = check(capsys, file)
    assert code == 0
    (finding,) = (one for one in found["findings"] if one["rule"] == "file")
    assert finding["severity"] == "warn"
    assert (finding["field"], finding["line"]) == ("zero_optimization", 2)


def test_what_fix_cannot_mend_still_blocks_and_is_listed(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(AXOLOTL.replace("bf16: true\n", "bf16: true\nlora_r: 8\n") + "val_set_size: [\n")
    assert main(["check", str(recipe), "--fix"]) == 1
    assert "not valid YAML" in capsys.readouterr().out
    recipe.write_text(AXOLOTL)
    code, found = check(capsys, recipe, "--fix")
    assert (code, found["blocked"]) == (0, False)
    assert "-optimizer: adamw_bnb_8bit" in found["diff"], "what was written"


def test_a_file_that_cannot_be_written_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"{'a' * 250}.yml"  # so that no longer name fits beside it
    file.write_text(AXOLOTL)
    assert main(["check", str(file), "--fix"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"qltui: {file}: cannot be written (File name too long). Make it and its folder writable")
    assert file.read_text() == AXOLOTL


def test_each_of_several_files_has_its_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "The tide comes in."}\n')
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file, method in zip(files, ("lora", "qlora"), strict=True):
        file.write_text(f"model: Qwen/Qwen3-8B\ndata: rows.jsonl\nmethod: {method}\n")
    _, found = check(capsys, *files, "--gpus", "1xA40")
    lora, qlora = (found["plans"][str(file)]["per_gpu"]["total_bytes"] for file in files)
    assert lora > qlora
    assert found["plan"] is None
    _, found = check(capsys, files[0], "--gpus", "1xA40")
    assert found["plan"] == found["plans"][str(files[0])]


def test_offload_of_another_machine_says_what_its_host_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "The tide comes in."}\n')
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: Qwen/Qwen3-8B\ndata: rows.jsonl\nmethod: full\n"
        "strategy: {name: zero3, offload_optimizer: true, offload_parameters: true}\n"
    )
    assert main(["check", str(file), "--gpus", "2x24G"]) == 0
    assert "GiB of each host's memory: fits" in capsys.readouterr().out


OPENRLHF = """\
python3 -m openrlhf.cli.train_ppo_ray \\
   --pretrain Qwen/Qwen3-8B --vllm_num_engines 4 \\
   --zero_stage 3 --param_dtype bf16 \\
   --lora_rank 64 --colocate_all_models
"""


def test_adapters_that_openrlhf_cannot_send_to_vllm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ppo.sh"
    file.write_text(OPENRLHF)
    code, found = check(capsys, file)
    (finding,) = (one for one in found["findings"] if one["rule"] == "openrlhf-adapters")
    assert (code, finding["field"], finding["line"]) == (0, "lora_rank", 4)
    assert found["files"][0]["ignored"] == ["--colocate_all_models"]
    assert main(["check", str(file)]) == 0
    assert "training command (OpenRLHF arguments)" in capsys.readouterr().out
    file.write_text(OPENRLHF.replace("--lora_rank 64 ", ""))
    _, found = check(capsys, file)
    assert "openrlhf-adapters" not in [one["rule"] for one in found["findings"]]


SHARDED = {
    "zero3": ("deepspeed: ds.json\n", "zero3-device-map"),
    "fsdp2": ("fsdp: full_shard\nfsdp_config: {version: 2}\n", "device-map-in-ranks"),
}


@pytest.mark.parametrize("strategy", SHARDED)
def test_a_device_map_beside_sharding(strategy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ds.json").write_text('{"zero_optimization": {"stage": 3}}')
    file = tmp_path / "args.yaml"
    sharding, rule = SHARDED[strategy]
    file.write_text(f"model_name_or_path: m\nnum_train_epochs: 1\ndevice_map: auto  # as in the notebook\n{sharding}")
    code, found = check(capsys, file)
    assert code == 1
    assert [(one["rule"], one["line"]) for one in found["findings"] if one["severity"] == "block"] == [(rule, 3)]
    code, _ = check(capsys, file, "--fix")
    assert code == 0 and "device_map" not in file.read_text()
    axolotl = tmp_path / "axolotl.yml"
    axolotl.write_text(f"base_model: m\nsequence_len: 8\ndevice_map: auto\n{sharding}")
    code, found = check(capsys, axolotl)
    by_rule = {one["rule"]: one["severity"] for one in found["findings"]}
    assert (code, by_rule["device-map-replaced"]) == (0, "info") and rule not in by_rule
