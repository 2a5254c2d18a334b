import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from utils import get_batches, get_lora_model, get_model, get_tokenizer

dist.init_process_group("gloo")
base = get_model()
base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
base.enable_input_require_grads()
model = DistributedDataParallel(get_lora_model(model=base), find_unused_parameters=True)
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
for step, batch in enumerate(get_batches(get_tokenizer())):
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}: loss {loss.item():.4f}", flush=True)
