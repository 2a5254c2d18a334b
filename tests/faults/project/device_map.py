"""Fine-tuning with Accelerate, the model spread over what there is."""

import torch
from accelerate import Accelerator
from utils import get_batches, get_lora_model, get_model, get_tokenizer

accelerator = Accelerator(cpu=True)
device_map = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
device_map |= {f"model.layers.{i}": "cpu" if i < 2 else "disk" for i in range(4)}
model = get_lora_model(model=get_model(device_map=device_map, offload_folder="offload"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
model, optimizer, batches = accelerator.prepare(model, optimizer, get_batches(get_tokenizer()))
for batch in batches:
    accelerator.backward(model(**batch).loss)
    optimizer.step()
    optimizer.zero_grad()
