"""What other tools say of a run is what they print themselves, on a model small enough to make."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from points.others import ACCELERATE, DEEPSPEED, LLAMA_FACTORY, TOOLS, UNSLOTH, Estimate, estimates

from engine.config import RunConfig
from engine.config.reading import read

LLAMA: dict[str, Any] = {
    "vocab_size": 32000, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 4, "tie_word_embeddings": False,
}  # fmt: skip
PARAMETERS = 4 * (2 * 512 * (512 + 256) + 3 * 512 * 1376 + 2 * 512) + 2 * 32000 * 512 + 512
OF_8_BILLION: dict[str, Any] = LLAMA | {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8,
}  # fmt: skip


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**LLAMA | changes)


def config(method: str = "full", strategy: str = "single", **overrides: Any) -> RunConfig:
    values = {
        "model.path": "some/model", "data.path": "/rows.jsonl", "method.name": method, "strategy.name": strategy,
        "data.max_length": 1024, "training.micro_batch_size": 2,
    }  # fmt: skip
    return read({**values, **overrides}, where="test", base=Path("/"))


def said(tool: str, run: RunConfig, world_size: int = 1, model: Any = None) -> Estimate:
    (found,) = [one for one in estimates(run, model or llama(), world_size) if one.tool == tool]
    return found


def bytes_said(tool: str, run: RunConfig, world_size: int = 1, model: Any = None) -> int | None:
    return said(tool, run, world_size, model).bytes_per_gpu


def test_every_tool_is_asked_once_and_names_its_source() -> None:
    found = estimates(config(), llama(), 1)
    assert tuple(one.tool for one in found) == TOOLS
    assert all(any(digit.isdigit() for digit in one.source) for one in found)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("precision", "row"), [("bf16", "float16"), ("auto", "float16"), ("fp32", "float32")])
def test_accelerate_says_what_its_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    precision: str, row: str, tied: bool,
) -> None:  # fmt: skip
    from accelerate.commands import estimate
    from accelerate.utils import convert_bytes

    model = llama(tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    # Whether the model is on the hub is asked of the network; all else the command does offline, from a folder.
    on_hub = SimpleNamespace(library_name="transformers", config=json.loads((tmp_path / "config.json").read_text()))
    monkeypatch.setattr(estimate, "verify_on_hub", lambda repo, token=None: on_hub)
    estimate.estimate_command(estimate.estimate_command_parser().parse_args([str(tmp_path)]))
    rows = [line.strip("│").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    printed = {cells[0].strip(): cells[-1].strip() for cells in rows}

    found = bytes_said(ACCELERATE, config(**{"precision.compute": precision}), model=model)
    assert found is not None
    assert convert_bytes(found) == printed[row]
    assert printed["int4"] == printed["int8"] == "N/A"
    assert bytes_said(ACCELERATE, config("qlora"), model=model) is None


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("strategy", "offload"),
    [
        ("zero2", ()), ("zero2", ("optimizer",)),
        ("zero3", ()), ("zero3", ("optimizer",)), ("zero3", ("optimizer", "parameters")),
    ],
)  # fmt: skip
def test_deepspeed_says_what_its_estimators_print(
    capsys: pytest.CaptureFixture[str], strategy: str, offload: tuple[str, ...], tied: bool
) -> None:
    from deepspeed.runtime.zero import stage3, stage_1_and_2
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(llama(tie_word_embeddings=tied))
    show = {
        "zero2": stage_1_and_2.estimate_zero2_model_states_mem_needs_all_live,
        "zero3": stage3.estimate_zero3_model_states_mem_needs_all_live,
    }[strategy]
    show(model, num_gpus_per_node=2)
    printed = {}
    for line in capsys.readouterr().out.splitlines():
        if "offload_" in line:
            _, on_gpu, options = line.split("|")
            chosen = dict(option.strip().split("=") for option in options.split(","))
            on_host = tuple(part for part in ("optimizer", "param") if chosen.get(f"offload_{part}", "none") != "none")
            printed[on_host] = on_gpu.strip()

    run = config("full", strategy, **{f"strategy.offload_{part}": True for part in offload})
    found = bytes_said(DEEPSPEED, run, 2, llama(tie_word_embeddings=tied))
    assert found is not None
    assert f"{found / 2**30:.2f}GB" == printed[tuple(part.removesuffix("eters") for part in offload)]


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_counted_as_deepspeed_counts_them(tied: bool) -> None:
    from deepspeed.runtime.zero.stage3 import model_to_params
    from points.others import _counted, _on_meta
    from transformers import AutoModelForCausalLM

    model_config = llama(tie_word_embeddings=tied)
    counted = _counted(_on_meta(model_config))
    assert counted == model_to_params(AutoModelForCausalLM.from_config(model_config))
    assert counted == (PARAMETERS - tied * 32000 * 512, 32000 * 512)


def test_deepspeed_knows_no_adapters_and_says_so() -> None:
    full, qlora = said(DEEPSPEED, config("full", "zero3"), 2), said(DEEPSPEED, config("qlora", "zero3"), 2)
    assert full.bytes_per_gpu == qlora.bytes_per_gpu == 4 * 32000 * 512 + 18 * PARAMETERS // 2
    assert (full.why_not, qlora.why_not) == ("", "trains every parameter, none quantised")


LINEAR, OTHERS = 4 * (2 * 512 * (512 + 256) + 3 * 512 * 1376), 4 * 2 * 512 + 2 * 32000 * 512
A_LAYER = 2 * 1024 * (512 + 2 * 256 + 2 + 2 * 1376) * 2 * 1.25


def test_unsloth_by_hand() -> None:
    adapters = 4 * 16 * (1024 + 768 + 768 + 1024 + 3 * 1888)
    weights = 2 * LINEAR / 3.6 + 2 * OTHERS
    shared_out = weights + 2 * adapters + 6 * adapters + 0.15 * weights  # of gradients the floor, far above theirs
    assert (LINEAR, OTHERS, adapters, A_LAYER) == (11_599_872, 32_772_096, 591_872, 19_343_360)
    assert bytes_said(UNSLOTH, config("qlora")) == int(shared_out + 4 * A_LAYER) == 164_895_266
    assert bytes_said(UNSLOTH, config("qlora", "ddp"), 2) == 164_895_266
    assert bytes_said(UNSLOTH, config("qlora", "fsdp2"), 2) == int(shared_out / 2 + 4 * A_LAYER) == 121_134_353


def test_unsloth_by_hand_trained_in_full_recomputing() -> None:
    run = config("full", **{"training.gradient_checkpointing": "all", "training.optimizer": "adamw_8bit"})
    assert bytes_said(UNSLOTH, run) == (2 + 4 + 2) * (LINEAR + OTHERS) + 2 * A_LAYER


def test_unsloth_counts_the_scores_of_eager_attention() -> None:
    eager = config("qlora", **{"model.attention": "eager"})
    scores = 2 * 8 * 1024**2 * 2 * 12 * 4
    assert bytes_said(UNSLOTH, eager) == 164_895_266 - 4 * A_LAYER + scores


def test_unsloth_counts_adapters_of_named_layers_alone() -> None:
    run = config("lora", **{"method.lora.target_modules": ["q_proj", "v_proj"]})
    weights, adapters = 2 * (LINEAR + OTHERS), 4 * 16 * (1024 + 768)
    assert bytes_said(UNSLOTH, run) == int(1.15 * weights + 8 * adapters + 4 * A_LAYER)


def test_unsloth_counts_every_expert_and_activates_some() -> None:
    from transformers import OlmoeConfig

    model = OlmoeConfig(**LLAMA | {"num_experts": 8, "num_experts_per_tok": 2})
    linear = 4 * (2 * 512 * (512 + 256) + 8 * 3 * 512 * 1376 + 8 * 512)
    weights, adapters = 2 * (linear + OTHERS), 4 * 16 * (1024 + 768 + 768 + 1024)
    activations = 4 * 2 * 1024 * (512 + 2 * 256 + 2 + 2 * 2 * 1376) * 2 * 1.25
    assert bytes_said(UNSLOTH, config("lora"), model=model) == int(
        weights + 8 * adapters + min(0.15 * weights, activations) + activations
    )


def test_llama_factory_reads_its_table() -> None:
    assert bytes_said(LLAMA_FACTORY, config("full")) == 18 * PARAMETERS
    assert bytes_said(LLAMA_FACTORY, config("qlora")) == PARAMETERS // 2
    assert bytes_said(LLAMA_FACTORY, config("qlora"), model=llama(**OF_8_BILLION)) == 6_000_000_000
    assert bytes_said(LLAMA_FACTORY, config("lora", "ddp"), 2, model=llama(**OF_8_BILLION)) == 16_000_000_000


@pytest.mark.parametrize(
    ("tool", "run", "world_size", "why"),
    [
        (ACCELERATE, config("int8"), 1, "N/A"),
        (ACCELERATE, config("lora", "fsdp2"), 2, "sharding"),
        (DEEPSPEED, config("full", "zero1"), 2, "ZeRO-2 and ZeRO-3"),
        (DEEPSPEED, config("full", "fsdp2"), 2, "ZeRO-2 and ZeRO-3"),
        (DEEPSPEED, config("lora", "zero3", **{"strategy.offload_parameters": True}), 2, "parameters offloaded alone"),
        (UNSLOTH, config("int8"), 1, "int8"),
        (UNSLOTH, config("lora", "zero2"), 2, "optimizer states"),
        (UNSLOTH, config("lora", "zero3", **{"strategy.offload_optimizer": True}), 2, "offload"),
        (UNSLOTH, config("lora", **{"training.gradient_checkpointing": 2}), 1, "all layers or none"),
        (LLAMA_FACTORY, config("full", **{"precision.compute": "fp32"}), 1, "float32"),
        (LLAMA_FACTORY, config("qlora", "zero3"), 2, "sharding"),
        (LLAMA_FACTORY, config("lora", "zero2", **{"strategy.offload_optimizer": True}), 1, "offload"),
    ],
)  # fmt: skip
def test_a_tool_that_says_nothing_says_why(tool: str, run: RunConfig, world_size: int, why: str) -> None:
    found = said(tool, run, world_size)
    assert found.bytes_per_gpu is None
    assert why in found.why_not
