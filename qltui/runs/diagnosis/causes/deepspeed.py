"""What DeepSpeed refuses."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

CAUSES = (
    Cause(
        "deepspeed_config_mismatch",
        "DeepSpeed's file and the arguments disagree",
        says="The file for DeepSpeed and the arguments of the trainer name different values for the same thing.",
        fixes=(
            Fix('"auto" in the file for what the arguments tell'),
            Fix("what may stand in it: https://www.deepspeed.ai/docs/config-json"),
        ),
        signs=(
            sign(r"[Pp]lease correct the following DeepSpeed config values that mismatch"),
            sign(
                r"Do not set `\w+` in the DeepSpeed config",
                r"configured in the DeepSpeed config, but no|[Pp]lease configure .{0,40} in the DeepSpeed config",
                r"cannot be set to `\w+` when `\w+` is set in the DeepSpeed config",
                r"modes cannot be simultaneously enabled",
                r"the following accelerate config variables will be ignored",
                r"You (?:cannot|must) create a `Dummy(?:Optim|Scheduler)`",
                r"`train_micro_batch_size_per_gpu` (?:in|is).{0,40}deepspeed (?:config|plugin)",
                says="DeepSpeed's file and the trainer's arguments do not belong together: a value is in both, or in "
                "the wrong one.",
            ),
            sign(
                r"H?[Jj](?:SON|son)DecodeError",
                frames=r"utils/deepspeed\.py |integrations/deepspeed\.py |deepspeed/(?:runtime/config|launcher)",
                says="DeepSpeed's file cannot be read: it is no valid JSON.",
            ),
            sign(
                r"is not a supported DeepSpeed Optimizer|optimizer requires dynamic loss scaling",
                r"zero stage \w+ requires an optimizer|You are using an untested ZeRO Optimizer",
                r"DeepSpeedConfig: .{0,60}(?:is not defined|Maximum supported ZeRO stage)",
                r"DeepSpeed requires --deepspeed_config|we were given deepspeed configs in the deepspeed arguments",
                r"(?:only|not) supported (?:with|for) ZeRO [Ss]tage|ZeRO inference only makes sense with ZeRO Stage 3",
                r"not possible to automatically fill out the following `auto` entries",
                r"Please specify `\w+(?:\.\w+)*` without `auto`|Please specify the ZeRO optimization config",
                r"Duplicate keys in DeepSpeed config|deprecated version of ZeRO Stage 1",
                r"is not instantiated but Client LR Scheduler is",
                says="DeepSpeed does not take what its file asks for: a value is missing, unknown to it, or does not "
                "go with another.",
            ),
            sign(r"deepspeed.{0,120}config.{0,120}(?:mismatch|conflict|inconsistent)", r"DeepSpeedConfigError"),
            sign(
                r"""(?:`auto`|\"auto\"|'auto').{0,120}(?:deepspeed|DeepSpeed).{0,120}(?:config|cannot|invalid)""",
                r"(?:deepspeed|DeepSpeed).{0,100}(?:value|key)s?.{0,60}'?auto",
            ),
            sign(
                r"validation errors? for DeepSpeed\w*Config", r"Expected a string path to an existing deepspeed config"
            ),
            sign(
                r"(?:zero_optimization|fp16|bf16|optimizer|scheduler).{0,60}(?:mismatch"
                r"|must match).{0,60}DeepSpeed"
            ),
        ),
    ),
    Cause(
        "deepspeed_batch_assert",
        "DeepSpeed's batch sizes do not multiply",
        says="DeepSpeed wants train_batch_size = micro batch x accumulation x ranks, and these numbers are not so.",
        fixes=(Fix('"auto" for train_batch_size, train_micro_batch_size_per_gpu and gradient_accumulation_steps'),),
        signs=(
            sign(r"Check batch related parameters\. train_batch_size is not equal"),
            sign(
                r"Either train_batch_size or train_micro_batch_size_per_gpu needs to be provided",
                r"(?:Micro batch size|Train batch size|Gradient accumulation steps).{0,60}has to be greater than 0",
            ),
            sign(r"Train batch size must be divisible by micro-batch data parallelism"),
            sign(r"train_batch_size.{0,80}micro_batch.{0,80}(?:world_size|gradient_acc)"),
        ),
    ),
    Cause(
        "deepspeed_op_build",
        "DeepSpeed could not build what it needs",
        says="DeepSpeed compiles some of its parts when they are first used, and could not: no CUDA "
        "toolkit, compiler or ninja.",
        fixes=(
            Fix("an optimizer that is there already", patch=(("training.optimizer", "adamw"),)),
            Fix("see what is missing", "ds_report"),
            Fix("a compiler and the toolkit of torch's CUDA version", "export CUDA_HOME=/usr/local/cuda"),
        ),
        signs=(
            sign(
                r"MissingCUDAException",
                r"CUDA_HOME does not exist, unable to compile",
                r"CUDAMismatchException",
                r"Installed CUDA version .{0,60}does not match the version torch was compiled with(?!.*accepting)",
            ),
            sign(
                r"Error building extension",
                r"Unable to JIT load the \w+ op",
                r"Ninja is required to load C\+\+ extensions",
                r"Error compiling objects for extension",
            ),
            sign(
                r"(?:deepspeed/ops/|torch_extensions/|torch/include/)\S*(?::\d+)*: (?:fatal )?error: ",
                r"trying to build PyTorch with a too old version of GCC|ninja: build stopped: subcommand failed",
                r"ld: cannot find -l(?:curand|cudart|cublas|cuda|aio)\b",
                is_native=True,
                says="A part that is compiled when it is first used did not compile: the compiler, the CUDA toolkit "
                "and torch do not fit each other.",
            ),
            sign(
                r"DeepSpeedCPUAdam' object has no attribute 'ds_opt_adam'",
                r"has no attribute 'ds_opt_\w+'",
                r"(?:cpu_adam|fused_adam|async_io).{0,60}(?:not compatible|failed|not been"
                r"|cannot open shared object)",
            ),
            sign(r"CUDA_HOME environment variable is not set", frames=r"deepspeed|cpp_extension"),
            sign(r"Error", frames=r"op_builder/builder\.py installed_cuda_version\Z"),
            sign(
                r"(?:Error|Exception)\b|^Traceback: cut",
                frames=r"(?:op_builder|ops/op_builder)/\w+\.py \w+\Z",
                is_certain=False,
            ),
            sign(
                r"No such file or directory: '\S*(?:bin/nvcc|ninja)'", r"Command '\['ninja', '-v'\]'", is_certain=False
            ),
            sign(
                r"op_builder.{0,200}(?:Error|Exception)",
                r"This op had been marked as incompatible",
                r"No module named '(?:deepspeed\.ops\.\w+|(?:fused|cpu)_\w+|async_io)'",
                r"version mismatch! DeepSpeed ops were compiled",
                r"torch_extensions/\S+\.so: ",
                r"detected CUDA version .{0,20}mismatches the version that was used to compile",
                r"CUDA was not found on the system, please set the CUDA_HOME",
                alone=False,
            ),
        ),
    ),
    Cause(
        "optimizer_offload_device",
        "the optimizer and its parameters are on different devices",
        says="An optimizer of the CPU got parameters on a GPU, or one of the GPU parameters on the CPU.",
        fixes=(
            Fix("offload the optimizer too", patch=(("strategy.offload_optimizer", True),)),
            Fix("no offload", patch=(("strategy.offload_parameters", False), ("strategy.offload_optimizer", False))),
        ),
        signs=(
            sign(r"CPUAdam param is on .{0,40}and must be 'cpu'"),
            sign(
                r"You are using ZeRO-Offload with a client provided optimizer",
                r"ZeRO[- ]?Offload.{0,120}(?:DeepSpeedCPUAdam|optimizer)",
                r"zero_force_ds_cpu_optimizer",
            ),
            sign(r"offload.{0,80}optimizer.{0,80}(?:must be|not supported|cannot|should be)"),
            sign(
                r"[Ff]used.{0,60}(?:requires|supports?|only).{0,60}(?:CUDA|cuda|floating point Tensors on)",
                frames=r"optim",
            ),
            sign(r"`?fused=True`? requires all the params to be"),
            sign(r"expected input to be on cuda", frames=r"fused_adam|optim"),
            sign(
                r"bitsandbytes\.optimizer_update_\w+\.default (?:got mixed torch\.Tensor and DTensor"
                r"|does not have a sharding strategy)",
                says="An optimizer of bitsandbytes got parameters that FSDP2 shards, which it does not know.",
            ),
            sign(
                r"Operator bitsandbytes\.optimizer_update\w*.{0,40}does not have a sharding strategy",
                says="An optimizer of bitsandbytes got parameters that FSDP2 shards, which it does not know.",
            ),
            sign(
                r"Expected all tensors to be on the same device",
                frames=r"optim(?:izer)?/\w*adam|optim/adamw|_single_tensor_adam|_multi_tensor_adam|_fused_adam",
            ),
        ),
    ),
    Cause(
        "zero3_weight_1d",
        "a weight was used while it is spread (ZeRO-3)",
        says="Under ZeRO-3 a weight is an empty piece outside of the module it belongs to, and something "
        "used it there.",
        fixes=(
            Fix("call the wrapped model, not a part of it"),
            Fix("gather what is used: with deepspeed.zero.GatheredParameters(...)"),
            Fix("of a checkpoint of ZeRO-3, gather the weights", "python zero_to_fp32.py CHECKPOINT OUT"),
            Fix("ZeRO-2, where it fits", patch=(("strategy.name", "zero2"),)),
        ),
        signs=(
            sign(r"'weight' must be 2-D"),
            sign(
                r"ds_status == ZeroParamStatus\.AVAILABLE",
                r"'status': '?NOT_AVAILABLE",
                r"ZeroParamStatus\.(?:NOT_AVAILABLE|INFLIGHT)",
            ),
            sign(
                r"size mismatch, got input \(\d+\), (?:mat \(.*?\), )?vec \(0\)",
                r"mat2 must be a matrix, got 1-D tensor",
                r"size mismatch, got .{0,60}\(0\)",
            ),
            sign(r"layer kernel must have \d dimensions, not 1\b"),
            sign(
                r"size mismatch for (?!\S*(?:lora_|modules_to_save))\S+: copying a param with shape "
                r"torch\.Size\(\[0\]\)",
                says="The checkpoint was saved while ZeRO-3 had its weights in pieces: in the file they are empty.",
            ),
            sign(
                r"size mismatch for \S+: copying .{0,120}the shape in current model is torch\.Size\(\[0\]\)",
                says="Weights were loaded into a model that ZeRO-3 has in pieces: there its weights are empty.",
            ),
            sign(r"(?:tensor|weight|shape).{0,60}torch\.Size\(\[0\]\)", is_certain=False),
            sign(
                r"The size of tensor [ab] \(0\) must match",
                r"expected shape compatible with \[0\]",
                is_certain=False,
            ),
            sign(
                r"Dimension out of range \(expected to be in range of \[-1, 0\], but got 1\)",
                frames=r"deepspeed/runtime/zero",
                is_certain=False,
            ),
        ),
    ),
)
