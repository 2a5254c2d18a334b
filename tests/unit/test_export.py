"""A run as a file of TRL, Axolotl and LLaMA-Factory: it means the same there, and `qltui check` finds nothing new."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.samples import make_config, write_rows

from engine.config import ConfigError, RunConfig
from engine.config.choices import Method, StrategyName
from engine.config.reading import read
from engine.config.run_config import FIELDS, get
from qltui.advice.evaluation import evaluate
from qltui.advice.findings import Severity
from qltui.advice.our_runs import anywhere
from qltui.advice.setup import Setup
from qltui.configs.export.exporting import PROGRAMS, export
from qltui.configs.export.meanings import INSTEAD
from qltui.configs.export.tables import Row
from qltui.configs.foreign import together
from qltui.configs.foreign.as_run import as_run
from qltui.configs.foreign.reading import Reading
from qltui.facts import machine as machines
from qltui.runs.assessment import versions_here

KEYS: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "exports" / "program_keys.json").read_text("utf-8")
)
"""What the programs' sources take; see tests/support/program_keys.py."""
GPUS = machines.parse("2xA40")
FORMATS = {"trl": "trainer", "axolotl": "axolotl", "llamafactory": "llamafactory"}
CELLS = [
    (program, method, strategy)
    for program, method, strategy in itertools.product(PROGRAMS, Method, StrategyName)
    if (method, strategy) != (Method.FULL, StrategyName.PIPELINE)
    and (program, strategy) != ("llamafactory", StrategyName.PIPELINE)
]
CARRIED = (
    "model.path", "data.max_length", "training.micro_batch_size", "training.gradient_accumulation_steps",
    "method.lora.use_dora", "training.gradient_checkpointing", "precision.compute",
)  # fmt: skip
"""Fields that reading another program's file back gives again, beside those told apart below."""
ROWS = {
    "messages": {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]},
    "alpaca": {"instruction": "Say.", "input": "", "output": "Said."},
    "prompt_completion": {"prompt": "What?", "completion": "That."},
    "text": {"text": "That."},
}


def run(folder: Path, **values: Any) -> RunConfig:
    """A run for GPUs; ``values`` by dotted path."""
    return make_config(folder, **{"hardware.device": "auto", "precision.compute": "bf16", **values})


def read_back(text: str, folder: Path) -> Reading:
    """What `qltui check` reads in an exported text."""
    file = folder / "exported.yaml"
    file.write_text(text, "utf-8")
    (reading,) = together.read([file])
    assert not reading.problems, reading.problems
    return reading


def grave(findings: list[Any]) -> set[str]:
    return {one.rule for one in findings if one.severity is not Severity.INFO}


def assert_same(program: str, config: RunConfig, text: str, folder: Path) -> None:
    """The text means the run, and raises no block and no warning that the run doesn't."""
    reading = read_back(text, folder)
    assert reading.format is not None
    assert reading.format.value == FORMATS[program]
    found = grave(evaluate(Setup.of_values(reading.values, reading.engine, GPUS, None, versions_here())))
    assert found <= grave(evaluate(Setup.of_run(anywhere(config), GPUS, None, versions_here())))
    again = as_run(reading.values, GPUS.gpus)
    assert again is not None
    strategy, _ = INSTEAD.get((config.method.name, config.strategy.name), (config.strategy.name, ""))
    if strategy not in (StrategyName.SINGLE, StrategyName.DDP, StrategyName.PIPELINE):  # those are the launcher's
        assert again.strategy.name is strategy
        assert again.strategy.offload_parameters == (
            config.strategy.offload_parameters and strategy is not StrategyName.ZERO2
        )
    assert again.method.name is config.method.name
    for path in CARRIED:
        if path != "method.lora.use_dora" or config.method.name is not Method.FULL:
            assert get(again, path) == get(config, path), path
    values = reading.values
    training, lora = config.training, config.method.lora
    assert values["learning_rate"] == training.learning_rate
    assert values["max_grad_norm"] == training.max_grad_norm
    assert values["seed"] == training.seed
    assert values.get("max_steps") == training.max_steps
    assert ("8bit" in values["optim"]) == (training.optimizer.value != "adamw")
    assert values["packing"] is config.data.packing
    if config.method.name is not Method.FULL:
        assert (values["lora_rank"], values["lora_alpha"]) == (lora.rank, lora.alpha)
        assert (values["lora_dropout"], values["rslora"]) == (lora.dropout, lora.use_rslora)
    if config.method.name is Method.QLORA:
        quantization = config.method.quantization
        assert values["quant_type"] == quantization.type.value
        assert values["double_quantization"] == quantization.double_quantization
        assert values.get("strategy") != "fsdp2", "it would be sharded only if stored in 16 bit"
        if program != "llamafactory":
            assert values["quant_storage"] == "uint8"


