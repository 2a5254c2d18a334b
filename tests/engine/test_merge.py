"""Adapters merged into their bases: the model that Transformers then load answers as the one that was trained."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from support import small_tokenizers
from support.runs import DEMO, Cli
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3MoeConfig,
)

from engine.base_files import record_base
from engine.checkpoint import iter_merged
from engine.config import Compute, RunConfig
from engine.config.reading import read
from engine.errors import BadInput
from engine.events import RunDirectory
from engine.merging.run import Merged, merge
from engine.merging.tensor_file import NewTensorFile
from engine.model import load_model
from engine.parameters import trainable
from engine.strategy import make_strategy
from qltui import words

TOKENS = 262
"""As many as the tokenizer has, so that new ones need rows of their own."""
SMALL: dict[str, Any] = {
    "vocab_size": TOKENS, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip
FAMILIES: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SMALL, tie_word_embeddings=True),
    "untied": LlamaConfig(**SMALL, tie_word_embeddings=False),
    "biased": Qwen2Config(**SMALL, tie_word_embeddings=False),
    "gpt2": GPT2Config(vocab_size=TOKENS, n_embd=64, n_layer=2, n_head=4),
    "mixtral": MixtralConfig(**SMALL, num_local_experts=4, num_experts_per_tok=2),
    "qwen3_moe": Qwen3MoeConfig(**SMALL, moe_intermediate_size=64, num_experts=4, num_experts_per_tok=2, head_dim=16),
    "gpt_oss": GptOssConfig(**SMALL, num_local_experts=4, num_experts_per_tok=2, head_dim=16),
}
LABELS = ["calm", "stormy", "unknown"]
Settings = dict[str, object]
CASES: dict[str, tuple[str, Settings]] = {
    "lora": ("llama", {"method": "lora"}),
    "qlora": ("demo", {"method": "qlora"}),
    "int8": ("llama", {"method": "int8"}),
    "some-modules-4bit": ("untied", {"method": "qlora", "method.lora.target_modules": ["q_proj", "v_proj"]}),
    "fp4-plain-scales": (
        "llama", {"method.quantization.type": "fp4", "method.quantization.double_quantization": False}
    ),
    "dora-4bit": ("llama", {"method": "qlora", "method.lora.use_dora": True}),
    "dora-int8": ("llama", {"method": "int8", "method.lora.use_dora": True}),
    "pissa": ("llama", {"method": "lora", "method.lora.init": "pissa"}),
    "olora-4bit": ("llama", {"method": "qlora", "method.lora.init": "olora"}),
    "modules-to-save": ("untied", {"method": "lora", "method.lora.modules_to_save": ["embed_tokens", "lm_head"]}),
    "new-tokens": ("llama", {"method": "qlora", "model.new_tokens": ["<tide>", "<wind>"]}),
    "new-tokens-untied": ("untied", {"method": "lora", "model.new_tokens": ["<tide>", "<wind>"]}),
    "embeddings": ("untied", {"method": "lora", "method.lora.target_modules": ["embed_tokens", "q_proj", "lm_head"]}),
    "dora-embeddings": (
        "untied", {"method": "lora", "method.lora.target_modules": ["embed_tokens"], "method.lora.use_dora": True}
    ),
    "tied-embeddings": ("llama", {"method": "lora", "method.lora.target_modules": ["embed_tokens", "q_proj"]}),
    "bias-rslora": ("biased", {"method": "lora", "method.lora.use_rslora": True}),
    "conv1d-4bit": ("gpt2", {"method": "qlora"}),
    "conv1d-dora": ("gpt2", {"method": "lora", "method.lora.use_dora": True}),
    "experts-trained": ("mixtral", {"method": "lora", "method.lora.target_modules": ["w1", "w2", "w3", "q_proj"]}),
    "experts-trained-4bit": (
        "qwen3_moe", {"method": "qlora", "method.lora.target_modules": ["gate_proj", "up_proj", "down_proj"]}
    ),
    "experts-4bit": ("gpt_oss", {"method": "qlora"}),
    "experts-int8": ("gpt_oss", {"method": "int8"}),
    "classifier-4bit": ("untied", {"method": "qlora", "model.task": "sequence_classification"}),
}  # fmt: skip
Family = Callable[[str], Path]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """Gives the folder of a small base, whose files hold a few tensors each, or of the demo's, which was trained."""
    folder = tmp_path_factory.mktemp("families")

    def made(name: str) -> Path:
        if name == "demo":
            return DEMO / "model"
        if not (folder / name).exists():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(FAMILIES[name], dtype=torch.bfloat16)
            model.save_pretrained(folder / name, max_shard_size="60KB")
            small_tokenizers.byte_level(pad_token="<s>").save_pretrained(folder / name)
        return folder / name

    return made


