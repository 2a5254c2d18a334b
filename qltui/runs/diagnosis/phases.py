"""The phase of a run in which something was raised: by the calls it came through, else by what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qltui.runs.diagnosis.symptoms import Symptom

_AROUND = (
    (
        "prepare",
        r"get_peft_model | prepare_peft_model | deepspeed_init | _prepare_deepspeed | initialize_optimizer_states",
    ),
    (
        "save",
        r"""_?save_(?:checkpoint|model|pretrained|state|file|lora|adapter|optimizer)\w* | _save\w* | save
        | _zero3_consolidated\w* | get_state_dict | get_(?:peft_)?model_state_dict | get_peft_model_state_dict
        | merge_and_unload | push_to_hub | export_model | _save_to_state_dict | fsdp_export""",
    ),
    (
        "eval",
        r"""_?evaluate\w* | \w*evaluation_(?:loop|step) | \w*_eval | eval_step | prediction_(?:step|loop)
        | run_evaluation | validation_(?:step|loop) | validate | _run_sanity_check | compute_metrics
        | nested_(?:concat|gather|detach)""",
    ),
    ("backward", r"backward | backward_step | _engine_run_backward | run_backward | unpack_hook | recompute_fn"),
    (
        "load",
        r"""\w*from_pretrained | _load_pretrained_model | load_checkpoint\w* | _load_from_checkpoint | load_state_dict
        | (?:_load|load)_(?:model|tokenizer|adapter|optimizer|rng|base)\w* | cached_files? | hf_hub_download
        | snapshot_download | convert_and_load_state_dict\w* | load_pretrained\w* | load_from_json | load_state
        | set_peft_model_state_dict""",
    ),
    (
        "data",
        r"""load_datasets?\w* | _next_data | _process_data | \w*collat\w* | __getitems?__ | tokenize\w*
        | _prepare_dataset | get_(?:merged_)?dataset\w* | _?(?:load|prepare|setup|process)_\w*data\w*
        | apply_chat_template | preprocess\w* | get_train_dataloader | _remove_unused_columns | align_dataset
        | _setup_data | _map_single | train_test_split | make_supervised_data_module""",
    ),
)  # fmt: skip
"""Functions within which all is of one phase, whatever is called there; of several the first here counts."""
_DATA_FILES = r"[^\n]*(?:datasets/|torch/utils/data|data_collator|tokenization_utils)\S*[ ]\S+"
_STEP = (
    (
        "optimizer",
        r"_?optimizer_step | _take_model_step | clip_grad_norm_? | _init_group | _?unscale_\w* | _multi_tensor_\w+",
    ),
    (
        "forward",
        r"""forward | compute_loss | _call_impl | _wrapped_call_impl | training_step | train_step | _loss_step
        | forward_(?:step|backward\w*) | generate""",
    ),
)
"""What follows each other in a step; the innermost counts, as optimizers may call back what computes the loss."""
_STEP_FILES = r"(?:optim(?:izer)?s?/|deepspeed/runtime/)\S+[ ]step | \S*optimizer\.py[ ]step"
_SETUP = r"""
    prepare\w* | _prepare_\w+ | fully_shard | initialize | _?setup\w* | init_process_group | _initialize_\w+
    | create_optimizer\w* | _configure_\w+ | __post_init__ | inject_adapter\w* | _create_and_replace | _auto_wrap
    | _init_flat_param\w* | to | cuda | half | float | bfloat16 | convert | _apply
    | _move_model_to_device | dispatch_model"""
_SETUP_FILES = r"\S*(?:distributed\.py|fully_sharded_data_parallel\.py)[ ]__init__ | \S*TCPStore\S*"


def _pattern(functions: str, files: str = "") -> re.Pattern[str]:
    calls = rf"[^\n]*[ ](?:\w+\.)*(?:{functions})"
    return re.compile(rf"^(?:{calls}" + (rf"|[^\n]*(?:{files})" if files else "") + ")$", re.X | re.M)


_ENCLOSING = tuple((phase, _pattern(names, _DATA_FILES if phase == "data" else "")) for phase, names in _AROUND)
_STEPS = tuple((phase, _pattern(names, _STEP_FILES if phase == "optimizer" else "")) for phase, names in _STEP)
_PREPARING = _pattern(_SETUP, _SETUP_FILES)
_SAID = re.compile(r"\bphase[ =:]+'?(load|prepare|data|forward|backward|optimizer|eval|save)\b|\bfailed during (\w+):")

_USUAL = {
    phase: frozenset(causes.split())
    for phase, causes in {
        "load": """hub_auth_gated hub_not_found_or_offline trust_remote_code_needed bnb_missing_or_old bnb_cuda_setup
            flash_attn_missing adapter_size_mismatch resume_mismatch""",
        "prepare": """integer_flatten dtype_not_uniform_flatten to_not_supported_quantized target_modules_not_found
            device_map_with_distributed meta_tensor_no_data deepspeed_op_build deepspeed_config_mismatch
            deepspeed_batch_assert cuda_driver_mismatch""",
        "data": "tokenizer_pad_missing dataset_column_error dataset_too_small shm_bus_error",
        "forward": "loss_nan_or_zero label_out_of_range dtype_mismatch_matmul int8_cb_missing ddp_unused_params",
        "backward": "checkpoint_recompute_mismatch ddp_ready_twice no_grad_inputs",
        "optimizer": "fp16_unscale optimizer_offload_device",
        "save": "tied_weights_save save_dir_missing modules_to_save_keyerror empty_adapter",
    }.items()
}
"""Where a cause nearly always shows, for a log without calls."""


def phase_of(symptom: Symptom) -> str | None:
    """load, prepare, data, forward, backward, optimizer, eval or save; None if nothing tells."""
    calls = "\n".join(one.calls for one in symptom.top.chain()) if symptom.top is not None else ""
    if calls and (found := phase_of_calls(calls)):
        return found
    if said := _SAID.search(symptom.text):
        return said[1] or said[2]
    return usual_phase(symptom.cause.id) if symptom.cause is not None else None


def usual_phase(cause: str) -> str | None:
    """The phase a cause nearly always shows in; None if there is none."""
    return next((phase for phase, causes in _USUAL.items() if cause in causes), None)


def phase_of_calls(calls: str) -> str | None:
    """The phase by files and functions, a call a line, the newest last; None if none of them tells."""
    for phase, pattern in _ENCLOSING:
        if pattern.search(calls):
            return phase
    last = {phase: [found.start() for found in pattern.finditer(calls)][-1:] for phase, pattern in _STEPS}
    if any(last.values()):
        return max(last, key=lambda phase: last[phase])
    return "prepare" if _PREPARING.search(calls) else None
