"""Command lines: launcher, program and the arguments of both, out of scripts as people write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qltui.configs.foreign.command import calls
from qltui.configs.foreign.files import read_file
from qltui.configs.foreign.reading import Format, Reading

SAMPLES = Path(__file__).parent / "foreign"


def said(tmp_path: Path, text: str) -> Reading:
    path = tmp_path / "train.sh"
    path.write_text(text, "utf-8")
    reading = read_file(path)
    assert not reading.problems, reading.problems
    return reading


def test_script() -> None:
    reading = read_file(SAMPLES / "train.sh")
    assert reading.format is Format.COMMAND
    assert reading.evidence == "it runs accelerate scripts/sft.py"
    expected = {
        "launcher": "accelerate", "world_size": 2, "model": "Qwen/Qwen3-8B", "method": "lora", "lora_rank": 16,
        "batch_size": 2, "gradient_accumulation_steps": 4, "gc": "hf", "use_reentrant": True, "precision": "bf16",
        "optim": "adamw_torch", "trainer": "trl_sft",
    }  # fmt: skip
    assert {name: reading.values[name] for name in expected} == expected
    assert reading.values["env"]["NCCL_P2P_DISABLE"] == "1"
    assert reading.values["env"]["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "learning_rate" not in reading.values
    assert [note.field for note in reading.notes] == ["learning_rate"]
    assert reading.references == {"config_file": "accelerate_fsdp2.yaml"}
    assert reading.places["batch_size"].line == 13
    assert not reading.problems


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("torchrun --nproc_per_node=4 --nnodes 2 train.py --per_device_train_batch_size 1 --bf16",
         {"launcher": "torchrun", "world_size": 8, "nodes": 2, "precision": "bf16"}),
        ("torchrun --nproc-per-node gpu train.py --bf16 True", {"world_size": None, "precision": "bf16"}),
        ("torchrun --standalone train.py --output_dir x --learning_rate 1e-4", {"learning_rate": 1e-4}),
        ("python -m torch.distributed.run --nproc_per_node 2 -m pkg.train --fp16 True --output_dir x",
         {"world_size": 2, "precision": "fp16"}),
        ("deepspeed --num_gpus 8 train.py --deepspeed ds.json --bf16 true",
         {"launcher": "deepspeed", "world_size": 8, "use_deepspeed": True}),
        ("accelerate launch --use_deepspeed --zero_stage 3 --offload_param_device cpu t.py --output_dir x",
         {"strategy": "zero3", "cpu_offload_params": True}),
        ("accelerate launch --use_fsdp --fsdp_version 2 --fsdp_offload_params true --multi_gpu t.py --fp16",
         {"strategy": "fsdp2", "cpu_offload_params": True, "precision": "fp16"}),
        ("accelerate launch --multi_gpu train.py --bf16", {"strategy": "ddp", "precision": "bf16"}),
        ("accelerate launch --mixed_precision fp16 train.py --bf16 True", {"precision": "bf16"}),
        ("trl sft --model_name_or_path m --num_processes 4", {"method": "full", "world_size": 4, "trainer": "trl_sft"}),
        ("trl dpo --model_name_or_path m --use_peft --load_in_4bit", {"method": "qlora4", "trainer": "trl_dpo"}),
        ("trl sft --config sft.yaml", {"method": None, "trainer": "trl_sft"}),
        ("llamafactory-cli train --stage sft --finetuning_type lora --quantization_bit 4", {"method": "qlora4"}),
        ("llamafactory-cli train x.yaml", {"method": None, "gc": None}),
        ("FORCE_TORCHRUN=1 llamafactory-cli train x.yaml", {"env": {"FORCE_TORCHRUN": "1"}}),
        ("axolotl train x.yaml --micro-batch-size 4", {"batch_size": 4, "method": None}),
        ("accelerate launch -m axolotl.cli.train x.yaml", {"launcher": "accelerate", "method": None}),
        ("python train.py --model_name_or_path m --output_dir x --lora_enable True --bits 4", {"method": "qlora4"}),
        ("nohup python -u train.py --output_dir x --bf16 True > log 2>&1 &", {"precision": "bf16"}),
        ("srun bash -c 'torchrun --nproc_per_node 2 t.py --bf16'", {"world_size": 2, "precision": "bf16"}),
        ('cmd="torchrun --nproc_per_node 2 t.py \\\n  --bf16 True"\neval $cmd', {"world_size": 2, "precision": "bf16"}),
        ("N=2\ntorchrun --nproc_per_node=$N t.py --bf16", {"world_size": 2}),
        ("torchrun --nproc_per_node=$N t.py --bf16", {"world_size": None}),
        ("torchrun --nproc_per_node=${N:-3} t.py --bf16", {"world_size": 3}),
        ("P=$(shuf -i 1-9 -n1)\ntorchrun --master_port $P --nproc_per_node 2 t.py --bf16", {"world_size": 2}),
        ("torchrun --nproc_per_node 2 t.py --bf16 # --fp16", {"precision": "bf16"}),
        ("if true; then\n  torchrun --nproc_per_node 2 t.py --fp16\nfi", {"precision": "fp16"}),
        ("torchrun --nproc_per_node 2 t.py --lora_target_modules q v", {"lora_targets": ["q", "v"]}),
    ],
)  # fmt: skip
def test_commands(tmp_path: Path, text: str, values: dict[str, Any]) -> None:
    reading = said(tmp_path, text)
    assert {name: reading.values.get(name) for name in values} == values


def test_files_it_names(tmp_path: Path) -> None:
    text = "accelerate launch --config_file a.yaml src/train.py b.yaml --deepspeed c.json"
    assert list(said(tmp_path, text).references.values()) == ["a.yaml", "c.json", "b.yaml"]


def test_of_several_trainings_the_first_is_read(tmp_path: Path) -> None:
    reading = said(tmp_path, "trl sft --model_name_or_path a\ntrl dpo --model_name_or_path b\n")
    assert reading.values["model"] == "a"
    assert "starts 2 trainings" in str(reading.notes[0])


@pytest.mark.parametrize(
    "text",
    ["python setup.py install", "echo torchrun", "pip install trl", "python -m http.server", "trl env", ""],
)
def test_what_is_no_training(text: str) -> None:
    assert calls(text) == [] or text.startswith("echo")