class Trained:
    """A run that was trained, as far as its model and its files tell."""

    def __init__(self, folder: Path, base: Path, settings: Settings) -> None:
        self.config: RunConfig = read(
            {"model": str(base), "data": "none.jsonl"}, where="test", base=base,
            assignments={"precision": "fp32", "device": "cpu", "method.lora.rank": 4, **settings},
        )  # fmt: skip
        labels = LABELS if self.config.model.task.value == "sequence_classification" else None
        self.run = RunDirectory(folder / "run")
        self.run.path.mkdir(parents=True)
        strategy = make_strategy(self.config, tracking_folder="")
        tokenizer = AutoTokenizer.from_pretrained(base)
        tokenizer.add_tokens(self.config.model.new_tokens)
        torch.manual_seed(1)
        self.model: Any = load_model(self.config, strategy, tokenizer, labels)
        strategy.place(self.model, lambda part: None)
        with torch.no_grad():
            for parameter in trainable(self.model).values():
                parameter += torch.randn_like(parameter) * 0.03
        self.model.eval()
        self.model.save_pretrained(self.run.adapter, save_embedding_layers=False)
        tokenizer.save_pretrained(self.run.adapter)
        record_base(self.run, self.config, Compute.FP32, labels)
        self.ids = torch.arange(4, 4 + 24).view(2, 12)
        self.ids[0, :2] = len(tokenizer) - 1

    def merge(self, out: Path, **options: Any) -> Merged:
        told: list[tuple[int, int]] = []
        settings = {"original": False, "dtype": None, **options}
        merged = merge(
            self.run, self.config, self.run.adapter, out, tell=lambda *done: told.append(done), **settings
        )  # fmt: skip
        assert told[0] == (0, merged.bytes)
        assert told[-1] == (merged.bytes, merged.bytes)
        return merged

    def logits(self, model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=self.ids).logits


