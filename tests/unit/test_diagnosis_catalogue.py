"""The catalogue of causes: complete, in plain words, and every fix it offers can be applied."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.config import RunConfig
from engine.config.reading import read
from qltui.runs.diagnosis.causes import BY_ID, CAUSES
from qltui.runs.diagnosis.causes.cause import Cause

PROMISED = """
cuda_oom host_oom_sigkill shm_bus_error disk_full nccl_timeout nccl_init_network port_in_use quant_state_lost
int8_cb_missing dtype_not_uniform_flatten integer_flatten to_not_supported_quantized device_mismatch
device_map_with_distributed ddp_ready_twice ddp_unused_params checkpoint_recompute_mismatch no_grad_inputs
dtype_mismatch_matmul fp16_unscale loss_nan_or_zero empty_adapter adapter_size_mismatch modules_to_save_keyerror
target_modules_not_found zero3_weight_1d deepspeed_config_mismatch deepspeed_batch_assert deepspeed_op_build
optimizer_offload_device bnb_cuda_setup bnb_missing_or_old flash_attn_missing cuda_driver_mismatch cuda_arch_unsupported
gpu_lost_xid hub_auth_gated hub_not_found_or_offline tokenizer_pad_missing label_out_of_range dataset_column_error
dataset_too_small version_incompatibility trust_remote_code_needed resume_mismatch tied_weights_save
parallel_size_mismatch meta_tensor_no_data save_dir_missing sigsegv user_interrupt unknown none
""".split()  # noqa: SIM905
"""The ids, which other programs may rely on."""


def test_every_promised_cause_is_there_and_no_other() -> None:
    assert set(BY_ID) == set(PROMISED)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_a_cause_is_told_in_at_most_two_sentences_and_has_something_to_do(cause: Cause) -> None:
    for says in (cause.says, *(sign.says for sign in cause.signs if sign.says)):
        assert len(re.findall(r"[.!?](?:\s|$)", says)) in (1, 2), says
    assert cause.fixes and cause.signs


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_what_a_fix_sets_a_configuration_has(cause: Cause) -> None:
    for fix in cause.fixes:
        patch = {field: list(value) if isinstance(value, tuple) else value for field, value in fix.patch}
        tree = {"name": "x", "model": "m", "data": "d"}
        assert isinstance(read(tree, where="here", base=Path(), assignments=patch), RunConfig)
