"""LoRA under DistributedDataParallel, in an own loop; something may happen to a rank at a step."""

import argparse
import ctypes
import os
import signal
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from utils import get_batches, get_lora_model, get_tokenizer


def eat_memory():
    kept = []
    while True:
        kept.append(torch.ones(16 << 20))


HAPPENS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
    "hang": lambda: time.sleep(1000),
    "leave": lambda: sys.exit(0),
    "abort": os.abort,
    "memory": eat_memory,
    "divide": lambda: 1 / 0,
    "nothing": lambda: None,
}
parser = argparse.ArgumentParser()
parser.add_argument("--happens", choices=HAPPENS, default="nothing")
parser.add_argument("--rank", type=int, default=1)
parser.add_argument("--step", type=int, default=5)
parser.add_argument("--timeout", type=int, default=600)
parser.add_argument("--leave_group", action="store_true")
args = parser.parse_args()

dist.init_process_group("gloo", timeout=timedelta(seconds=args.timeout))
rank = dist.get_rank()
model = DistributedDataParallel(get_lora_model())
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
for step, batch in enumerate(get_batches(get_tokenizer())):
    if rank == args.rank and step == args.step:
        HAPPENS[args.happens]()
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"[rank {rank}] step {step} loss {loss.item():.4f}", flush=True)
if args.leave_group:
    dist.destroy_process_group()
