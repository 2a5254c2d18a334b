from huggingface_hub import snapshot_download

print("downloading the base model")
snapshot_download("meta-llama/Llama-3.1-8B", local_dir="base")
