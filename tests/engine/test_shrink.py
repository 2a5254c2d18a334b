"""The small model of a rehearsal: the same kinds of modules, fewer and narrower, from a folder without weights."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from support.runs import DEMO
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine import shrink
from engine.errors import BadInput
from engine.shrink import Source

LONG_ROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "partial_rotary_factor": 1.0,
    "short_factor": [1.0] * 48, "long_factor": [2.0] * 48,
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "llama": transformers.LlamaConfig(num_key_value_heads=8, tie_word_embeddings=True),
    "qwen2": transformers.Qwen2Config(
        hidden_size=896, num_attention_heads=14, num_key_value_heads=2,
        num_hidden_layers=8, use_sliding_window=True, max_window_layers=4,
    ),
    "qwen3": transformers.Qwen3Config(hidden_size=2560, num_attention_heads=32, num_key_value_heads=8, head_dim=128),
    "mistral": transformers.MistralConfig(),
    "gemma": transformers.GemmaConfig(),
    "gemma2": transformers.Gemma2Config(),
    "gemma3": transformers.Gemma3TextConfig(),
    "gemma3-with-vision": transformers.Gemma3Config(),
    "phi3": transformers.Phi3Config(rope_parameters=LONG_ROPE, original_max_position_embeddings=2048),
    "gpt2": transformers.GPT2Config(),
    "falcon": transformers.FalconConfig(),
    "gptj": transformers.GPTJConfig(),
    "mixtral": transformers.MixtralConfig(),
    "qwen2-moe": transformers.Qwen2MoeConfig(),
    "qwen3-moe": transformers.Qwen3MoeConfig(decoder_sparse_step=2),
    "deepseek-v3": transformers.DeepseekV3Config(),
    "llama4": transformers.Llama4TextConfig(),
    "gpt-oss": transformers.GptOssConfig(),
    "bert-classifier": transformers.BertConfig(architectures=["BertForSequenceClassification"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_kinds_of_modules_fewer_and_narrower(name: str) -> None:
    config = CONFIGS[name]
    full = shrink.build(config, torch.device("meta"))
    small = copy.deepcopy(config)
    shrink.shrink_config(small, full, tokens=1000)
    model = shrink.build(small, torch.device("cpu"))

    assert shrink.class_names(model) == shrink.class_names(full)
    assert sum(one.numel() for one in model.parameters()) < 0.12 * sum(one.numel() for one in full.parameters())
    before, after = config.get_text_config(), small.get_text_config()
    assert 2 <= after.num_hidden_layers < before.num_hidden_layers
    assert 64 <= after.hidden_size < before.hidden_size
    assert after.hidden_size % after.num_attention_heads == 0
    assert before.tie_word_embeddings == after.tie_word_embeddings
    tied = model.get_output_embeddings()
    if tied is not None:
        assert (tied.weight is model.get_input_embeddings().weight) == before.tie_word_embeddings
    with torch.no_grad():
        assert model(input_ids=torch.tensor([[5, 6, 7]])).logits.isfinite().all()


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mixtral", "qwen3-moe", "gemma2"])
def test_heads_keep_their_groups_and_an_even_size(name: str) -> None:
    before, after = CONFIGS[name], shrunken(CONFIGS[name])
    ratio = before.num_attention_heads // before.num_key_value_heads
    assert after.num_attention_heads // after.num_key_value_heads == ratio
    assert getattr(after, "head_dim", None) is None or after.head_dim % 2 == 0


def test_experts_are_few_and_more_than_are_chosen() -> None:
    for name in ("mixtral", "qwen2-moe", "qwen3-moe", "deepseek-v3", "llama4", "gpt-oss"):
        after = shrunken(CONFIGS[name])
        experts = getattr(after, "num_local_experts", None) or after.num_experts
        assert after.num_experts_per_tok < experts <= 4, name


def test_a_layer_of_each_kind_is_kept() -> None:
    assert shrunken(CONFIGS["gemma3"]).layer_types == ["sliding_attention"] * 5 + ["full_attention"]
    assert shrunken(CONFIGS["qwen2"]).layer_types == ["full_attention"] * 4 + ["sliding_attention"]
    assert shrunken(CONFIGS["deepseek-v3"]).num_hidden_layers == 4  # three dense ones, then experts
    late = transformers.Qwen3MoeConfig(num_hidden_layers=12, mlp_only_layers=[0, 1, 2, 3, 4])
    assert shrunken(late).num_hidden_layers == 6
    assert shrunken(transformers.Qwen3MoeConfig(decoder_sparse_step=4)).num_hidden_layers == 4


def test_the_vocabulary_holds_the_tokenizer_and_the_tokens_the_model_names() -> None:
    assert shrunken(transformers.LlamaConfig(vocab_size=128256), tokens=1000).vocab_size == 1024
    named = transformers.LlamaConfig(vocab_size=128256, eos_token_id=[2, 5000])
    assert shrunken(named, tokens=1000).vocab_size == 5056
    assert shrunken(transformers.LlamaConfig(vocab_size=1000), tokens=1000).vocab_size == 1000


def test_a_folder_without_weights_becomes_one_that_loads(tmp_path: Path) -> None:
    source = demo_without_weights(tmp_path)
    said = shrink.shrink(Source(str(source), None, False, None), tmp_path / "small")
    small = tmp_path / "small"
    model = AutoModelForCausalLM.from_pretrained(small)
    assert said["architecture"] == "LlamaForCausalLM"
    assert said["parameters"] == sum(one.numel() for one in model.parameters())
    assert said["changed"]["num_hidden_layers"] == [4, 2]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with safe_open(small / "model.safetensors", framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    before, after = AutoTokenizer.from_pretrained(source), AutoTokenizer.from_pretrained(small)
    assert after.chat_template == before.chat_template
    assert after("Which boat?").input_ids == before("Which boat?").input_ids
    assert (small / "generation_config.json").read_bytes() == (source / "generation_config.json").read_bytes()

    shrink.shrink(Source(str(source), None, False, None), tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (small / "model.safetensors").read_bytes()


def test_quantised_checkpoints_become_plain_ones(tmp_path: Path) -> None:
    source = demo_without_weights(tmp_path, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    shrink.shrink(Source(str(source), None, False, None), tmp_path / "small")
    assert "quantization_config" not in json.loads((tmp_path / "small" / "config.json").read_text())


def test_a_tokenizer_of_its_own_is_not_copied(tmp_path: Path) -> None:
    source = demo_without_weights(tmp_path)
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    for file in source.glob("tokenizer*"):
        file.rename(tokenizer / file.name)
    shrink.shrink(Source(str(source), None, False, str(tokenizer)), tmp_path / "small")
    assert not list((tmp_path / "small").glob("tokenizer*"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "t5"}, "a t5 model cannot be shrunk"),
        ({"model_type": "nobody-knows"}, "its config.json cannot be read"),
        ({"num_attention_heads": "six"}, "its config.json cannot be read"),
    ],
)
def test_what_cannot_be_shrunk_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], values: dict[str, Any], message: str
) -> None:
    source = demo_without_weights(tmp_path, **values)
    assert shrink.main([str(source), str(tmp_path / "small")]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith(f"error: model.path: {source}: ")
    assert message in said.err
    assert not (tmp_path / "small").exists()


def test_a_model_that_would_lose_a_kind_of_module_is_refused() -> None:
    full = shrink.build(transformers.Qwen3MoeConfig(num_hidden_layers=2), torch.device("meta"))
    other = shrink.build(shrunken(transformers.Qwen3Config()), torch.device("cpu"))
    with pytest.raises(BadInput, match="Qwen3MoeExperts"):
        shrink._prove(other, full)


def shrunken(config: Any, tokens: int = 1000) -> Any:
    small = copy.deepcopy(config)
    shrink.shrink_config(small, shrink.build(config, torch.device("meta")), tokens)
    return small


def demo_without_weights(folder: Path, **values: Any) -> Path:
    """A copy of the demo's model folder with other values in its config."""
    source = folder / "source"
    shutil.copytree(DEMO / "model", source, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, **values}))
    return source
