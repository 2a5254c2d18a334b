import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from transformers import BitsAndBytesConfig
from utils import get_batches, get_lora_model, get_model, get_tokenizer

dist.init_process_group("gloo")
torch.distributed.device_mesh.init_device_mesh("cpu", (2,))
base = get_model(torch.float32, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
model = get_lora_model(model=base)
for layer in model.base_model.model.model.layers:
    fully_shard(layer)
fully_shard(model)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
for batch in get_batches(get_tokenizer()):
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(loss.item())
