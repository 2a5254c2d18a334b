import torch
from transformers import BitsAndBytesConfig, Trainer
from utils import get_arguments, get_dataset, get_model, get_tokenizer

model = get_model(torch.bfloat16, quantization_config=BitsAndBytesConfig(load_in_4bit=True))
Trainer(model=model, args=get_arguments(), train_dataset=get_dataset(get_tokenizer())).train()
