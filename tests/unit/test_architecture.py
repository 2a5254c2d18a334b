"""Architectures: the bundled table, where they are looked for, and config.json files that cannot be one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qltui.facts.architecture import Architecture, BadConfig, UnknownModel, find, of_config
from qltui.facts.models.families import FAMILIES
from qltui.facts.models.known import FILE

PUBLISHED = {
    "meta-llama/Llama-2-7b-hf": 6_738_415_616,
    "meta-llama/Llama-2-13b-hf": 13_015_864_320,
    "meta-llama/Llama-2-70b-hf": 68_976_648_192,
    "codellama/CodeLlama-7b-hf": 6_738_546_688,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
    "meta-llama/Llama-3.1-405B": 405_853_388_800,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1_100_048_384,
    "01-ai/Yi-6B": 6_061_035_520,
    "01-ai/Yi-34B": 34_388_917_248,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "Qwen/Qwen1.5-MoE-A2.7B": 14_315_784_192,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "Qwen/Qwen3-235B-A22B": 235_093_634_560,
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": 480_154_875_392,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "mistralai/Mistral-Nemo-Base-2407": 12_247_782_400,
    "mistralai/Mistral-Small-24B-Base-2501": 23_572_403_200,
    "mistralai/Ministral-8B-Instruct-2410": 8_019_808_256,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "mistralai/Mixtral-8x22B-v0.1": 140_620_634_112,
    "google/gemma-2b": 2_506_172_416,
    "google/gemma-7b": 8_537_680_896,
    "google/gemma-2-2b": 2_614_341_888,
    "google/gemma-2-9b": 9_241_705_984,
    "google/gemma-2-27b": 27_227_128_320,
    "google/gemma-3-270m": 268_098_176,
    "google/gemma-3-1b-pt": 999_885_952,
    "google/gemma-3-4b-pt": 4_300_079_472,
    "google/gemma-3-12b-pt": 12_187_325_040,
    "google/gemma-3-27b-pt": 27_432_406_640,
    "microsoft/phi-2": 2_779_683_840,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "microsoft/Phi-3-medium-4k-instruct": 13_960_238_080,
    "microsoft/phi-4": 14_659_507_200,
    "microsoft/Phi-4-mini-instruct": 3_836_021_760,
    "microsoft/Phi-3.5-MoE-instruct": 41_873_153_344,
    "deepseek-ai/DeepSeek-V2-Lite": 15_706_484_224,
    "deepseek-ai/DeepSeek-V2": 235_741_434_880,
    "zai-org/GLM-4-9B-0414": 9_400_279_040,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "HuggingFaceTB/SmolLM3-3B": 3_075_098_624,
    "allenai/OLMo-2-1124-7B": 7_298_617_344,
    "allenai/OLMo-2-1124-13B": 13_716_198_400,
    "allenai/OLMoE-1B-7B-0924": 6_919_161_856,
    "openai-community/gpt2": 124_439_808,
    "openai-community/gpt2-xl": 1_557_611_200,
    "EleutherAI/pythia-70m": 70_426_624,
    "EleutherAI/pythia-6.9b": 6_857_302_016,
    "EleutherAI/pythia-12b": 11_846_072_320,
    "facebook/opt-125m": 125_239_296,
    "EleutherAI/gpt-j-6b": 6_050_882_784,
    "bigcode/starcoder2-3b": 3_030_371_328,
    "bigcode/starcoder2-7b": 7_173_923_840,
    "bigcode/starcoder2-15b": 15_957_889_024,
    "CohereLabs/c4ai-command-r-v01": 34_980_831_232,
    "CohereLabs/aya-23-8B": 8_028_033_024,
    "ibm-granite/granite-3.1-2b-base": 2_533_531_648,
    "ibm-granite/granite-3.1-8b-base": 8_170_848_256,
    "stabilityai/stablelm-2-1_6b": 1_644_515_328,
    "stabilityai/stablelm-3b-4e1t": 2_795_443_200,
    "internlm/internlm3-8b-instruct": 8_804_241_408,
    "ByteDance-Seed/Seed-OSS-36B-Instruct": 36_151_104_512,
}
"""Parameters as the models' pages on the hub give them (of the weights that are loaded: what is tied, once)."""

ROUND = {
    "meta-llama/Llama-4-Scout-17B-16E": (109, 17),  # with the vision tower, which is not loaded as a causal model
    "meta-llama/Llama-4-Maverick-17B-128E": (402, 17),
    "deepseek-ai/DeepSeek-V3": (671, 37),
    "openai/gpt-oss-20b": (20.9, 3.6),
    "openai/gpt-oss-120b": (116.8, 5.1),
    "zai-org/GLM-4.5": (355, 32),
    "zai-org/GLM-4.5-Air": (106, 12),
    "Qwen/Qwen3-Next-80B-A3B-Instruct": (80, 3),
    "mistralai/Mixtral-8x7B-v0.1": (46.7, 12.9),
    "Qwen/Qwen3-30B-A3B": (30.5, 3.3),
    "Qwen/Qwen2-57B-A14B": (57.4, 14),
}
"""Billions of parameters, and of those one token is computed with, as the models' cards say."""

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_those_published(name: str) -> None:
    assert find(name).parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", ROUND)
