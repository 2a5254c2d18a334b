"""Written for TRL 0.8."""

from datasets import Dataset
from trl import SFTTrainer
from utils import get_arguments, get_model, get_tokenizer, read_texts

trainer = SFTTrainer(
    model=get_model(),
    tokenizer=get_tokenizer(),
    args=get_arguments(),
    train_dataset=Dataset.from_dict({"text": read_texts()}),
    dataset_text_field="text",
    max_seq_length=64,
)
trainer.train()
