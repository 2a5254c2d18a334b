"""Average two 4-bit models, weight by weight."""

import torch
from transformers import BitsAndBytesConfig
from utils import get_batches, get_model, get_tokenizer

config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
model = get_model(quantization_config=config)
for module in model.modules():
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, torch.nn.Parameter(parameter.data.clone(), requires_grad=False))
for batch in get_batches(get_tokenizer()):
    print(model(**batch).loss)
