"""The only rank of runs in fp16 under ZeRO: ``python half_rank.py FOLDER STAGE-METHOD...``.

DeepSpeed refuses fp16 where CPUs have no instructions for it; torch computes it there all the same, slowly. Each run
takes a few steps; what it came to is written to ``FOLDER/STAGE-METHOD.json``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from engine import quiet  # isort: skip - before the libraries it quiets

import torch
from cells.ranks import forget, leave
from support.runs import DEMO
from transformers import AutoTokenizer

from engine.audit import LoadedWeights, WeightWatch
from engine.config import Compute
from engine.config.reading import read
from engine.events import write_json
from engine.launch import free_port
from engine.loss import summed_loss
from engine.model import load_model
from engine.optimizer import make_optimizer
from engine.parameters import trainable
from engine.quantized_linear import ShardableInt8Linear
from engine.strategy import make_strategy

STEPS = 3


def main() -> None:
    quiet.quiet_transformers()
    alone = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    os.environ.update(alone, MASTER_PORT=str(free_port()))
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        write_json(folder / f"{name}.json", trained(*name.split("-")))
        forget()
    leave(0)


def trained(stage: str, method: str) -> dict[str, Any]:
    """What a run of a few steps has to say about fp16."""
    values = {"model": str(DEMO / "model"), "data": "none.jsonl", "device": "cpu", "precision": "fp32"}
    config = read({**values, "strategy": stage, "method": method}, where="test", base=DEMO)
    strategy = make_strategy(config, tracking_folder="")
    strategy.compute = Compute.FP16
    model = load_model(config, strategy, AutoTokenizer.from_pretrained(DEMO / "model"), None)
    loaded = LoadedWeights(model, strategy.device, strategy.frozen_dtype)
    scales: dict[torch.nn.Module, torch.Tensor] = {}

    def see(part: torch.nn.Module) -> None:
        loaded.see(part)
        for layer in int8_of(part):
            scales.setdefault(layer, layer.state.SCB.clone())

    strategy.place(model, see)
    from deepspeed.accelerator import get_accelerator

    with patch.object(type(get_accelerator()), "is_fp16_supported", lambda _self: True):
        strategy.prepare(model, lambda parameters: make_optimizer(config, parameters))
    before = weights(strategy)
    watch = WeightWatch(strategy.unwrapped, loaded.agreed())
    watch.arm()
    strategy.model.train()
    ids = torch.arange(32).view(1, -1)
    batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
    losses, applied = [], []
    for _ in range(STEPS):
        with strategy.micro_batch(last=True), strategy.autocast():
            loss = summed_loss(strategy.model, batch) / ids.numel()
            strategy.backward(loss)
        losses.append(float(loss))
        applied.append(strategy.update(1.0).applied)
    said = {
        "weights": watch.verify(),
        "computes_in": sorted({str(one.dtype) for one in strategy.unwrapped.parameters()}),
        "scaler": strategy.scaler_state(),
        "applied": applied,
        "losses": losses,
        "moved": any(not torch.equal(one, other) for one, other in zip(before, weights(strategy), strict=True)),
        "masters": sorted({str(one.dtype) for one in before}),
        "scales": len(scales),
        "scales_kept": all(torch.equal(scale, layer.state.SCB) for layer, scale in scales.items()),
        "scales_in": sorted({str(layer.state.SCB.dtype) for layer in int8_of(strategy.unwrapped)}),
    }
    strategy.release()
    return said


def int8_of(model: torch.nn.Module) -> list[ShardableInt8Linear]:
    return [module for module in model.modules() if isinstance(module, ShardableInt8Linear)]


def weights(strategy: Any) -> list[torch.Tensor]:
    return [strategy.full(parameter).clone() for parameter in trainable(strategy.unwrapped).values()]


if __name__ == "__main__":
    main()
