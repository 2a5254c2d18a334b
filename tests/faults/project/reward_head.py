"""A float32 head over a bf16 body."""

import torch
from torch import nn
from utils import get_batches, get_model, get_tokenizer

body = get_model(torch.bfloat16)
head = nn.Linear(body.config.hidden_size, 1)
optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
for batch in get_batches(get_tokenizer()):
    hidden = body.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    loss = head(hidden[:, -1]).pow(2).mean()
    loss.backward()
    optimizer.step()
