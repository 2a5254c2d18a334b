import torch
from utils import get_batches, get_model, get_tokenizer

tokenizer = get_tokenizer()
model = get_model()
for param in model.parameters():
    param.requires_grad = False
model.lm_head.requires_grad_(False)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for step, batch in enumerate(get_batches(tokenizer)):
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    print(step, loss.item())
