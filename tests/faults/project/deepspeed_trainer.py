"""LoRA with the Trainer and DeepSpeed's file."""

import without_build  # noqa: F401
from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer

args = get_arguments(deepspeed="ds.json", use_cpu=False)
trainer = Trainer(model=get_lora_model(), args=args, train_dataset=get_dataset(get_tokenizer()))
trainer.train()
