"""The five write-ups this program started from, met and mended in the wizard; and what ``check`` says of their files.

1. QLoRA under ZeRO-3, or spread by ``device_map="auto"``. 2. FSDP with QLoRA, int8 and classification. 3. Instructions
of 8K tokens on 24 GB cards, with DeepSpeed's offload. 4. QLoRA or LoRA of rank 64 under ZeRO-3. 5. Llama-3-8B under
FSDP on four A40s and a host of 16 GB.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.screen import text_of, until, until_seen
from support.wizard import choosing, focused_field, moves, to_step, to_the_matrix
from textual.pilot import Pilot
from textual.widgets import Input

from qltui.advice.findings import Severity
from qltui.cli.main import main
from qltui.ui.screens.new_run import WIDE_ENOUGH, NewRun
from qltui.ui.widgets.findings_panel import FindingRow

GLM = {
    "model__path": "zai-org/GLM-4-9B-0414", "method__name": "lora", "data__max_length": "8192",
    "training__micro_batch_size": "1",
}  # fmt: skip
RANK_64 = {"method__lora__rank": "64", "method__lora__alpha": "64"}
OFFLOAD = {"strategy__offload_parameters": "true", "strategy__offload_optimizer": "true"}


def seen(pilot: Pilot[Any]) -> str:
    """All that is on screen without frames, in one line: what stands beside the form after it."""
    lines = text_of(pilot).splitlines()
    beside = lines[3].find("╭") if pilot.app.size.width >= WIDE_ENOUGH else -1
    parts = [line[:beside] for line in lines] + [line[beside:] for line in lines] if beside > 0 else lines
    return " ".join(" ".join(parts).replace("│", " ").split())


async def looked_at(pilot: Pilot[Any], screen: NewRun) -> None:
    """Wait until what is chosen is what was looked at."""
    await until(pilot, lambda: not screen._looking, "the look at what is chosen")
    await pilot.pause()


async def press(pilot: Pilot[Any], screen: NewRun, *keys: str) -> None:
    """Press keys that change what is chosen."""
    before = screen._asked
    await pilot.press(*keys)
    await until(pilot, lambda: screen._asked > before, f"a change by {keys}")
    await looked_at(pilot, screen)


def found(screen: NewRun, *severities: Severity) -> set[str]:
    """Rules of these severities that speak of what is chosen."""
    assert screen.outlook is not None
    return {one.rule for one in screen.outlook.findings if one.severity in severities}


def is_sound(screen: NewRun) -> bool:
    """Whether nothing above info is found, and it surely fits each GPU."""
    outlook = screen.outlook
    assert outlook is not None and outlook.advice is not None and outlook.advice.fit is not None
    return not found(screen, Severity.BLOCK, Severity.WARN) and outlook.advice.fit.is_safe


async def test_1_qlora_under_zero3_shards_here_and_device_map_is_a_strategy(home: Path) -> None:
    async with choosing(home, (80, 24), machine="2x24G", strategy__name="zero3") as (pilot, screen):
        matrix = await to_the_matrix(pilot)
        await until_seen(pilot, "zero3 · qlora")
        assert "verified on 2 x NVIDIA H200, torch 2.11.0" in seen(pilot)
        assert is_sound(screen)
        await pilot.press("e")
        await until_seen(pilot, "✓ passed: as it is")
        assert "Trained, audited, saved, resumed" in seen(pilot)
        await pilot.press("escape", "f3", *"device_map")
        await until(pilot, lambda: "pipeline is what device_map=auto" in seen(pilot), "the strategy")
        await pilot.press("enter")
        await until(pilot, lambda: focused_field(pilot) == "strategy.name", "the cursor in its field")
        matrix.focus()
        await press(pilot, screen, *moves(matrix, "pipeline", "qlora"), "enter")
        assert "✓ set strategy.name=pipeline" in seen(pilot)
        assert is_sound(screen)


async def test_1_a_model_that_no_gpu_holds_whole_is_split_by_a_key(home: Path) -> None:
    large = {"model__path": "meta-llama/Llama-3.1-405B", "strategy__name": "zero2"}
    async with choosing(home, machine="8xA100-80", **large) as (pilot, screen):
        await to_the_matrix(pilot)
        await until_seen(pilot, "✗ does not fit")
        assert found(screen, Severity.BLOCK) == {"does-not-fit"}
        await press(pilot, screen, "f5")
        assert screen.values["strategy.name"] == "fsdp2"
        assert is_sound(screen), "quantised and split a block at a time, nothing is whole on a GPU"
        assert "the planner's first choice" in seen(pilot), "the matrix goes with it"
        await press(pilot, screen, "f8")
        assert found(screen, Severity.BLOCK) == {"does-not-fit"}


async def test_2_the_storage_that_guides_advise_is_refused_with_the_reason_and_mended(home: Path) -> None:
    advised = {"strategy__name": "fsdp2", "method__quantization__storage": "bfloat16"}
    async with choosing(home, machine="4xA40", **advised) as (pilot, screen):
        await to_the_matrix(pilot)
        await until_seen(pilot, "1 block")
        assert found(screen, Severity.BLOCK) == {"engine-storage-fsdp2"}
        assert "fsdp2 does not move 4-bit weights stored as bfloat16 bit by bit" in seen(pilot)
        await pilot.click(FindingRow)
        await until(pilot, lambda: "Guides for FSDP with QLoRA set the storage" in seen(pilot), "why")
        await press(pilot, screen, "f5")
        assert "✓ set method.quantization.storage=auto" in seen(pilot)
        assert is_sound(screen)
        await press(pilot, screen, "f8")
        assert found(screen, Severity.BLOCK) == {"engine-storage-fsdp2"}


async def test_2_int8_and_classification_are_squares_like_any(home: Path) -> None:
    chosen = {"strategy__name": "fsdp2", "model__task": "sequence_classification"}
    async with choosing(home, (80, 24), machine="4xA40", **chosen) as (pilot, screen):
        matrix = await to_the_matrix(pilot)
        await until_seen(pilot, "fsdp2 · qlora")
        assert is_sound(screen)
        await pilot.press("e")
        await until_seen(pilot, "sequence classification")
        await pilot.press("escape", *moves(matrix, "fsdp2", "int8"))
        await until_seen(pilot, "fsdp2 · int8")
        assert "it fits." in seen(pilot)
        assert "verified on 2 " in seen(pilot)
        await press(pilot, screen, "enter")
        assert screen.values["method.name"] == "int8"
        assert is_sound(screen)


@pytest.mark.parametrize("way", ["the planner's square", "a key"])
async def test_3_long_rows_on_small_cards_are_mended(home: Path, way: str) -> None:
    chosen = {**GLM, "strategy__name": "zero3", "strategy__offload_optimizer": "true"}
    async with choosing(home, (80, 24), machine="4x24G", **chosen) as (pilot, screen):
        matrix = await to_the_matrix(pilot)
        await until_seen(pilot, "✗ does not fit")
        assert found(screen, Severity.BLOCK) == {"does-not-fit"}
        assert found(screen, Severity.INFO) == {"offload-optimizer-of-adapters"}
        assert screen.outlook is not None and screen.outlook.best is not None
        keys = ["f5"] if way == "a key" else [*moves(matrix, screen.outlook.best, "lora"), "enter"]
        await press(pilot, screen, *keys)
        assert "✓ set strategy.name=" in seen(pilot)
        assert "training.gradient_checkpointing=" in seen(pilot), "all layers, or as many as it takes"
        assert is_sound(screen)
        await press(pilot, screen, "f8")
        assert found(screen, Severity.BLOCK) == {"does-not-fit"}


async def test_4_rank_64_runs_under_the_zero_stages_and_adam_stays_on_the_gpu(home: Path) -> None:
    chosen = {**RANK_64, "strategy__name": "zero3", "method__name": "lora", "strategy__offload_optimizer": "true"}
    async with choosing(home, machine="8xA100-80", **chosen) as (pilot, screen):
        matrix = await to_the_matrix(pilot)
        await until_seen(pilot, "offload-optimizer-of-adapters")
        rows = {row.finding.rule: row for row in screen.query(FindingRow)}
        await pilot.click(rows["offload-optimizer-of-adapters"])
        await press(pilot, screen, "f5")
        assert "strategy.offload_optimizer" not in screen.values
        assert screen.values["strategy.name"] == "zero3", "nothing else was mended"
        assert is_sound(screen)
        matrix.focus()
        for strategy in ("zero3", "zero2"):
            await press(pilot, screen, *moves(matrix, strategy, "qlora"), "enter")
            assert f"{strategy} · qlora" in seen(pilot)
            assert "verified on 2 x NVIDIA H200" in seen(pilot)
            assert is_sound(screen)


async def test_5_offload_that_the_host_has_no_room_for_is_turned_off(home: Path) -> None:
    chosen = {"strategy__name": "fsdp2", "method__name": "lora", "data__max_length": "4096", **OFFLOAD}
    async with choosing(home, machine="4xA40", **chosen) as (pilot, screen):
        await to_step(pilot, "hardware")
        entry = screen.query_one("#machine Input", Input)
        await until(pilot, lambda: pilot.app.focused is entry, "the cursor in the line")
        assert not found(screen, Severity.BLOCK), "of a host nobody described nothing is claimed"
        await press(pilot, screen, "end", *",host=16G")
        assert "16.0 GiB memory" in seen(pilot)
        matrix = await to_the_matrix(pilot)
        await until_seen(pilot, "fsdp2 + offload · lora")
        assert found(screen, Severity.BLOCK) == {"offload-exceeds-host"}
        assert "beside 6.4 GiB of 4 ranks, and 16.0 GiB are there" in seen(pilot)
        await press(pilot, screen, "f5")
        assert "✓ set strategy.offload_parameters=false, strategy.offload_optimizer=false" in seen(pilot)
        assert is_sound(screen)
        await press(pilot, screen, "f8")
        assert found(screen, Severity.BLOCK) == {"offload-exceeds-host"}
        await press(pilot, screen, *moves(matrix, "fsdp2 + offload", "qlora"), "enter")
        assert "offload-needless" in found(screen, Severity.INFO)
        assert is_sound(screen), "four bits have room there"
        await press(pilot, screen, *moves(matrix, "fsdp2", "qlora"), "enter")
        assert "offload-needless" not in found(screen, Severity.INFO)
        assert is_sound(screen)


# The same from other programs


ACCELERATE = "distributed_type: FSDP\nmixed_precision: bf16\nnum_processes: 4\nfsdp_config: {fsdp_version: 2}\n"
TRAIN = "accelerate launch --config_file accelerate.yaml -m trl.scripts.sft --bf16 True --use_peft --output_dir out"
LLAMA = "--model_name_or_path meta-llama/Llama-3.1-8B"
LLAMA_70B = "--model_name_or_path meta-llama/Llama-3.1-70B"
ZERO3 = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}, "bf16": {"enabled": True}}
AXOLOTL = "base_model: meta-llama/Llama-3.1-8B\nbf16: true\ndatasets: [{path: x, type: alpaca}]\n"
OFFLOADED = "fsdp_version: 2\nfsdp_config: {offload_params: true, transformer_layer_cls_to_wrap: LlamaDecoderLayer}\n"


@pytest.mark.parametrize(
    ("machine", "files", "rule", "severity"),
    [
        (
            "2x24G",
            {"train.sh": f"deepspeed --num_gpus 2 train.py --deepspeed ds.json {LLAMA_70B} --use_peft --load_in_4bit"
             " --bf16 True --output_dir out", "ds.json": json.dumps(ZERO3)},
            "zero3-quantised-load-spike", "warn",
        ),
        (
            "2x24G",
            {"args.yaml": "model_name_or_path: meta-llama/Llama-3.1-8B\nload_in_4bit: true\nuse_peft: true\n"
             "device_map: auto\nnum_train_epochs: 1\ndeepspeed: ds.json\n", "ds.json": json.dumps(ZERO3)},
            "zero3-device-map", "block",
        ),
        (
            "4xA40",
            {"train.sh": f"{TRAIN} {LLAMA} --load_in_4bit --bnb_4bit_quant_storage bfloat16 --dtype bfloat16",
             "accelerate.yaml": ACCELERATE},
            "fsdp2-4bit-storage-damaged", "block",
        ),
        ("4xA40", {"train.sh": f"{TRAIN} {LLAMA} --load_in_8bit", "accelerate.yaml": ACCELERATE}, "fsdp-int8", "block"),
        (
            "4x24G",
            {"train.sh": "deepspeed --num_gpus 4 train.py --deepspeed ds.json --model_name_or_path THUDM/chatglm3-6b"
             " --use_peft --bf16 True --max_length 8192 --output_dir out", "ds.json": json.dumps(ZERO3)},
            "offload-optimizer-of-adapters", "info",
        ),
        (
            "8xA100-80",
            {"train.sh": f"deepspeed --num_gpus 8 train.py --deepspeed ds.json {LLAMA} --use_peft --load_in_4bit"
             " --lora_r 64 --bf16 True --output_dir out", "ds.json": json.dumps(ZERO3)},
            "zero3-quantised-loads-whole", "info",
        ),
        ("4xA40,host=16G", {"recipe.yaml": f"{AXOLOTL}adapter: lora\n{OFFLOADED}"}, "host-memory", "warn"),
        (
            "4xA40",
            {"train.sh": f"accelerate launch --multi_gpu --num_processes 4 train.py {LLAMA} --use_peft --load_in_4bit"
             " --bf16 True --activation_checkpointing True --gradient_checkpointing_kwargs '{\"use_reentrant\": true}'"
             " --ddp_find_unused_parameters True --output_dir out"},
            "ddp-marked-ready-twice", "block",
        ),
    ],
    ids=["1 spike", "1 device map", "2 storage", "2 int8", "3 offload", "4 zero3", "5 host", "5 find_unused"],
)  # fmt: skip
def test_the_files_of_the_cases_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], machine: str, files: dict[str, str], rule: str, severity: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    main(["check", *(str(tmp_path / name) for name in files), "--gpus", machine, "--json"])
    said = {one["rule"]: one["severity"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert said.get(rule) == severity, said
