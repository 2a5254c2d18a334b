"""LoRA under ZeRO-3 whose adapter is saved as rank 0 holds it, and loaded again."""

import json

import torch
from peft import PeftModel
from transformers.integrations import HfDeepSpeedConfig, unset_hf_deepspeed_config
from utils import get_batches, get_lora_model, get_model, get_tokenizer
from without_build import deepspeed

with open("ds.json") as file:
    config = json.load(file)
deepspeed.init_distributed("gloo")
kept = HfDeepSpeedConfig(config)
model = get_lora_model()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
for step, batch in enumerate(get_batches(get_tokenizer())):
    loss = engine(**batch).loss
    engine.backward(loss)
    engine.step()
    if step == 3:
        break
if torch.distributed.get_rank() == 0:
    print(f"step {step} loss {loss.item():.4f}, saving")
    engine.module.save_pretrained("adapter")
torch.distributed.barrier()
unset_hf_deepspeed_config()
PeftModel.from_pretrained(get_model(), "adapter")
print("loaded")
