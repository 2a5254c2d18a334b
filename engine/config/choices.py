"""What fields of a configuration may be chosen from. Imports no torch.

All methods, strategies and tasks are here from the start; what is not built yet says ``engine.config.cells``.
"""

from enum import StrEnum


class Task(StrEnum):
    CAUSAL_LM = "causal_lm"
    SEQUENCE_CLASSIFICATION = "sequence_classification"


class Method(StrEnum):
    FULL = "full"
    LORA = "lora"
    QLORA = "qlora"
    INT8 = "int8"


class StrategyName(StrEnum):
    SINGLE = "single"
    DDP = "ddp"
    PIPELINE = "pipeline"
    FSDP2 = "fsdp2"
    ZERO1 = "zero1"
    ZERO2 = "zero2"
    ZERO3 = "zero3"


class Compute(StrEnum):
    AUTO = "auto"
    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"


class Device(StrEnum):
    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"


class Attention(StrEnum):
    AUTO = "auto"
    SDPA = "sdpa"
    EAGER = "eager"
    FLASH_ATTENTION_2 = "flash_attention_2"


class DataFormat(StrEnum):
    AUTO = "auto"
    MESSAGES = "messages"
    SHAREGPT = "sharegpt"
    ALPACA = "alpaca"
    PROMPT_COMPLETION = "prompt_completion"
    TEXT = "text"
    CLASSIFICATION = "classification"


class LossOn(StrEnum):
    ANSWERS = "answers"
    ALL = "all"


class QuantizationType(StrEnum):
    NF4 = "nf4"
    FP4 = "fp4"


class Storage(StrEnum):
    AUTO = "auto"
    UINT8 = "uint8"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class LoraInit(StrEnum):
    DEFAULT = "default"
    GAUSSIAN = "gaussian"
    PISSA = "pissa"
    OLORA = "olora"


class Optimizer(StrEnum):
    ADAMW = "adamw"
    ADAMW_8BIT = "adamw_8bit"
    PAGED_ADAMW_8BIT = "paged_adamw_8bit"


class Schedule(StrEnum):
    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"


class Checkpointing(StrEnum):
    NONE = "none"
    ALL = "all"


class Loss(StrEnum):
    AUTO = "auto"
    FULL = "full"
    CHUNKED = "chunked"


class Tracker(StrEnum):
    TRACKIO = "trackio"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
