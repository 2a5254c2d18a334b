"""Every rule fires where it should, and is silent after one change.

``SPOKEN`` has the rules on other programs' files, ``OURS`` those on our own runs: by id, the values that make the rule
fire and what, changed besides, makes it silent. A rule without an entry fails, and so does an entry without a rule.
"""

from __future__ import annotations

from typing import Any

import pytest

from engine.config.run_config import build
from qltui.advice.evaluation import OTHERS, evaluate
from qltui.advice.evaluation import OURS as OUR_RULES
from qltui.advice.findings import Severity
from qltui.advice.rule import Concerns
from qltui.advice.rules import RULES
from qltui.advice.setup import Setup
from qltui.facts.architecture import find
from qltui.facts.machine import parse

NOW = {
    "torch": "2.13.0+cpu", "transformers": "5.23.0", "peft": "0.21.2", "bitsandbytes": "0.50.2",
    "accelerate": "1.15.0", "deepspeed": "0.19.8",
}  # fmt: skip

MIXTURE, DENSE = "mistralai/Mixtral-8x7B-v0.1", "Qwen/Qwen3-8B"

Values = dict[str, Any]
SPOKEN: dict[str, tuple[Values, Values]] = {
    "fsdp2-4bit-storage-damaged": ({"quant_storage": "bfloat16"}, {"quant_storage": "uint8"}),
    "fsdp2-4bit-storage-cast": ({"quant_storage": "float16"}, {"precision": "fp16"}),
    "fsdp2-4bit-storage-unproven": (
        {"quant_storage": "bfloat16", "versions": {"torch": "2.10.0"}}, {"gpu_vendor": "amd"}),
    "fsdp2-uint8-replicated": ({}, {"strategy": "zero3"}),
    "fsdp2-uint8-old-accelerate": ({"versions": {"accelerate": "1.13.1"}}, {"quant_storage": "float32"}),
    "fsdp2-uint8-old-torch": ({"versions": {"torch": "2.6.0"}}, {"strategy": "zero3"}),
    "fsdp1-4bit-uint8": ({"strategy": "fsdp1"}, {"quant_storage": "bfloat16"}),
    "fsdp1-4bit-storage-not-model-type": (
        {"strategy": "fsdp1", "quant_storage": "float16"}, {"model_dtype": "float16"}),
    "fsdp1-4bit-prepared-for-kbit": ({"strategy": "fsdp1", "kbit_prepare": True}, {"strategy": "fsdp2"}),
    "fsdp-4bit-old-bitsandbytes": ({"versions": {"bitsandbytes": "0.43.1"}}, {"method": "lora"}),
    "zero-4bit-storage-cast": ({"strategy": "zero2", "quant_storage": "float16"}, {"quant_storage": "bfloat16"}),
    "4bit-fp4": ({"quant_type": "fp4"}, {"method": "int8"}),
    "4bit-computed-in-float32": ({"compute_dtype": "float32"}, {"precision": "fp32"}),
    "quantised-cast-after-load": ({"cast_after_load": True}, {"method": "lora"}),
    "fsdp-int8": ({"method": "int8"}, {"strategy": "ddp"}),
    "zero3-int8-keeps-copies": ({"method": "int8", "strategy": "zero3"}, {"strategy": "zero2"}),
    "llamafactory-int8-sharded": (
        {"engine": "llamafactory", "method": "int8", "strategy": "zero3"}, {"method": "qlora4"}),
    "int8-cannot-move": (
        {"method": "int8", "strategy": "zero2", "versions": {"bitsandbytes": "0.47.0"}}, {"strategy": "ddp"}),
    "int8-old-gpu": ({"method": "int8", "strategy": "ddp", "gpu_cc": 7.0}, {"gpu_cc": 7.5}),
    "zero3-quantised-load-spike": ({"strategy": "zero3", "est_quant_model_gb": 40.0}, {"vram_gb": 80.0}),
    "zero3-quantised-loads-whole": ({"strategy": "zero3"}, {"method": "lora"}),
    "zero3-device-map": ({"strategy": "zero3", "device_map": "auto"}, {"device_map": None}),
    "zero3-trainable-types-differ": (
        {"method": "lora", "strategy": "zero3", "task": "seq_cls"}, {"autocast_adapter": False}),
    "zero3-nonreentrant": (
        {"strategy": "zero3", "use_reentrant": False, "versions": {"deepspeed": "0.18.9"}}, {"use_reentrant": True}),
    "zero3-auto-batch-size": ({"strategy": "zero3", "auto_find_batch_size": True}, {"strategy": "zero2"}),
    "zero3-all-reduce-fetch": (
        {"strategy": "zero3", "ds_use_all_reduce_fetch": True}, {"quant_storage": "bfloat16"}),
    "zero3-4bit-cannot-move": ({"strategy": "zero3", "versions": {"bitsandbytes": "0.43.1"}}, {"method": "lora"}),
    "sharding-needless": ({"strategy": "zero3"}, {"est_quant_model_gb": 15.0}),
    "zero12-with-adapters": ({"strategy": "zero1"}, {"method": "full"}),
    "replicated-does-not-fit": ({"strategy": "ddp", "est_quant_model_gb": 40.0}, {"strategy": "fsdp2"}),
    "deepspeed-values-differ": ({"strategy": "zero2", "ds_config_mismatch": True}, {"ds_config_mismatch": False}),
    "deepspeed-no-warmup-steps": ({"strategy": "zero2", "ds_warmup_num_steps": 0}, {"ds_warmup_num_steps": 10}),
    "deepspeed-and-fsdp": ({"use_deepspeed": True}, {"use_fsdp": False}),
    "zero-offload-device-mismatch": (
        {"strategy": "zero2", "cpu_offload_opt": True, "versions": {"deepspeed": "0.14.2"}},
        {"cpu_offload_opt": False}),
    "offload-optimizer-of-adapters": ({"strategy": "zero2", "cpu_offload_opt": True}, {"method": "full"}),
    "zero-offload-swaps-optimizer": (
        {"strategy": "zero2", "cpu_offload_opt": True, "optim": "paged_adamw_8bit"}, {"optim": "adamw_torch"}),
    "zero-offload-needs-compiler": (
        {"strategy": "zero2", "cpu_offload_opt": True, "cuda_home": False}, {"cuda_home": True}),
    "nvme-needs-zero3": ({"strategy": "zero2", "nvme_params": True}, {"strategy": "zero3"}),
    "zero3-nvme-uint8": ({"strategy": "zero3", "nvme_params": True}, {"quant_storage": "bfloat16"}),
    "fsdp2-offload-clipping": (
        {"cpu_offload_params": True, "launcher": "torchrun"}, {"ddp_backend": "cpu:gloo,cuda:nccl"}),
    "offload-needless": ({"cpu_offload_params": True}, {"est_quant_model_gb": 40.0}),
    "fsdp2-offload-old-accelerate": (
        {"cpu_offload_params": True, "cpu_ram_efficient_loading": True, "versions": {"accelerate": "1.12.0"}},
        {"cpu_ram_efficient_loading": False}),
    "host-memory": ({"est_host_ram_gb": 60.0}, {"host_ram_gb": 128.0}),
    "fsdp-private-copies": (
        {"method": "lora", "model_dtype": "float32", "est_host_ram_per_rank_gb": 32.0},
        {"model_dtype": "bfloat16"}),
    "fsdp-every-rank-loads": (
        {"est_host_ram_per_rank_gb": 32.0, "versions": {"transformers": "4.57.1"}},
        {"cpu_ram_efficient_loading": True}),
    "fsdp1-deprecated": ({"strategy": "fsdp1"}, {"strategy": "fsdp2"}),
    "fsdp2-hybrid": ({"fsdp_sharding": "hybrid"}, {"uses_parallelism_config": True}),
    "fsdp-quantised-load-spike": ({"est_quant_model_gb": 40.0}, {"vram_gb": 48.0}),
    "fsdp2-head-uninitialised": ({"cpu_ram_efficient_loading": True, "task": "seq_cls"}, {"task": "causal"}),
    "fsdp2-efficient-loading-idle": ({"cpu_ram_efficient_loading": True}, {"method": "lora"}),
    "fsdp-checkpointing-twice": ({"gc": "fsdp", "hf_gc_also": True}, {"hf_gc_also": False}),
    "fsdp1-mixed-gradients": (
        {"strategy": "fsdp1", "use_orig_params": False, "wrap_policy": "transformer", "trainer": "custom_loop"},
        {"wrap_policy": "peft"}),
    "fsdp1-token-indices": (
        {"strategy": "fsdp1", "trainable_tokens": True, "use_orig_params": False}, {"use_orig_params": True}),
    "fsdp2-tied-modules-to-save": ({"tied": True, "modules_to_save": True}, {"tied": False}),
    "fsdp2-tied-token-indices": ({"tied": True, "trainable_tokens": True}, {"strategy": "ddp"}),
    "fsdp2-tie-flag": ({"tie_flag_mismatch": True}, {"strategy": "ddp"}),
    "fsdp2-old-torch": ({"versions": {"torch": "2.5.1"}}, {"strategy": "fsdp1"}),
    "sharding-ignored-on-cpu": ({"gpu_vendor": "cpu"}, {"strategy": "ddp"}),
    "fsdp1-dora": ({"strategy": "fsdp1", "dora": True}, {"strategy": "fsdp2"}),
    "fsdp2-grpo-merges": ({"trainer": "trl_grpo"}, {"method": "lora"}),
    "fsdp-classification-old-peft": ({"task": "seq_cls", "versions": {"peft": "0.15.2"}}, {"task": "causal"}),
    "device-map-in-ranks": ({"strategy": "ddp", "device_map": "auto"}, {"device_map": "cuda"}),
    "quantised-loads-onto-first-gpu": ({"strategy": "ddp", "model_loaded_before_args": True}, {"method": "lora"}),
    "ddp-marked-ready-twice": (
        {"strategy": "ddp", "use_reentrant": True, "find_unused": True}, {"find_unused": False}),
    "ddp-find-unused-left-open": ({"strategy": "ddp", "use_reentrant": True}, {"engine": "llamafactory"}),
    "ddp-looks-for-unused": ({"strategy": "ddp", "find_unused": True}, {"find_unused": False}),
    "data-parallel-by-accident": ({"strategy": "single", "method": "lora", "launcher": "python"}, {"n_gpus": 1}),
    "pipeline-several-processes": ({"strategy": "pipeline"}, {"world_size": 1}),
    "pipeline-quantised-on-cpu": (
        {"strategy": "pipeline", "device_map_has_cpu_or_disk": True}, {"method": "lora"}),
    "pipeline-one-gpu-at-a-time": ({"strategy": "pipeline"}, {"n_gpus": 1}),
    "kbit-prepare-chooses-reentrant": ({"kbit_prepare": True}, {"use_reentrant": False}),
    "reentrant-without-input-gradients": (
        {"use_reentrant": True, "input_require_grads": False}, {"use_reentrant": False}),
    "gradient-checkpointing-renamed": ({"uses_gradient_checkpointing_arg": True}, {"engine": "axolotl"}),
    "checkpointed-router-trained": ({"moe": True, "lora_targets_router": True}, {"gc": "none"}),
    "fsdp-reentrant-needless": ({"use_reentrant": True}, {"strategy": "ddp"}),
    "fsdp1-adapter-saved-empty": ({"strategy": "fsdp1"}, {"method": "full"}),
    "fsdp2-adapter-saved-empty": ({"gc": "fsdp"}, {"gc": "hf"}),
    "fsdp2-resume-loses-adapter": (
        {"resume": True, "versions": {"accelerate": "1.14.0"}}, {"state_dict_type": "sharded"}),
    "fsdp-sharded-saves-no-adapter": ({"state_dict_type": "sharded"}, {"method": "full"}),
    "save-only-model-sharded": ({"save_only_model": True, "state_dict_type": "sharded"}, {"strategy": "zero3"}),
    "save-only-model-and-load-best": ({"save_only_model": True, "load_best": True}, {"strategy": "ddp"}),
    "zero3-full-saves-shards": (
        {"method": "full", "strategy": "zero3", "gather_16bit_on_save": False}, {"gather_16bit_on_save": True}),
    "zero3-adapter-saved-empty": (
        {"strategy": "zero3", "gather_16bit_on_save": False, "versions": {"transformers": "4.57.1"}},
        {"method": "full"}),
    "fsdp2-uint8-checkpoints-larger": ({}, {"state_dict_type": "sharded"}),
    "zero-resume-other-gpus": (
        {"strategy": "zero2", "resume": True, "resume_world_size": 4}, {"resume_world_size": 2}),
    "quantised-decomposing-init": ({"init": "pissa_niter_16"}, {"method": "lora"}),
    "quantised-loftq": ({"init": "loftq"}, {"method": "lora"}),
    "quantised-lora-ga": ({"init": "lora_ga"}, {"method": "lora"}),
    "init-changes-base": ({"init": "olora"}, {"init": "gaussian"}),
    "dora-int8": ({"method": "int8", "strategy": "ddp", "dora": True}, {"method": "qlora4"}),
    "dora-4bit-zero": ({"strategy": "zero2", "dora": True}, {"strategy": "ddp"}),
    "peft-applied-twice": ({"trainer": "trl", "peft_applied_twice": True}, {"trainer": "hf"}),
    "quantised-without-adapter": ({"has_adapter": False}, {"method": "lora"}),
    "quantised-compiled-first": ({"compiled_before_trainer": True}, {"method": "lora"}),
    "new-tokens-not-trained": ({"resize_vocab": True}, {"modules_to_save": True}),
    "new-tokens-resize-first": ({"resize_vocab": True}, {"export": "merge4"}),
    "modules-to-save-large": ({"strategy": "ddp", "modules_to_save": True}, {"task": "seq_cls"}),
    "experts-not-quantised": ({"architecture": find(MIXTURE)}, {"architecture": find(DENSE)}),
    "fsdp2-bitsandbytes-optimizer": ({"optim": "adamw_8bit"}, {"optim": "adamw_torch_8bit"}),
    "fsdp1-8bit-optimizer-not-saved": (
        {"strategy": "fsdp1", "optim": "adamw_bnb_8bit", "versions": {"bitsandbytes": "0.49.1"}},
        {"optim": "adamw_torch"}),
    "8bit-optimizer-of-adapters": ({"strategy": "ddp", "optim": "paged_adamw_8bit"}, {"method": "full"}),
    "bf16-emulated": ({"gpu_cc": 7.5}, {"precision": "fp16"}),
    "fp16-of-bf16-model": ({"precision": "fp16"}, {"checkpoint_dtype": "float16"}),
    "fp16-is-all-there-is": ({"precision": "fp16", "gpu_cc": 7.5}, {"gpu_cc": 8.0}),
    "fp16-trained-weights": (
        {"precision": "fp16", "method": "lora", "trainable_dtype": "float16"}, {"trainable_dtype": "float32"}),
    "quantised-gpu-too-old": ({"gpu_cc": 5.2}, {"method": "lora"}),
    "quantised-gpu-old": ({"gpu_cc": 7.0}, {"gpu_cc": 7.5}),
    "quantised-on-gaudi": ({"gpu_vendor": "intel_gaudi"}, {"method": "lora"}),
    "flash-attention-gpu-too-old": ({"attn": "fa4"}, {"gpu_cc": 9.0}),
    "flash-attention-in-float32": (
        {"attn": "fa2", "precision": "fp32", "model_dtype": "float32"}, {"attn": "sdpa"}),
    "no-peer-access": ({"p2p": False}, {"env": {"NCCL_P2P_DISABLE": "1"}}),
    "mig-several-ranks": ({"mig": True}, {"n_gpus_per_node": 1}),
    "shared-memory-small": ({"shm_mb": 64}, {"world_size": 1}),
    "open-files-few": ({"nofile": 1024, "dataloader_workers": 4}, {"dataloader_workers": 0}),
    "fp8-gpu-too-old": ({"precision": "fp8"}, {"gpu_cc": 8.9}),
    "fp8-fsdp2-efficient-loading": (
        {"precision": "fp8", "cpu_ram_efficient_loading": True}, {"cpu_ram_efficient_loading": False}),
    "collective-timeout": ({"long_tokenise": True}, {"ddp_timeout": 7200}),
    "beyond-context-length": ({"architecture": find(DENSE), "max_length": 10**6}, {"max_length": 4096}),
    "packing-mixes-examples": ({"packing": True, "versions": {"transformers": "4.52.0"}}, {"attn": "fa2"}),
    "ulysses-old-deepspeed": (
        {"sequence_parallel": "ulysses", "strategy": "zero3", "versions": {"deepspeed": "0.18.1"}},
        {"sequence_parallel": None}),
    "ulysses-without-deepspeed": ({"sequence_parallel": "ulysses"}, {"strategy": "zero3"}),
    "context-parallel-without-fsdp2": (
        {"sequence_parallel": "cp", "strategy": "ddp"}, {"strategy": "fsdp2"}),
    "context-parallel-attention": ({"sequence_parallel": "cp", "attn": "fa2"}, {"attn": "sdpa"}),
    "liger-loss-zero3": ({"liger": True, "strategy": "zero3", "trainer": "trl_dpo"}, {"strategy": "zero2"}),
    "liger-loss-trained-head": ({"liger": True, "modules_to_save": True}, {"strategy": "ddp"}),
    "gated-model-without-token": ({"gated": True, "hf_token": False}, {"hf_token": True}),
    "no-padding-token": ({"task": "seq_cls", "batch_size": 4, "pad_token": False}, {"batch_size": 1}),
    "port-in-use": ({"port_in_use": True}, {"world_size": 1}),
    "disk-too-small": ({"disk_free_gb": 60.0, "ckpt_gb": 15.0}, {"ckpt_gb": 1.0}),
    "transformers5-old-bitsandbytes": ({"versions": {"bitsandbytes": "0.46.0"}}, {"method": "lora"}),
    "transformers-old-peft": ({"versions": {"peft": "0.19.1"}}, {"method": "full"}),
    "merge-into-4bit": ({"export": "merge4"}, {"export": "merge16"}),
    "merge-while-sharded": ({"export": "merge16", "merge_in_training_process": True}, {"strategy": "ddp"}),
    "merge-4bit-on-cpu": ({"export": "merge4", "merge_device": "cpu"}, {"merge_device": "cuda"}),
    "vllm-adapter-trains-more": ({"export": "vllm_adapter", "task": "seq_cls"}, {"task": "causal"}),
    "vllm-dora": ({"export": "vllm_adapter", "dora": True}, {"export": "merge16"}),
    "axolotl-fsdp2-quantised-preferences": ({"engine": "axolotl", "trainer": "trl_dpo"}, {"strategy": "zero2"}),
    "axolotl-packing-preferences": ({"engine": "axolotl", "trainer": "trl_kto", "packing": True}, {"trainer": "hf"}),
    "axolotl-reentrant-preferences": (
        {"engine": "axolotl", "trainer": "trl_dpo", "use_reentrant": True}, {"n_gpus_per_node": 1}),
    "axolotl-fsdp2-4bit-efficient-loading": (
        {"engine": "axolotl", "cpu_ram_efficient_loading": True}, {"method": "lora"}),
    "llamafactory-pissa-zero3": (
        {"engine": "llamafactory", "strategy": "zero3", "init": "pissa_niter"}, {"strategy": "zero2"}),
    "trl-quantised-adapters-in-bf16": ({"engine": "trl", "gpu_cc": 7.5}, {"gpu_cc": 8.0}),
    "fsdp2-local-state-dict": ({"state_dict_type": "local"}, {"strategy": "fsdp1"}),
    "fsdp-efficient-loading-unsynchronised": (
        {"cpu_ram_efficient_loading": True, "sync_module_states": False}, {"sync_module_states": None}),
    "deepspeed-file-and-more": (
        {"strategy": "zero3", "use_deepspeed": True, "use_fsdp": False, "ds_file_and_more": True},
        {"ds_file_and_more": False}),
    "bits-contradict": ({"bits_contradict": True}, {"bits_contradict": False}),
    "axolotl-fsdp1-offload-8bit-optimizer": (
        {"engine": "axolotl", "strategy": "fsdp1", "cpu_offload_params": True, "optim": "adamw_torch_8bit"},
        {"optim": "adamw_torch"}),
    "llamafactory-quantised-resize": (
        {"engine": "llamafactory", "resize_vocab": True, "modules_to_save": True}, {"method": "lora"}),
    "float32-keeps-attention-scores": (
        {"architecture": find(DENSE), "precision": "fp32", "model_dtype": "float32", "max_length": 8192},
        {"precision": "bf16"}),
    "peft-experts-dropout": (
        {"architecture": find(MIXTURE), "lora_targets": ["all-linear"], "lora_dropout": 0.05},
        {"lora_targets": ["q_proj", "v_proj"]}),
    "peft-experts-dora": (
        {"architecture": find(MIXTURE), "lora_targets": ["w1", "w2", "w3"], "dora": True}, {"dora": False}),
    "peft-experts-named-by-halves": (
        {"architecture": find(MIXTURE), "lora_targets": ["q_proj", "w1", "w2"]}, {"architecture": find(DENSE)}),
    "peft-experts-get-no-adapters": (
        {"architecture": find("openai/gpt-oss-20b"), "lora_targets": ["all-linear"]}, {"target_parameters": True}),
    "peft-parameters-dropout": (
        {"target_parameters": True, "lora_dropout": 0.1}, {"lora_dropout": 0.0}),
    "openrlhf-adapters": ({"trainer": "openrlhf_ppo_vllm"}, {"trainer": "openrlhf_sft"}),
    "openrlhf-4bit-in-fp16": ({"engine": "openrlhf", "precision": "fp16"}, {"method": "lora"}),
    "llamafactory-device-map": ({"engine": "llamafactory", "device_map": "auto"}, {"engine": "hf"}),
    "device-map-replaced": ({"device_map": "auto", "device_map_replaced": True}, {"device_map_replaced": False}),
}  # fmt: skip

