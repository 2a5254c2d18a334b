from transformers import LlamaConfig


class OwnConfig(LlamaConfig):
    model_type = "own"
