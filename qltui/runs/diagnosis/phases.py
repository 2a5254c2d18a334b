"""The phase of a run in which something was raised, by the calls it came through."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qltui.runs.diagnosis.symptoms import Symptom

_CALLS = {
    "save": r"""
        _?save_(?:checkpoint|model|pretrained|state|file)\w* | _save\w* | save | _zero3_consolidated\w* | get_state_dict
        | get_model_state_dict | _maybe_log_save_evaluate_save""",
    "eval": r"""
        evaluate | evaluation_loop | prediction_step | prediction_loop | _evaluate | validation_step | compute_metrics
        | generate""",
    "backward": r"backward | _engine_run_backward | run_backward | unpack_hook | recompute_fn",
    "optimizer": r"optimizer_step | _take_model_step | clip_grad_norm_? | _init_group | unscale_",
    "prepare": r"get_peft_model | inject_adapter\w* | _create_and_replace",
    "load": r"""
        from_pretrained | _load_pretrained_model | load_checkpoint\w* | _load_from_checkpoint | load_state_dict
        | load_model\w* | cached_files? | hf_hub_download | snapshot_download | convert_and_load_state_dict
        | load_adapter
        | load_pretrained | _from_pretrained""",
    "data": r"""
        load_dataset\w* | _next_data | _process_data | collate\w* | __getitem__ | tokenize\w* | _prepare_dataset
        | get_dataset\w* | apply_chat_template | preprocess\w* | get_train_dataloader | _remove_unused_columns""",
    "setup": r"""
        prepare\w* | _prepare_\w+ | fully_shard | deepspeed_init | initialize | _setup\w* | init_process_group
        | _initialize_\w+ | create_optimizer\w* | _configure_\w+ | __post_init__""",
    "forward": r"forward | compute_loss | _call_impl | _wrapped_call_impl | training_step",
}
"""Functions of each phase; of several phases in a traceback the first here counts. ``setup`` is of ``prepare``."""
_FILES = {
    "optimizer": r"optim(?:izer)?s?/\S+ step$ | optimizer\.py step$",
    "data": r"datasets/ | torch/utils/data | data_collator",
    "setup": r"distributed\.py __init__ | TCPStore",
}
_BY_CALLS = tuple(
    (phase, re.compile(rf"[ ](?:\w+\.)*(?:{names})$" + (rf"| {_FILES[phase]}" if phase in _FILES else ""), re.X | re.M))
    for phase, names in _CALLS.items()
)
_SAID = re.compile(r"\bphase[ =:]+'?(load|prepare|data|forward|backward|optimizer|eval|save)\b|\bfailed during (\w+):")


def phase_of(symptom: Symptom) -> str | None:
    """load, prepare, data, forward, backward, optimizer, eval or save; None if nothing tells."""
    calls = "\n".join(one.calls for one in symptom.top.chain()) if symptom.top is not None else ""
    for phase, pattern in _BY_CALLS:
        if calls and pattern.search(calls):
            return "prepare" if phase == "setup" else phase
    said = _SAID.search(symptom.text)
    return (said[1] or said[2]) if said else None
