import torch
from utils import get_batches, get_lora_model, get_tokenizer

model = get_lora_model()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
for step, batch in enumerate(get_batches(get_tokenizer())):
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}: loss {loss.item():.4f}")
    if step % 5 == 4:
        torch.save(model.state_dict(), f"checkpoints/llama-lora/step_{step}.pt")
