"""What packing saves: tokens a second and padding of the demo's rows, packed and not, step by step in turn.

    python tests/benchmarks/packing.py [--rounds 12] [--model FOLDER] [--max-length 256] [--rows 8]

Both ways train the same LoRA adapters on the demo's rows through the engine's own batches and loss: unpacked in micro
batches of ``--rows``, packed in one sequence of ``--max-length`` tokens at a time. The rounds alternate, so that what
else the machine does slows both; the ratio of the medians is what counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from engine.batches import BatchPlan, Packing, micro_batches  # noqa: E402
from engine.config.reading import read  # noqa: E402
from engine.data import Rows, prepare_rows  # noqa: E402
from engine.loss import count_targets, summed_loss  # noqa: E402
from engine.packed_rows import count_tokens  # noqa: E402
from engine.tokenizer import load_tokenizer  # noqa: E402

DEMO = ROOT / "presets" / "demo"


def rows_of(model: str, max_length: int, folder: Path) -> tuple[Rows, int]:
    """The demo's rows as the model's tokenizer has them, and the token that pads."""
    data = {"data.path": str(DEMO / "data" / "train.jsonl"), "data.max_length": max_length}
    config = read({"model.path": model, **data}, where="benchmark", base=ROOT)
    tokenizer = load_tokenizer(config)
    rows = prepare_rows(config, tokenizer, folder / "rows", is_main=True, progress=lambda line: None)
    return rows, tokenizer.pad_token_id


def batches(rows: Rows, pad: int, micro_batch: int, steps: int, packing: Packing | None) -> list[dict[str, Any]]:
    """One micro batch a step, in the order a run has them."""
    plan = BatchPlan(
        seed=0, rows=len(rows.train), micro_batch_size=micro_batch, gradient_accumulation_steps=1, world_size=1,
        rank=0, shuffle=True, packing=packing,
    )  # fmt: skip
    return [step[0] for step in micro_batches(rows.train, plan, pad, 0, steps, 0)]


def seconds(model: Any, optimizer: Any, batch: dict[str, Any], device: str) -> float:
    """Of a training step."""
    started = time.perf_counter()
    batch = {name: values.to(device) for name, values in batch.items()}
    (summed_loss(model, batch) / count_targets(batch)).backward()
    optimizer.step()
    optimizer.zero_grad()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def padding(found: list[dict[str, Any]]) -> float:
    """Share of what is computed that is padding."""
    return 1 - sum(map(count_tokens, found)) / sum(batch["input_ids"].numel() for batch in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--model", default=str(DEMO / "model"))
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--rows", type=int, default=8, help="of an unpacked micro batch")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        rows, pad = rows_of(options.model, options.max_length, Path(folder))
        steps = options.rounds + 1
        ways = {
            "unpacked": batches(rows, pad, options.rows, steps, None),
            "packed": batches(rows, pad, 1, steps, Packing(rows.lengths, options.max_length)),
        }
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).to(device)
    model = get_peft_model(base, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-5)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(steps):
        for name, found in ways.items():
            taken = seconds(model, optimizer, found[step], device)
            if step:  # the first round warms up
                speeds[name].append(count_tokens(found[step]) / taken)
    mean = sum(rows.lengths) / len(rows.lengths)
    print(f"{len(rows.lengths)} rows of {mean:.0f} tokens on average; {device}, {torch.get_num_threads()} threads,"
          f" load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for name, found in ways.items():
        tokens = statistics.mean(map(count_tokens, found))
        print(f"{name:9} {tokens:5.0f} tokens a step, {padding(found):5.1%} padding,"
              f" {statistics.median(speeds[name]):9,.0f} tokens/s")  # fmt: skip
    print(f"packed / unpacked: {statistics.median(speeds['packed']) / statistics.median(speeds['unpacked']):.2f}")


if __name__ == "__main__":
    main()
