import torch
from utils import get_model

model = get_model(torch.bfloat16, attn_implementation="flash_attention_2")