def test_counts_are_about_those_of_the_cards(name: str) -> None:
    total, active = ROUND[name]
    found = find(name)
    assert found.parameters / 1e9 == pytest.approx(total, rel=0.02)
    embedding = found.embeddings  # some count it as active, some do not
    assert found.active_parameters - embedding <= (active + 1) * 1e9
    assert found.active_parameters >= (active - 0.5) * 1e9


def test_every_model_of_the_table_is_known_and_every_line_is_used() -> None:
    table = json.loads(FILE.read_bytes())
    assert len(FILE.read_text().splitlines()) == len(table) + 2  # a name given twice would be lost
    for name in table:
        found = find(name)
        assert found.known, name
        assert sum(found.parameters_by_module().values()) == found.parameters, name


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("qwen/qwen3-8b", "Qwen/Qwen3-8B"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-hf"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-v0.3"),
        ("google/gemma-3-4b-it", "google/gemma-3-4b-pt"),
        ("unsloth/Qwen3-8B-unsloth-bnb-4bit", "Qwen/Qwen3-8B"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "meta-llama/Llama-3.1-8B"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "Qwen/Qwen2.5-Coder-7B"),
        ("Qwen/Qwen3-8B-Base", "Qwen/Qwen3-8B"),
    ],
)
def test_variants_share_an_entry(name: str, same: str) -> None:
    assert find(name) == find(same)


@pytest.mark.parametrize(
    "name",
    ["somebody/Qwen3-8B", "unsloth/phi-4", "Qwen/Qwen3-8B-Reranker", "Qwen3-8B", "", "a" * 5000, "\0", "~nobody"],
)
def test_names_that_only_look_known_are_not_guessed(name: str) -> None:
    with pytest.raises(UnknownModel):
        find(name)


def test_an_unknown_model_is_told_what_to_do() -> None:
    with pytest.raises(UnknownModel) as caught:
        find("Qwen/Qwen4-8B")
    assert "Qwen/Qwen3-8B" in caught.value.nearest
    assert "Did you mean Qwen/Qwen3-8B" in str(caught.value)
    assert "config.json" in str(caught.value)
    with pytest.raises(UnknownModel) as caught:
        find("zzzz/0000")
    assert caught.value.nearest == []
    assert "Did you mean" not in str(caught.value)


