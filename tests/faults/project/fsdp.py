"""FSDP over a LoRA model: python fsdp.py mixed|int8|storage."""

import functools
import sys

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from transformers import BitsAndBytesConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from utils import get_lora_model, get_model

dist.init_process_group("gloo")
kind = sys.argv[1]
if kind == "mixed":
    base = get_model(torch.bfloat16)
elif kind == "int8":
    base = get_model(torch.bfloat16, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
else:
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
    base = get_model(torch.bfloat16, quantization_config=quantization)
model = get_lora_model(model=base)
policy = functools.partial(transformer_auto_wrap_policy, transformer_layer_cls={LlamaDecoderLayer})
model = FullyShardedDataParallel(model, auto_wrap_policy=policy, device_id=torch.device("cpu"))
print(model)
