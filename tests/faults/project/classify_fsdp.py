"""Sequence classification with LoRA under FSDP1, saved by PEFT."""

import functools

import torch
import torch.distributed as dist
from peft import LoraConfig, TaskType, get_peft_model, get_peft_model_state_dict
from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel, StateDictType
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from transformers import AutoModelForSequenceClassification
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

dist.init_process_group("gloo")
model = AutoModelForSequenceClassification.from_pretrained("model", num_labels=2, torch_dtype=torch.float32)
model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, r=8, target_modules=["q_proj", "v_proj"]))
policy = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={LlamaDecoderLayer})
model = FullyShardedDataParallel(model, auto_wrap_policy=policy, use_orig_params=True, device_id=torch.device("cpu"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
for step in range(3):
    batch = {"input_ids": torch.randint(3, 500, (4, 16)), "labels": torch.randint(0, 2, (4,))}
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}: loss {loss.item():.4f}", flush=True)
with FullyShardedDataParallel.state_dict_type(model, StateDictType.FULL_STATE_DICT, FullStateDictConfig(False, False)):
    state = get_peft_model_state_dict(model)
if dist.get_rank() == 0:
    print("saving", len(state), "tensors")
    torch.save(state, "adapter.pt")
