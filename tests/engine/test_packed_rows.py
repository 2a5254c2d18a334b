"""Packed rows give the logits, the loss and the gradients of the same rows alone, family by family."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import DEMO, events, write_run
from test_architecture_counts import ENCODERS, GPT2, LATENT, VARIANTS, small
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.modeling_flash_attention_utils import _is_packed_sequence, prepare_fa_kwargs_from_position_ids

from engine.batches import collate
from engine.events import RunDirectory
from engine.isolation import MOST, Differences, differences
from engine.loss import count_targets, logits_of, summed_loss
from engine.packed_rows import collate_packed, count_tokens, in_sequence
from qltui.facts.architecture import of_config
from qltui.facts.models.isolation import mixes_rows

IGNORED = -100
LENGTHS = (9, 14, 7, 11)
WINDOW = 6
"""Tokens of a sliding window, so that the longer rows feel it."""
OF_THEIR_OWN: dict[str, dict[str, Any]] = {
    "gpt2": GPT2 | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "deepseek_v3": VARIANTS["deepseek_v3"][0] | LATENT | {"head_dim": 6, "num_key_value_heads": 6},
    "deepseek_v2": VARIANTS["deepseek_v2"][0] | LATENT | {"head_dim": 6, "num_key_value_heads": 6},
}
"""Variants that also compute, not only count."""
MIXES = {family for family in VARIANTS if mixes_rows(of_config(small(family, VARIANTS[family][0])))}
DECODERS = [family for family in VARIANTS if family not in ENCODERS]
COMMON = [
    "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "phi3", "mixtral",
    *sorted(MIXES),
]  # fmt: skip
TRIED = DECODERS if os.environ.get("QLTUI_ALL_FAMILIES") else COMMON
ISOLATES = [family for family in TRIED if family not in MIXES]
WITHOUT_SDPA = {"gemma2", "gpt_oss", "bloom", "gptj"}


def model_of(family: str, attention: str = "eager") -> Any:
    values = small(family, OF_THEIR_OWN.get(family) or VARIANTS[family][0])
    values.pop("model_type")
    config = CONFIG_MAPPING[family](**values)
    if getattr(config, "sliding_window", None):
        config.sliding_window = WINDOW
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def rows() -> list[dict[str, list[int]]]:
    """Rows whose first tokens are learnt, and then all but two."""
    numbers = torch.Generator().manual_seed(1)
    made = []
    for length in LENGTHS:
        tokens = torch.randint(1, 150, (length,), generator=numbers).tolist()
        made.append({"input_ids": tokens, "labels": [tokens[0], IGNORED, IGNORED, *tokens[3:]]})
    return made


def sequence(*places: int) -> dict[str, list[int]]:
    chosen = [rows()[place] for place in places]
    return in_sequence({name: [row[name] for row in chosen] for name in ("input_ids", "labels")})


def test_rows_in_a_sequence_begin_anew() -> None:
    made = in_sequence({"input_ids": [[5, 6, 7], [8, 9]], "labels": [[5, IGNORED, 7], [8, 9]]})
    assert made == {
        "input_ids": [5, 6, 7, 8, 9], "labels": [IGNORED, IGNORED, 7, IGNORED, 9], "position_ids": [0, 1, 2, 0, 1],
    }  # fmt: skip


@pytest.mark.parametrize("in_one_line", [False, True])
def test_a_packed_batch_counts_tokens_and_targets_as_its_rows_do(in_one_line: bool) -> None:
    batch = collate_packed([sequence(0, 1), sequence(2), sequence(3)], 0, in_one_line=in_one_line)
    assert batch["input_ids"].shape == ((1, sum(LENGTHS)) if in_one_line else (3, 23))
    assert count_tokens(batch) == sum(LENGTHS) == count_tokens(collate(rows(), 0))
    assert count_targets(batch) == count_targets(collate(rows(), 0))
    assert "attention_mask" not in batch, "Transformers looks for documents only where there is none"


def test_flash_attention_would_see_the_rows_apart() -> None:
    """Its kernels need CUDA; what Transformers hands to them does not."""
    positions = collate_packed([sequence(0, 1), sequence(2)], 0, in_one_line=True)["position_ids"]
    assert _is_packed_sequence(positions, 1)
    (begins, _), (longest, _) = prepare_fa_kwargs_from_position_ids(positions)
    assert begins.tolist() == [0, 9, 23, 30]
    assert int(longest) == 14
    in_lines = collate_packed([sequence(0, 1), sequence(2)], 0, in_one_line=False)["position_ids"]
    assert not _is_packed_sequence(in_lines, 2), "this is why they are put in one line"


@pytest.mark.parametrize(
    ("family", "attention"),
    [(one, kind) for one in ISOLATES for kind in ("eager", "sdpa") if kind == "eager" or one not in WITHOUT_SDPA],
)
def test_packed_rows_are_computed_as_alone(family: str, attention: str) -> None:
    """A batch of a full sequence, a padded one, and one of a single row."""
    model = model_of(family, attention)
    alone = [logits_of(model, collate([row], 0))[0] for row in rows()]
    loss_alone = sum((summed_loss(model, collate([row], 0)) for row in rows()), torch.zeros(()))
    of_alone = gradients(model, loss_alone)
    for in_one_line in (False, True):
        batch = collate_packed([sequence(0, 1), sequence(2), sequence(3)], 0, in_one_line=in_one_line)
        packed = logits_of(model, batch).flatten(0, 1)
        lines = packed[[*range(23), *range(23, 30), *range(46, 57)]] if not in_one_line else packed
        torch.testing.assert_close(lines, torch.cat(alone), rtol=1e-5, atol=1e-5)
        loss = summed_loss(model, batch)
        torch.testing.assert_close(loss, loss_alone, rtol=1e-5, atol=0)
        for name, gradient in gradients(model, loss).items():
            scale = float(of_alone[name].abs().max())
            torch.testing.assert_close(gradient, of_alone[name], rtol=1e-4, atol=1e-5 * scale + 1e-6, msg=name)


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("family", TRIED)
def test_the_check_before_the_first_step_knows_which_families_mix_rows(family: str) -> None:
    model = model_of(family)
    with torch.no_grad():
        found = differences(lambda batch: logits_of(model, batch), *rows()[:2])
    assert found.mixes is (family in MIXES)
    assert found.rounding < 1e-3 * found.mixed
    share = found.packed / found.mixed
    assert share > 3 * MOST if family in MIXES else share < 1e-3


def test_rounding_is_not_taken_for_rows_that_see_each_other() -> None:
    """A model that has learnt nothing hardly looks at other tokens, and bf16 rounds more than that away."""
    assert not Differences(packed=0.02, mixed=0.03, rounding=0.01).mixes
    assert Differences(packed=0.05, mixed=0.05, rounding=0.01).mixes
    assert not Differences(packed=0.05, mixed=0.5, rounding=0.0).mixes


def test_a_run_with_a_model_that_mixes_rows_ends_before_its_first_step(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(DEMO / "model", model, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    values = small("opt", VARIANTS["opt"][0] | {"vocab_size": 1024})
    values.pop("model_type")
    AutoModelForCausalLM.from_config(CONFIG_MAPPING["opt"](**values)).save_pretrained(model)
    run = tmp_path / "run"
    run.mkdir()
    write_run(run, **{
        "model.path": str(model), "data.packing": True, "data.max_length": 64, "strategy.name": "single",
        "method.name": "lora", "hardware.ranks_per_node": 1,
    })  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "engine.train", str(run)], capture_output=True, text=True, timeout=240, check=False
    )
    (failure,) = events(RunDirectory(run), "failed")
    assert done.returncode == 3, done.stdout + done.stderr
    assert failure["bad_input"]
    assert "sdpa attention this model mixes the rows" in failure["message"]
    assert "data.packing=false" in failure["message"]
    assert not events(RunDirectory(run), "step")


def test_checkpointed_layers_get_the_same_mask() -> None:
    model = model_of("mistral", "sdpa")
    batch = collate_packed([sequence(0, 1), sequence(2, 3)], 0, in_one_line=False)
    kept = gradients(model, summed_loss(model, batch))
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for name, gradient in gradients(model, summed_loss(model, batch)).items():
        torch.testing.assert_close(gradient, kept[name], msg=name)