OURS: dict[str, tuple[Values, Values]] = {
    "engine-pipeline-full": (
        {"strategy.name": "pipeline", "method.name": "full"}, {"method.name": "lora"}),
    "engine-offload-optimizer-strategy": (
        {"strategy.name": "ddp", "strategy.offload_optimizer": True}, {"strategy.name": "zero1"}),
    "engine-fsdp2-offload-optimizer-alone": (
        {"strategy.name": "fsdp2", "strategy.offload_optimizer": True}, {"strategy.offload_parameters": True}),
    "engine-offload-parameters-strategy": (
        {"strategy.name": "zero2", "strategy.offload_parameters": True}, {"strategy.name": "zero3"}),
    "engine-adamw-8bit-fsdp2": (
        {"strategy.name": "fsdp2", "training.optimizer": "adamw_8bit"}, {"strategy.name": "zero2"}),
    "engine-adamw-8bit-offloaded": (
        {"strategy.name": "zero2", "training.optimizer": "adamw_8bit", "strategy.offload_optimizer": True},
        {"strategy.offload_optimizer": False}),
    "engine-pissa-quantised": (
        {"method.lora.init": "pissa", "method.name": "qlora"}, {"method.name": "lora"}),
    "engine-storage-fsdp2": (
        {"method.quantization.storage": "bfloat16", "strategy.name": "fsdp2"}, {"method.name": "lora"}),
    "engine-storage-zero": (
        {"method.quantization.storage": "float32", "strategy.name": "zero2"}, {"strategy.name": "fsdp2"}),
    "engine-loss-chunks": (
        {"training.loss": 512, "method.lora.modules_to_save": ["lm_head"], "strategy.name": "zero3"},
        {"training.loss": "auto"}),
    "engine-answers-of-classification": (
        {"model.task": "sequence_classification", "training.generate_answers": 8}, {"training.generate_answers": 0}),
    "engine-prompts-of-classification": (
        {"model.task": "sequence_classification", "training.sample_prompts": ["Who?"]},
        {"training.sample_prompts": []}),
    "engine-packing-of-classification": (
        {"model.task": "sequence_classification", "data.packing": True}, {"model.task": "causal_lm"}),
    "packing-mixes-rows": ({"model": "openai/gpt-oss-20b", "data.packing": True}, {"model": "Qwen/Qwen3-1.7B"}),
    "engine-nodes-one-rank": ({"hardware.nodes": 2, "strategy.name": "single"}, {"strategy.name": "ddp"}),
    "one-rank-strategies": ({"hardware.ranks_per_node": 2}, {"strategy.name": "ddp"}),
    "cuda-without-gpu": ({"hardware.device": "cuda", "machine": "cpu"}, {"machine": "1xA40"}),
    "gpus-not-there": ({"hardware.gpus": ["1", "2"]}, {"machine": "4xA40"}),
    "more-ranks-than-gpus": (
        {"strategy.name": "ddp", "hardware.ranks_per_node": 3}, {"hardware.ranks_per_node": 2}),
    "pipeline-one-gpu": ({"strategy.name": "pipeline", "machine": "1xA40"}, {"machine": "2xA40"}),
    "bf16-not-there": ({"precision.compute": "bf16", "machine": "2xT4"}, {"precision.compute": "auto"}),
    "offload-exceeds-host": (
        {"strategy.name": "fsdp2", "strategy.offload_parameters": True, "host_available": 2**30},
        {"host_available": 2**40}),
    "optimizer-offload-exceeds-host": (
        {"method.name": "full", "strategy.name": "zero3", "strategy.offload_optimizer": True, "host_available": 2**34},
        {"host_available": 2**40}),
    "cpu-large-model": ({"model": "Qwen/Qwen3-8B", "machine": "cpu"}, {"model": "Qwen/Qwen3-1.7B"}),
    "cpu-pipeline": ({"strategy.name": "pipeline", "machine": "cpu"}, {"strategy.name": "single"}),
    "cpu-offload": (
        {"strategy.name": "zero3", "strategy.offload_parameters": True, "hardware.device": "cpu"},
        {"hardware.device": "auto"}),
    "cpu-optimizer-offload": (
        {"strategy.name": "zero2", "strategy.offload_optimizer": True, "hardware.device": "cpu"},
        {"hardware.device": "auto"}),
    "activations-offload-exceeds-host": (
        {"training.offload_activations": True, "training.gradient_checkpointing": "all", "host_available": 2**31},
        {"host_available": 2**40}),
    "offload-activations-idle": (
        {"training.offload_activations": True}, {"training.gradient_checkpointing": "all"}),
    "cpu-fp16": ({"precision.compute": "fp16", "machine": "cpu"}, {"machine": "2xA40"}),
    "cpu-flash-attention": (
        {"model.attention": "flash_attention_2", "hardware.device": "cpu"}, {"model.attention": "sdpa"}),
    "cpu-paged-optimizer": ({"training.optimizer": "paged_adamw_8bit", "machine": "cpu"}, {"machine": "2xA40"}),
    "gpus-idle": ({"strategy.name": "single"}, {"machine": "1xA40"}),
    "fp16-of-bf16-model-ours": ({"precision.compute": "fp16"}, {"precision.compute": "auto"}),
    "experts-get-no-adapters": (
        {"model": MIXTURE, "method.lora.target_modules": ["q_proj"]}, {"model": DENSE}),
    "experts-dropout": ({"model": MIXTURE, "method.lora.dropout": 0.1}, {"method.lora.dropout": 0.0}),
    "experts-dora": ({"model": MIXTURE, "method.lora.use_dora": True}, {"model": DENSE}),
    "vllm-dora-ours": ({"method.lora.use_dora": True}, {"method.name": "full"}),
    "vllm-whole-modules-ours": (
        {"method.lora.modules_to_save": ["lm_head"]}, {"method.lora.modules_to_save": []}),
    "vllm-new-tokens-ours": ({"model.new_tokens": ["<tide>"]}, {"model.new_tokens": []}),
    "vllm-initialisation-ours": (
        {"method.lora.init": "olora"}, {"method.lora.init": "gaussian"}),
    "experts-named-by-halves": (
        {"model": MIXTURE, "method.lora.target_modules": ["q_proj", "w1"]},
        {"method.lora.target_modules": ["q_proj", "w1", "w3"]}),
}  # fmt: skip
"""Dotted paths, and ``machine``, ``model``, ``host_available``: else two A40s and a dense model of 8 B."""


