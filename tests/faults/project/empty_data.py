from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer

tokenizer = get_tokenizer()
data = get_dataset(tokenizer).filter(lambda row: len(row["input_ids"]) > 1000)
Trainer(model=get_lora_model(), args=get_arguments(), train_dataset=data).train()
