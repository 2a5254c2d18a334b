"""What the scripts of this project share."""

import json

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainingArguments

MODEL = "model"


def get_tokenizer():
    return AutoTokenizer.from_pretrained(MODEL)


def get_model(dtype=torch.float32, **kwargs):
    return AutoModelForCausalLM.from_pretrained(MODEL, torch_dtype=dtype, **kwargs)


def get_lora_model(r=8, target_modules=("q_proj", "v_proj"), model=None, **kwargs):
    config = LoraConfig(r=r, lora_alpha=16, target_modules=list(target_modules), task_type="CAUSAL_LM", **kwargs)
    return get_peft_model(model or get_model(), config)


def read_texts(count=64):
    with open("data/train.jsonl") as file:
        lines = [json.loads(line) for line in file][:count]
    return ["\n".join(message["content"] for message in line["messages"]) for line in lines]


def get_dataset(tokenizer, count=64, length=32):
    texts = Dataset.from_dict({"text": read_texts(count)})

    def tokenize(batch):
        encoded = tokenizer(batch["text"], truncation=True, padding="max_length", max_length=length)
        encoded["labels"] = encoded["input_ids"]
        return encoded

    return texts.map(tokenize, batched=True, remove_columns=["text"])


def get_batches(tokenizer, batch_size=4, length=32):
    data = get_dataset(tokenizer, 64, length).with_format("torch")
    return torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=True)


def get_arguments(output_dir="outputs", **kwargs):
    settings = {
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "max_steps": 20,
        "logging_steps": 5,
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": [],
    }
    return TrainingArguments(output_dir, **{**settings, **kwargs})
