from datasets import load_dataset
from transformers import DataCollatorForLanguageModeling, Trainer
from utils import get_arguments, get_lora_model, get_tokenizer

tokenizer = get_tokenizer()
dataset = load_dataset("json", data_files="data/train.jsonl", split="train")
trainer = Trainer(
    model=get_lora_model(),
    args=get_arguments(),
    train_dataset=dataset,
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
)
trainer.train()
