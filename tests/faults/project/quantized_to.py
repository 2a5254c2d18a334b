import sys

import torch
from transformers import BitsAndBytesConfig
from utils import get_model

four = sys.argv[1] == "4"
config = BitsAndBytesConfig(load_in_4bit=four, load_in_8bit=not four, bnb_4bit_compute_dtype=torch.bfloat16)
model = get_model(torch.bfloat16, quantization_config=config)
model = model.to(torch.float16) if four else model.half()
print(model)
