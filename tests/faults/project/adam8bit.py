import bitsandbytes as bnb
from utils import get_batches, get_lora_model, get_tokenizer

model = get_lora_model()
optimizer = bnb.optim.Adam8bit([p for p in model.parameters() if p.requires_grad], lr=1e-3, min_8bit_size=16)
for step, batch in enumerate(get_batches(get_tokenizer())):
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(step, loss.item())
