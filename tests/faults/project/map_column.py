from datasets import load_dataset
from utils import get_tokenizer

tokenizer = get_tokenizer()
dataset = load_dataset("json", data_files="data/train.jsonl", split="train")
print(dataset)


def preprocess(example):
    prompt = f"### Instruction:\n{example['instruction']}\n\n### Response:\n{example['output']}"
    return tokenizer(prompt, truncation=True, max_length=256)


dataset = dataset.map(preprocess, remove_columns=dataset.column_names)
print(dataset)
