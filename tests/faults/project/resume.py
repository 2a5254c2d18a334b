"""Goes on from the last checkpoint of finetune.py: python resume.py same|rank|targets|nothing."""

import sys

from transformers import Trainer
from utils import get_arguments, get_dataset, get_lora_model, get_model, get_tokenizer

kind = sys.argv[1]
if kind == "rank":
    model = get_lora_model(r=32)
elif kind == "full":
    model = get_model()
elif kind == "targets":
    model = get_lora_model(target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
else:
    model = get_lora_model()
args = get_arguments(save_strategy="steps", save_steps=10, max_steps=20)
trainer = Trainer(model=model, args=args, train_dataset=get_dataset(get_tokenizer()))
trainer.train(resume_from_checkpoint=True)
