"""Healthy, for all that it logs."""

import logging
import warnings

import torch
from transformers import Trainer, TrainerCallback
from utils import get_arguments, get_dataset, get_lora_model, get_model, get_tokenizer

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
log = logging.getLogger("train")
try:
    base = get_model(torch.float32, attn_implementation="flash_attention_2")
except (ImportError, ValueError):
    log.exception("flash attention cannot be used, going on with sdpa")
    base = get_model(torch.float32, attn_implementation="sdpa")
warnings.warn("ErrorHandler is deprecated, RuntimeError will be raised by version 9", FutureWarning, stacklevel=1)


class Sample(TrainerCallback):
    def on_log(self, args, state, control, **kwargs):
        log.info('sample: "Traceback (most recent call last): CUDA out of memory. What does this RuntimeError mean?"')
        log.error("could not push metrics: ConnectionError(111), will retry in 30 s")


args = get_arguments(max_steps=10)
data = get_dataset(get_tokenizer())
trainer = Trainer(model=get_lora_model(model=base), args=args, train_dataset=data, callbacks=[Sample()])
trainer.train()
trainer.save_model("outputs/final")
