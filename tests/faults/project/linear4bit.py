import bitsandbytes as bnb
import torch

layer = bnb.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4")
print(layer(torch.randn(2, 64)))
