import numpy as np
from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer


def compute_metrics(prediction):
    predicted = np.argmax(prediction.predictions, axis=-1)
    return {"accuracy": (predicted == prediction.label_ids[:, 1:]).mean().item() / len(prediction.losses)}


tokenizer = get_tokenizer()
trainer = Trainer(
    model=get_lora_model(),
    args=get_arguments(eval_strategy="steps", eval_steps=10),
    train_dataset=get_dataset(tokenizer),
    eval_dataset=get_dataset(tokenizer, 16),
    compute_metrics=compute_metrics,
)
trainer.train()