def loaded(folder: Path) -> Any:
    """What was merged, as its user loads it: Transformers alone, and nothing missing or too many."""
    kind = json.loads((folder / "config.json").read_text())["architectures"][0]
    auto = AutoModelForSequenceClassification if "Classification" in kind else AutoModelForCausalLM
    model, told = auto.from_pretrained(folder, output_loading_info=True)
    assert not any(told[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
    return model.eval()


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


@pytest.mark.parametrize("case", CASES)
def test_the_merged_model_answers_as_the_trained_one(case: str, family: Family, tmp_path: Path) -> None:
    """In float32, and the same numbers come from the model in memory; in 16 bit, but for rounding."""
    name, settings = CASES[case]
    trained = Trained(tmp_path, family(name), settings)
    trained.merge(tmp_path / "float32", dtype=torch.float32)
    wanted = trained.logits(trained.model)
    merged = loaded(tmp_path / "float32")
    assert torch.allclose(trained.logits(merged), wanted, atol=1e-4 * float(wanted.abs().max()))
    with trained.model.disable_adapter():
        assert not torch.allclose(trained.logits(trained.model), wanted, atol=1e-2 * float(wanted.abs().max()))
    trained.merge(tmp_path / "out")
    written = tensors(tmp_path / "out")
    assert {value.dtype for value in written.values()} == {torch.bfloat16}
    live = dict(iter_merged(trained.model))
    assert live.keys() == written.keys()
    different = [at for at in written if not torch.equal(live[at], written[at])]
    assert not different


def test_the_caller_goes_on_as_before_between_two_weights(family: Family, tmp_path: Path) -> None:
    """With gradients, and with nothing in its hands that is the training's own."""
    settings = {"method": "lora", "method.lora.modules_to_save": ["norm", "embed_tokens"]}
    trained = Trained(tmp_path, family("untied"), settings)
    wanted = trained.logits(trained.model)
    for _, value in iter_merged(trained.model, torch.float32):
        assert torch.is_grad_enabled()
        assert not value.requires_grad
        value.zero_()
    assert torch.equal(trained.logits(trained.model), wanted)


def test_files_and_names_are_those_of_the_base(family: Family, tmp_path: Path) -> None:
    """As many files, the same tensors in each, an index, the same configuration; tokenizer and settings beside."""
    base = family("llama")
    trained = Trained(tmp_path, base, {"method": "qlora"})
    merged = trained.merge(tmp_path / "out")
    files = sorted(path.name for path in base.glob("*.safetensors"))
    assert len(files) > 3
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == files
    for name in files:
        with safe_open(base / name, "pt") as ours, safe_open(tmp_path / "out" / name, "pt") as theirs:
            assert set(ours.keys()) == set(theirs.keys())
            assert ours.metadata() == theirs.metadata()
    for name in ("config.json", "generation_config.json", "model.safetensors.index.json"):
        assert json.loads((tmp_path / "out" / name).read_text()) | {"metadata": {}} == (
            json.loads((base / name).read_text()) | {"metadata": {}}
        ), name
    assert merged.base_is_checked
    assert merged.bytes == sum(value.nbytes for value in tensors(base).values())
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("sea") == AutoTokenizer.from_pretrained(base)("sea")
    assert not list(tmp_path.glob(".*"))


def test_the_command_merges_and_tells(family: Family, tmp_path: Path) -> None:
    """The same files as from within; progress beside the document, and nothing over a folder that is there."""
    trained = Trained(tmp_path, family("llama"), {"method": "lora"})
    trained.run.run_yaml.write_text(json.dumps(trained.config.tree()))
    cli, typed = Cli(tmp_path / "home"), ("merge", f"{trained.run.path}/", "--out", str(tmp_path / "out"))
    done = cli(*typed, "--json")
    told = json.loads(done.stdout)
    assert told["out"] == str(tmp_path / "out")
    assert (told["run"], told["base"], told["dtype"]) == ("run", "dequantized", "bfloat16")
    assert told["changed"] == 14
    size = words.size(told["bytes"])
    assert done.stderr.splitlines()[-1] == f"{size} of {size}"
    trained.merge(tmp_path / "within")
    for path in (tmp_path / "within").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()
    again = cli(*typed, check=False)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)


def test_a_tied_head_becomes_its_own_where_the_embedding_alone_is_adapted(family: Family, tmp_path: Path) -> None:
    name, settings = CASES["tied-embeddings"]
    trained = Trained(tmp_path, family(name), settings)
    assert trained.merge(tmp_path / "out").is_untied
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False
    written, base = tensors(tmp_path / "out"), tensors(family(name))
    assert torch.equal(written["lm_head.weight"], base["model.embed_tokens.weight"])
    assert not torch.equal(written["model.embed_tokens.weight"], base["model.embed_tokens.weight"])


def test_new_tokens_and_classes_are_told(family: Family, tmp_path: Path) -> None:
    trained = Trained(tmp_path / "tokens", family("llama"), CASES["new-tokens"][1])
    trained.merge(tmp_path / "tokens" / "out")
    config = json.loads((tmp_path / "tokens" / "out" / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokens" / "out")
    assert tokenizer.convert_tokens_to_ids("<wind>") == config["vocab_size"] - 1
    trained = Trained(tmp_path / "classes", family("untied"), CASES["classifier-4bit"][1])
    trained.merge(tmp_path / "classes" / "out")
    assert list(loaded(tmp_path / "classes" / "out").config.id2label.values()) == LABELS


def test_original_weights_are_taken_if_asked_for(family: Family, tmp_path: Path) -> None:
    """The very numbers of the files where no adapter is; and not for adapters that took a part of them."""
    trained = Trained(tmp_path, family("untied"), CASES["some-modules-4bit"][1])
    trained.merge(tmp_path / "original", original=True)
    trained.merge(tmp_path / "out")
    base, original, out = tensors(family("untied")), tensors(tmp_path / "original"), tensors(tmp_path / "out")
    untouched, adapted = "model.layers.0.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(original[untouched], base[untouched])
    assert not torch.equal(out[untouched], base[untouched])
    assert not torch.equal(original[adapted], base[adapted])
    with pytest.raises(BadInput, match="took a part out of the weights"):
        Trained(tmp_path / "pissa", family("llama"), CASES["pissa"][1]).merge(tmp_path / "no", original=True)
    assert not (tmp_path / "no").exists()


def test_another_base_is_refused(family: Family, tmp_path: Path) -> None:
    """Other numbers in a file of the same size, or an adapter that does not fit."""
    base = tmp_path / "base"
    shutil.copytree(family("llama"), base)
    trained = Trained(tmp_path, base, {"method": "lora"})
    file = max(base.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BadInput, match=rf"has changed since run run was trained on it \({file.name}"):
        trained.merge(tmp_path / "out")
    trained.run.base_json.unlink()
    assert not trained.merge(tmp_path / "unchecked").base_is_checked
    shutil.rmtree(trained.run.adapter)
    Trained(tmp_path / "other", family("llama"), CASES["some-modules-4bit"][1]).run.adapter.rename(trained.run.adapter)
    config = trained.run.adapter / "adapter_config.json"
    config.write_text(config.read_text().replace('"v_proj"', '"k_proj"'))
    with pytest.raises(BadInput, match="does not fit its base"):
        trained.merge(tmp_path / "out")


def test_too_small_a_disk_is_told_before_anything_is_written(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Trained(tmp_path, family("llama"), {"method": "lora"})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 25))
    with pytest.raises(BadInput, match=r"will take 0\.1 GiB, and 0\.0 GiB are free"):
        trained.merge(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_nothing_is_left_of_what_could_not_be_finished(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Trained(tmp_path, family("llama"), {"method": "lora"})
    write = NewTensorFile.write

    def full(file: NewTensorFile, name: str, tensor: torch.Tensor) -> None:
        if "layers.1" in name:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, name, tensor)

    monkeypatch.setattr(NewTensorFile, "write", full)
    with pytest.raises(OSError, match="No space left"):
        trained.merge(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
