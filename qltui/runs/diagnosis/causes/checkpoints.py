"""Checkpoints that cannot be read, written or gone on with."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

_SAVING = r"(?m: \w*(?:save|rotate|rename|makedirs|mkdir|serialize|_open_zipfile_writer|_write)\w*$)"
"""Functions that write or move files."""

CAUSES = (
    Cause(
        "resume_mismatch",
        "the checkpoint does not fit the run",
        says="The checkpoint is damaged, incomplete, or of a run with another optimizer, other parameters "
        "or another engine.",
        fixes=(
            Fix("an older checkpoint"),
            Fix("the configuration it was made with (run.yaml, trainer_state.json beside it)"),
            Fix("begin anew from the adapter alone, without the optimizer's state"),
        ),
        signs=(
            sign(
                r"loaded state dict (?:contains a parameter group that doesn't match"
                r"|has a different number of parameter groups)"
            ),
            sign(
                r"Can't find a valid checkpoint at",
                r"No valid checkpoint found",
                r"[Nn]o checkpoint found",
                r"[Cc]heckpoint is unfinished and cannot be used to resume",
                r"[Cc]an(?:not|'t) find checkpoint",
                says="Where the run was to be resumed from there is no checkpoint, or none that is complete.",
            ),
            sign(r"is only supported when using PyTorch FSDP", r"cannot resume"),
            sign(
                r"Weights only load failed",
                says="torch since 2.6 loads plain tensors alone unless told otherwise, and a file of this checkpoint "
                "has other objects in it: libraries older than torch want them, or newer ones wrote them.",
            ),
            sign(
                r"serious vulnerability issue in `?torch\.load",
                frames=r"_load_(?:rng_state|optimizer\w*|scaler)",
                says="transformers reads a checkpoint's files of torch with torch 2.6 or newer alone.",
            ),
            sign(r"UnpicklingError"),
            sign(
                r"Error while deserializing header",
                r"PytorchStreamReader failed",
                r"failed finding central directory",
                r"invalid load key",
                r"unexpected EOF, expected",
                r"Ran out of input",
                r"EOFError",
                r"JSONDecodeError",
                frames=r"_load_from_checkpoint|resume|_load_optimizer|_load_rng|load_checkpoint|load_adapter|load_from_json",
                says="A file of the checkpoint is damaged or cut short: it was not written to its end.",
            ),
            sign(
                r"(?:Missing|Unexpected) key\(s\) in state_dict",
                r"Error\(s\) in loading state_dict",
                says="The checkpoint and the model do not have the same parameters: another model, other adapters, or "
                "one of them wrapped (peft, FSDP, DDP) and the other not.",
            ),
            sign(
                r"(?:FileNotFoundError|No such file or directory).{0,300}(?:trainer_state\.json|rng_state\w*\.pth"
                r"|(?:optimizer|scheduler|scaler)\.(?:pt|bin)|(?:optim|model)_states\.pt|random_states_\d+\.pkl)",
                r"Trying to restore training state but checkpoint contains only the model",
                r"RNG state must be a torch\.ByteTensor",
                r"The source state dict is empty, possibly because it was saved from a disabled instance",
                r"failed to resume from checkpoint",
                r"KeyError: '(?:exp_avg(?:_sq)?|param_groups|optimizer_state_dict|lr_scheduler)'",
                alone=False,
            ),
            sign(
                r"^AssertionError",
                frames=r"state_dict_factory\.py check_ckpt_list\Z",
                says="DeepSpeed found no file of the checkpoint where it was to be resumed from.",
            ),
            sign(
                r"CheckpointException",
                r"Missing key in checkpoint state_dict",
                r"Size mismatch between saved",
                r"param 'initial_lr' is not specified in param_groups",
                r"The state of _OptimStateKey\(.*\) is empty",
                r"Missing LoRA keys? .{0,200}from adapter state dict",
            ),
            sign(
                r"KeyError: '(?:optimizer(?:_states?)?|(?:lr_)?schedulers?(?:_state_dict)?|(?:model_)?state_dict"
                r"|grad_scaler|global_step|pytorch-lightning_version)'",
                alone=False,
                is_certain=False,
                says="The checkpoint lacks a part that the run goes on from: another program wrote it, or it holds "
                "weights alone.",
            ),
            sign(
                r"The size of tensor [ab] \([1-9]\d*\) must match the size of tensor [ab] \([1-9]\d*\)",
                frames=r"/optim/\w+\.py \w+\Z",
                is_certain=False,
                says="The optimizer's state has other shapes than the parameters: it is of a run with other ones.",
            ),
            sign(
                r"Module.{0,60}(?:global_step|checkpoint).{0,80}(?:does not exist|not found)",
                r"Client provided checkpoint load path",
            ),
            sign(
                r"(?:resume|checkpoint).{0,120}(?:does not match|doesn't match|mismatch|different from"
                r"|was made with|incompatible)"
            ),
        ),
    ),
    Cause(
        "unknown",
        "a damaged file of weights",
        says="A file of weights is damaged or cut short: a download that did not end, or a pointer of Git LFS.",
        fixes=(
            Fix("see its size, and whether it is a pointer of Git LFS", "ls -l MODEL; head -c 100 MODEL/*.safetensors"),
            Fix("get it anew", "hf download NAME --force-download"),
        ),
        signs=(
            sign(
                r"Error while deserializing header",
                r"InvalidHeaderDeserialization",
                r"MetadataIncompleteBuffer",
                r"PytorchStreamReader failed",
                r"failed finding central directory",
                r"invalid load key, '",
            ),
        ),
    ),
    Cause(
        "save_dir_missing",
        "the place to save to cannot be written",
        says="The folder to save to does not exist or may not be written, or the checkpoint in it was moved meanwhile.",
        fixes=(
            Fix("make it, and see that it may be written", "mkdir -p DIR && touch DIR/x"),
            Fix("on several hosts: a folder that all of them see"),
        ),
        signs=(
            sign(r"Parent directory .{0,200}does not exist"),
            sign(
                r"(?:FileNotFoundError|No such file or directory).{0,300}(?:checkpoint|tmp-checkpoint|output"
                r"|adapter_model|optimizer\.pt|trainer_state|rng_state|scheduler\.pt)",
                frames=_SAVING,
            ),
            sign(
                r"(?:PermissionError|Permission denied|Read-only file system|cannot be opened"
                r"|Errno (?:5|13|17|20|21|30|116)\b)",
                frames=_SAVING,
            ),
            sign(
                r"Read-only file system",
                r"(?:Permission denied|PermissionError|Invalid cross-device link|Stale file handle|Input/output error)"
                r".{0,200}(?:checkpoint|output|save|\.ckpt|logs/|tfevents)",
            ),
            sign(
                r"^FileNotFoundError",
                frames=r" (?:save\w*|rename|replace|_replace|rotate\w*|move|copytree)\Z",
                alone=False,
                is_certain=False,
            ),
            sign(
                r"tmp-checkpoint-\d+.{0,80}(?:No such file|not found|does not exist)",
                r"No such file or directory: '[^']*tmp-checkpoint",
                r"(?:Directory not empty|File exists): '[^']*checkpoint-\w+",
                r"Error while serializing: (?:IoError|I/O error)",
                r"Provided path \(.*\) should be a directory, not a file",
            ),
            sign(
                r"(?:[Oo]utput|[Ss]ave)[_ ]?(?:dir|directory|path|folder).{0,120}(?:does not exist|doesn't exist"
                r"|not found|already exists and is not empty|not writable|cannot be (?:created|written))"
            ),
            sign(r"Cannot (?:save|write).{0,80}(?:director|folder|path)"),
        ),
    ),
)
