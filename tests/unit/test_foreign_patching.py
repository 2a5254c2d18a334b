"""New values in foreign files: the one value changes and nothing else, or the file is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qltui.configs.foreign.files import read_file
from qltui.configs.foreign.patching import Patched, apply, result_of, texts_of
from qltui.configs.foreign.reading import Reading
from qltui.configs.foreign.together import read
from qltui.configs.mending import Mended

SAMPLES = Path(__file__).parent / "foreign"


def patched(reading: Reading, patch: dict[str, Any]) -> Patched:
    """New values in the texts of a reading's files."""
    texts = texts_of(reading)
    return result_of(texts, Mended(*apply(reading, texts, patch)))


def changed(old: str, new: str) -> list[tuple[str, str]]:
    """Lines that differ, in texts of as many lines."""
    before, after = old.splitlines(), new.splitlines()
    assert len(before) == len(after)
    return [(was, now) for was, now in zip(before, after, strict=True) if was != now]


@pytest.mark.parametrize(
    ("sample", "patch", "was", "now"),
    [
        ("accelerate_fsdp2.yaml", {"precision": "fp16"}, "mixed_precision: bf16   # the trainer may overrule it",
         "mixed_precision: fp16   # the trainer may overrule it"),
        ("accelerate_fsdp2.yaml", {"strategy": "fsdp1"}, "  fsdp_version: 2", "  fsdp_version: 1"),
        ("accelerate_fsdp2.yaml", {"state_dict_type": "full"}, "  fsdp_state_dict_type: SHARDED_STATE_DICT",
         "  fsdp_state_dict_type: FULL_STATE_DICT"),
        ("accelerate_fsdp2.yaml", {"cpu_offload_params": False}, "  fsdp_offload_params: true",
         "  fsdp_offload_params: false"),
        ("ds_zero3.json", {"strategy": "zero2"}, '    "stage": 3,', '    "stage": 2,'),
        ("ds_zero3.json", {"gather_16bit_on_save": True}, '    "stage3_gather_16bit_weights_on_model_save": false,',
         '    "stage3_gather_16bit_weights_on_model_save": true,'),
        ("ds_zero3.json", {"cpu_offload_opt": False}, '    "offload_optimizer": {"device": "cpu", "pin_memory": true},',
         '    "offload_optimizer": {"device": "none", "pin_memory": true},'),
        ("axolotl_qlora.yaml", {"optim": "adamw_torch_fused"}, "optimizer: paged_adamw_8bit",
         "optimizer: adamw_torch_fused"),
        ("axolotl_qlora.yaml", {"use_reentrant": True}, "  use_reentrant: false", "  use_reentrant: true"),
        ("llamafactory_lora.yaml", {"gc": "none"}, "disable_gradient_checkpointing: false",
         "disable_gradient_checkpointing: true"),
        ("llamafactory_lora.yaml", {"method": "int8"}, "quantization_bit: 4", "quantization_bit: 8"),
        ("trl_dpo.yaml", {"quant_storage": "uint8"}, "bnb_4bit_quant_storage: bfloat16",
         "bnb_4bit_quant_storage: uint8"),
        ("trl_dpo.yaml", {"lora_targets": ["q_proj"]}, "lora_target_modules: [q_proj, k_proj, router]",
         "lora_target_modules: [q_proj]"),
        ("train.sh", {"batch_size": 1}, "    --per_device_train_batch_size=2 \\",
         "    --per_device_train_batch_size=1 \\"),
        ("train.sh", {"world_size": 4}, "    --config_file accelerate_fsdp2.yaml --num-processes 2 \\",
         "    --config_file accelerate_fsdp2.yaml --num-processes 4 \\"),
        ("train.sh", {"gc": "none"},
         "    --gradient_checkpointing --gradient_checkpointing_kwargs '{\"use_reentrant\": true}' \\",
         "    --gradient_checkpointing false --gradient_checkpointing_kwargs '{\"use_reentrant\": true}' \\"),
    ],
)  # fmt: skip
def test_one_value(sample: str, patch: dict[str, Any], was: str, now: str) -> None:
    path = SAMPLES / sample
    result = patched(read_file(path), patch)
    assert not result.missing
    assert changed(path.read_text("utf-8"), result.texts[str(path)]) == [(was, now)]
    assert f"-{was}\n+{now}\n" in result.diff
    assert result.diff.startswith(f"--- {path}\n+++ {path}\n@@")


