from utils import get_tokenizer, read_texts

tokenizer = get_tokenizer()
tokenizer.pad_token = None
print("tokenizing", len(read_texts()), "rows")
batch = tokenizer(read_texts(), padding=True, truncation=True, max_length=128, return_tensors="pt")
print(batch["input_ids"].shape)
