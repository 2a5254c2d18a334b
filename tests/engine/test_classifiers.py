"""Classifiers of several architectures trained by the engine: what plain PEFT loads of them answers alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from cells.life import attempt, audits, events_of, of_kind
from cells.ranks import forget
from cells.verdict import RELOAD_TOLERANCE
from peft import PeftModel
from safetensors.torch import load_file, save_file
from support import small_encoders
from support.runs import Cli, events
from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

from engine.config.reading import read
from engine.errors import BadInput
from engine.events import RunDirectory, write_json
from engine.model import load_model
from engine.strategy import make_strategy

HELD_OUT = small_encoders.pairs(12)


@pytest.fixture(autouse=True)
def as_the_first_run_of_a_process() -> Iterator[None]:
    yield
    forget()


def train(base: Path, folder: Path, **values: Any) -> RunDirectory:
    """A run of a few steps on one CPU rank; it learnt, and its audits passed."""
    data = small_encoders.write(small_encoders.pairs(32), folder / "train.jsonl")
    held_out = small_encoders.write(HELD_OUT, folder / "held_out.jsonl")
    run = RunDirectory(folder / "run")
    run.path.mkdir()
    tree = {
        "model.path": str(base), "model.task": "sequence_classification",
        "data.path": str(data), "data.eval_path": str(held_out), "method.lora.rank": 8, "hardware.device": "cpu",
        "training.max_steps": 16, "training.micro_batch_size": 8, "training.learning_rate": 5e-3,
        "training.warmup_ratio": 0.0,
    }  # fmt: skip
    write_json(run.run_yaml, {**tree, **values})  # JSON is YAML
    attempt(run, forget)
    losses = [event["loss"] for event in of_kind(events_of(run, 1, 0), "step")]
    assert sum(losses[-4:]) < sum(losses[:4])
    found = audits([events_of(run, 1, 0)])
    assert (found["weights"]["result"], found["adapter"]["result"]) == ("passed", "passed")
    return run


def loss_of_plain_peft(run: RunDirectory, base: Path, *, with_types: bool, **quantization: Any) -> float:
    """Mean loss over the held-out rows, one by one as the model's own tokenizer gives them."""
    settings = BitsAndBytesConfig(**quantization) if quantization else None
    plain = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=2, quantization_config=settings, device_map={"": "cpu"}
    )
    plain.config.pad_token_id = 0
    model = PeftModel.from_pretrained(plain, run.adapter).eval()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    tokenizer, total = small_encoders.tokenizer(), 0.0
    for row in HELD_OUT:
        inputs = tokenizer(*[row[name] for name in ("text", "text_pair") if name in row], return_tensors="pt")
        if not with_types:
            del inputs["token_type_ids"]
        with torch.no_grad():
            loss = model(**inputs, labels=torch.tensor([["agrees", "denies"].index(row["label"])])).loss
        total += float(loss)
    return total / len(HELD_OUT)


def own_loss(run: RunDirectory) -> float:
    return float(of_kind(events_of(run, 1, 0), "evaluation")[-1]["loss"])


def test_bert_is_trained_and_evaluated_with_its_token_types(tmp_path: Path) -> None:
    base = small_encoders.save("bert", tmp_path / "bert")
    run = train(base, tmp_path, **{"method.name": "lora"})
    own = own_loss(run)
    assert math.isclose(own, loss_of_plain_peft(run, base, with_types=True), rel_tol=RELOAD_TOLERANCE["cpu"])
    assert not math.isclose(own, loss_of_plain_peft(run, base, with_types=False), rel_tol=1e-3)


HEADS = {
    "bert": ["classifier"], "roberta": ["classifier"], "distilbert": ["pre_classifier", "classifier"],
    "llama": ["score"],
}  # fmt: skip


@pytest.mark.parametrize("method", ["lora", "qlora", "int8"])
@pytest.mark.parametrize("model", HEADS)
def test_the_head_stays_plain_is_trained_whole_and_reloads(model: str, method: str, tmp_path: Path) -> None:
    """Adapters on all linears; a head in 4 or 8 bit could not be trained, and one that is not saved not be found."""
    base = small_encoders.save(model, tmp_path / model)
    run = train(base, tmp_path, **{"method.name": method})
    saved = load_file(run.adapter / "adapter_model.safetensors")
    whole = {name.split(".")[2] for name in saved if "lora_" not in name}
    assert whole == set(HEADS[model])
    assert {value.dtype for value in saved.values()} == {torch.float32}
    quantization = {
        "lora": {},
        "qlora": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
        "int8": {"load_in_8bit": True},
    }[method]
    skipped = {"llm_int8_skip_modules": HEADS[model]} if quantization else {}
    plain = loss_of_plain_peft(run, base, with_types=model == "bert", **quantization, **skipped)
    # Which inputs int8 computes apart as outliers depends on all rows of a batch.
    tolerance = {"abs_tol": 5e-3} if method == "int8" else {"rel_tol": RELOAD_TOLERANCE["cpu"]}
    assert math.isclose(own_loss(run), plain, **tolerance)


