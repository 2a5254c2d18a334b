"""RunConfig: everything a run is. Imports no torch; with ``engine.events`` the contract both sides share.

A field is declared here and nowhere else: YAML, ``--set``, forms and help are made from it.
How it is read is ``engine.config.reading``; what a row of data may look like is ``engine.config.formats``.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine.config.choices import (
    Attention,
    Checkpointing,
    Compute,
    DataFormat,
    Device,
    LoraInit,
    Loss,
    LossOn,
    Method,
    Optimizer,
    QuantizationType,
    Schedule,
    Storage,
    StrategyName,
    Task,
    Tracker,
)
from engine.config.schema import Field, Section, about, nest, walk

SCHEMA_VERSION = 1


Positive = Annotated[int, Meta(ge=1)]
AtLeastTwo = Annotated[int, Meta(ge=2)]


class ModelConfig(Section, frozen=True, kw_only=True):
    path: Annotated[
        str,
        about("Model", "Local Hugging Face model folder, or the id of a model on the hub.", is_path=True, min_length=1),
    ]
    task: Annotated[Task, about("Task", "What the model learns: to write text, or to choose a class.")] = Task.CAUSAL_LM
    num_labels: Annotated[
        AtLeastTwo | None, about("Classes", "Number of classes of a sequence classification.", advanced=True)
    ] = None
    revision: Annotated[
        str | None, about("Revision", "Branch, tag or commit of a hub model.", advanced=True)
    ] = None  # fmt: skip
    tokenizer: Annotated[
        str | None,
        about("Tokenizer", "Folder or hub id of the tokenizer, if it isn't the model's.", advanced=True, is_path=True),
    ] = None
    trust_remote_code: Annotated[
        bool, about("Trust remote code", "Run Python code that comes with the model; off by default.", advanced=True)
    ] = False  # fmt: skip
    new_tokens: Annotated[
        list[str], about("New tokens", "Tokens added to the tokenizer; their embeddings are trained.", advanced=True)
    ] = []  # fmt: skip
    attention: Annotated[
        Attention, about("Attention", "Attention kernel; auto lets Transformers choose.", advanced=True)
    ] = Attention.AUTO


class DataConfig(Section, frozen=True, kw_only=True):
    path: Annotated[
        str,
        about("Data", "JSONL, JSON, CSV or Parquet file, or the id of a hub data set.", is_path=True, min_length=1),
    ]  # fmt: skip
    name: Annotated[
        str | None, about("Subset", "Configuration name of a hub data set.", advanced=True)
    ] = None  # fmt: skip
    split: Annotated[str, about("Split", "Split of a hub data set to train on.", advanced=True, min_length=1)] = "train"
    eval_path: Annotated[
        str | None, about("Evaluation data", "File or hub id of rows held out for evaluation.", is_path=True)
    ] = None  # fmt: skip
    eval_split: Annotated[
        str | None, about("Evaluation split", "Split of the hub data set to evaluate on.", advanced=True)
    ] = None  # fmt: skip
    eval_fraction: Annotated[
        float,
        about("Evaluation share", "Part of the training rows held out, if no evaluation data is given.", ge=0, lt=1),
    ] = 0.0
    format: Annotated[DataFormat, about("Format", "How a row is laid out; auto looks at its columns.")] = (
        DataFormat.AUTO
    )
    columns: Annotated[
        dict[str, str],
        about(
            "Columns", "Your columns by the names of the format: {instruction: question}.", advanced=True
        ),
    ] = {}  # fmt: skip
    chat_template: Annotated[
        str | None,
        about(
            "Chat template", "Jinja file used instead of the model's own chat template.", advanced=True, is_path=True
        ),
    ] = None
    max_length: Annotated[
        int, about("Longest sequence", "Rows are cut at this length.", unit="tokens", ge=8)
    ] = 2048  # fmt: skip
    packing: Annotated[
        bool,
        about(
            "Packing",
            "Put rows together into sequences of that length, each row seeing itself alone; a micro batch counts "
            "sequences then.",
        ),
    ] = False
    loss_on: Annotated[LossOn, about("Loss on", "Learn the answers alone, or every token, prompts included.")] = (
        LossOn.ANSWERS
    )
    shuffle: Annotated[bool, about("Shuffle", "A new order every epoch, set by the seed.", advanced=True)] = True
    num_workers: Annotated[
        int, about("Loader processes", "Extra processes a rank loads data with.", unit="processes", advanced=True, ge=0)
    ] = 0


class LoraConfig(Section, frozen=True, kw_only=True):
    rank: Annotated[int, about("LoRA rank", "Width of the adapters.", ge=1)] = 16
    alpha: Annotated[float, about("LoRA alpha", "Adapters are scaled by alpha / rank.", gt=0)] = 32.0
    dropout: Annotated[float, about("LoRA dropout", "Share of adapter inputs dropped in training.", ge=0, lt=1)] = 0.0
    target_modules: Annotated[
        str | list[str],
        about("Adapted modules", "all-linear, or the names of the modules that get adapters."),
    ] = "all-linear"
    modules_to_save: Annotated[
        list[str], about("Modules trained whole", "Modules trained in full and saved with the adapter.", advanced=True)
    ] = []
    use_rslora: Annotated[bool, about("rsLoRA", "Scale by alpha / sqrt(rank) instead.", advanced=True)] = False
    use_dora: Annotated[bool, about("DoRA", "Learn magnitude and direction apart.", advanced=True)] = False
    init: Annotated[LoraInit, about("Initialisation", "How adapters begin.", advanced=True)] = LoraInit.DEFAULT


class QuantizationConfig(Section, frozen=True, kw_only=True):
    type: Annotated[QuantizationType, about("4-bit type", "nf4 suits normally distributed weights.")] = (
        QuantizationType.NF4
    )
    double_quantization: Annotated[
        bool, about("Double quantisation", "Quantise the scales too: 0.37 bits a weight less.")
    ] = True
    storage: Annotated[
        Storage, about("Storage type", "Type the packed 4-bit bytes are kept as; auto is the exact one.", advanced=True)
    ] = Storage.AUTO
    int8_threshold: Annotated[
        float, about("int8 outliers", "Activations above it are computed in 16 bit (int8 only).", advanced=True, ge=0)
    ] = 6.0


class MethodConfig(Section, frozen=True, kw_only=True):
    name: Annotated[
        Method, about("Method", "full: every weight; lora: adapters; qlora: on a 4-bit base; int8: on an 8-bit one.")
    ] = Method.QLORA  # fmt: skip
    lora: LoraConfig = LoraConfig()
    quantization: QuantizationConfig = QuantizationConfig()


class StrategyConfig(Section, frozen=True, kw_only=True):
    name: Annotated[
        StrategyName,
        about("Strategy", "How the work is spread over ranks; pipeline is what device_map=auto does elsewhere."),
    ] = StrategyName.SINGLE
    offload_optimizer: Annotated[
        bool, about("Offload optimizer", "Keep optimizer states in host memory.", advanced=True)
    ] = False
    offload_parameters: Annotated[
        bool, about("Offload parameters", "Keep parameters in host memory between uses.", advanced=True)
    ] = False
    allow_replicated: Annotated[
        bool, about("Allow full copies", "Go on when a sharding strategy turns out not to shard.", advanced=True)
    ] = False


class PrecisionConfig(Section, frozen=True, kw_only=True):
    compute: Annotated[
        Compute,
        about("Precision", "Type computed in; auto: bf16 where the GPU has it, fp16 on older ones, fp32 on CPU."),
    ] = Compute.AUTO
    deterministic: Annotated[
        bool, about("Deterministic", "Exactly repeatable on GPU too, at some speed.", advanced=True)
    ] = False


class HardwareConfig(Section, frozen=True, kw_only=True):
    device: Annotated[Device, about("Device", "auto: GPUs where there are any, else CPU ranks.")] = Device.AUTO
    ranks_per_node: Annotated[
        Positive | None, about("Ranks per node", "Processes on each node; empty: one per GPU used, one on CPU.")
    ] = None
    nodes: Annotated[int, about("Nodes", "Machines the run spreads over.", advanced=True, ge=1)] = 1
    hosts: Annotated[
        list[str],
        about(
            "Hosts", "Of several nodes, as ssh takes them; this machine first, as the others reach it.", advanced=True
        ),
    ] = []
    gpus: Annotated[
        list[str], about("GPUs", "Indices or UUIDs of the GPUs to use; empty: the first free ones.", advanced=True)
    ] = []
    threads_per_rank: Annotated[
        Positive | None,
        about("Threads per rank", "CPU threads of each rank; empty: cores shared evenly.", advanced=True),
    ] = None
    timeout_seconds: Annotated[
        Positive | None,
        about(
            "Ranks wait", "Longest wait of ranks for each other; empty: torch's own, 600 on GPUs, 1800 on CPU.",
            unit="s", advanced=True,
        ),
    ] = None  # fmt: skip
    planned_for: Annotated[
        str, about("Planned for", "The machine a preset was planned for, as --gpus takes it.", advanced=True)
    ] = ""  # fmt: skip


class TrainingConfig(Section, frozen=True, kw_only=True):
    max_steps: Annotated[
        Positive | None, about("Steps", "Optimizer steps; empty: as many as the epochs take.", unit="steps")
    ] = None
    epochs: Annotated[float, about("Epochs", "Passes over the data, unless steps are given.", gt=0)] = 1.0
    micro_batch_size: Annotated[int, about("Micro batch", "Rows a rank computes at once.", unit="rows", ge=1)] = 1
    gradient_accumulation_steps: Annotated[
        int, about("Accumulation", "Micro batches a rank adds up for one optimizer step.", ge=1)
    ] = 1
    learning_rate: Annotated[float, about("Learning rate", "Highest rate of the schedule.", gt=0)] = 2e-4
    schedule: Annotated[Schedule, about("Schedule", "How the rate falls after warm-up.")] = Schedule.COSINE
    warmup_ratio: Annotated[
        float, about("Warm-up", "Share of the steps in which the rate rises.", advanced=True, ge=0, lt=1)
    ] = 0.03
    optimizer: Annotated[
        Optimizer, about("Optimizer", "8-bit ones save memory in full fine-tuning.", advanced=True)
    ] = Optimizer.ADAMW
    weight_decay: Annotated[float, about("Weight decay", "AdamW's decoupled decay.", advanced=True, ge=0)] = 0.0
    adam_beta1: Annotated[float, about("Adam beta 1", "Decay of the mean of gradients.", advanced=True, ge=0, lt=1)] = (
        0.9
    )
    adam_beta2: Annotated[float, about("Adam beta 2", "Decay of their squares.", advanced=True, ge=0, lt=1)] = 0.999
    max_grad_norm: Annotated[
        float, about("Clip gradients at", "Largest gradient norm; 0 clips nothing.", advanced=True, ge=0)
    ] = 1.0
    gradient_checkpointing: Annotated[
        Checkpointing | Positive,
        about("Checkpointed layers", "none, all, or how many layers recompute instead of keeping activations."),
    ] = Checkpointing.NONE
    offload_activations: Annotated[
        bool, about("Offload activations", "Keep the inputs of checkpointed layers in host memory.", advanced=True)
    ] = False
    loss: Annotated[
        Loss | Positive,
        about(
            "Loss", "Logits held at once: full, chunked, of so many tokens; auto: chunked where exact.", advanced=True
        ),
    ] = Loss.AUTO
    eval_every: Annotated[
        int, about("Evaluate every", "0: only at the end.", unit="steps", advanced=True, ge=0)
    ] = 0  # fmt: skip
    generate_answers: Annotated[
        int,
        about(
            "Answers to compare",
            "Evaluation rows answered before and after training, compared word for word with the wanted answer.",
            unit="rows", advanced=True, ge=0,
        ),
    ] = 0  # fmt: skip
    answer_max_tokens: Annotated[
        int, about("Longest answer", "Tokens of an answer at most.", unit="tokens", advanced=True, ge=1)
    ] = 64  # fmt: skip
    sample_prompts: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        about("Prompts to answer", "Answered before and after training and when it evaluates; see how it learns.",
              advanced=True, max_length=16),
    ] = []  # fmt: skip
    save_every: Annotated[
        int, about("Checkpoint every", "0: only at the end and when stopped.", unit="steps", advanced=True, ge=0)
    ] = 0
    keep_checkpoints: Annotated[int, about("Checkpoints kept", "The newest ones.", advanced=True, ge=1)] = 2
    seed: Annotated[
        int, about("Seed", "Same seed, same data order, same adapters at the start.", ge=0, le=2**32 - 1)
    ] = 42


class RecoveryConfig(Section, frozen=True, kw_only=True):
    stop_grace_seconds: Annotated[
        int, about("Grace", "Time ranks have to save after a stop.", unit="s", advanced=True, ge=1)
    ] = 600  # fmt: skip
    auto: Annotated[
        int, about("Automatic restarts", "How often a run that died of a safe cause is resumed.", advanced=True, ge=0)
    ] = 0  # fmt: skip


class TrackingConfig(Section, frozen=True, kw_only=True):
    report_to: Annotated[
        list[Tracker], about("Trackers", "Where metrics also go: trackio, tensorboard, wandb.", advanced=True)
    ] = []
    project: Annotated[str, about("Project", "Name of the project there.", advanced=True, min_length=1)] = "qltui"


class RunConfig(Section, frozen=True, kw_only=True):
    """A run. Nested; fields are addressed by dotted paths, the most typed ones by :data:`ALIASES` too."""

    model: ModelConfig
    data: DataConfig
    schema_version: Annotated[int, about("Schema version", "Version of this file's layout.", advanced=True, ge=1)] = (
        SCHEMA_VERSION
    )
    name: Annotated[
        str,
        about(
            "Name", "What the run is called; letters, digits, '.', '_' and '-'.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        ),
    ] = "run"  # fmt: skip
    description: Annotated[str, about("Description", "A line about it, shown in lists.", advanced=True)] = ""
    parent: Annotated[str | None, about("Parent", "Id or folder of the run this one continues.", advanced=True)] = None
    method: MethodConfig = MethodConfig()
    strategy: StrategyConfig = StrategyConfig()
    precision: PrecisionConfig = PrecisionConfig()
    hardware: HardwareConfig = HardwareConfig()
    training: TrainingConfig = TrainingConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    tracking: TrackingConfig = TrackingConfig()

    def tree(self) -> dict[str, Any]:
        """Nested plain values, as they go into ``run.yaml``."""
        tree: dict[str, Any] = msgspec.to_builtins(self)
        return tree


FIELDS: dict[str, Field] = {field.path: field for field in walk(RunConfig)}
"""Every field by dotted path, in the order of declaration."""

ALIASES: dict[str, str] = {
    "model": "model.path",
    "data": "data.path",
    "method": "method.name",
    "strategy": "strategy.name",
    "precision": "precision.compute",
    "device": "hardware.device",
    "max_steps": "training.max_steps",
    "epochs": "training.epochs",
    "max_length": "data.max_length",
    "micro_batch_size": "training.micro_batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation_steps",
    "learning_rate": "training.learning_rate",
    "seed": "training.seed",
}
"""Short names for what people type most, on the command line and at the top of a file."""


def get(config: RunConfig, path: str) -> Any:
    """The value at a dotted path."""
    value: Any = config
    for part in path.split("."):
        value = getattr(value, part)
    return value


def build(values: dict[str, Any]) -> RunConfig:
    """A RunConfig from converted values by dotted path; required ones must be among them."""
    return msgspec.convert(nest(values), RunConfig)
