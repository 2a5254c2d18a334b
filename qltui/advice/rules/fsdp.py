"""Torch's FSDP, old and new, through Accelerate and Transformers."""

from __future__ import annotations

from qltui.advice.findings import Severity
from qltui.advice.rule import ACCELERATE, GITHUB, MEASURED, PEFT, REPRODUCED, TORCH, TRANSFORMERS, Rule
from qltui.advice.versions import Bound

RULES = (
    Rule(
        "fsdp1-deprecated",
        Severity.INFO,
        "strategy",
        lambda s: s.strategy == "fsdp1",
        "FSDP1 with Transformers 5",
        "{value} is deprecated; Transformers announces that it goes.",
        "Move to FSDP2 (fsdp_version: 2) unless 4-bit weights stored in 16 bit depend on it: FSDP2 damages those"
        " on CUDA.",
        "FSDP2 is the default of Transformers 5.",
        f"{TRANSFORMERS} training_args.py _process_fsdp_args, which names 5.20 and still has it",
        versions=(Bound("transformers", since="5.0.0"),),
    ),
    Rule(
        "fsdp2-hybrid",
        Severity.BLOCK,
        "fsdp_sharding",
        lambda s: (
            s.strategy == "fsdp2"
            and s.fsdp_sharding == "hybrid"
            and not s.uses_parallelism_config
            and s.engine in ("hf", "trl")
        ),
        "hybrid sharding under FSDP2 through TrainingArguments",
        "FSDP2 knows no sharding strategy {value}.",
        "Use full_shard or shard_grad_op, or a ParallelismConfig with dp_replicate_size.",
        "FSDP2 says by a mesh of two dimensions what FSDP1 said by this word; TrainingArguments raises.",
        f"{TRANSFORMERS} training_args.py; {ACCELERATE} parallelism_config.py",
        {"fsdp_sharding": "full"},
    ),
    Rule(
        "fsdp-quantised-load-spike",
        Severity.WARN,
        "strategy",
        lambda s: s.method == "qlora4" and s.fsdp and s.est_quant_model_gb > 0.9 * s.vram_gb,
        "QLoRA under FSDP with Transformers 5, where the whole 4-bit model does not fit one GPU",
        "Before {value} shards it, every rank loads the whole 4-bit model of {est_quant_model_gb:.0f} GiB onto"
        " its GPU of"
        " {vram_gb:.0f} GiB.",
        "Use 16-bit LoRA, GPUs that hold the 4-bit model once, or Transformers 4.57.",
        "Transformers 4 parked quantised weights in host memory; 5 quantises straight onto each rank's GPU, so the"
        " recipe for 70B on two cards of 24 GB no longer loads.",
        f"{TRANSFORMERS} core_model_loading.py, quantizers/quantizer_bnb_4bit.py;"
        f" {GITHUB}/huggingface/transformers/pull/29587",
        {"method": "lora"},
        versions=(Bound("transformers", since="5.0.0"),),
    ),
    Rule(
        "fsdp2-head-uninitialised",
        Severity.BLOCK,
        "cpu_ram_efficient_loading",
        lambda s: (
            s.method == "qlora4"
            and s.strategy == "fsdp2"
            and s.cpu_ram_efficient_loading
            and (s.task == "seq_cls" or s.new_head)
        ),
        "QLoRA with a new head under FSDP2 and RAM-efficient loading",
        "With cpu_ram_efficient_loading ({value}) the new head is uninitialised memory on every rank but the first.",
        "Set fsdp_cpu_ram_efficient_loading to false; with 4-bit weights it does nothing else.",
        "Other ranks take missing weights as initialised and await a broadcast that is skipped for 4-bit models.",
        f"{TRANSFORMERS} modeling_utils.py _initialize_missing_keys; {ACCELERATE} utils/fsdp_utils.py; {REPRODUCED}",
        {"cpu_ram_efficient_loading": False},
        versions=(Bound("transformers", since="5.0.0"),),
    ),
    Rule(
        "fsdp2-efficient-loading-idle",
        Severity.INFO,
        "cpu_ram_efficient_loading",
        lambda s: s.method == "qlora4" and s.strategy == "fsdp2" and s.cpu_ram_efficient_loading,
        "QLoRA under FSDP2 with RAM-efficient loading",
        "cpu_ram_efficient_loading ({value}) does nothing for 4-bit models under FSDP2.",
        "Turn it off; host memory is shared by mapping the files anyway.",
        "Both the move to the meta device and the broadcast from the first rank are skipped for them.",
        f"{ACCELERATE} utils/fsdp_utils.py fsdp2_prepare_model",
        {"cpu_ram_efficient_loading": False},
        versions=(Bound("transformers", since="5.0.0"),),
    ),
    Rule(
        "fsdp-checkpointing-twice",
        Severity.BLOCK,
        "hf_gc_also",
        lambda s: s.fsdp and s.gc == "fsdp" and s.hf_gc_also and s.engine in ("hf", "trl"),
        "activation checkpointing of FSDP and of the trainer at once",
        "Both FSDP (activation_checkpointing) and the trainer (gradient_checkpointing) are to checkpoint activations.",
        "Turn FSDP's own off.",
        "Layers would be checkpointed twice; Trainer refuses it.",
        f"{TRANSFORMERS} trainer.py",
        {"gc": "hf", "hf_gc_also": False},
    ),
    Rule(
        "fsdp1-mixed-gradients",
        Severity.BLOCK,
        "use_orig_params",
        lambda s: (
            s.strategy == "fsdp1"
            and not s.use_orig_params
            and s.wrap_policy not in ("", "peft")
            and s.method in ("lora", "qlora4")
            and s.trainer == "custom_loop"
        ),
        "adapters under FSDP1 in a loop of one's own, frozen and trained weights in one unit",
        "FSDP1 with use_orig_params {value} wants frozen and trained weights in units of their own.",
        "Wrap with peft.utils.other.fsdp_auto_wrap_policy, or set use_orig_params to true.",
        "A flat parameter has one requires_grad.",
        f"{TORCH} distributed/fsdp/_flat_param.py; {PEFT} utils/other.py; {REPRODUCED}",
        {"wrap_policy": "peft"},
    ),
    Rule(
        "fsdp1-token-indices",
        Severity.WARN,
        "trainable_tokens",
        lambda s: s.strategy == "fsdp1" and s.trainable_tokens and not s.use_orig_params,
        "trainable_token_indices under FSDP1 without use_orig_params",
        "trainable_token_indices ({value}) needs use_orig_params under FSDP1, and it is off.",
        "Set fsdp_use_orig_params to true.",
        "Trained and frozen rows of one embedding share a flat parameter otherwise.",
        f"{PEFT} tuners/lora/config.py",
        {"use_orig_params": True},
    ),
    Rule(
        "fsdp2-tied-modules-to-save",
        Severity.BLOCK,
        "modules_to_save",
        lambda s: s.adapters and s.strategy == "fsdp2" and s.tied and s.modules_to_save,
        "modules_to_save of a model with tied embeddings under FSDP2",
        "modules_to_save ({value}) splits tied embeddings over two FSDP2 groups, which torch refuses.",
        "Give embed_tokens a LoRA adapter instead, or use DDP or ZeRO-2.",
        "PEFT trains a copy of the embedding while the head still shares the frozen original.",
        f"{REPRODUCED}",
        {"modules_to_save": False},
        versions=(Bound("torch", since="2.13.0"),),
    ),
    Rule(
        "fsdp2-tied-token-indices",
        Severity.BLOCK,
        "trainable_tokens",
        lambda s: s.adapters and s.strategy == "fsdp2" and s.tied and s.trainable_tokens,
        "trainable_token_indices of a model with tied embeddings under FSDP2",
        "trainable_token_indices ({value}) of tied embeddings ends up in two FSDP2 groups, which fails.",
        "Give embed_tokens a LoRA adapter instead, or use DDP or ZeRO-2.",
        "The token adapter is shared by embedding and head.",
        f"{REPRODUCED}",
        {"trainable_tokens": False},
        versions=(Bound("torch", since="2.13.0"),),
    ),
    Rule(
        "fsdp2-tie-flag",
        Severity.BLOCK,
        "tie_flag_mismatch",
        lambda s: s.strategy == "fsdp2" and s.tie_flag_mismatch,
        "a model whose configuration ties embeddings that its checkpoint keeps apart, under FSDP2",
        "The configuration ties embeddings (tie_word_embeddings) that the checkpoint keeps apart.",
        "Set model.config.tie_word_embeddings to False after loading.",
        "Accelerate cannot map the parameters after sharding and raises.",
        f"{ACCELERATE} accelerator.py _prepare_fsdp2",
        {"tie_flag_mismatch": False},
    ),
    Rule(
        "fsdp2-local-state-dict",
        Severity.BLOCK,
        "state_dict_type",
        lambda s: s.strategy == "fsdp2" and s.state_dict_type == "local",
        "local state dicts under FSDP2",
        "FSDP2 knows no {value} state dicts.",
        "Use SHARDED_STATE_DICT or FULL_STATE_DICT.",
        "Accelerate raises: FSDP2 does not support LOCAL_STATE_DICT.",
        f"{ACCELERATE} utils/dataclasses.py FullyShardedDataParallelPlugin",
        {"state_dict_type": "sharded"},
    ),
    Rule(
        "fsdp-efficient-loading-unsynchronised",
        Severity.BLOCK,
        "sync_module_states",
        lambda s: (
            s.fsdp
            and s.launcher == "accelerate"
            and s.cpu_ram_efficient_loading is True
            and s.sync_module_states is False
        ),
        "RAM-efficient loading without synchronised module states, through accelerate launch",
        "Accelerate refuses to launch fsdp_cpu_ram_efficient_loading with fsdp_sync_module_states {value}.",
        "Set fsdp_sync_module_states to true.",
        "The first rank alone has the weights then, and the others must get them from it.",
        f"{ACCELERATE} utils/launch.py",
        {"sync_module_states": True},
    ),
    Rule(
        "fsdp2-old-torch",
        Severity.BLOCK,
        "strategy",
        lambda s: s.strategy == "fsdp2",
        "FSDP2 with a torch that lacks it",
        "{value} needs torch 2.6 or newer.",
        "Update torch.",
        "Accelerate checks this.",
        f"{ACCELERATE} utils/constants.py FSDP2_PYTORCH_VERSION",
        versions=(Bound("torch", before="2.6.0"),),
    ),
    Rule(
        "sharding-ignored-on-cpu",
        Severity.WARN,
        "strategy",
        lambda s: (s.fsdp or s.zero) and s.gpu_vendor == "cpu",
        "FSDP or DeepSpeed on a machine without GPUs",
        "Without a GPU, {value} is silently left out and the run trains with DDP, a whole copy a rank.",
        "Use a machine with GPUs, or ask for DDP.",
        "Accelerate turns only process groups of accelerators into FSDP or DeepSpeed.",
        f"{MEASURED}, and on CPU ranks; {ACCELERATE} state.py",
        {"strategy": "ddp"},
    ),
    Rule(
        "fsdp1-dora",
        Severity.WARN,
        "dora",
        lambda s: s.strategy == "fsdp1" and s.dora,
        "DoRA under FSDP1",
        "DoRA ({value}) fails under FSDP1 with current releases.",
        "Use DDP, ZeRO-2 or FSDP2 for it.",
        "The magnitudes become an FSDP unit of their own, which reads lora_A while that is sharded.",
        f"{REPRODUCED}, against PEFT's documentation",
        {"dora": False},
        versions=(Bound("peft", since="0.21.0"),),
    ),
    Rule(
        "fsdp2-grpo-merges",
        Severity.INFO,
        "trainer",
        lambda s: s.method == "qlora4" and s.strategy == "fsdp2" and s.trainer == "trl_grpo",
        "GRPO with QLoRA under FSDP2 and merged weights for vLLM",
        "{value} cannot merge adapters into 4-bit weights that FSDP2 has sharded, as it does to send them to vLLM.",
        "Send the adapter alone, or use DDP.",
        "Merging needs quantisation state that DTensors do not carry.",
        f"{GITHUB}/huggingface/trl/pull/6007, /5188",
        {"strategy": "ddp"},
    ),
    Rule(
        "fsdp-classification-old-peft",
        Severity.WARN,
        "task",
        lambda s: s.task == "seq_cls" and s.adapters and s.fsdp,
        "sequence classification with adapters under FSDP and a PEFT of spring 2025",
        "Saving a {value} adapter under {strategy} failed with this PEFT: KeyError 'modules_to_save.default.weight'.",
        "Update peft; leaving task_type out is no longer needed.",
        "PEFT did not strip FSDP's prefix from module names.",
        f"{GITHUB}/huggingface/peft/issues/2505; current releases keep the head ({REPRODUCED})",
        versions=(Bound("peft", before="0.16.0"),),
    ),
)
