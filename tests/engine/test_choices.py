"""Choices about adapters and optimizers: each trains, and the result is what plain PEFT loads on the original base."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from cells.life import attempt, audits, compare, events_of, first_result, of_kind, result, set_back
from cells.ranks import forget
from cells.reload import reloaded_evaluation_loss
from cells.verdict import INT8_TOLERANCE, RELOAD_TOLERANCE
from safetensors.torch import load_file
from support.runs import DEMO
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from engine.errors import BadInput
from engine.events import RunDirectory, write_json
from engine.train import read_config

NEW = "<tide>"
TIED = DEMO / "model"


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose head is another matrix than its embeddings."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("untied")
    tokenizer = AutoTokenizer.from_pretrained(TIED)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def as_the_first_run_of_a_process() -> Any:
    yield
    forget()


def make_run(folder: Path, **values: Any) -> RunDirectory:
    """A run of a few steps on one CPU rank; its rows have the new token in them."""
    demo = [json.loads(line) for line in (DEMO / "data" / "train.jsonl").read_text("utf-8").splitlines()[:24]]
    texts = [f"{row['messages'][-1]['content']} {NEW} {row['messages'][0]['content']}" for row in demo]
    for name, part in (("train", texts[6:]), ("evaluation", texts[:6])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in part), "utf-8")
    run = RunDirectory(folder / "run")
    run.path.mkdir()
    tree = {
        "model.path": str(TIED), "data.path": str(folder / "train.jsonl"),
        "data.eval_path": str(folder / "evaluation.jsonl"), "data.max_length": 96, "method.lora.rank": 8,
        "hardware.device": "cpu", "training.max_steps": 4, "training.save_every": 2, "training.micro_batch_size": 2,
        "training.learning_rate": 2e-3, "training.warmup_ratio": 0.0,
    }  # fmt: skip
    write_json(run.run_yaml, {**tree, **values})  # JSON is YAML
    return run


def losses(run: RunDirectory) -> list[float]:
    return [event["loss"] for event in of_kind(events_of(run, 1, 0), "step")]


def train(folder: Path, **values: Any) -> RunDirectory:
    """A run to its end; it learnt, and its audits passed."""
    run = make_run(folder, **values)
    attempt(run, forget)
    told = losses(run)
    assert told[-1] < told[0]
    found = audits([events_of(run, 1, 0)])
    assert (found["weights"]["result"], found["adapter"]["result"]) == ("passed", "passed")
    return run


def assert_plain_peft_agrees(run: RunDirectory, tolerance: float = RELOAD_TOLERANCE["cpu"]) -> None:
    own = of_kind(events_of(run, 1, 0), "evaluation")[-1]["loss"]
    plain = reloaded_evaluation_loss(run, read_config(run), None, torch.device("cpu"))
    assert math.isclose(own, plain, rel_tol=tolerance), f"the run's own loss is {own}, plain PEFT's {plain}"


INITS = [
    *(("lora", init) for init in ("default", "gaussian", "pissa", "olora")),
    *(("qlora", init) for init in ("default", "gaussian", "olora")),
    ("int8", "olora"),
]


@pytest.mark.parametrize(("method", "init"), INITS)
def test_every_initialisation_reloads_on_the_original_base(method: str, init: str, tmp_path: Path) -> None:
    """pissa and olora take their part out of the base's weights; PEFT does so again when it loads them."""
    run = train(tmp_path, **{"method.name": method, "method.lora.init": init})
    assert json.loads((run.adapter / "adapter_config.json").read_text())["r"] == 8
    assert_plain_peft_agrees(run, INT8_TOLERANCE if method == "int8" else RELOAD_TOLERANCE["cpu"])


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_initialisations_from_the_weights_change_no_output(init: str, tmp_path: Path) -> None:
    plain, other = tmp_path / "plain", tmp_path / "other"
    for folder, chosen in ((plain, "default"), (other, init)):
        folder.mkdir()
        attempt(make_run(folder, **{"method.name": "lora", "method.lora.init": chosen}), forget)
    first, second = (losses(RunDirectory(folder / "run")) for folder in (plain, other))
    assert math.isclose(first[0], second[0], rel_tol=1e-5)
    assert not math.isclose(first[-1], second[-1], rel_tol=1e-2)


