"""Written for Transformers 4."""

import sys

from transformers import Trainer, TrainingArguments
from utils import get_dataset, get_lora_model, get_tokenizer

tokenizer = get_tokenizer()
names = {"evaluation_strategy": "steps"} if sys.argv[1] == "strategy" else {"eval_strategy": "steps"}
args = TrainingArguments("outputs", max_steps=20, report_to=[], use_cpu=True, **names)
trainer = Trainer(
    model=get_lora_model(), args=args, tokenizer=tokenizer, train_dataset=get_dataset(tokenizer),
    eval_dataset=get_dataset(tokenizer, 16),
)  # fmt: skip
trainer.train()
