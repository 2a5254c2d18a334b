"""What vLLM would say of an adapter, told from its files alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from support.runs import Cli

from engine.config.reading import read
from qltui.facts import vllm
from qltui.runs import serving

PLAIN = ("model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.0.self_attn.q_proj.lora_B.weight")
PISSA: dict[str, Any] = {"init_lora_weights": "pissa"}
FUSED = ("model.layers.0.mlp.experts.base_layer.lora_A.weight", "model.layers.0.mlp.experts.lora_A.weight")


def write(folder: Path, keys: tuple[str, ...] = PLAIN, **settings: Any) -> Path:
    """An adapter as PEFT saves it, its tensors without numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 16, "lora_alpha": 32, **settings})
    )
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"base_model.model.{key}": entry for key in keys}).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


def check(
    folder: Path, adapter: Path, architecture: str = "LlamaForCausalLM", vocabulary: int = 32000, **values: Any
) -> serving.Served:
    base = folder / "base"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text(json.dumps({"architectures": [architecture], "vocab_size": vocabulary}))
    config = read({"model": str(base), "data": "d.jsonl", "method": "lora", **values}, where="test", base=folder)
    return serving.check(config, adapter, "boats")


def verdicts(served: serving.Served) -> dict[str, str]:
    return {point.what: point.verdict for point in served.points if point.verdict != serving.YES}


def test_a_plain_adapter_is_taken_and_served(tmp_path: Path) -> None:
    served = check(tmp_path, write(tmp_path / "a dapter", r=24, use_rslora=True))
    assert served.is_taken
    assert verdicts(served) == {}
    assert served.command == (
        f"vllm serve {tmp_path}/base --enable-lora --max-lora-rank 32 --lora-modules 'boats={tmp_path}/a dapter'"
    )
    says = {point.what: point.says for point in served.points}
    assert says["rank"] == "24 needs --max-lora-rank 32; its default is 16"
    assert says["scaling"] == "alpha / sqrt(rank), rsLoRA"


@pytest.mark.parametrize(
    ("settings", "keys", "refused"),
    [
        ({"r": 600}, (), "rank"),
        ({"r": 8, "rank_pattern": {"q_proj": 1024}}, (), "rank"),
        ({"use_dora": True}, ("model.layers.0.self_attn.q_proj.lora_magnitude_vector",), "DoRA"),
        (PISSA, (), "initialisation"),
        ({"modules_to_save": ["embed_tokens"]}, ("model.embed_tokens.weight",), "modules trained whole"),
        ({"bias": "all"}, (), "biases"),
        ({"trainable_token_indices": {"embed_tokens": [7]}},
         ("model.embed_tokens.token_adapter.trainable_tokens_delta",), "new tokens"),
        ({}, ("model.layers.0.self_attn.q_proj.lora_E.weight",), "tensors"),
    ],
)  # fmt: skip
def test_what_it_refuses_is_named(
    settings: dict[str, Any], keys: tuple[str, ...], refused: str, tmp_path: Path
) -> None:
    served = check(tmp_path, write(tmp_path / "adapter", (*PLAIN, *keys), **settings))
    assert verdicts(served) == {refused: serving.NO}
    assert not served.is_taken


@pytest.mark.parametrize(
    ("architecture", "vocabulary", "verdict"),
    [
        ("LlamaForCausalLM", 128256, serving.YES), ("LlamaForCausalLM", 262144, serving.NO),
        ("Qwen2ForCausalLM", 152064, serving.NO),
    ],
)  # fmt: skip
def test_embedding_and_head_depend_on_the_model(
    architecture: str, vocabulary: int, verdict: str, tmp_path: Path
) -> None:
    keys = (*PLAIN, "model.embed_tokens.lora_embedding_A", "lm_head.lora_A.weight")
    served = check(tmp_path, write(tmp_path / "adapter", keys), architecture, vocabulary)
    assert next(point.verdict for point in served.points if point.what == "adapters on the ends") == verdict


def test_fused_experts_need_a_flag_where_the_model_has_them_one_by_one(tmp_path: Path) -> None:
    adapter = write(tmp_path / "adapter", (*PLAIN, *FUSED))
    mixed = check(tmp_path, adapter, "Qwen3MoeForCausalLM")
    assert verdicts(mixed) == {"adapters on experts": serving.UNKNOWN}
    assert "--enable-mixed-moe-lora-format" in mixed.command
    assert '"is_3d_lora_weight": true' in mixed.command
    fused = check(tmp_path, adapter, "GptOssForCausalLM")
    assert verdicts(fused) == {}
    assert "mixed" not in fused.command


@pytest.mark.parametrize(
    ("architecture", "verdict"),
    [("GPT2LMHeadModel", serving.NO), ("OwnForCausalLM", serving.UNKNOWN)],
)
def test_models_without_adapters_are_known(architecture: str, verdict: str, tmp_path: Path) -> None:
    assert verdicts(check(tmp_path, write(tmp_path / "adapter"), architecture)) == {"architecture": verdict}


def test_a_quantised_base_and_classes_are_told_of(tmp_path: Path) -> None:
    values = {"method": "qlora", "model.task": "sequence_classification"}
    served = check(tmp_path, write(tmp_path / "adapter", (*PLAIN, "score.weight"), modules_to_save=["score"]), **values)
    assert verdicts(served) == {"classification": serving.UNKNOWN, "base": serving.UNKNOWN}


def test_the_release_and_its_models_are_declared() -> None:
    release = vllm.known()
    assert release.ends | release.fused_experts <= release.adapters
    assert not release.adapters & release.no_adapters
    assert release.default_rank in release.ranks == sorted(release.ranks)


def test_the_command_says_it_and_refuses(tmp_path: Path) -> None:
    """By exit code and in JSON; without an adapter, and without anything to do."""
    cli = Cli(tmp_path / "home")
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.yaml").write_text(json.dumps({"model": "org/llama", "data": "d.jsonl", "method": "qlora"}))
    nothing = cli("merge", f"{run}/", "--check-vllm", check=False)
    assert (nothing.returncode, "has saved no adapter" in nothing.stderr) == (1, True)
    write(run / "checkpoints" / "step-00000004" / "adapter", use_dora=True)
    write(run / "checkpoints" / "step-00000010" / "adapter")
    newest = json.loads(cli("merge", f"{run}/", "--check-vllm", "--json").stdout)
    assert newest["accepted"]
    assert newest["vllm"] == vllm.known().version
    assert newest["adapter"].endswith("step-00000010/adapter")
    older = cli("merge", f"{run}/", "--check-vllm", "--checkpoint", "4", check=False)
    assert older.returncode == 1
    assert "no      DoRA" in older.stdout
    assert "qltui merge run --out DIR && vllm serve DIR" in older.stdout
    assert cli("merge", f"{run}/", check=False).returncode == 2