def spoken(values: Values) -> Setup:
    """A setup of another program; versions are those of today but for the ones given."""
    versions = NOW | values.get("versions", {})
    return Setup(engine="hf", trainer="hf")._replace(**values | {"versions": versions})


def our_run(values: Values) -> Setup:
    around = {"machine": "2xA40", "model": DENSE, "host_available": None} | values
    machine = parse(around.pop("machine"))._replace(host_available=around.pop("host_available"))
    architecture = find(around["model"])
    config = build({"data.path": "org/data", "model.path": around.pop("model"), **around})
    return Setup.of_run(config, machine, architecture, NOW)


BY_ID = {rule.id: rule for rule in RULES}


def test_every_rule_has_an_entry_and_every_entry_a_rule() -> None:
    assert len(BY_ID) == len(RULES), "two rules share an id"
    assert {rule.id for rule in RULES if rule.concerns is Concerns.OURS} == set(OURS)
    assert {rule.id for rule in RULES if rule.concerns is not Concerns.OURS} == set(SPOKEN)


@pytest.mark.parametrize("name", SPOKEN)
def test_fires_on_other_programs_files_and_is_silent_after_one_change(name: str) -> None:
    fires, change = SPOKEN[name]
    assert BY_ID[name].holds(spoken(fires))
    assert not BY_ID[name].holds(spoken(fires | change))


