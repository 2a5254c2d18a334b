"""Drivers, architectures, versions: what is installed does not fit."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

_LIBRARIES = (
    r"transformers|peft|trl|accelerate|deepspeed|unsloth|lightning|megatron|llamafactory|axolotl|swift|torchtune"
    r"|diffusers"
)
_OWN_CODE = rf"\A(?:(?![^\n]*(?:(?:site|dist)-packages/(?!torch/)|/(?:{_LIBRARIES})))[^\n]+(?:\n|\Z))+\Z"
"""Calls of which none is in a library but torch."""

CAUSES = (
    Cause(
        "gpu_lost_xid",
        "a GPU failed",
        says="The driver reports a fault of a GPU (Xid), or has lost it: heat, power, its memory or its slot.",
        fixes=(
            Fix(
                "see what the driver says",
                "dmesg -T | grep -i xid; nvidia-smi -q | grep -i -A3 -E 'ecc|retired|remapped'",
            ),
            Fix("reset or restart the machine, then go on from the newest checkpoint", "qltui resume RUN"),
            Fix("leave that GPU out (hardware.gpus)"),
        ),
        signs=(
            sign(r"NVRM: Xid", r"\bXid \(PCI", r"Xid \d+", r"fallen off the bus", r"GPU is lost", is_native=True),
            sign(
                r"uncorrectable (?:NVLink |ECC )error",
                r"[Uu]ncorrectable ECC",
                r"cudaErrorECCUncorrectable",
                r"ECC error",
                r"row remapping",
            ),
            sign(
                r"Unable to determine the device handle for (?:GPU|gpu)",
                r"No devices were found",
                r"NVML_ERROR_GPU_IS_LOST",
                r"GPU requires reset",
            ),
            sign(
                r"CUDA error: (?:unspecified launch failure|hardware stack error|the launch timed out"
                r"|CUDA-capable device\(s\) is/are busy or unavailable|unknown error)",
                is_certain=False,
            ),
            sign(
                r"CUDA_ERROR_(?:UNKNOWN|LAUNCH_FAILED|ECC_UNCORRECTABLE|HARDWARE_STACK_ERROR)",
                r"Cuda failure '(?:unspecified launch failure|unknown error)'",
                is_certain=False,
            ),
        ),
    ),
    Cause(
        "cuda_arch_unsupported",
        "the GPU's generation is not supported",
        says="torch, or something compiled for it, has no code for this GPU, which is too new or too old for it.",
        fixes=(
            Fix("a build with this architecture", "python -c 'import torch; print(torch.cuda.get_arch_list())'"),
            Fix("what does without it", patch=(("model.attention", "sdpa"),)),
        ),
        signs=(
            sign(r"no kernel image is available for execution on the device", r"invalid device function"),
            sign(
                r"FlashAttention only supports Ampere GPUs or newer",
                r"only supports? (?:Ampere|Hopper|Turing|Volta).{0,40}(?:GPUs?|or newer)",
            ),
            sign(
                r"bf16.{0,80}(?:not supported|requires|isn't supported|support bf16)",
                r"doesn't support bf16",
                r"Bfloat16 is only supported on GPUs with compute capability",
                r"--tf32 requires Ampere",
                r"[Dd]oes not support bfloat16|Type bf16 is not supported on your device",
                r"CUBLAS_STATUS_NOT_SUPPORTED.{0,200}CUDA_R_16BF",
                alone=False,
            ),
            sign(
                r"your GPU has capability .{0,20}too (?:old|new)",
                r"Feature .{0,40}requires \.target sm_",
                r"not supported in this architecture",
                r"requires A100",
                r"Expected is_sm\d+ \|\| is_sm|too old to be supported by the triton GPU compiler",
            ),
            sign(r"cutlassF: no kernel found to launch", is_certain=False),
            sign(
                r"FP8 reduction support begins with sm\d+",
                says="NCCL adds up numbers in fp8 on newer GPUs alone, and was given some.",
            ),
            sign(r"with CUDA capability sm_\d+ is not compatible with the current PyTorch", is_certain=False),
            sign(
                r"(?:compute capability|[Aa]rchitecture|sm_\d+).{0,80}(?:not supported|unsupported|too old"
                r"|is required|must be at least)",
                r"PTX was compiled with an unsupported toolchain",
                r"ptxas .{0,200}--gpu-name=sm_\w+ .{0,400}non-zero exit status",
                r"Unsupported gpu architecture",
                r"Value 'sm_\w+' is not defined",
                alone=False,
            ),
        ),
    ),
    Cause(
        "cuda_driver_mismatch",
        "the driver does not fit torch",
        says="torch finds no usable NVIDIA driver: it is missing or too old, or torch was built without CUDA.",
        fixes=(
            Fix("see both", "nvidia-smi | head -4; python -c 'import torch; print(torch.version.cuda)'"),
            Fix("torch built for the driver's CUDA, or a newer driver"),
            Fix("in a container: start it with its GPUs", "docker run --gpus all ..."),
        ),
        signs=(
            sign(
                r"CUDA driver version is insufficient",
                r"NVIDIA driver on your system is too old",
                r"Found no NVIDIA driver on your system",
            ),
            sign(
                r"Torch not compiled with CUDA enabled",
                r"unsupported display driver / cuda driver combination",
                r"forward compatibility was attempted on non supported HW",
                alone=False,
            ),
            sign(
                r"Error 80[234]: ",
                r"CUDA_ERROR_(?:NO_DEVICE|SYSTEM_DRIVER_MISMATCH|COMPAT_NOT_SUPPORTED|SYSTEM_NOT_READY)",
                r"system not yet initialized",
                r"CUDA unknown error - this may be due to an incorrectly set up environment",
                r"CUDA driver initialization failed",
                r"API call is not supported in the installed CUDA driver",
                r"Torch is not able to use GPU",
                r"ProcessGroupNCCL is only supported with GPUs",
                r"Distributed package doesn't have NCCL built in",
                alone=False,
            ),
            sign(
                r"Driver/library version mismatch",
                r"Failed to initialize NVML",
                r"NVIDIA-SMI has failed",
                r"nvidia-container-cli: (?:initialization|requirement) error",
                r"could not select device driver .{0,20}with capabilities: .{0,4}gpu",
            ),
            sign(
                r"No (?:CUDA|HIP|XPU) GPUs are available",
                r"--fp16.{0,120}can only be used on CUDA",
                r"no CUDA-capable device is detected",
                r"CUDA (?:is )?(?:not available|unavailable)",
                r"torch\.cuda\.is_available\(\) (?:is|returned?|should be)",
                r"[Nn]o (?:NVIDIA )?GPUs? (?:found|detected|available)",
                r"requires a GPU",
                r"GPU is required",
                r"cannot find any torch accelerator",
                r"[Cc]annot find .{0,20}(?:torch accelerator|GPU)",
                r"Attempting to deserialize object on a CUDA device but torch\.cuda\.is_available\(\) is False",
                alone=False,
            ),
            sign(
                r"libcuda\.so(?:\.1)?: cannot open",
                r"libcudart\.so\.[\d.]+: cannot open",
                r"lib(?:cublas|cufft|cusparse|cusolver|cudnn|nccl|nvrtc|nvJitLink)\S*:? cannot open",
                alone=False,
            ),
        ),
    ),
    Cause(
        "flash_attn_missing",
        "flash attention is not there",
        says="FlashAttention was asked for, and is not installed or not usable here.",
        fixes=(
            Fix("torch's own attention", patch=(("model.attention", "sdpa"),)),
            Fix("install it for this torch", "pip install flash-attn --no-build-isolation"),
        ),
        signs=(
            sign(
                r"Flash ?Attention ?\d* (?:has been toggled on|is not (?:available|installed|supported))",
                r"flash[_-]attn.{0,60}(?:not installed|seems to be not installed|is not available|not found)",
                alone=False,
            ),
            sign(
                r"No module named '?flash_attn",
                r"flash_attn\S*\.so: undefined symbol",
                r"flash_attn_\w*cuda.{0,80}(?:undefined symbol|cannot open)",
                r"flash_attn.{0,80}undefined symbol",
                r"packages that were not found in your environment: [\w, ]*flash_attn",
                r"you need flash_attn package version",
                r"No module named '(?:rotary_emb|dropout_layer_norm|xentropy_cuda_lib|fused_dense_lib)'",
                r"name '(?:_?flash_\w+|index_first_axis|unpad_input|pad_input)' is not defined",
                alone=False,
            ),
            sign(r"does not support Flash ?Attention", r"(?:install|requires?|need) .{0,20}flash[_-]attn", alone=False),
            sign(
                r"[Ff]lash[_ ]?[Aa]ttention.{0,60}(?:not (?:support|available|installed)|unavailable|requires)",
                is_certain=False,
                alone=False,
            ),
        ),
    ),
    Cause(
        "unknown",
        "a call that does not fit what it calls",
        says="A module was called without an argument that it needs, or with one that it does not have, and no library "
        "but torch was between the caller and it.",
        fixes=(Fix("the call and the module's forward, which the newest frames of the traceback show"),),
        signs=(sign(r"\.forward\(\) (?:missing \d+ required|got an unexpected|takes )", frames=_OWN_CODE),),
    ),
    Cause(
        "version_incompatibility",
        "library versions do not fit each other",
        says="A library was called with something it does not know, or looked for something that is gone: "
        "versions do not belong together.",
        fixes=(
            Fix("see what is installed", "qltui doctor"),
            Fix("bring them up together", "pip install -U transformers peft accelerate trl datasets bitsandbytes"),
            Fix("or those of when the script was written"),
        ),
        signs=(
            sign(
                r"cannot import name '?\w+'? from",
                r"ImportError:?\s.{0,200}(?:is required|requires|>=|<=|version|incompatible)",
                alone=False,
            ),
            sign(
                r"no_sync context manager is incompatible with gradient partitioning",
                says="DeepSpeed since 0.16 refuses how older versions of accelerate and transformers accumulate "
                "gradients under ZeRO-2 and ZeRO-3.",
            ),
            sign(
                r"got an unexpected keyword argument",
                r"missing \d+ required (?:positional|keyword-only) argument",
                alone=False,
            ),
            sign(
                r"ModuleNotFoundError",
                r"No module named '",
                is_certain=False,
                says="A library, or a part of one, is not installed: it is missing, or was moved in another version.",
                alone=False,
            ),
            sign(
                r"module '?[\w.]+'? has no attribute",
                r"type object '\w+' has no attribute",
                is_certain=False,
                alone=False,
            ),
            sign(
                r"'\w*(?:Config|Trainer|Tokenizer\w*|TrainingArguments|Accelerator|Model|ForCausalLM\w*|Cache"
                r"|Plugin|Arguments|Optimizer|State|Engine|DeepSpeed\w*)' object has no attribute",
                r"'(?:Adam\w*|SGD|Adafactor|Paged\w+|Lion\w*)' object has no attribute '(?:train|eval)'",
                is_certain=False,
            ),
            sign(
                r"undefined symbol: (?:_Z|nccl|__nv|cu)",
                r"version `(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found",
                r"numpy\.dtype size changed",
                r"Numpy is not available",
                r"was removed in the NumPy|numpy\.core\.multiarray failed to import",
                r"[Cc][Uu]DNN version incompatibility",
                r"compiled with different CUDA|require users to upgrade torch",
                r"A module that was compiled using NumPy 1\.x cannot be run",
                alone=False,
            ),
            sign(
                r"name '(?:Peft\w*|LoraConfig|init_empty_weights|is_\w+_available)' is not defined",
                r"Loading a dataset cached in a LocalFileSystem is not supported",
                r"'\*\*' can only be an entire path component",
                r"Pydantic(?:User|Import|Schema\w*)Error",
                r"packages that were not found in your environment",
                r"`?rope_scaling`? must be a dictionary with",
                r"Tokenizer class \w+ does not exist or is not currently imported",
                r"DistributionNotFound",
                alone=False,
            ),
            sign(r"'type' object is not subscriptable", alone=False, is_certain=False),
            sign(
                r"^KeyError: '[\w.-]+'$",
                frames=r"configuration_auto\.py \S+\Z",
                says="This transformers does not know the model's type: it is older than the model.",
            ),
            sign(r"has no attribute '\w+'$", frames=r"transformers/tokenization_\w+\.py \S+\Z", is_certain=False),
            sign(r"KeyError: '\w+'", frames=r"models/auto/configuration_auto\.py", alone=False),
            sign(
                r"does not recognize this architecture",
                r"Tokenizer class \w+ does not exist or is not currently imported",
                r"(?:Transformers|tokenizers|accelerate|peft|trl).{0,60}(?:out of date|too old|is outdated"
                r"|upgrade)",
                r"(?:Please|please) (?:upgrade|update|install).{0,60}(?:transformers|peft|accelerate|trl"
                r"|tokenizers|torch)\b",
                r"(?:requires|needs?) (?:the )?\W?(?:transformers|peft|accelerate|trl|torch|tokenizers"
                r"|huggingface[-_]hub|datasets|numpy)\W? ?(?:[<>=!~]=?|version)",
                alone=False,
            ),
            sign(
                r"is required for a normal functioning of this module",
                r"VersionConflict",
                r"ContextualVersionConflict",
                r"data did not match any variant of untagged enum",
                alone=False,
            ),
            sign(r"error: unrecognized arguments: ", is_native=True),
            sign(
                r"Trainer\.__init__\(\) got",
                r"__init__\(\) got an unexpected keyword",
                r"Some specified arguments are not used by the HfArgumentParser",
                is_certain=False,
            ),
            sign(
                r"operator torchvision::nms does not exist",
                r"Failed to import (?:transformers|trl|peft|diffusers)\.",
                r"Failed to import [\w.]+ because of the following",
                alone=False,
            ),
            sign(
                r"(?:You passed a `PeftModel` instance together with a `peft_config`"
                r"|You cannot fine-tune quantized model with `torch\.compile"
                r"|isn't supported yet with DeepSpeed Zero-3|save_only_model option is not compatible"
                r"|Could not find the transformer layer class|FSDP2 mapping failed)",
                says="Options were put together that do not go together.",
            ),
        ),
    ),
)
