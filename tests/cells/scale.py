"""How large a cell's model, rows and batches are; ``python -m cells.scale NAME FOLDER`` makes model and rows."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells.cells import MIXTURES, Cell
from engine.config import Method
from engine.config.ranks import ONE_RANK

DEMO = Path(__file__).parents[2] / "presets" / "demo"
TRAINING_ROWS = 64
EVALUATION_ROWS = 6
"""No multiple of ranks x micro batch: the last batch leaves ranks without a row."""


@dataclass(frozen=True)
class Scale:
    """A size of model with the work that fits it."""

    name: str
    sentences: tuple[int, int]
    """Fewest and most of a row."""
    max_length: int
    accumulation: int
    """Micro batches a step on each of several ranks; one rank alone takes as many as all of them together."""
    learning_rate: dict[str, float]
    """By task where that has one of its own, else by method."""

    def model(self, folder: Path, method: Method, mixture: str = "") -> Path:
        """Of the large one a few layers where all is trained: its checkpoints, 12 bytes a weight, fill disks."""
        if mixture:
            return folder / f"model-{self.name}-{mixture}"
        if self.name == "tiny":
            return DEMO / "model"
        return folder / f"model-{self.name}{'-shallow' if method is Method.FULL else ''}"

    def values(self, cell: Cell, folder: Path, device: str, ranks: int) -> dict[str, Any]:
        """The configuration of a cell, by dotted path; data and model lie in ``folder``."""
        alone = cell.strategy in ONE_RANK
        return {
            "model.path": str(self.model(folder, cell.method, cell.mixture)),
            "data.path": str(folder / f"{cell.task.value}-train.jsonl"),
            "data.eval_path": str(folder / f"{cell.task.value}-evaluation.jsonl"),
            "data.max_length": self.max_length,
            "method.lora.rank": 8,
            "hardware.device": device,
            "hardware.ranks_per_node": 1 if alone else ranks,
            "hardware.threads_per_rank": 1 if device == "cpu" else None,
            "training.micro_batch_size": 2,
            "training.gradient_accumulation_steps": self.accumulation * (ranks if alone else 1),
            "training.learning_rate": self._rate(cell),
            **cell.values(),
        }

    def _rate(self, cell: Cell) -> float:
        rates = self.learning_rate
        return rates.get(cell.task.value) or rates.get(cell.method.value) or rates[""]


SCALES = {
    "tiny": Scale("tiny", (1, 5), 128, 2, {"": 2e-3, "full": 2e-4}),
    "1b": Scale("1b", (48, 64), 512, 1, {"": 1e-3, "full": 1e-5, "sequence_classification": 1e-4}),
}


def write_rows(scale: Scale, folder: Path) -> None:
    """Texts to go on with and texts to tell apart, made of the demo's sentences."""
    demo = [json.loads(line) for line in (DEMO / "data" / "train.jsonl").read_text("utf-8").splitlines()]
    sentences = [message["content"] for row in demo for message in row["messages"]]
    chance = random.Random(0)
    for part, count in (("train", TRAINING_ROWS), ("evaluation", EVALUATION_ROWS)):
        texts = [" ".join(chance.choices(sentences, k=chance.randint(*scale.sentences))) for _ in range(count)]
        rows = {
            "causal_lm": [{"text": text} for text in texts],
            "sequence_classification": [
                {"text": text, "label": ("even", "odd", "third")[index % 3]} for index, text in enumerate(texts)
            ],
        }
        for task, made in rows.items():
            lines = "".join(json.dumps(row) + "\n" for row in made)
            (folder / f"{task}-{part}.jsonl").write_text(lines, "utf-8")


def make_llama(folder: Path, layers: int) -> None:
    """A Llama of random weights in bf16 (0.89 B with 16 layers), with the demo's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(DEMO / "model")
    config = LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers, num_attention_heads=16,
        num_key_value_heads=8, max_position_embeddings=2048, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, dtype="bfloat16",
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    aside = folder.with_name(f".{folder.name}")
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    aside.rename(folder)


def make_mixture(scale: Scale, folder: Path, family: str) -> None:
    """A mixture of experts of random weights in bf16 (0.96 B, or 0.4 M where ``scale`` is tiny)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(DEMO / "model")
    hidden, inner, layers = (64, 128, 3) if scale.name == "tiny" else (1024, 2816, 12)
    config = AutoConfig.for_model(
        family, vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=inner, moe_intermediate_size=inner,
        num_hidden_layers=layers, num_attention_heads=hidden // 16, num_key_value_heads=hidden // 32, head_dim=16,
        max_position_embeddings=2048, num_local_experts=8, num_experts=8, num_experts_per_tok=2,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, layer_types=["full_attention"] * layers,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    aside = folder.with_name(f".{folder.name}")
    model.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    aside.rename(folder)


def main() -> None:
    """Make what is missing, and print the names of the GPUs as JSON."""
    import torch

    scale, folder = SCALES[sys.argv[1]], Path(sys.argv[2])
    write_rows(scale, folder)
    for family in MIXTURES.values():
        mixture = scale.model(folder, Method.QLORA, family)
        if not mixture.exists():
            make_mixture(scale, mixture, family)
    for method, layers in ((Method.LORA, 16), (Method.FULL, 4)):
        if not scale.model(folder, method).exists():
            make_llama(scale.model(folder, method), layers)
    print(json.dumps([torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]))


if __name__ == "__main__":
    main()
