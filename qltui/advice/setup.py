"""What rules look at: one flat description of a run, ours or another program's, and of the machine it is for."""

from __future__ import annotations

from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.advice import programs, sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.config import RunConfig
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine


NOTHING: Mapping[str, str] = MappingProxyType({})


class Setup(NamedTuple):
    """Every value a rule may ask for; what stands here is a typical QLoRA run under FSDP2 on two GPUs.

    Sizes in ``_gb`` are GiB, those in ``_mb`` MiB.
    """

    # Whose run it is, and on what.
    engine: str = "qltui"
    """``qltui`` for our own; else ``hf``, ``trl``, ``axolotl``, ``llamafactory``, ``openrlhf``, ``accelerate`` or
    ``deepspeed``."""
    config: RunConfig | None = None
    """Of our own run."""
    versions: Mapping[str, str] = NOTHING
    """Of the libraries it runs with, by package name."""
    machine: Machine | None = None
    architecture: Architecture | None = None

    # How the work is spread.
    method: str = "qlora4"
    """full, lora, qlora4, int8."""
    strategy: str = "fsdp2"
    """single, ddp, pipeline, fsdp1, fsdp2, zero1, zero2, zero3."""
    world_size: int = 2
    n_gpus: int = 2
    n_gpus_per_node: int = 2
    launcher: str = "accelerate"
    device_map: str | None = None
    device_map_replaced: bool = False
    """Whether the program puts each process's own GPU in its place where there are several."""
    device_map_has_cpu_or_disk: bool = False
    uses_parallelism_config: bool = False
    use_deepspeed: bool = False
    use_fsdp: bool = True

    # Types.
    quant_storage: str = "uint8"
    quant_type: str = "nf4"
    compute_dtype: str = "bfloat16"
    precision: str = "bf16"
    """bf16, fp16, fp32, fp8."""
    model_dtype: str = "bfloat16"
    checkpoint_dtype: str = "bfloat16"
    trainable_dtype: str = "float32"
    kbit_prepare: bool = False
    autocast_adapter: bool = True
    cast_after_load: bool = False

    # Offload.
    cpu_offload_params: bool = False
    cpu_offload_opt: bool = False
    nvme_params: bool = False
    nvme_opt: bool = False
    ds_config_mismatch: bool = False
    ds_use_all_reduce_fetch: bool = False
    ds_warmup_num_steps: int | None = None
    ds_file_and_more: bool = False
    """Whether Accelerate's file names a DeepSpeed file and gives values beside it that belong into that one."""

    # Activation checkpointing.
    gc: str = "hf"
    """none, hf (the model's own), fsdp."""
    hf_gc_also: bool = False
    use_reentrant: bool | None = None
    find_unused: bool | None = None
    input_require_grads: bool = True
    uses_gradient_checkpointing_arg: bool = False

    # FSDP.
    fsdp_sharding: str = "full"
    use_orig_params: bool = True
    wrap_policy: str = "peft"
    cpu_ram_efficient_loading: bool = False
    """None where a file does not say it: neither on nor off."""
    sync_module_states: bool | None = None
    state_dict_type: str = "full"
    state_dict_env: str = "sharded"
    ddp_backend: str | None = None

    # What is trained.
    task: str = "causal"
    """causal, seq_cls."""
    new_head: bool = False
    has_adapter: bool = True
    peft_applied_twice: bool = False
    modules_to_save: bool = False
    trainable_tokens: bool = False
    resize_vocab: bool = False
    tied: bool = False
    tie_flag_mismatch: bool = False
    init: str = "default"
    dora: bool = False
    moe: bool = False
    lora_targets_router: bool = False
    lora_targets: Sequence[str] = ()
    """Names of the modules that get adapters, or all-linear."""
    lora_dropout: float = 0.0
    target_parameters: bool = False
    """Whether parameters get adapters by their names (LoraConfig's ``target_parameters``)."""
    bits_contradict: bool = False
    """Whether both 4 and 8 bits are asked for, or QLoRA without 4."""

    # How.
    trainer: str = "hf"
    """hf, trl, trl_dpo, trl_kto, trl_grpo, openrlhf_sft, openrlhf_ppo_vllm, custom_loop."""
    optim: str = "adamw_torch_fused"
    max_grad_norm: float = 1.0
    batch_size: int = 1
    max_length: int | None = None
    """Longest sequence, in tokens."""
    auto_find_batch_size: bool = False
    attn: str = "sdpa"
    """eager, sdpa, flex, fa2, fa3, fa4."""
    liger: bool = False
    compile: bool = False
    compiled_before_trainer: bool = False
    packing: bool = False
    sequence_parallel: str | None = None
    """cp, ulysses."""
    model_loaded_before_args: bool = False
    pad_token: bool = True
    dataloader_workers: int = 0

    # Saving, and what becomes of it.
    save_only_model: bool = False
    load_best: bool = False
    save_total: int = 2
    resume: bool = False
    resume_world_size: int | None = None
    gather_16bit_on_save: bool = True
    export: str = "adapter"
    """adapter, merge4, merge16, vllm_adapter."""
    merge_in_training_process: bool = False
    merge_device: str = "cuda"

    # The machine.
    gpu_vendor: str = "nvidia"
    """nvidia, amd, intel, intel_gaudi, apple, cpu."""
    gpu_cc: float = 8.0
    """Lowest compute capability of the GPUs used."""
    vram_gb: float = 24.0
    """Memory of the smallest GPU used."""
    p2p: bool = True
    mig: bool = False
    wsl: bool = False
    in_container: bool = False
    env: Mapping[str, str] = NOTHING
    shm_mb: float = 16000
    nofile: int = 65535
    host_ram_gb: float = 64.0
    disk_free_gb: float = 500.0
    cuda_home: bool = True
    port_in_use: bool = False

    # What it will need.
    est_host_ram_gb: float = 10.0
    est_host_ram_per_rank_gb: float = 5.0
    est_quant_model_gb: float = 6.0
    """The whole model's weights as the method keeps them."""
    ckpt_gb: float = 1.0

    # The rest.
    gated: bool = False
    hf_token: bool = True
    long_tokenise: bool = False
    long_eval_rank0: bool = False
    big_save: bool = False
    ddp_timeout: int = 1800
    """Seconds."""

    @classmethod
    def of_run(
        cls,
        config: RunConfig,
        machine: Machine | None = None,
        architecture: Architecture | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Setup:
        """Of a run of our own engine, on a machine and with a model as far as they are known."""
        from qltui.advice import our_runs

        values = our_runs.values(config, machine, architecture)
        return cls(config=config, machine=machine, architecture=architecture, versions=versions or {}, **values)

    @classmethod
    def of_values(
        cls,
        values: Mapping[str, Any],
        engine: str,
        machine: Machine | None = None,
        architecture: Architecture | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Setup:
        """Of what another program's files say, and of nothing else: what they leave open fires no rule.

        ``values`` are by name in Setup; other names are passed by. Of a program that is not installed, the versions it
        pins stand for those installed.
        """
        known = {**UNSAID, **_of_machine(machine), **{name: values[name] for name in NAMES & values.keys()}}
        if architecture is not None:
            known |= _of_architecture(values, architecture, known["method"], machine)
        if "max_length" in values and not isinstance(values["max_length"], int):
            known["max_length"] = None
        runs_with = dict(versions or {})
        if programs.PACKAGE.get(engine, engine) not in runs_with:
            runs_with |= programs.PINNED.get(engine, {})
        return cls(engine=engine, machine=machine, architecture=architecture, versions=runs_with, **known)

    @property
    def ours(self) -> bool:
        return self.engine == "qltui"

    @property
    def versions_are_its_own(self) -> bool:
        """Whether what is installed here is what it runs with: yes for ours, and for programs that are installed."""
        return self.ours or programs.PACKAGE.get(self.engine, self.engine) in self.versions

    @property
    def adapters(self) -> bool:
        return self.method in ("lora", "qlora4", "int8")

    @property
    def quantised(self) -> bool:
        return self.method in ("qlora4", "int8")

    @property
    def fsdp(self) -> bool:
        return self.strategy in ("fsdp1", "fsdp2")

    @property
    def zero(self) -> bool:
        return self.strategy in ("zero1", "zero2", "zero3")

    @property
    def shards_weights(self) -> bool:
        return self.strategy in ("fsdp1", "fsdp2", "zero3")

    @property
    def storage_is_float(self) -> bool:
        """Whether 4-bit weights are stored as a floating type, which whatever casts such types would rewrite."""
        return self.quant_storage in ("bfloat16", "float16", "float32")

    @property
    def storage_is_precision(self) -> bool:
        """Whether 4-bit weights are stored as the very type that is computed in."""
        return self.quant_storage == {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}.get(self.precision)

    @property
    def computes_16bit(self) -> bool:
        return self.precision in ("bf16", "fp16")

    @property
    def checkpoints(self) -> bool:
        """Whether activations are recomputed."""
        return self.gc in ("hf", "fsdp")

    @property
    def bitsandbytes_optimizer(self) -> bool:
        """Its 8-bit or paged optimizers; torchao's ``adamw_torch_8bit`` is none of them."""
        name = self.optim
        return name.startswith("paged_") or "bnb" in name or (name.endswith("_8bit") and "torch" not in name)

    @property
    def plain_optimizer(self) -> str:
        """AdamW with 32-bit states, as the program spells it."""
        return "adamw" if self.ours else "adamw_torch_fused"

    @property
    def nvidia(self) -> bool:
        return self.gpu_vendor == "nvidia"


NAMES = frozenset(Setup._fields) - {"engine", "config", "versions", "machine", "architecture"}
"""What another program's file may say."""

UNSAID: dict[str, Any] = {
    "method": "", "strategy": "", "launcher": "", "quant_storage": "", "quant_type": "", "compute_dtype": "",
    "precision": "", "model_dtype": "", "checkpoint_dtype": "", "trainable_dtype": "", "gc": "", "fsdp_sharding": "",
    "wrap_policy": "", "state_dict_type": "", "state_dict_env": "", "trainer": "", "optim": "", "attn": "",
    "export": "",
    "world_size": 1, "n_gpus": 1, "n_gpus_per_node": 1, "gpu_cc": 9.0, "cpu_ram_efficient_loading": None,
    "autocast_adapter": False, "use_fsdp": False, "est_quant_model_gb": 0.0, "est_host_ram_gb": 0.0,
    "est_host_ram_per_rank_gb": 0.0, "ckpt_gb": 0.0, "host_ram_gb": inf, "disk_free_gb": inf,
}  # fmt: skip
"""What stands for the values a file does not give, where Setup's own would claim something."""


def _of_machine(machine: Machine | None) -> dict[str, Any]:
    """What is known of a machine, all of whose GPUs are used."""
    if machine is None:
        return {}
    gpus = len(machine.cards) * machine.nodes
    return sizes.of_machine(machine, machine.cards) | {
        "world_size": max(1, gpus), "n_gpus": gpus, "n_gpus_per_node": len(machine.cards),
    }  # fmt: skip


def _of_architecture(
    values: Mapping[str, Any], architecture: Architecture, method: str, machine: Machine | None
) -> dict[str, Any]:
    """What the model's numbers add to what a file says; sizes only where there is room to compare them with."""
    found: dict[str, Any] = {"tied": architecture.tied, "checkpoint_dtype": architecture.dtype}
    if machine is not None and machine.host_memory is not None:
        found["est_host_ram_per_rank_gb"] = sizes.model_gib(architecture, "lora")
        if values.get("cpu_offload_params") and method in sizes.METHODS:
            found["est_host_ram_gb"] = sizes.model_gib(architecture, method) / machine.nodes
    if machine is not None and machine.cards and method in sizes.METHODS:
        found["est_quant_model_gb"] = sizes.model_gib(architecture, method)
    return {name: value for name, value in found.items() if name not in values}
