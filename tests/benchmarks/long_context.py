"""What the loss takes at long rows and a large vocabulary: of all logits at once, and in chunks of tokens.

``PYTHONPATH=tests python tests/benchmarks/long_context.py [--tokens 1024] [--vocabulary 151552]`` steps a small model
with adapters on one CPU thread in float32, each way in a process of its own, and prints the most bytes of tensors that
lived at once, what the process's memory grew by, and the processor time of a step (the best of three).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

WAYS = ("full", "chunked", "64", "512")
STEPS = 3
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=151_552)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--only", help="one way, as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.tokens, options.vocabulary, options.width)))
        return
    shape = f"{options.tokens} tokens, vocabulary {options.vocabulary:,}, width {options.width}"
    print(f"{shape}, float32 on one CPU thread")
    print("loss      chunk   live bytes   memory grew by   step")
    first = 0.0
    for way in WAYS:
        command = [sys.executable, *sys.argv, "--only", way]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = first or found["seconds"]
        print(
            f"{way:<9}{found['chunk'] or 'all':>6}{found['live'] / GIB:>9.2f} GiB{found['grown'] / GIB:>13.2f} GiB"
            f"{found['seconds']:>8.1f} s ({found['seconds'] / first:.2f})"
        )


def measure(way: str, tokens: int, vocabulary: int, width: int) -> dict[str, Any]:
    """Peak and time of a training step; ``way`` is a value of ``training.loss``."""
    import torch
    from peft import LoraConfig, get_peft_model
    from support.live_bytes import LiveBytes
    from support.prepared import config_of, prepared
    from transformers import AutoConfig, AutoModelForCausalLM

    from engine.chunked_loss import ChunkedLoss, choose_loss

    torch.manual_seed(0)
    torch.set_num_threads(1)
    numbers = {
        "vocab_size": vocabulary, "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2,
        "num_attention_heads": 8, "num_key_value_heads": 8, "tie_word_embeddings": False,
    }  # fmt: skip
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **numbers))
    model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    values = {"training.loss": int(way) if way.isdigit() else way, "method.name": "lora"}
    strategy = prepared(model, **values)
    ids = torch.randint(3, vocabulary, (tokens,)).tolist()
    loss = choose_loss(config_of(**values), strategy, {"input_ids": ids, "labels": ids}, print)
    row = torch.tensor([ids])
    batch = {"input_ids": row, "attention_mask": torch.ones_like(row), "labels": row}

    def step() -> float:
        started = time.process_time()
        with strategy.autocast():
            summed = loss(strategy.model, batch)
        strategy.backward(summed / tokens)
        strategy.update(1.0)
        return time.process_time() - started

    strategy.model.train()
    before = resident("VmRSS")
    seconds = min(step() for _ in range(STEPS))
    grown = resident("VmHWM") - before
    with LiveBytes() as live:
        step()
    chunk = loss.tokens if isinstance(loss, ChunkedLoss) else None
    return {"chunk": chunk, "live": live.peak, "grown": grown, "seconds": seconds}


def resident(name: str) -> int:
    """Bytes of this process, by their name in ``/proc``."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
