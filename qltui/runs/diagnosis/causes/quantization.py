"""Quantised weights that lost what they need, or that somebody moved, cast or flattened."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

CAUSES = (
    Cause(
        "int8_cb_missing",
        "8-bit weights lost their scales",
        says="Something replaced 8-bit weights by plain tensors (FSDP does), and what they are scaled by was lost.",
        fixes=(
            Fix("4-bit weights", patch=(("method.name", "qlora"),)),
            Fix("no sharding of 8-bit weights", patch=(("strategy.name", "ddp"),)),
        ),
        signs=(
            sign(r"has no attribute '(?:CB|SCB|CxB|has_fp16_weights)'"),
            sign(
                r"State must contain either CBt or CB",
                r"Loading a quantized checkpoint into non-quantized Linear8bitLt",
            ),
            sign(
                r"'NoneType' object (?:has no attribute '(?:to|t|T|device|dtype|shape)'|is not subscriptable)",
                frames=r"bitsandbytes/(?:autograd/_functions\.py \w+|nn/modules\.py init_8bit_state)\Z",
            ),
            sign(
                r"KeyError: '(?:\S+\.)?SCB'",
                r"key\(s\) in state_dict: .{0,300}\.(?:SCB|weight_format)\"",
                says="A checkpoint of 8-bit weights met a model that has plain ones, or the other way round.",
            ),
        ),
    ),
    Cause(
        "quant_state_lost",
        "4-bit weights lost their quantisation state",
        says="4-bit weights became plain tensors: what is needed to read them was lost when they were "
        "moved, sharded or cast.",
        fixes=(
            Fix("versions that belong together", "pip install -U transformers accelerate peft bitsandbytes"),
            Fix("no device_map where ranks share or shard the model"),
            Fix("storage of the packed bytes as wide as what shards them (bnb_4bit_quant_storage)"),
        ),
        signs=(
            sign(
                r"has no attribute '(?:compress_statistics|quant_state|quant_storage|bnb_quantized|absmax|quant_map)'",
                r"'Params4bit' object has no attribute",
            ),
            sign(
                r"quant_state is None",
                r"quant_state.*(?:not initialized|missing|is not set)",
                r"FP4 quantization state not",
                r"assert .*quant_state",
                r"quant_state is required",
                r"requires (?:either|both) (?:quant_state|absmax)",
                r"Expected packed or unpacked quant_state items",
            ),
            sign(
                r"mat1 and mat2 shapes cannot be multiplied \(\d+x\d+ and (?:1x\d{5,}|\d{5,}x1)\)",
                r"same dtype, but got:? .{0,60}(?:\bByte\b|unsigned char|uint8)",
                says="Packed 4-bit weights, which are one long column, were used as if they were plain ones.",
            ),
            sign(
                r"torch\.Size\(\[\d{5,}, 1\]\)",
                r"The size of tensor [ab] \(\d{7,}\) must match",
                r"key\(s\) in state_dict: .{0,300}\.(?:quant_state|absmax|quant_map)\b",
                says="A checkpoint of packed 4-bit weights met a model that has plain ones, or the other way round.",
            ),
            sign(
                r"[Bb]lockwise (?:4bit )?(?:de)?quantization only supports 16/32-bit floats, but got torch\.u?int8",
                says="Packed 4-bit weights were packed, or read, a second time as if they were plain numbers.",
            ),
            sign(
                r"'(?:NoneType|list|Tensor)' object has no attribute '(?:shape|blocksize|absmax|code|dtype|nested)'",
                frames=r"dequantize_(?:4bit|nf4|fp4)|matmul_4bit|MatMul4Bit|gemv_4bit|fast_dequantize|Linear4bit",
            ),
            sign(
                r"shape '\[\d+, \d+\]' is invalid for input of size \d+",
                frames=r"bitsandbytes|dequantize|bnb|Linear4bit",
                says="Packed 4-bit weights were cast to another width, which halves or doubles their bytes.",
            ),
            sign(r"AssertionError", frames=r"bitsandbytes/(?:autograd|functional|nn)"),
            sign(r"KeyError: '.*(?:quant_state|absmax|quant_map|bitsandbytes__)"),
            sign(
                r"(?:Supplied state dict|state dict).*(?:does not contain `bitsandbytes__|quantization state"
                r"|quant_state)"
            ),
        ),
    ),
    Cause(
        "dtype_not_uniform_flatten",
        "weights of several types in one unit of FSDP",
        says="FSDP puts a unit's weights into one flat tensor, and these have several types: packed ones, "
        "float32 norms, adapters.",
        fixes=(
            Fix(
                "storage of packed weights in the type of the others: bnb_4bit_quant_storage=bfloat16, "
                "torch_dtype=bfloat16"
            ),
            Fix("FSDP2, which does not flatten", patch=(("strategy.name", "fsdp2"),)),
            Fix("adapters and norms in the type of the weights, without prepare_model_for_kbit_training"),
        ),
        signs=(
            sign(r"Must flatten tensors with (?:uniform|the same) (?:dtype|`?requires_grad)"),
            sign(
                r"FSDP (?:reduce-scatter )?expects uniform [\w ]*dtype",
                r"[Rr]equires uniform (?:dtype|`?requires_grad)",
                r"uniform dtype (?:but got|across)",
            ),
            sign(
                r"output tensor must have the same type as input tensor",
                r"Invalid usage of tensors with different dtypes",
                says="Ranks exchange weights in one buffer, and these have several types: packed ones, float32 norms, "
                "adapters.",
            ),
            sign(
                r"assert len\(set\(t\.dtype for t in tensors\)\) == 1",
                r"expected there to be only one unique element in",
                says="ZeRO-3 puts weights of several types into one buffer, which it cannot.",
            ),
            sign(
                r"AssertionError",
                frames=r"deepspeed/runtime/zero/\S+ \w*(?:reduce_and_partition_ipg_grads|defragment)\w*\Z",
                is_certain=False,
                says="ZeRO-3 puts weights of several types into one buffer, which it cannot.",
            ),
        ),
    ),
    Cause(
        "integer_flatten",
        "packed integer weights cannot be sharded so",
        says="FSDP cannot flatten, or require gradients of, integer weights, as packed ones are by default.",
        fixes=(
            Fix("storage of packed weights in a floating type: bnb_4bit_quant_storage=bfloat16"),
            Fix("a newer torch, whose FSDP2 takes integers that are frozen"),
        ),
        signs=(
            sign(r"Cannot flatten integer dtype tensors", r"Integer parameters are unsupported"),
            sign(r"[Oo]nly Tensors of floating point (?:and complex )?dtype can require gradients"),
        ),
    ),
    Cause(
        "to_not_supported_quantized",
        "a quantised model was moved or cast",
        says="Something called .to(), .cuda() or .half() on a quantised model, which stays where and as it was loaded.",
        fixes=(
            Fix("do not move it: load it where it is to be, device_map={'': local_rank}"),
            Fix("versions that leave it alone", "pip install -U transformers accelerate bitsandbytes"),
        ),
        signs=(
            sign(r"`?\.to`? is not supported for `?(?:4|8)-bit`?", r"You cannot cast a (?:bitsandbytes|GPTQ)"),
            sign(
                r"Calling `(?:cuda|to|half|float)\(\)` is not supported for `?(?:4|8)-bit",
                r"not supported for quantized model",
            ),
            sign(r"`\.(?:half|float|to|cuda)\(?\)?` is not supported for"),
        ),
    ),
    Cause(
        "device_map_with_distributed",
        "layers spread by device_map, and several ranks",
        says="The model was spread over GPUs with device_map, while several ranks were started, of which "
        "each wants a GPU of its own.",
        fixes=(
            Fix("one process: python, not torchrun or accelerate launch"),
            Fix("the whole model on each rank's GPU: device_map={'': local_rank}"),
            Fix("a strategy that shards", patch=(("strategy.name", "fsdp2"),)),
        ),
        signs=(
            sign(
                r"You can't train a model that has been loaded (?:with `?device_map|in (?:8|4)-bit)",
                r"in any distributed mode",
            ),
            sign(
                r"Zero-3 is not compatible with .{0,60}(?:`device_map`|`low_cpu_mem_usage)",
                r"with vLLM is not compatible with `device_map`",
                r"low_cpu_mem_usage=True.*(?:DeepSpeed|Zero)",
            ),
            sign(
                r"(?:DistributedDataParallel|DDP).{0,80}(?:single-device|multi-device"
                r"|device_ids).{0,200}(?:device|module)"
            ),
            sign(
                r"Some modules are dispatched on the CPU or the disk",
                says="The quantised model did not fit on the GPUs, and device_map would put the rest on the CPU, "
                "which it cannot.",
            ),
            sign(
                r"`?device_map`?.{0,80}(?:not (?:supported|compatible|allowed)|incompatible"
                r"|cannot be used).{0,80}(?:distributed|FSDP|DeepSpeed|DDP|multi)",
                r"(?:can't|cannot) use `?device_map.{0,80}(?:distributed|FSDP|DeepSpeed|DDP)",
            ),
        ),
    ),
    Cause(
        "device_mismatch",
        "tensors on different devices",
        says="An operation got tensors of different devices, such as weights on one GPU and inputs on "
        "another or on the CPU.",
        fixes=(
            Fix("put inputs where the model's first weights are"),
            Fix("no device_map='auto' where ranks have a GPU each"),
            Fix("newer versions, where it comes from offload", "pip install -U accelerate deepspeed"),
        ),
        signs=(
            sign(
                r"Expected (?:all tensors|query, key,? and value) to be on the same device(?!.{0,60}\bmeta\b)",
                r"tensors need to be on the same (?:GPU|device)",
            ),
            sign(
                r"Input type \(torch\.cuda\.\w+\) and \w+ type \(torch\.(?!cuda)",
                r"Input type \(torch\.(?!cuda)\w+\) and \w+ type \(torch\.cuda\.",
            ),
            sign(
                r"tensors? (?:are|is|were) (?:on|found on) different devices",
                r"Expected .{0,60}device .{0,40}but got .{0,40}device",
                r"returned an invalid gradient at index \d+ - expected device",
                r"Tensor for .{0,60}is on \w+, .{0,80}but expected (?:it|them) to be on",
                r"Input, output and indices must be on the current device",
                r"Expected a '\w+' device type for generator but found",
                r"Calculated loss must be on the original device",
                r"The model and the optimizer parameters are not on the same device",
                r"FSDP parameters should be materialized on",
                r"module must have its parameters and buffers on device",
            ),
            sign(
                r"No backend type associated with device type \w+",
                says="Tensors on the CPU went into an exchange of a process group that knows GPUs alone, as with "
                "offload and clipping of gradients.",
            ),
            sign(
                r"(?:Pointer argument|pointer argument) .{0,40}cannot be accessed from Triton",
                r"(?:[Ee]xpect|must|need|should|\bnot\b).{0,120}\bsame device\b(?!.{0,60}\bmeta\b)",
                r"Expected tensor for argument .{0,60} to have the same device as tensor",
                r"[Ee]xpected device cuda\S* but got device",
                r"arguments are located on different GPUs",
                r"found two different devices",
                r"Expected tensor to have \w+ Backend, but got tensor with",
                r"Placeholder storage has not been allocated on MPS|Passed CPU tensor to MPS op",
                r"Tensors must be CUDA and dense",
                r"indices should be either on cpu or on the same device",
                r"argument should be a 1D CPU int64 tensor, but got 1D cuda",
            ),
        ),
    ),
    Cause(
        "bnb_cuda_setup",
        "bitsandbytes found no CUDA it fits",
        says="bitsandbytes could not load its native library: the CUDA runtime is missing, or of a "
        "version it has no binary for.",
        fixes=(
            Fix("see what it finds", "python -m bitsandbytes"),
            Fix("a version with this CUDA", "pip install -U bitsandbytes"),
        ),
        signs=(
            sign(
                r"CUDA (?:SETUP|Setup):? (?:ERROR|failed|Setup Failed|Problem: )",
                r"CUDA VERSION MISMATCH",
                r"No compatible (?:CUDA|ROCm) binary found",
                r"ROCm SETUP ERROR",
            ),
            sign(
                r"Attempted to use bitsandbytes native library functionality",
                r"bitsandbytes library load error",
                r"Configured (?:CUDA|ROCm) binary not found",
            ),
            sign(
                r"has no attribute '?c(?:quantize|dequantize|gemm|igemm|adam|get_)\w*",
                r"undefined symbol: c(?:quantize|dequantize|get_)",
                r"libbitsandbytes\w*\.so",
            ),
            sign(
                r"(?:compiled without GPU support|not available in CPU-only version of bitsandbytes"
                r"|8-bit optimizers?.{0,60}(?:not available|unavailable))"
            ),
            sign(
                r"Error named symbol not found at line \d+ in file",
                r"Error no kernel image is available for execution on the device at line",
            ),
            sign(r"None of the available devices.{0,80}supported by the bitsandbytes version"),
            sign(r"name 'str2optimizer\w*' is not defined"),
            sign(r"cannot open shared object file", frames=r"bitsandbytes/(?:cextension|cuda_setup)"),
        ),
    ),
    Cause(
        "bnb_missing_or_old",
        "bitsandbytes is missing or too old",
        says="Weights were to be quantised with bitsandbytes, which is not installed or too old for it.",
        fixes=(Fix("install it", "pip install -U bitsandbytes"),),
        signs=(
            sign(
                r"(?:requires|need(?:s|ed)?|install).{0,60}bitsandbytes.{0,80}(?:pip install|library|package"
                r"|>=)"
            ),
            sign(
                r"No module named '?bitsandbytes",
                r"bitsandbytes.{0,40}(?:is not installed|not found|PackageNotFoundError)",
                r"PackageNotFoundError: .*bitsandbytes",
            ),
            sign(
                r"(?:load_in_4bit|load_in_8bit|4-bit|8-bit|4bit|8bit).{0,200}(?:requires|upgrade"
                r"|version of) .{0,40}bitsandbytes"
            ),
            sign(r"ImportError:.{0,80}bitsandbytes"),
            sign(r"cannot import name '\w+' from 'bitsandbytes"),
            sign(
                r"(?:bnb|bitsandbytes)`? is not installed",
                r"version of bitsandbytes is not compatible",
                r"module 'bitsandbytes[\w.]*' has no attribute '(?:nn|optim|Linear\w+|Params4bit|Int8Params)'",
            ),
        ),
    ),
)
