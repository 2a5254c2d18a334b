"""The phase in which a GPU's memory ran out, by calls of many programs, and the kind, by torch's figures since 1.0."""

from __future__ import annotations

import pytest
from support.short_logs import diagnosed, traceback

from qltui.runs.diagnosis.kinds import kind_of

OOM = "CUDA out of memory. Tried to allocate 44.00 MiB"
TRAINER = "/x/transformers/trainer.py"
MODEL = "/x/transformers/models/llama/modeling_llama.py"

PHASES = [
    # transformers: Trainer
    ("load", ["/x/transformers/modeling_utils.py from_pretrained", "/x/bitsandbytes/nn/modules.py to"]),
    ("prepare", [f"{TRAINER} __init__", f"{TRAINER} _move_model_to_device", "/x/torch/nn/modules/module.py convert"]),
    ("forward", [f"{TRAINER} training_step", f"{TRAINER} compute_loss", f"{MODEL} forward"]),
    ("forward", [f"{TRAINER} training_step", f"{TRAINER} _prepare_inputs", f"{TRAINER} _prepare_input"]),
    ("backward", [f"{TRAINER} training_step", "/x/accelerate/accelerator.py backward", "/x/torch/_tensor.py backward"]),
    ("optimizer", [f"{TRAINER} _inner_training_loop", "/x/accelerate/optimizer.py step",
                   "/x/torch/optim/adamw.py _init_group"]),
    ("optimizer", [f"{TRAINER} _inner_training_loop", "/x/accelerate/accelerator.py clip_grad_norm_"]),
    ("eval", [f"{TRAINER} _maybe_log_save_evaluate", f"{TRAINER} evaluate", f"{TRAINER} prediction_step",
              f"{MODEL} forward"]),
    ("eval", [f"{TRAINER} _maybe_log_save_evaluate", "/x/transformers/trainer_pt_utils.py nested_concat"]),
    ("save", [f"{TRAINER} _maybe_log_save_evaluate", f"{TRAINER} _save_checkpoint",
              "/x/torch/distributed/fsdp/_unshard_param_utils.py _unshard_fsdp_state_params"]),
    ("load", [f"{TRAINER} train", f"{TRAINER} _load_from_checkpoint", "/x/torch/serialization.py load"]),
    ("data", [f"{TRAINER} _inner_training_loop", "/x/torch/utils/data/dataloader.py __next__",
              "/x/transformers/data/data_collator.py __call__"]),
    # peft
    ("prepare", ["/x/peft/mapping.py get_peft_model", "/x/peft/tuners/lora/model.py _create_and_replace"]),
    ("prepare", ["/x/peft/utils/other.py prepare_model_for_kbit_training"]),
    ("load", ["/x/peft/peft_model.py from_pretrained", "/x/peft/tuners/tuners_utils.py inject_adapter"]),
    ("save", ["/x/merge.py main", "/x/peft/tuners/lora/model.py merge_and_unload"]),
    # a checkpointed layer is computed anew in the backward pass
    ("backward", [f"{TRAINER} training_step", "/x/accelerate/accelerator.py backward",
                  "/x/torch/utils/checkpoint.py unpack_hook", "/x/torch/utils/checkpoint.py recompute_fn",
                  f"{MODEL} forward"]),
    # accelerate and FSDP
    ("prepare", ["/x/accelerate/accelerator.py prepare_model",
                 "/x/torch/distributed/fsdp/fully_sharded_data_parallel.py __init__"]),
    ("prepare", ["/x/accelerate/utils/fsdp_utils.py fsdp2_prepare_model",
                 "/x/torch/distributed/fsdp/_fully_shard/_fully_shard.py fully_shard"]),
    ("save", ["/x/train.py main", "/x/accelerate/accelerator.py get_state_dict"]),
    # DeepSpeed, whose optimizer steps once before there is anything to train
    ("prepare", ["/x/accelerate/accelerator.py _prepare_deepspeed", "/x/deepspeed/__init__.py initialize",
                 "/x/deepspeed/runtime/zero/stage3.py initialize_optimizer_states", "/x/torch/optim/adamw.py step"]),
    ("forward", ["/x/deepspeed/runtime/engine.py forward", f"{MODEL} forward"]),
    ("backward", ["/x/deepspeed/runtime/engine.py backward",
                  "/x/deepspeed/runtime/zero/stage3.py reduce_independent_p_g_buckets_and_remove_grads"]),
    ("optimizer", ["/x/deepspeed/runtime/engine.py step", "/x/deepspeed/runtime/engine.py _take_model_step"]),
    # TRL: rollouts are of a training step
    ("forward", [f"{TRAINER} training_step", "/x/trl/trainer/grpo_trainer.py _prepare_inputs",
                 "/x/transformers/generation/utils.py generate"]),
    ("data", ["/x/trl/trainer/sft_trainer.py __init__", "/x/trl/trainer/sft_trainer.py _prepare_dataset"]),
    # Lightning: the optimizer calls back what computes the loss
    ("forward", ["/x/lightning/pytorch/loops/optimization/automatic.py _optimizer_step", "/x/torch/optim/adamw.py step",
                 "/x/lightning/pytorch/strategies/strategy.py training_step", f"{MODEL} forward"]),
    ("eval", ["/x/lightning/pytorch/trainer/trainer.py _run_sanity_check", f"{MODEL} forward"]),
    # torchtune, Megatron, LLaMA-Factory, axolotl, llama-recipes
    ("prepare", ["/x/recipes/lora_finetune_single_device.py setup",
                 "/x/recipes/lora_finetune_single_device.py _setup_model"]),
    ("forward", ["/x/megatron/training/training.py train_step",
                 "/x/megatron/core/pipeline_parallel/schedules.py forward_step"]),
    ("load", ["/x/llamafactory/train/sft/workflow.py run_sft", "/x/llamafactory/model/loader.py load_model"]),
    ("data", ["/x/axolotl/cli/train.py do_train", "/x/axolotl/common/datasets.py load_datasets"]),
    ("eval", ["/x/llama_recipes/utils/train_utils.py train", "/x/llama_recipes/utils/train_utils.py evaluation",
              "/x/llama_recipes/utils/train_utils.py evaluate"]),
    # on Windows
    ("optimizer", [r"E:\x\Lib\site-packages\torch\optim\adamw.py step"]),
    (None, ["/x/train.py do_something"]),
]  # fmt: skip