def test_several_values_over_several_files() -> None:
    (reading,) = read([SAMPLES / "llamafactory_lora.yaml"])
    result = patched(reading, {"strategy": "zero2", "batch_size": 16, "learning_rate": 1e-5})
    assert {Path(path).name for path in result.texts} == {"llamafactory_lora.yaml", "ds_zero3.json"}
    (text,) = (text for path, text in result.texts.items() if path.endswith(".yaml"))
    assert "per_device_train_batch_size: 16\n" in text and "learning_rate: 1e-05\n" in text
    assert result.diff.count("+++ ") == 2


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("trl.yaml", "model_name_or_path: m\nnum_train_epochs: 1\npacking: true\n",
         "model_name_or_path: m\nnum_train_epochs: 1\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 4\n"
         "packing: true\n"),
        ("axolotl.yml", "base_model: m\nmicro_batch_size: 8\nsequence_len: 64\n",
         "base_model: m\nmicro_batch_size: 2\ngradient_accumulation_steps: 4\nsequence_len: 64\n"),
        ("ds.json", '{"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": 8,'
         ' "gradient_accumulation_steps": 1}',
         '{"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": 2,'
         ' "gradient_accumulation_steps": 4}'),
    ],
)  # fmt: skip
def test_rows_of_a_step_are_written_where_no_key_had_them(name: str, old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(old)
    result = patched(read_file(path), {"micro_batch_size": 2, "gradient_accumulation_steps": 4})
    assert (result.texts, result.missing) == ({str(path): new}, {})


def test_deepspeeds_numbers_that_are_left_to_the_trainer_stay_so(tmp_path: Path) -> None:
    (tmp_path / "args.yaml").write_text("model_name_or_path: m\nnum_train_epochs: 1\ndeepspeed: ds.json\n")
    automatic = '{"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": "auto"}'
    (tmp_path / "ds.json").write_text(automatic)
    (reading,) = read([tmp_path / "args.yaml"])
    result = patched(reading, {"micro_batch_size": 2})
    assert [Path(path).name for path in result.texts] == ["args.yaml"] and not result.missing


def test_options_of_openrlhf_keep_their_dots(tmp_path: Path) -> None:
    path = tmp_path / "train.sh"
    command = "deepspeed --module openrlhf.cli.train_sft --ds.zero_stage 2 --ds.load_in_4bit --ds.adam_offload"
    path.write_text(f"{command}\n")
    wanted = {"has_adapter": True, "micro_batch_size": 1, "cpu_offload_opt": False, "strategy": "zero3"}
    result = patched(read_file(path), wanted)
    mended = command.replace("_stage 2", "_stage 3").replace(" --ds.adam_offload", "")
    assert result.texts == {str(path): f"{mended} --ds.lora.rank 16 --train.micro_batch_size 1\n"}
    flat = "deepspeed --module openrlhf.cli.train_sft --zero_stage 2 --load_in_4bit --lora_rank 8\n"
    path.write_text(flat)
    assert patched(read_file(path), {"method": "lora"}).texts == {str(path): flat.replace(" --load_in_4bit", "")}


@pytest.mark.parametrize(
    ("sample", "name", "value", "reason"),
    [
        ("trl_dpo.yaml", "kbit_prepare", False, "no file has a key for it"),
        ("trl_dpo.yaml", "method", "int8", "load_in_4bit can't be rewritten"),
        ("ds_zero3.json", "strategy", "fsdp2", "zero_optimization.stage can't be rewritten"),
        ("train.sh", "gradient_accumulation_steps", 2, "can't be rewritten"),  # it comes out of a variable
        ("train.sh", "optim", "adamw_8bit", "can't be rewritten"),
        ("axolotl_qlora.yaml", "batch_size", "many", "can't be rewritten"),
    ],
)
def test_what_cannot_be_written_is_said(sample: str, name: str, value: Any, reason: str) -> None:
    result = patched(read_file(SAMPLES / sample), {name: value})
    assert result.texts == {} and result.diff == ""
    assert reason in result.missing[name]


def test_a_value_that_stands_changes_nothing() -> None:
    reading = read_file(SAMPLES / "trl_dpo.yaml")
    assert patched(reading, {"batch_size": 4}) == ({}, {}, "")


@pytest.mark.parametrize(
    "text",
    [
        "base_model: 'a'  # 🦎 first\nsequence_len: 8 # ä\nmicro_batch_size: 2\n",
        "base_model: a\r\nsequence_len: 8\r\nmicro_batch_size: 2\r\n",
        "base_model: a\nsequence_len: 8\nmicro_batch_size: 2",
    ],
)
def test_other_characters_stay(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode())
    result = patched(read_file(path), {"max_length": 4096})
    assert result.texts[str(path)] == text.replace("sequence_len: 8", "sequence_len: 4096")


def test_quotes_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base_model: 'a'\nsequence_len: 8\noptimizer: \"adamw_8bit\"\n")
    result = patched(read_file(path), {"optim": "adamw_torch", "model": "b/c"})
    assert result.texts[str(path)] == "base_model: 'b/c'\nsequence_len: 8\noptimizer: \"adamw_torch\"\n"


def test_anchored_values_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base_model: m\nsequence_len: &n 8\nmicro_batch_size: *n\n")
    reading = read_file(path)
    assert (reading.values["max_length"], reading.values["batch_size"]) == (8, 8)
    assert set(patched(reading, {"max_length": 9, "batch_size": 1}).missing) == {"max_length", "batch_size"}


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.iterdir()))
def test_every_place_holds_its_value(sample: str) -> None:
    """Whatever can be rewritten comes to say what it shall, in every sample."""
    reading = read_file(SAMPLES / sample)
    text = (SAMPLES / sample).read_text("utf-8")
    written = 0
    for name, place in reading.places.items():
        assert text.count("\n", 0, place.end) + 1 >= place.line or place.start < 0
        value = _another(reading, name)
        if value is None:
            continue
        result = patched(reading, {name: value})
        written += not result.missing
        assert result.missing or len(result.texts) == 1
    assert written >= 3


def _another(reading: Reading, name: str) -> Any:
    """Another value that could stand there."""
    old, spelling = reading.values[name], reading.places[name].spelling
    if spelling is not None:
        return next((value for value in spelling if value != old), None)
    if isinstance(old, bool):
        return not old
    return old + 1 if isinstance(old, (int, float)) else f"{old}x" if isinstance(old, str) else None
