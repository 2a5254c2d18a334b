from datasets import load_dataset

dataset = load_dataset("company/support-chats", split="train")
print(dataset)
