from utils import get_lora_model

model = get_lora_model(target_modules=["self_attn"])
model.print_trainable_parameters()
