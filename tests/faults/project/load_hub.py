import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

name = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForCausalLM.from_pretrained(name)
