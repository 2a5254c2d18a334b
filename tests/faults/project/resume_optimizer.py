"""Own loop that goes on from a checkpoint after more layers were unfrozen."""

import torch
from utils import get_batches, get_model, get_tokenizer


def build(layers):
    model = get_model()
    model.requires_grad_(False)
    for layer in model.model.layers[-layers:]:
        layer.requires_grad_(True)
    return model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)


def train(model, optimizer, steps):
    for step, batch in enumerate(get_batches(get_tokenizer())):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step}: loss {loss.item():.4f}")
        if step == steps:
            break


model, optimizer = build(layers=1)
train(model, optimizer, 3)
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")
model, optimizer = build(layers=2)
checkpoint = torch.load("checkpoint.pt")
model.load_state_dict(checkpoint["model"])
optimizer.load_state_dict(checkpoint["optimizer"])
train(model, optimizer, 3)
