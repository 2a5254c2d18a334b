from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_model, get_tokenizer

args = get_arguments(deepspeed="ds.json", use_cpu=False)
model = get_lora_model(model=get_model(device_map="auto"))
trainer = Trainer(model=model, args=args, train_dataset=get_dataset(get_tokenizer()))
trainer.train()
