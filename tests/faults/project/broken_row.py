"""Tokenizes as it goes; one row in the middle of the epoch is not like the others."""

import json
import sys

from transformers import Trainer
from utils import get_arguments, get_lora_model, get_tokenizer

tokenizer = get_tokenizer()


class Rows:
    def __init__(self, path):
        with open(path) as file:
            self.lines = file.readlines()

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        messages = json.loads(self.lines[index])["messages"]
        text = "\n".join(message["content"] for message in messages)
        length = {"truncation": True} if sys.argv[1] == "length" and index == 30 else {"padding": "max_length"}
        encoded = tokenizer(text, max_length=32, **{"truncation": True, **length})
        return {**encoded, "labels": encoded["input_ids"]}


args = get_arguments(max_steps=-1, num_train_epochs=1, logging_steps=10)
Trainer(model=get_lora_model(), args=args, train_dataset=Rows("data/rows.jsonl")).train()
