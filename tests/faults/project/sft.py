"""Supervised fine-tuning with TRL."""

import sys

from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

data_file = sys.argv[1] if len(sys.argv) > 1 else "data/train.jsonl"
dataset = load_dataset("json", data_files=data_file, split="train")
dataset = dataset.train_test_split(test_size=0.1, seed=42)
args = SFTConfig(
    output_dir="outputs/sft",
    per_device_train_batch_size=4,
    max_steps=20,
    learning_rate=2e-4,
    max_length=128,
    logging_steps=5,
    use_cpu=True,
    bf16=False,
    report_to="none",
    model_init_kwargs={"torch_dtype": "float32"},
)
trainer = SFTTrainer(
    model="model",
    args=args,
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
)
trainer.train()
trainer.save_model("outputs/sft/final")