def test_olora_and_dora_on_int8_weights_begin_where_they_would_apart(tmp_path: Path) -> None:
    """Whatever PEFT takes the norms of before the weights are ours (tests/engine/test_upstream_limits.py)."""
    first = {}
    for dora in (False, True):
        (tmp_path / str(dora)).mkdir()
        values = {"method.name": "int8", "method.lora.init": "olora", "method.lora.use_dora": dora}
        first[dora] = losses(train(tmp_path / str(dora), **values))[0]
    assert math.isclose(first[True], first[False], rel_tol=1e-4)
    assert_plain_peft_agrees(RunDirectory(tmp_path / "True" / "run"), INT8_TOLERANCE)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_a_resume_goes_on_from_the_same_changed_base(init: str, tmp_path: Path) -> None:
    run = train(tmp_path, **{"method.name": "lora", "method.lora.init": init})
    set_back(run)
    attempt(run, forget)
    assert compare(first_result(run), result(run))["resumed_equal"]


@pytest.mark.parametrize("method", ["lora", "qlora", "int8"])
@pytest.mark.parametrize("variant", ["use_rslora", "use_dora"])
def test_rslora_and_dora(method: str, variant: str, tmp_path: Path) -> None:
    run = train(tmp_path, **{"method.name": method, f"method.lora.{variant}": True})
    assert json.loads((run.adapter / "adapter_config.json").read_text())[variant] is True
    assert_plain_peft_agrees(run, INT8_TOLERANCE if method == "int8" else RELOAD_TOLERANCE["cpu"])


def test_dropout_and_chosen_targets(tmp_path: Path) -> None:
    targets = ["q_proj", "embed_tokens"]
    run = train(tmp_path, **{"method.lora.dropout": 0.1, "method.lora.target_modules": targets})
    names = load_file(run.adapter / "adapter_model.safetensors").keys()
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in names} == set(targets)
    assert_plain_peft_agrees(run)


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_new_tokens_are_learnt_and_saved_as_rows(method: str, tied: bool, tmp_path: Path, untied: Path) -> None:
    base = TIED if tied else untied
    run = train(tmp_path, **{"method.name": method, "model.path": str(base), "model.new_tokens": [NEW]})
    tokens = len(AutoTokenizer.from_pretrained(base))
    assert AutoTokenizer.from_pretrained(run.adapter).convert_tokens_to_ids(NEW) == tokens
    saved = load_file(run.adapter / "adapter_model.safetensors")
    rows = {name: value.shape[0] for name, value in saved.items() if "lora_" not in name}
    assert len(rows) == (1 if tied else 2)
    assert set(rows.values()) == {1}, "the embeddings need not be saved whole"
    assert_plain_peft_agrees(run)


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("whole", [["lm_head"], ["embed_tokens"]], ids="".join)
def test_modules_trained_whole(method: str, tied: bool, whole: list[str], tmp_path: Path, untied: Path) -> None:
    base = TIED if tied else untied
    run = train(tmp_path, **{"method.name": method, "model.path": str(base), "method.lora.modules_to_save": whole})
    saved = load_file(run.adapter / "adapter_model.safetensors")
    (name,) = (name for name in saved if "lora_" not in name)
    assert name.endswith(f"{whole[0]}.weight")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    begun = plain.get_submodule(name.removeprefix("base_model.model.").removesuffix(".weight"))
    assert not torch.equal(saved[name].float(), begun.weight)
    assert_plain_peft_agrees(run)


def test_8bit_adam_learns_nearly_as_adam_does_and_resumes_exactly(tmp_path: Path) -> None:
    told = {}
    for optimizer in ("adamw", "adamw_8bit"):
        (tmp_path / optimizer).mkdir()
        run = train(tmp_path / optimizer, **{"training.optimizer": optimizer, "method.lora.rank": 64})
        told[optimizer] = losses(run)
    assert told["adamw"] != told["adamw_8bit"]
    assert told["adamw_8bit"] == pytest.approx(told["adamw"], rel=2e-2)
    states = torch.load(run.checkpoints / "step-00000004" / "trained-00000.pt", weights_only=True)
    kept = [value for one in states.values() for value in one.values() if torch.is_tensor(value)]
    assert any(value.dtype == torch.uint8 for value in kept)
    set_back(run)
    attempt(run, forget)
    assert compare(first_result(run), result(run))["resumed_equal"]


def test_paged_adam_is_not_swapped_for_another_on_cpu(tmp_path: Path) -> None:
    run = make_run(tmp_path, **{"training.optimizer": "paged_adamw_8bit"})
    with pytest.raises(BadInput, match="paged_adamw_8bit needs a GPU"):
        attempt(run, forget)
