"""Offload to host memory and NVMe, and what it asks of the host."""

from __future__ import annotations

from qltui.advice.findings import Severity
from qltui.advice.rule import ACCELERATE, DEEPSPEED, GITHUB, TRANSFORMERS, Concerns, Rule
from qltui.advice.versions import Bound

RULES = (
    Rule(
        "zero-offload-device-mismatch",
        Severity.BLOCK,
        "cpu_offload_opt",
        lambda s: s.zero and s.cpu_offload_opt,
        "optimizer offload with DeepSpeed 0.14.1 or 0.14.2",
        "This DeepSpeed fails at the first step when the optimizer is offloaded.",
        "Update deepspeed to 0.14.3 or newer, or leave offload_optimizer out.",
        "A shortcut for the gradient norm mixed tensors of CPU and GPU; it was taken back in 0.14.3.",
        f"{GITHUB}/deepspeedai/DeepSpeed/issues/5469, /5634",
        {"cpu_offload_opt": False},
        versions=(Bound("deepspeed", since="0.14.1", before="0.14.3"),),
    ),
    Rule(
        "offload-optimizer-of-adapters",
        Severity.INFO,
        "cpu_offload_opt",
        lambda s: s.adapters and s.cpu_offload_opt and not (s.strategy == "fsdp2" and s.cpu_offload_params),
        "optimizer offload with adapters",
        "Offloading the optimizer ({value}) saves little with adapters, whose states are megabytes.",
        "Turn it off; offload parameters instead if GPU memory is short.",
        "Every step moves gradients to the host and weights back.",
        f"{GITHUB}/huggingface/peft/blob/main/docs/source/accelerate/deepspeed.md",
        {"cpu_offload_opt": False},
        concerns=Concerns.ALL,
    ),
    Rule(
        "zero-offload-swaps-optimizer",
        Severity.WARN,
        "optim",
        lambda s: s.zero and s.cpu_offload_opt and s.bitsandbytes_optimizer,
        "an 8-bit or paged optimizer with DeepSpeed's optimizer offload",
        "DeepSpeed puts its own CPU Adam in the place of {value}, without decoupled weight decay.",
        "Use adamw_torch, or leave the offload out.",
        "Accelerate maps optimizers it does not know to DeepSpeedCPUAdam with adamw_mode off, and says nothing.",
        f"{ACCELERATE} utils/deepspeed.py map_pytorch_optim_to_deepspeed",
        {"optim": "adamw_torch"},
    ),
    Rule(
        "zero-offload-needs-compiler",
        Severity.WARN,
        "cpu_offload_opt",
        lambda s: s.zero and s.cpu_offload_opt and not s.cuda_home,
        "DeepSpeed's optimizer offload without a CUDA toolkit",
        "DeepSpeed builds its CPU Adam at the first use, and no CUDA toolkit is found here.",
        "Install the toolkit of torch's CUDA version and a C++ compiler, or set zero_force_ds_cpu_optimizer to false.",
        "Its operators are compiled just in time with nvcc's headers.",
        f"{DEEPSPEED} ops/op_builder/builder.py, runtime/engine.py zero_force_ds_cpu_optimizer",
        {"cpu_offload_opt": False},
    ),
    Rule(
        "nvme-needs-zero3",
        Severity.WARN,
        "nvme_params",
        lambda s: s.nvme_params and s.strategy in ("zero1", "zero2"),
        "parameters offloaded to NVMe below ZeRO-3",
        "Parameters are offloaded to NVMe ({value}) by ZeRO-3 alone; {strategy} keeps them on the GPU.",
        "Use ZeRO-3, or leave it out.",
        "The swapper of parameters is part of stage 3.",
        f"{DEEPSPEED} runtime/zero/partition_parameters.py, ops/op_builder/async_io.py",
        {"nvme_params": False},
    ),
    Rule(
        "zero3-nvme-uint8",
        Severity.BLOCK,
        "nvme_params",
        lambda s: s.method == "qlora4" and s.strategy == "zero3" and s.nvme_params and s.quant_storage == "uint8",
        "4-bit weights stored as uint8 offloaded to NVMe",
        "DeepSpeed's NVMe buffers ({value}) hold one floating type, and 4-bit weights are stored as {quant_storage}.",
        "Offload parameters to host memory instead.",
        "The swapper allocates buffers of the engine's type and asserts it.",
        f"{DEEPSPEED} runtime/swap_tensor/async_swapper.py, runtime/zero/partition_parameters.py",
        {"nvme_params": False, "cpu_offload_params": True},
    ),
    Rule(
        "fsdp2-offload-clipping",
        Severity.WARN,
        "cpu_offload_params",
        lambda s: (
            s.strategy == "fsdp2"
            and s.cpu_offload_params
            and s.max_grad_norm > 0
            and s.launcher not in ("", "accelerate")
            and s.ddp_backend is None
            and s.state_dict_env == "sharded"
        ),
        "FSDP2 with offload and gradient clipping, not started by accelerate launch",
        "Clipping sums gradients that offload ({value}) keeps on the host, where NCCL alone cannot.",
        'Start with accelerate launch, or set ddp_backend to "cpu:gloo,cuda:nccl".',
        "Accelerate adds gloo only where its own FSDP variables are set before the process group starts.",
        f"{ACCELERATE} state.py; {GITHUB}/axolotl-ai-cloud/axolotl/issues/3058",
        {"ddp_backend": "cpu:gloo,cuda:nccl"},
    ),
    Rule(
        "offload-needless",
        Severity.INFO,
        "cpu_offload_params",
        lambda s: (
            s.adapters
            and s.shards_weights
            and s.cpu_offload_params
            and 0 < s.est_quant_model_gb / max(1, s.n_gpus) < 0.5 * s.vram_gb
        ),
        "parameters offloaded although each GPU's share takes less than half of it",
        "Parameters are offloaded ({value}) although a GPU's share of {est_quant_model_gb:.0f} GiB over {n_gpus}"
        " GPUs is"
        " less than half of {vram_gb:.0f} GiB.",
        "Turn offload off, unless long sequences need the room.",
        "It slows every step and takes host memory: 107 GB for a 70B model on two GPUs.",
        f"{GITHUB}/huggingface/peft/blob/main/docs/source/accelerate/fsdp.md",
        {"cpu_offload_params": False, "cpu_offload_opt": False},
        concerns=Concerns.ALL,
    ),
    Rule(
        "fsdp2-offload-old-accelerate",
        Severity.BLOCK,
        "cpu_offload_params",
        lambda s: s.strategy == "fsdp2" and s.cpu_offload_params and s.cpu_ram_efficient_loading,
        "FSDP2 with offload and efficient loading, with an older Accelerate",
        "This Accelerate leaves offloaded parameters ({value}) on the wrong device when loading is RAM-efficient.",
        "Update accelerate to 1.13 or newer.",
        "Sharded tensors were not moved back to the host.",
        f"{GITHUB}/huggingface/accelerate/pull/3910",
        {"cpu_ram_efficient_loading": False},
        versions=(Bound("accelerate", before="1.13.0"),),
    ),
    Rule(
        "host-memory",
        Severity.WARN,
        "cpu_offload_params",
        lambda s: s.est_host_ram_gb > 0.9 * s.host_ram_gb,
        "more host memory needed than nine tenths of what there is",
        "About {est_host_ram_gb:.0f} GiB of host memory will be needed, and the host has {host_ram_gb:.0f} GiB.",
        "Turn offload off, use fewer ranks a node, or load in the checkpoint's own type.",
        "The kernel kills a rank (SIGKILL, exit code -9), and the launcher hides why.",
        f"{GITHUB}/huggingface/transformers/pull/25107; {GITHUB}/AnswerDotAI/fsdp_qlora/issues/47",
    ),
    Rule(
        "fsdp-private-copies",
        Severity.WARN,
        "model_dtype",
        lambda s: (
            s.fsdp
            and s.method in ("full", "lora")
            and "" not in (s.model_dtype, s.checkpoint_dtype)
            and s.model_dtype != s.checkpoint_dtype
            and s.n_gpus_per_node * s.est_host_ram_per_rank_gb > 0.9 * s.host_ram_gb
        ),
        "FSDP loading in another type than the checkpoint's, on a host without room for a copy a rank",
        "Loading {checkpoint_dtype} weights as {value} makes a copy in host memory for each of {n_gpus_per_node}"
        " ranks.",
        "Load in the checkpoint's own type (dtype auto) and let mixed precision cast.",
        "Weights that are not cast are mapped from the file and shared by all ranks; a cast breaks that.",
        f"{TRANSFORMERS} core_model_loading.py; {GITHUB}/modelscope/ms-swift/pull/9982",
        lambda s: {"model_dtype": s.checkpoint_dtype},
        versions=(Bound("transformers", since="5.0.0"),),
    ),
    Rule(
        "fsdp-every-rank-loads",
        Severity.WARN,
        "cpu_ram_efficient_loading",
        lambda s: (
            s.fsdp
            and s.cpu_ram_efficient_loading is False
            and s.world_size > 1
            and s.n_gpus_per_node * s.est_host_ram_per_rank_gb > 0.9 * s.host_ram_gb
        ),
        "FSDP without RAM-efficient loading under Transformers 4, on a host without room for a copy a rank",
        "Each of {n_gpus_per_node} ranks loads the whole model into host memory (cpu_ram_efficient_loading is"
        " {value}).",
        "Set fsdp_cpu_ram_efficient_loading to true, or update transformers to 5.",
        "Transformers 4 reads the weights on every rank; the kernel kills a rank (SIGKILL, exit code -9).",
        f"{GITHUB}/huggingface/transformers/pull/25107; Transformers 5 maps the files, which ranks share",
        {"cpu_ram_efficient_loading": True},
        versions=(Bound("transformers", before="5.0.0"),),
    ),
)
