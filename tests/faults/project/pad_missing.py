from transformers import DataCollatorForLanguageModeling, Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer

tokenizer = get_tokenizer()
train_dataset = get_dataset(tokenizer)
tokenizer.pad_token = None
trainer = Trainer(
    model=get_lora_model(),
    args=get_arguments(),
    train_dataset=train_dataset,
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
)
trainer.train()
