"""Files that name each other, or are given side by side, are one training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qltui.configs.foreign.reading import Format
from qltui.configs.foreign.together import read

SAMPLES = Path(__file__).parent / "foreign"


def write(folder: Path, **files: str) -> list[Path]:
    paths = []
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(text, "utf-8")
        paths.append(path)
    return paths


def test_a_named_file_is_read_too() -> None:
    (reading,) = read([SAMPLES / "llamafactory_lora.yaml"])
    assert [Path(part.path).name for part in reading.files] == ["llamafactory_lora.yaml", "ds_zero3.json"]
    assert (reading.format, reading.values["strategy"]) == (Format.LLAMA_FACTORY, "zero3")
    assert reading.places["strategy"].file.endswith("ds_zero3.json")


def test_contradictions_are_noted_with_both_places() -> None:
    (reading,) = read([SAMPLES / "llamafactory_lora.yaml"])
    assert reading.values["gradient_accumulation_steps"] == 8
    assert reading.values["ds_config_mismatch"] is True
    (note,) = reading.notes
    assert note.where.endswith("llamafactory_lora.yaml:16")
    assert "ds_zero3.json:3 (gradient_accumulation_steps) makes it 4" in note.message


def test_launch_and_training_side_by_side() -> None:
    (reading,) = read([SAMPLES / "trl_dpo.yaml", SAMPLES / "accelerate_fsdp2.yaml"])
    assert (reading.format, reading.engine) == (Format.TRAINER, "trl")
    values = reading.values
    assert (values["strategy"], values["method"], values["world_size"]) == ("fsdp2", "qlora4", 16)
    assert (values["gc"], values["hf_gc_also"]) == ("fsdp", True)
    place = reading.places["hf_gc_also"]
    assert "fsdp_activation_checkpointing" in Path(place.file).read_text().splitlines()[place.line - 1]
    assert "ds_config_mismatch" not in values


def test_through_a_command() -> None:
    (reading,) = read([SAMPLES / "train.sh"])
    assert (reading.format, reading.engine) == (Format.COMMAND, "trl")
    assert (reading.values["strategy"], reading.values["world_size"]) == ("fsdp2", 2)
    assert any("makes world_size 2" in note.message and "makes it 16" in note.message for note in reading.notes)


def test_a_commands_defaults_give_way_to_the_file_it_names(tmp_path: Path) -> None:
    full = "model_name_or_path: m\nstage: sft\nfinetuning_type: full\ncutoff_len: 8\n"
    files = write(tmp_path, train__sh="llamafactory-cli train full.yaml", full__yaml=full)
    (reading,) = read(files[:1])
    assert (reading.values["method"], reading.engine) == ("full", "llamafactory")


def test_chain_of_three(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "ds_zero3.json", tmp_path)
    shutil.copy(SAMPLES / "accelerate_zero.yaml", tmp_path)
    (script,) = write(
        tmp_path, run__sh="accelerate launch --config_file accelerate_zero.yaml sft.py --bf16 --output_dir x"
    )
    (reading,) = read([script])
    assert len(reading.files) == 3
    assert (reading.values["strategy"], reading.values["precision"]) == ("zero3", "bf16")


def test_torchrun_and_nothing_else_is_data_parallel(tmp_path: Path) -> None:
    command = "torchrun --nproc_per_node 2 t.py --per_device_train_batch_size 1"
    files = write(
        tmp_path, a__sh=command, b__sh=f"{command} --fsdp full_shard", c__sh="torchrun --nproc_per_node 2 t.py"
    )
    readings = [read([path])[0] for path in files]
    assert [reading.values.get("strategy") for reading in readings] == ["ddp", "fsdp2", None]
    assert "names no version of FSDP" in str(readings[1].notes)


def test_sharding_stands_over_how_ranks_are_started(tmp_path: Path) -> None:
    files = write(
        tmp_path,
        acc__yaml="distributed_type: MULTI_GPU\nnum_processes: 2\n",
        sft__yaml="model_name_or_path: m\nnum_train_epochs: 1\ndeepspeed: {zero_optimization: {stage: 2}}\n",
    )
    (reading,) = read(files)
    assert (reading.values["strategy"], reading.notes) == ("zero2", [])


def test_both_shardings_are_said(tmp_path: Path) -> None:
    files = write(
        tmp_path,
        acc__yaml="distributed_type: FSDP\nnum_processes: 2\nfsdp_config: {fsdp_version: 2}\n",
        sft__yaml="model_name_or_path: m\nnum_train_epochs: 1\ndeepspeed: {zero_optimization: {stage: 2}}\n",
    )
    (reading,) = read(files)
    assert (reading.values["use_fsdp"], reading.values["use_deepspeed"]) == (True, True)
    assert "makes strategy zero2" in str(reading.notes[0])


def test_a_named_file_that_is_nowhere(tmp_path: Path) -> None:
    (path,) = write(tmp_path, a__yaml="base_model: m\nsequence_len: 8\ndeepspeed: zero3.json\n")
    (reading,) = read([path])
    assert str(reading.notes[0]).startswith(f"{path}:3: deepspeed: names zero3.json, which isn't found")
    assert "strategy" not in reading.values


def test_a_named_file_given_elsewhere(tmp_path: Path) -> None:
    (path,) = write(tmp_path, a__yaml="base_model: m\nsequence_len: 8\ndeepspeed: configs/ds_zero3.json\n")
    (reading,) = read([path, SAMPLES / "ds_zero3.json"])
    assert reading.values["strategy"] == "zero3"


def test_a_folder(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "configs")
    write(tmp_path, package__json='{"name": "x"}', notes__yaml="- a\n", build__sh="make all\n")
    readings = read([tmp_path])
    found = sorted(Path(reading.path).name for reading in readings)
    assert found == ["accelerate_zero.yaml", "axolotl_qlora.yaml", "llamafactory_lora.yaml", "train.sh", "trl_dpo.yaml"]
    assert not any(reading.problems for reading in readings)


def test_a_folder_without_any(tmp_path: Path) -> None:
    (reading,) = read([tmp_path])
    assert "holds no known configuration" in str(reading.problems[0])


def test_two_trainings_stay_two() -> None:
    readings = read([SAMPLES / "trl_dpo.yaml", SAMPLES / "axolotl_qlora.yaml", SAMPLES / "accelerate_fsdp2.yaml"])
    assert [reading.format for reading in readings] == [Format.TRAINER, Format.AXOLOTL, Format.ACCELERATE]


@pytest.mark.parametrize("name", ["a.yaml", "b.yaml"])
def test_a_ring_of_files_ends(tmp_path: Path, name: str) -> None:
    write(
        tmp_path,
        a__yaml="base_model: m\nsequence_len: 8\ndeepspeed: b.yaml\n",
        b__yaml="base_model: m\nsequence_len: 8\ndeepspeed: a.yaml\n",
    )
    assert len(read([tmp_path / name])) == 1


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("base_model: m\nsequence_len: 8\nfsdp_config:\n  state_dict_type: FULL_STATE_DICT\n", "fsdp1"),
        ("distributed_type: FSDP\ncompute_environment: LOCAL_MACHINE\nfsdp_config: {}\n", "fsdp1"),
        ("model_name_or_path: m\nper_device_train_batch_size: 1\nfsdp: full_shard\n", "fsdp2"),
        (
            "model_name_or_path: m\nfinetuning_type: lora\nfsdp: full_shard\n",
            "fsdp1",
        ),  # pins a Transformers before 5.10
        ("model_name_or_path: m\nper_device_train_batch_size: 1\nfsdp: full_shard\nfsdp_config: none.json\n", None),
        ("model_name_or_path: m\nper_device_train_batch_size: 1\nfsdp: full_shard\nfsdp_config: $FILE\n", None),
    ],
)
def test_fsdp_without_a_version_is_what_its_program_makes_of_it(
    tmp_path: Path, text: str, strategy: str | None
) -> None:
    (path,) = write(tmp_path, a__yaml=text)
    (reading,) = read([path])
    assert reading.values.get("use_fsdp") is True
    assert reading.values.get("strategy") == strategy


def test_the_switches_of_pefts_examples_are_known(tmp_path: Path) -> None:
    command = (
        "accelerate launch train.py --use_peft_lora True --use_4bit_quantization True --use_nested_quant True"
        " --bnb_4bit_quant_storage_dtype bfloat16 --use_flash_attn True --use_reentrant True\n"
    )
    (path,) = write(tmp_path, a__sh=command)
    (reading,) = read([path])
    expected = {
        "method": "qlora4", "has_adapter": True, "double_quantization": True, "quant_storage": "bfloat16",
        "attn": "fa2", "use_reentrant": True,
    }  # fmt: skip
    assert {name: reading.values.get(name) for name in expected} == expected
    assert reading.ignored == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model: a/b\ndata: rows.jsonl\n", Format.QLTUI),
        ("model: {path: a/b}\ndata: {path: rows.jsonl}\nname: tides\nlearning_rate: 1e-4\n", Format.QLTUI),
        ("{model: a/b, data: rows.jsonl, method: lora}\n", Format.QLTUI),
        ('{"model": "a/b", "data": "rows.jsonl"}  # in one line\n', Format.QLTUI),
        ("model: a/b\ndata: rows.jsonl\ncustom: 1\n", None),
        ("data:\n  path: rows.parquet\n  prompt_key: prompt\ncustom: 1\n", None),
    ],
)
def test_model_and_data_make_a_run_of_ours_unless_another_key_stands_beside_them(
    text: str, found: Format | None, tmp_path: Path
) -> None:
    (reading,) = read(write(tmp_path, a__yaml=text))
    assert reading.format is found
    assert reading.loose == [], "YAML may have comments"


@pytest.mark.parametrize("prefix", ["", "fsdp_"])
def test_a_file_of_fsdps_settings_names_them_with_and_without_a_prefix(tmp_path: Path, prefix: str) -> None:
    settings = f'{{"{prefix}version": 1, "{prefix}transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}}'
    named = "model_name_or_path: a/b\nper_device_train_batch_size: 1\nfsdp: full_shard auto_wrap\nfsdp_config: f.json\n"
    (reading,) = read(write(tmp_path, t__yaml=named, f__json=settings))
    assert (reading.values["strategy"], reading.values["wrap_classes"]) == ("fsdp1", ["LlamaDecoderLayer"])
    assert not reading.notes
