"""Loads an adapter trained on a resized vocabulary: python adapter_load.py vocabulary|rank."""

import sys

from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from utils import get_lora_model, get_model

base = get_model()
if sys.argv[1] == "vocabulary":
    base.resize_token_embeddings(520)
    get_lora_model(model=base, modules_to_save=["embed_tokens", "lm_head"]).save_pretrained("adapter")
    model = PeftModel.from_pretrained(get_model(), "adapter")
else:
    get_lora_model(r=8, model=base).save_pretrained("adapter")
    set_peft_model_state_dict(get_lora_model(r=16), load_file("adapter/adapter_model.safetensors"))
print("loaded")
