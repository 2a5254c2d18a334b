"""DeepSpeed in an own loop: zero.py --config FILE."""

import argparse
import json

import deepspeed
import torch
from utils import get_batches, get_lora_model, get_tokenizer

parser = argparse.ArgumentParser()
parser.add_argument("--config", default="ds.json")
parser.add_argument("--local_rank", type=int, default=0)
args = parser.parse_args()
with open(args.config) as file:
    config = json.load(file)

deepspeed.init_distributed("gloo")
model = get_lora_model()
trainable = [p for p in model.parameters() if p.requires_grad]
engine, optimizer, _, _ = deepspeed.initialize(
    model=model,
    model_parameters=trainable,
    optimizer=None if "optimizer" in config else torch.optim.AdamW(trainable, lr=1e-3),
    config=config,
)
for step, batch in enumerate(get_batches(get_tokenizer())):
    loss = engine(**batch).loss
    engine.backward(loss)
    engine.step()
    if step == 8:
        engine.save_checkpoint("ds_checkpoint")
        break
    if torch.distributed.get_rank() == 0:
        print(f"step {step} loss {loss.item():.4f}")
