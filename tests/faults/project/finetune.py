"""LoRA fine-tuning with the Trainer."""

import sys

from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer

tokenizer = get_tokenizer()
model = get_lora_model()
model.print_trainable_parameters()
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 20
trainer = Trainer(
    model=model,
    args=get_arguments(max_steps=steps, save_strategy="steps", save_steps=10),
    train_dataset=get_dataset(tokenizer),
    eval_dataset=get_dataset(tokenizer, 16),
)
trainer.train()
print(trainer.evaluate())
trainer.save_model("outputs/final")
