"""Raisers and wordings that are seldom met, as their sources have them."""

from __future__ import annotations

import pytest
from support.short_logs import STEPS, assert_raised, diagnosed, traceback

RAISED = [
    # torch: native/mixed_data_type.h, nn/utils/rnn.py, optim/lr_scheduler.py, distributed/fsdp/_optim_utils.py
    ("dtype_mismatch_matmul", "RuntimeError", "mixed dtype (CPU): expect parameter to have scalar type of Float"),
    ("device_mismatch", "RuntimeError", "'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda:0 Long "
     "tensor"),
    ("resume_mismatch", "KeyError", "\"param 'initial_lr' is not specified in param_groups[0] when resuming an "
     'optimizer"'),
    ("resume_mismatch", "RuntimeError", "The state of _OptimStateKey(unflat_param_names=('visual.blocks.0.norm1.weight'"
     ", 'visual.blocks.0.attn.qkv.bias'), is_fsdp_managed=True) is empty. This should happen when "
     "use_orig_params=True."),
    # torchtune: modules/peft/_utils.py
    ("resume_mismatch", "AssertionError", "Missing LoRA key layers.0.attn.q_proj.lora_a.weight from adapter state "
     "dict"),
    # transformers: data/data_collator.py before 4.0, utils/import_utils.py; datasets: packaged_modules/json; trl
    ("tokenizer_pad_missing", "ValueError", "You are attempting to pad samples but the tokenizer you are using "
     "(GPT2Tokenizer) does not have one."),
    ("version_incompatibility", "RuntimeError", "Failed to import swift.llm.sft because of the following error (look "
     "up to see its traceback):\nthe first argument must be callable"),
    ("version_incompatibility", "AttributeError", "'AdamW' object has no attribute 'train'"),
    ("dataset_column_error", "ValueError", "Not able to read records in the JSON file at /w/train.json."),
    ("dataset_too_small", "ValueError", "Error occurred while packing the dataset. Make sure that your dataset has "
     "enough samples to at least yield one packed sequence."),
    # peft: tuners/lora/model.py 0.3 and 0.12, tuners/lora/layer.py of a weight that ZeRO-3 spreads
    ("target_modules_not_found", "ValueError", "LlamaRMSNorm() ) is not supported. Currently, only `torch.nn.Linear` "
     "and `Conv1D` are supported."),
    ("zero3_weight_1d", "ValueError", "Conv3d layer kernel must have 5 dimensions, not 1"),
    # os, shutil: a folder that is moved to another disk
    ("save_dir_missing", "OSError", "[Errno 18] Invalid cross-device link: '/tmp/x/temp.ckpt' -> '/w/latest.ckpt'"),
]  # fmt: skip

IN_CALLS = [
    ("resume_mismatch", "KeyError", "'optimizer'", ("/x/train.py", "main_worker")),
    ("adapter_size_mismatch", "RuntimeError", "The size of tensor a (2560) must match the size of tensor b (5120) at "
     "non-singleton dimension 0", ("/x/loader.py", "add_lora")),
    ("save_dir_missing", "FileNotFoundError", "[Errno 2] No such file or directory: 'a/tmp.pth.tar' -> 'a/last'",
     ("/x/timm/utils/checkpoint_saver.py", "_replace")),
]  # fmt: skip


@pytest.mark.parametrize(("cause", "kind", "message"), RAISED)
def test_of_an_exception(cause: str, kind: str, message: str) -> None:
    assert_raised(cause, kind, message)


@pytest.mark.parametrize(("cause", "kind", "message", "newest"), IN_CALLS)
def test_of_an_exception_that_its_calls_tell_apart(
    cause: str, kind: str, message: str, newest: tuple[str, str]
) -> None:
    assert diagnosed(f"{STEPS}{traceback(kind, message, newest)}").cause == cause
