"""Makes the recorded files beside it by really training: ``python make.py trainer|trl|llamafactory FOLDER``.

Needs what its program needs (torch, transformers; trl; llamafactory), which the tests do not. What README.md lists is
then copied out of FOLDER; the log is standard output and error together: ``... trainer out > trainer.log 2>&1``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

DEMO = Path(__file__).parents[3] / "presets" / "demo"
SETTINGS = {
    "max_steps": 24, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "logging_steps": 2,
    "eval_strategy": "steps", "eval_steps": 8, "save_steps": 12, "use_cpu": True, "report_to": [], "seed": 1,
}  # fmt: skip


def rows(tokenizer: object, count: int) -> list[dict[str, torch.Tensor]]:
    text = (DEMO / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    tokens = [tokenizer(line, return_tensors="pt", truncation=True, max_length=32)["input_ids"][0] for line in text]
    tokens = [torch.nn.functional.pad(row, (0, 32 - len(row))) for row in tokens]
    return [{"input_ids": row, "labels": row.clone()} for row in tokens]


def with_trainer(folder: str, callbacks: list[object]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(DEMO / "model")
    model = AutoModelForCausalLM.from_pretrained(DEMO / "model")
    Trainer(
        model, TrainingArguments(folder, **SETTINGS), train_dataset=rows(tokenizer, 64),
        eval_dataset=rows(tokenizer, 8), callbacks=callbacks,
    ).train()  # fmt: skip


def with_trl(folder: str) -> None:
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    data = load_dataset("json", data_files=str(DEMO / "data" / "train.jsonl"), split="train[:72]")
    SFTTrainer(
        str(DEMO / "model"), SFTConfig(folder, max_length=64, **SETTINGS), train_dataset=data.select(range(64)),
        eval_dataset=data.select(range(64, 72)),
    ).train()  # fmt: skip


if __name__ == "__main__":
    program, folder = sys.argv[1:]
    torch.set_num_threads(1)
    if program == "trl":
        with_trl(folder)
    elif program == "llamafactory":
        from llamafactory.train.callbacks import LogCallback

        with_trainer(folder, [LogCallback()])
    else:
        with_trainer(folder, [])
