from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer

tokenizer = get_tokenizer()
tokenizer.add_special_tokens({"pad_token": "[PAD]", "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
model = get_lora_model()
Trainer(model=model, args=get_arguments(), train_dataset=get_dataset(tokenizer)).train()
