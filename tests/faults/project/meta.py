from accelerate import init_empty_weights
from transformers import AutoConfig, AutoModelForCausalLM

config = AutoConfig.from_pretrained("model")
with init_empty_weights():
    model = AutoModelForCausalLM.from_config(config)
print("moving the model")
model.to("cpu")
