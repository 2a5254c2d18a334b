from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("model")
print(model)
