"""Own training loop with gradient checkpointing on a frozen base."""

import torch
from utils import get_batches, get_lora_model, get_model, get_tokenizer

tokenizer = get_tokenizer()
base = get_model()
base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
model = get_lora_model(model=base)
model.base_model.model.model.embed_tokens._forward_hooks.clear()
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
for step, batch in enumerate(get_batches(tokenizer)):
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}: loss {loss.item():.4f}")