KINDS = [
    # torch 1.0 to 1.4
    ("too_much", "(GPU 0; 11.17 GiB total capacity; 10.62 GiB already allocated; 2.56 MiB free; 145.77 MiB cached)"),
    ("fragmentation", "(GPU 0; 11.17 GiB total capacity; 7.62 GiB already allocated; 2.56 MiB free; 3.00 GiB cached)"),
    # torch 1.5 to 2.0
    ("too_much", "(GPU 0; 15.90 GiB total capacity; 14.10 GiB already allocated; 3.75 MiB free; 14.98 GiB reserved in "
     "total by PyTorch) If reserved memory is >> allocated memory try setting max_split_size_mb to avoid "
     "fragmentation."),
    ("fragmentation", "(GPU 0; 23.70 GiB total capacity; 12.10 GiB already allocated; 3.75 MiB free; 22.50 GiB "
     "reserved in total by PyTorch)"),
    ("another_process", "(GPU 0; 11.17 GiB total capacity; 505.96 MiB already allocated; 12.50 MiB free; 530.00 MiB "
     "reserved in total by PyTorch)"),
    # torch since 2.1
    ("too_much", ". GPU 0 has a total capacity of 79.25 GiB of which 8.94 MiB is free. Including non-PyTorch memory, "
     "this process has 79.23 GiB memory in use. Of the allocated memory 77.01 GiB is allocated by PyTorch, and 1.22 "
     "GiB is reserved by PyTorch but unallocated."),
    ("fragmentation", ". GPU 0 has a total capacity of 9.68 GiB of which 15.75 MiB is free. Including non-PyTorch "
     "memory, this process has 9.54 GiB memory in use. Of the allocated memory 6.61 GiB is allocated by PyTorch, and "
     "2.57 GiB is reserved by PyTorch but unallocated."),
    ("another_process", ". GPU 0 has a total capacity of 39.49 GiB of which 21.31 MiB is free. Process 3721648 has "
     "20.00 GiB memory in use. Including non-PyTorch memory, this process has 19.46 GiB memory in use. Of the "
     "allocated memory 18.04 GiB is allocated by PyTorch, and 321.37 MiB is reserved by PyTorch but unallocated."),
    # other ranks keep a context on the first GPU: too little to matter
    ("too_much", ". GPU 0 has a total capacity of 39.49 GiB of which 21.31 MiB is free. Process 37 has 414.00 MiB "
     "memory in use. Including non-PyTorch memory, this process has 38.46 GiB memory in use. Process 38 has 414.00 MiB "
     "memory in use. Of the allocated memory 36.04 GiB is allocated by PyTorch, and 321.37 MiB is reserved by PyTorch "
     "but unallocated."),
    # in a container this process is told by its number outside
    ("too_much", ". GPU 0 has a total capacity of 14.75 GiB of which 9.06 MiB is free. Process 2398 has 14.73 GiB "
     "memory in use. Of the allocated memory 14.30 GiB is allocated by PyTorch, and 131.37 MiB is reserved by PyTorch "
     "but unallocated."),
    # WSL
    ("too_much", ". GPU 0 has a total capacity of 23.99 GiB of which 0 bytes is free. Including non-PyTorch memory, "
     "this process has 17179869184.00 GiB memory in use. Of the allocated memory 22.04 GiB is allocated by PyTorch, "
     "and 321.37 MiB is reserved by PyTorch but unallocated."),
]  # fmt: skip


@pytest.mark.parametrize(("phase", "calls"), PHASES)
def test_the_phase_is_told_by_the_calls(phase: str | None, calls: list[str]) -> None:
    newest = [(file, function) for file, _, function in (call.rpartition(" ") for call in calls)]
    found = diagnosed(traceback("torch.cuda.OutOfMemoryError", OOM, *newest))
    assert (found.cause, found.phase) == ("cuda_oom", phase)


def test_without_calls_a_cause_that_shows_in_one_phase_alone_tells_it() -> None:
    assert diagnosed("ValueError: Attempting to unscale FP16 gradients.").phase == "optimizer"
    assert diagnosed("ValueError: Cannot flatten integer dtype tensors").phase == "prepare"
    assert diagnosed(f"torch.cuda.OutOfMemoryError: {OOM}").phase is None


@pytest.mark.parametrize(("kind", "figures"), KINDS)
def test_the_kind_is_told_by_the_figures(kind: str, figures: str) -> None:
    assert kind_of("cuda_oom", f"{OOM} {figures}").details["kind"] == kind


def test_figures_are_bytes() -> None:
    details = kind_of("cuda_oom", f"{OOM} {KINDS[2][1]}").details
    assert details["asked"] == 44 * 2**20
    assert details["capacity"] == int(15.90 * 2**30)
    assert details["reserved_unused"] == int(14.98 * 2**30) - int(14.10 * 2**30)


def test_no_kind_without_figures() -> None:
    assert "kind" not in kind_of("cuda_oom", "RuntimeError: CUDA error: out of memory").details
