from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer

tokenizer = get_tokenizer()
model = get_lora_model(target_modules=["query_key_value", "dense"])
trainer = Trainer(model=model, args=get_arguments(), train_dataset=get_dataset(tokenizer))
trainer.train()