@pytest.mark.parametrize("method", ["qlora", "int8"])
@pytest.mark.parametrize("model", HEADS)
def test_bitsandbytes_takes_the_base_and_not_the_head(model: str, method: str, tmp_path: Path) -> None:
    base = small_encoders.save(model, tmp_path / model)
    tree = {"model": {"path": str(base), "task": "sequence_classification"}, "data": "none.jsonl"}
    config = read(tree, where="t", base=tmp_path, assignments={"method": method, "device": "cpu"})
    strategy = make_strategy(config, tracking_folder="")
    loaded = load_model(config, strategy, small_encoders.tokenizer(), ["a", "b", "c"]).get_base_model()
    quantised = {name for name, part in loaded.named_modules() if isinstance(part, (Linear4bit, Linear8bitLt))}
    linears = {name for name, part in loaded.named_modules() if isinstance(part, torch.nn.Linear)}
    of_head = {name for name in linears if name.partition(".")[0] in HEADS[model]}
    assert of_head
    assert quantised
    assert not quantised & of_head
    of_base = {name for name in linears if name.startswith(f"{loaded.base_model_prefix}.") and "lora_" not in name}
    assert of_base == quantised


def test_modules_trained_whole_that_would_have_adapters_are_refused(tmp_path: Path) -> None:
    base = small_encoders.save("distilbert", tmp_path / "distilbert")
    with pytest.raises(BadInput, match=r"^method\.lora\.modules_to_save: \['lin'\] are endings of modules"):
        train(base, tmp_path, **{"method.name": "lora", "method.lora.modules_to_save": ["lin"]})


def test_bert_is_sharded_alike_by_fsdp2_and_zero3(cli: Cli, tmp_path: Path) -> None:
    """Its embeddings are one of the modules it says not to split, and get ids that no gradients pass through."""
    small_encoders.save("bert", tmp_path / "bert")
    data = small_encoders.write(small_encoders.pairs(32), tmp_path / "train.jsonl")
    tree = {
        "model": {"path": str(tmp_path / "bert"), "task": "sequence_classification"},
        "data": {"path": str(data), "eval_fraction": 0.25}, "method": "qlora",
        "hardware": {"device": "cpu", "ranks_per_node": 2, "threads_per_rank": 1},
        "training": {"max_steps": 4, "micro_batch_size": 2, "learning_rate": 5e-3},
    }  # fmt: skip
    losses = {}
    for strategy in ("fsdp2", "zero3"):
        write_json(tmp_path / f"{strategy}.yaml", {**tree, "strategy": strategy, "name": strategy})
        cli("launch", str(tmp_path / f"{strategy}.yaml"), "--watch")
        status = cli.status()
        assert status["audits"] == {"sharding": "passed", "weights": "passed", "adapter": "passed"}
        losses[strategy] = [event["loss"] for event in events(cli.directory(), "step")]
    assert losses["zero3"] == pytest.approx(losses["fsdp2"], rel=1e-4)


def test_a_part_of_the_base_that_the_checkpoint_lacks_is_trained_whole(tmp_path: Path) -> None:
    """Checkpoints of masked language models have no pooler; adapters on a random one would be of no use later."""
    base = without_pooler(tmp_path)
    run = train(base, tmp_path, **{"method.name": "lora"})
    saved = load_file(run.adapter / "adapter_model.safetensors")
    assert "base_model.model.bert.pooler.dense.weight" in saved
    assert math.isclose(own_loss(run), loss_of_plain_peft(run, base, with_types=True), rel_tol=RELOAD_TOLERANCE["cpu"])


@pytest.mark.parametrize("method", ["qlora", "int8"])
def test_a_part_that_would_begin_at_random_in_few_bits_is_refused(tmp_path: Path, method: str) -> None:
    with pytest.raises(BadInput, match=r"has no weights for bert\.pooler\.dense .* use method\.name=lora"):
        train(without_pooler(tmp_path), tmp_path, **{"method.name": method})


def without_pooler(folder: Path) -> Path:
    base = small_encoders.save("bert", folder / "bert")
    weights = load_file(base / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "pooler" not in name}
    assert len(kept) < len(weights)
    save_file(kept, base / "model.safetensors", metadata={"format": "pt"})
    return base
