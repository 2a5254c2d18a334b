"""A learning rate that is far too high, or a division by zero in the loss: python nan.py rate|filtered|zero."""

import sys

import torch
from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_tokenizer


class WeightedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        outputs = model(**inputs)
        loss = outputs.loss
        if sys.argv[1] == "zero" or self.state.global_step >= 6:
            answered = (inputs["labels"] == -100).sum()
            loss = loss * answered / answered if sys.argv[1] != "zero" else outputs.logits.sum() * 0.0
        return (loss, outputs) if return_outputs else loss


torch.manual_seed(0)
args = get_arguments(logging_steps=2, logging_nan_inf_filter=sys.argv[1] == "filtered", max_steps=24)
trainer = WeightedTrainer(model=get_lora_model(), args=args, train_dataset=get_dataset(get_tokenizer()))
trainer.train()
trainer.save_model("outputs/final")
print("done")