def test_a_folder_comes_first_then_the_copy_then_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, copy = tmp_path / "Qwen" / "Qwen3-8B", tmp_path / "copy"
    for place, depth in ((folder, 5), (copy, 6)):
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(LLAMA | {"num_hidden_layers": depth}))
    assert find(str(folder)).depth == 5
    assert find(str(folder / "config.json")).depth == 5
    assert find("Qwen/Qwen3-8B", copy).depth == 6
    assert find("Qwen/Qwen3-8B", tmp_path / "nowhere").depth == 36
    monkeypatch.chdir(tmp_path)
    assert find("Qwen/Qwen3-8B", copy).depth == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no JSON"),
        (b"\x80\x81\x00", "no JSON"),
        (b"[1, 2]", "no object"),
        (b"[" * 100_000, "no JSON"),
        (b'{"hidden_size": 1' + b"0" * 6000 + b"}", "no JSON"),
        (b'{"model_type": "llama"}', "hidden_size is missing"),
        (b" " * (16 * 1024**2 + 1), "too large"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadConfig) as caught:
        find(str(tmp_path))
    assert said in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"the folder has no config\.json"):
        find(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": "4096"}, "hidden_size must be a whole number, not '4096'"),
        ({"hidden_size": 64.5}, "hidden_size must be a whole number, not 64.5"),
        ({"hidden_size": True}, "hidden_size must be a whole number, not True"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be 1 or more"),
        ({"num_hidden_layers": -3}, "num_hidden_layers must be 1 or more"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is above 4096"),
        ({"vocab_size": 10**5000}, "vocab_size is above"),
        ({"num_attention_heads": 65}, "num_attention_heads is 65, more than hidden_size"),
        ({"num_key_value_heads": [2]}, "num_key_value_heads must be a whole number"),
        ({"attention_bias": "yes"}, "attention_bias must be true or false, not 'yes'"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings must be true or false"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 entries, but there are 3 layers"),
        ({"layer_types": "full"}, "layer_types must be a list of words"),
        ({"dtype": 16}, "dtype must be a word"),
        ({"model_type": ["llama"]}, "model_type must be a word"),
        ({"model_type": "mixtral"}, "num_experts is missing"),
        ({"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 3}, "there are 2 experts"),
        ({"model_type": "qwen2_moe", "num_experts": 4, "mlp_only_layers": "none"}, "mlp_only_layers must be a list"),
        ({"model_type": "gemma3", "text_config": LLAMA, "vision_config": [1]}, "vision_config must hold"),
    ],
)
def test_numbers_that_cannot_be_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        of_config(LLAMA | change)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 160


KEYS = sorted({key for line in json.loads(FILE.read_bytes()).values() for key in line} | set(LLAMA))
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 300), st.just(10**30), st.floats(), st.text(max_size=5),
    st.lists(st.integers(0, 5), max_size=3), st.dictionaries(st.sampled_from(KEYS), st.integers(0, 9), max_size=3),
)  # fmt: skip


@given(st.sampled_from([*FAMILIES, "never_seen"]), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_configuration_is_read_or_refused(family: str, values: dict[str, Any]) -> None:
    try:
        found = of_config(LLAMA | {"model_type": family} | values)
    except BadConfig as error:
        assert str(error)
    else:
        assert isinstance(found, Architecture)
        assert 0 < found.active_parameters <= found.parameters
        assert min(found.parameters_by_module().values()) >= 0


def test_windows_and_kinds_of_layers() -> None:
    gemma = find("google/gemma-3-1b-pt")
    assert [(count, layer.window) for count, layer in gemma.layers] == [(5, 512), (1, None)] * 4 + [(2, 512)]
    assert [layer.window for _, layer in find("mistralai/Mistral-7B-v0.1").layers] == [4096]
    assert [layer.window for _, layer in find("mistralai/Mistral-7B-v0.3").layers] == [None]
    assert [layer.window for _, layer in find("Qwen/Qwen3-8B").layers] == [None]
    qwen = find("Qwen/Qwen3-Next-80B-A3B-Instruct")
    assert [(count, layer.attention) for count, layer in qwen.layers] == [(3, False), (1, True)] * 12
    deepseek = find("deepseek-ai/DeepSeek-V3")
    assert [count for count, _ in deepseek.layers] == [3, 58]
    assert (deepseek.head_dim, deepseek.kv_heads, deepseek.intermediate_size) == (192, 128, 18432)


def test_what_is_quantised_and_what_is_not() -> None:
    llama = find("meta-llama/Llama-3.1-8B")
    assert llama.quantized_parameters == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    mixtral = find("mistralai/Mixtral-8x7B-v0.1")
    assert mixtral.quantized_parameters == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)  # its experts stay as they are
    by_module = mixtral.parameters_by_module()
    assert by_module["experts.gate_up_proj"] == 32 * 8 * 4096 * 2 * 14336
    assert find("tiiuae/falcon-7b").quantized_parameters == 0  # its linears are of a class of their own


def test_parameters_of_adapters() -> None:
    llama = find("meta-llama/Llama-3.1-8B")
    assert llama.lora_parameters(16) == 41_943_040
    assert llama.lora_parameters(16, ["q_proj", "v_proj"]) == 6_815_744
    assert llama.lora_parameters(1, ["lm_head"]) == 4096 + 128256
    assert llama.lora_parameters(8, ["nothing"]) == 0
    assert not llama.adapted_experts
    qwen = find("Qwen/Qwen3-30B-A3B")
    assert qwen.adapted_experts
    attention = 48 * 16 * (2 * (2048 + 4096) + 2 * (2048 + 512))
    experts = 48 * 16 * 128 * (2 * (2048 + 1536) + 768 + 2048) + 48 * 16 * (2048 + 128)
    assert qwen.lora_parameters(16) == attention + experts
    assert not find("openai/gpt-oss-20b").adapted_experts


def test_an_architecture_never_seen_is_said_to_be_estimated() -> None:
    found = of_config(LLAMA | {"model_type": "never_seen"})
    assert not found.known
    assert found.parameters == of_config(LLAMA).parameters
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    nested = of_config({"model_type": "new_vl", "text_config": LLAMA, "vision_config": tower})
    assert not nested.known
    assert nested.vision == 2 * (4 * 32 * 32 + 2 * 32 * 64)


def test_finding_a_model_imports_no_library() -> None:
    code = (
        "import sys; from qltui.facts.architecture import find; find('Qwen/Qwen3-8B');"
        "heavy = {'torch', 'transformers', 'msgspec', 'numpy', 'difflib', 'inspect', 'textual'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_names_every_exact_family() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    listed = page.partition("## Exact families")[2].partition("Any other architecture")[0]
    assert set(FAMILIES) == set(re.findall(r"`([a-z0-9_-]+)`", listed))
    told = find("Qwen/Qwen3-30B-A3B").lora_parameters(16)
    assert f"{told / 1e6:.0f} million parameters" in page
    adapters = {name for name in FAMILIES if _is_adapted_by_peft(name)}
    for name in adapters:
        assert f"`{name}`" in page.partition("**LoRA on all linears**")[2]


def _is_adapted_by_peft(family: str) -> bool:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "n_routed_experts": 4}
    shared = {"shared_expert_intermediate_size": 8, "intermediate_size_mlp": 8, "layer_types": ["full_attention"] * 4}
    return of_config(
        LLAMA | experts | shared | {"model_type": family, "num_hidden_layers": 4, "max_position_embeddings": 64}
    ).adapted_experts
