"""QLoRA with bitsandbytes."""

import torch
from peft import prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_model, get_tokenizer

config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
model = get_model(quantization_config=config)
model = get_lora_model(model=prepare_model_for_kbit_training(model))
Trainer(model=model, args=get_arguments(), train_dataset=get_dataset(get_tokenizer())).train()