@pytest.mark.parametrize(("program", "method", "strategy"), CELLS)
def test_every_cell_round_trips(program: str, method: Method, strategy: StrategyName, tmp_path: Path) -> None:
    for more in ({}, {"training.gradient_checkpointing": "all"}):
        config = run(tmp_path, **{"method.name": method, "strategy.name": strategy, **more})
        exported = export(config, program)
        assert_same(program, config, exported.text, tmp_path)
        assert bool(exported.notes) == ((method, strategy) in INSTEAD)
        assert all(note.split(":")[0] in exported.text for note in exported.notes)


some = st.fixed_dictionaries(
    {
        "method.name": st.sampled_from(["full", "lora", "qlora", "int8"]),
        "strategy.name": st.sampled_from(["single", "ddp", "pipeline", "fsdp2", "zero1", "zero2", "zero3"]),
        "training.micro_batch_size": st.integers(1, 64),
        "training.gradient_accumulation_steps": st.integers(1, 64),
        "training.learning_rate": st.floats(1e-9, 1.0),
        "data.max_length": st.integers(8, 100_000),
        "method.lora.rank": st.integers(1, 512),
        "method.lora.alpha": st.integers(1, 1024),
        "method.lora.dropout": st.floats(0, 0.9),
        "training.max_grad_norm": st.floats(0, 10),
        "training.seed": st.integers(0, 2**32 - 1),
    },
    optional={
        "name": st.sampled_from(["on", "1e3", "null", "No", "0x1F", "run.1"]),
        "training.max_steps": st.integers(1, 10**6),
        "training.epochs": st.floats(0.01, 100),
        "training.warmup_ratio": st.floats(0, 0.9),
        "training.optimizer": st.sampled_from(["adamw", "adamw_8bit", "paged_adamw_8bit"]),
        "training.schedule": st.sampled_from(["linear", "cosine", "constant"]),
        "training.gradient_checkpointing": st.sampled_from(["none", "all"]),
        "training.eval_every": st.integers(0, 1000),
        "training.save_every": st.integers(0, 1000),
        "data.eval_fraction": st.floats(0, 0.5),
        "data.packing": st.booleans(),
        "data.loss_on": st.sampled_from(["answers", "all"]),
        "method.lora.use_rslora": st.booleans(),
        "method.lora.use_dora": st.booleans(),
        "method.quantization.type": st.sampled_from(["nf4", "fp4"]),
        "method.quantization.double_quantization": st.booleans(),
        "precision.compute": st.sampled_from(["bf16", "fp16", "fp32"]),
        "strategy.offload_parameters": st.booleans(),
        "strategy.offload_optimizer": st.booleans(),
        "model.attention": st.sampled_from(["auto", "sdpa", "eager", "flash_attention_2"]),
        "hardware.ranks_per_node": st.integers(1, 2),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.sampled_from(sorted(PROGRAMS)), values=some)
def test_whatever_a_run_says_means_the_same_there(program: str, values: dict[str, Any], tmp_path: Path) -> None:
    config = run(tmp_path, **values)
    try:
        exported = export(config, program)
    except ConfigError:
        return
    assert_same(program, config, exported.text, tmp_path)
    said = yaml.safe_load(exported.text)  # YAML 1.1, as TRL and Axolotl read it
    batch = "micro_batch_size" if program == "axolotl" else "per_device_train_batch_size"
    assert said[batch] * said["gradient_accumulation_steps"] == (
        config.training.micro_batch_size * config.training.gradient_accumulation_steps
    )
    assert said["learning_rate"] == config.training.learning_rate
    assert said["output_dir"] == f"outputs/{config.name}"
    assert said["warmup_steps" if program == "trl" else "warmup_ratio"] == config.training.warmup_ratio
    if config.training.max_steps is None:
        assert said["num_epochs" if program == "axolotl" else "num_train_epochs"] == config.training.epochs
    if program == "llamafactory":
        assert said["dataset"] == config.name, "a name that YAML has a word for stays a name"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_field_is_carried_over_or_said_to_be_lost(program: str) -> None:
    told = [one.carries if isinstance(one, Row) else one.fields for one in PROGRAMS[program].entries]
    assert {path for paths in told for path in paths} == set(FIELDS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_key_is_one_that_the_programs_sources_have(program: str) -> None:
    keys = [one.key for one in PROGRAMS[program].entries if isinstance(one, Row)]
    assert set(keys) <= set(KEYS[program][""])
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_sections_have_keys_that_the_programs_sources_have(program: str, rows: str, tmp_path: Path) -> None:
    for method, strategy in (("lora", "fsdp2"), ("qlora", "zero3")):
        config = run(tmp_path, **{"method.name": method, "strategy.name": strategy})
        write_rows(tmp_path / "data.jsonl", ROWS[rows])
        said = yaml.safe_load(export(config, program).text)
        for section, names in KEYS[program].items():
            for value in _sections(said, section) if section else []:
                assert set(value) <= set(names), section


def _sections(said: dict[str, Any], dotted: str) -> list[dict[str, Any]]:
    found: list[Any] = [said]
    for part in dotted.split("."):
        inner = [one[part] for one in found if isinstance(one, dict) and part in one]
        found = [item for one in inner for item in (one if isinstance(one, list) else [one])]
    return [one for one in found if isinstance(one, dict)]


@pytest.mark.parametrize(
    ("rows", "trl", "axolotl", "factory"),
    [
        ("messages", {"assistant_only_loss": True}, {"field_messages": "messages"}, "sharegpt"),
        ("sharegpt", {}, {"field_messages": "conversations"}, "sharegpt"),
        ("alpaca", {"completion_only_loss": True}, {"type": "alpaca"}, None),
        ("prompt_completion", {"completion_only_loss": True}, {}, None),
        ("text", {"dataset_text_field": "text"}, {"type": "completion", "field": "text"}, None),
    ],
)  # fmt: skip
def test_rows_are_described_as_they_are_laid_out(
    rows: str, trl: dict[str, Any], axolotl: dict[str, Any], factory: str | None, tmp_path: Path
) -> None:
    config = run(tmp_path)
    write_rows(tmp_path / "data.jsonl", ROWS[rows])
    said = {name: yaml.safe_load(export(config, name).text) for name in PROGRAMS}
    assert said["trl"].items() >= trl.items()
    assert said["trl"]["datasets"] == [{"path": "json", "data_files": config.data.path}]
    assert ("assistant_only_loss" in said["trl"]) == (rows == "messages")
    (dataset,) = said["axolotl"]["datasets"]
    assert dataset.items() >= {"path": config.data.path, "ds_type": "json", **axolotl}.items()
    described = json.loads(export(config, "llamafactory", str(tmp_path)).companions["dataset_info.json"])
    assert described["run"]["file_name"] == config.data.path
    assert described["run"].get("formatting") == factory
    assert said["llamafactory"]["stage"] == ("pt" if rows == "text" else "sft")


def test_own_columns_and_a_hub_data_set(tmp_path: Path) -> None:
    values = {"data.path": "org/rows", "data.name": "small", "data.format": "text", "data.columns": {"text": "body"}}
    config = run(tmp_path, **values, **{"data.split": "tiny"})
    trl, axolotl = (yaml.safe_load(export(config, name).text) for name in ("trl", "axolotl"))
    assert trl["datasets"] == [{"path": "org/rows", "name": "small", "split": "tiny"}]
    assert trl["dataset_text_field"] == "body"
    assert axolotl["datasets"] == [
        {"path": "org/rows", "name": "small", "split": "tiny", "type": "completion", "field": "body"}
    ]
    described = json.loads(export(config, "llamafactory").companions["dataset_info.json"])
    assert described["run"] == {
        "hf_hub_url": "org/rows", "subset": "small", "split": "tiny", "columns": {"prompt": "body"},
    }  # fmt: skip


def test_rows_held_out(tmp_path: Path) -> None:
    write_rows(tmp_path / "held.jsonl", ROWS["messages"])
    config = run(tmp_path, **{"data.eval_path": str(tmp_path / "held.jsonl"), "training.eval_every": 5})
    text = {name: export(config, name).text for name in PROGRAMS}
    said = {name: yaml.safe_load(one) for name, one in text.items()}
    assert said["trl"]["eval_strategy"] == "no"
    assert f"# data.eval_path: {tmp_path}/held.jsonl: " in text["trl"]
    assert said["axolotl"]["test_datasets"][0]["path"] == f"{tmp_path}/held.jsonl"
    assert "val_set_size" not in said["axolotl"], "Axolotl refuses both"
    assert (said["llamafactory"]["eval_dataset"], said["llamafactory"]["eval_steps"]) == ("run-held-out", 5)
    share = run(tmp_path, **{"data.eval_fraction": 0.25})
    said = {name: yaml.safe_load(export(share, name).text) for name in PROGRAMS}
    assert (said["trl"]["test_split_size"], said["trl"]["eval_strategy"]) == (0.25, "epoch")
    assert (said["axolotl"]["val_set_size"], said["llamafactory"]["val_size"]) == (0.25, 0.25)


def test_one_target_is_no_pattern_to_trl(tmp_path: Path) -> None:
    config = run(tmp_path, **{"method.name": "lora", "method.lora.target_modules": ["q_proj"]})
    assert yaml.safe_load(export(config, "trl").text)["lora_target_modules"] == [r".*\.q_proj"]
    assert yaml.safe_load(export(config, "axolotl").text)["lora_target_modules"] == ["q_proj"]
    assert yaml.safe_load(export(config, "llamafactory").text)["lora_target"] == "q_proj"


LOST = {
    "model.tokenizer": ("/other", ("trl", "llamafactory")),
    "model.new_tokens": (["<a>"], ("trl", "axolotl")),
    "method.lora.init": ("olora", ("trl", "llamafactory")),
    "data.chat_template": ("/t.jinja", ("llamafactory",)),
    "precision.deterministic": (True, ("axolotl",)),
    "hardware.gpus": (["0", "1"], PROGRAMS),
    "parent": ("old-run", PROGRAMS),
    "recovery.auto": (2, PROGRAMS),
    "training.generate_answers": (4, PROGRAMS),
    "training.sample_prompts": (["Who?"], PROGRAMS),
    "training.gradient_checkpointing": (3, PROGRAMS),
    "training.loss": ("chunked", PROGRAMS),
    "training.offload_activations": (True, PROGRAMS),
}


@pytest.mark.parametrize("path", LOST)
def test_what_cannot_be_carried_over_is_a_comment_in_its_place(path: str, tmp_path: Path) -> None:
    value, programs = LOST[path]
    for name in PROGRAMS:
        before = export(run(tmp_path, **{"method.name": "lora"}), name).text
        after = export(run(tmp_path, **{"method.name": "lora", path: value}), name).text
        word = path.split(".")[0] if path.startswith("recovery") else path
        assert (f"# {word}: " in after and f"# {word}: " not in before) == (name in programs), name


WHOLE_UNDER_ZERO3 = {"method.name": "lora", "strategy.name": "zero3", "method.lora.modules_to_save": ["lm_head"]}


def test_axolotl_trains_modules_whole_under_zero3_in_the_type_of_the_adapters(tmp_path: Path) -> None:
    said = yaml.safe_load(export(run(tmp_path, **WHOLE_UNDER_ZERO3), "axolotl").text)
    assert (said["peft_autocast_adapter_dtype"], said["lora_modules_to_save"]) == (False, ["lm_head"])
    in_float32 = run(tmp_path, **WHOLE_UNDER_ZERO3, **{"precision.compute": "fp32"})
    assert "peft_autocast_adapter_dtype" not in export(in_float32, "axolotl").text
    assert "lora_modules_to_save" in export(in_float32, "trl").text


@pytest.mark.parametrize(
    ("program", "values", "field"),
    [
        ("trl", {"model.task": "sequence_classification"}, "model.task"),
        ("llamafactory", {"strategy.name": "pipeline"}, "strategy.name"),
        ("llamafactory", {"model.new_tokens": ["<a>"]}, "model.new_tokens"),
        ("axolotl", {"method.lora.alpha": 24.5}, "method.lora.alpha"),
        ("trl", {"method.name": "full", "strategy.name": "pipeline"}, "strategy.name"),
        *((name, WHOLE_UNDER_ZERO3, "method.lora.modules_to_save") for name in ("trl", "llamafactory")),
    ],
)
def test_what_the_program_cannot_do_is_refused(
    program: str, values: dict[str, Any], field: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refused:
        export(run(tmp_path, **values), program)
    (problem,) = refused.value.problems
    assert problem.field == field
    assert problem.remedy


def test_reading_needs_no_data_at_hand() -> None:
    config = read({"model": "org/m", "data": "/not/here.jsonl"}, where="test", base=Path("/"))
    for name in PROGRAMS:
        assert "# data.format: not known here" in export(config, name).text