@pytest.mark.parametrize("name", OURS)
def test_fires_on_our_runs_and_is_silent_after_one_change(name: str) -> None:
    fires, change = OURS[name]
    assert BY_ID[name].holds(our_run(fires))
    assert not BY_ID[name].holds(our_run(fires | change))


FOR_BOTH: dict[str, Values] = {
    "4bit-fp4": {"method.quantization.type": "fp4"},
    "sharding-needless": {"strategy.name": "fsdp2"},
    "zero12-with-adapters": {"strategy.name": "zero2"},
    "replicated-does-not-fit": {"model": MIXTURE, "method.name": "lora", "strategy.name": "ddp"},
    "offload-optimizer-of-adapters": {"strategy.name": "zero2", "strategy.offload_optimizer": True},
    "offload-needless": {"strategy.name": "fsdp2", "strategy.offload_parameters": True},
    "pipeline-one-gpu-at-a-time": {"strategy.name": "pipeline"},
    "init-changes-base": {"method.lora.init": "olora"},
    "dora-int8": {"method.name": "int8", "method.lora.use_dora": True},
    "modules-to-save-large": {"strategy.name": "ddp", "method.lora.modules_to_save": ["lm_head"]},
    "8bit-optimizer-of-adapters": {"training.optimizer": "paged_adamw_8bit"},
    "fp16-is-all-there-is": {"machine": "1xT4"},
    "quantised-gpu-old": {"machine": "1xV100"},
    "int8-old-gpu": {"machine": "1xV100", "method.name": "int8"},
    "flash-attention-gpu-too-old": {"machine": "1xT4", "model.attention": "flash_attention_2"},
    "flash-attention-in-float32": {"precision.compute": "fp32", "model.attention": "flash_attention_2"},
    "beyond-context-length": {"data.max_length": 10**6},
    "float32-keeps-attention-scores": {"precision.compute": "fp32", "data.max_length": 32768},
}
"""Rules for both that a run of ours meets too, and how."""


@pytest.mark.parametrize("name", FOR_BOTH)
def test_rules_for_both_fire_on_our_runs_with_our_paths(name: str) -> None:
    findings = [finding for finding in evaluate(our_run(FOR_BOTH[name])) if finding.rule == name]
    assert len(findings) == 1
    assert "." in (findings[0].field or ""), "the field is no path of RunConfig"
    assert all("." in path for path in findings[0].fix)


def test_what_our_engine_makes_safe_blocks_others_alone() -> None:
    fires = SPOKEN["fsdp2-4bit-storage-damaged"][0]
    ours = our_run({"strategy.name": "fsdp2", "method.name": "qlora"})
    assert BY_ID["fsdp2-4bit-storage-damaged"].severity is Severity.BLOCK
    assert BY_ID["fsdp2-4bit-storage-damaged"] in OTHERS
    assert BY_ID["fsdp2-4bit-storage-damaged"] not in OUR_RULES
    assert ours.quant_storage == "float32"
    assert spoken(fires).quant_storage == "bfloat16"
