import torch
from flash_attn import flash_attn_func

q = k = v = torch.randn(1, 16, 4, 32, dtype=torch.bfloat16)
print(flash_attn_func(q, k, v, causal=True).shape)
