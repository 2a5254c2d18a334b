from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer

args = get_arguments(deepspeed="ds.json", use_cpu=False, gradient_accumulation_steps=2)
trainer = Trainer(model=get_lora_model(), args=args, train_dataset=get_dataset(get_tokenizer()))
trainer.train()
