"""Sequence classification on a frozen base with LoRA."""

import argparse

import torch
from datasets import Dataset
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer
from utils import get_arguments, get_tokenizer, read_texts

parser = argparse.ArgumentParser()
parser.add_argument("--num_labels", type=int, default=2)
parser.add_argument("--no_pad_id", action="store_true")
args = parser.parse_args()

tokenizer = get_tokenizer()
texts = read_texts()
data = Dataset.from_dict({"text": texts, "label": [i % 5 for i in range(len(texts))]})
data = data.map(lambda row: tokenizer(row["text"], truncation=True, max_length=32), remove_columns=["text"])
model = AutoModelForSequenceClassification.from_pretrained(
    "model", num_labels=args.num_labels, torch_dtype=torch.float32
)
if args.no_pad_id:
    model.config.pad_token_id = None
model = get_peft_model(model, LoraConfig(task_type=TaskType.SEQ_CLS, r=8, target_modules=["q_proj", "v_proj"]))
trainer = Trainer(
    model=model,
    args=get_arguments(),
    train_dataset=data,
    data_collator=DataCollatorWithPadding(tokenizer),
)
trainer.train()
