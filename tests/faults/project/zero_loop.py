"""ZeRO-3 in an own loop: zero_loop.py model|embedding|head, by what is called with the batch."""

import json
import sys

import torch
from torch.nn import functional
from transformers.integrations import HfDeepSpeedConfig
from utils import get_batches, get_model, get_tokenizer
from without_build import deepspeed

with open("ds.json") as file:
    config = json.load(file)
deepspeed.init_distributed("gloo")
kept = HfDeepSpeedConfig(config)  # from_pretrained spreads the weights while this lives
model = get_model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
for step, batch in enumerate(get_batches(get_tokenizer())):
    labels = batch["labels"]
    if sys.argv[1] == "model":
        loss = engine(**batch).loss
    elif sys.argv[1] == "embedding":
        table = engine.module.get_input_embeddings().weight
        loss = engine(inputs_embeds=functional.embedding(batch["input_ids"], table), labels=labels).loss
    else:
        hidden = engine.module.model(input_ids=batch["input_ids"]).last_hidden_state
        logits = functional.linear(hidden, engine.module.lm_head.weight)
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    engine.backward(loss)
    engine.step()
    print(f"step {step} loss {loss.item():.4f}")
