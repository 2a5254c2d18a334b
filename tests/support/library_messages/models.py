"""Quantised weights, adapters and what goes wrong in a step, in the words their sources raise or print them with."""

from __future__ import annotations

RAISED = [
    # torch: nn/modules/module.py and parameter classes of bitsandbytes, after something made them plain
    ("quant_state_lost", "AttributeError", "'Parameter' object has no attribute 'quant_state'"),
    ("quant_state_lost", "AttributeError", "'Parameter' object has no attribute 'compress_statistics'"),
    ("quant_state_lost", "AttributeError", "'DTensor' object has no attribute 'compress_statistics'"),
    ("quant_state_lost", "AttributeError", "'Params4bit' object has no attribute 'absmax'"),
    ("int8_cb_missing", "AttributeError", "'Parameter' object has no attribute 'CB'"),
    ("int8_cb_missing", "AttributeError", "'FlatParameter' object has no attribute 'SCB'"),
    # bitsandbytes: functional.py, nn/modules.py, autograd/_functions.py
    ("quant_state_lost", "ValueError", "Blockwise quantization only supports 16/32-bit floats, but got torch.uint8"),
    ("quant_state_lost", "ValueError", "dequantize_4bit requires both absmax and out when quant_state is not provided"),
    ("int8_cb_missing", "Exception", "State must contain either CBt or CB matrix for backward"),
    ("int8_cb_missing", "RuntimeError", "Loading a quantized checkpoint into non-quantized Linear8bitLt is not "
     "supported. Please call module.cuda() before module.load_state_dict()"),
    # torch: a plain product of packed weights
    ("quant_state_lost", "RuntimeError", "mat1 and mat2 shapes cannot be multiplied (512x4096 and 1x8388608)"),
    # transformers: quantizers/quantizer_bnb_4bit.py
    ("quant_state_lost", "ValueError", "Supplied state dict for layers.0.mlp.down_proj.weight does not contain "
     "`bitsandbytes__*` and possibly other `quantized_stats` components."),
    # torch: distributed/fsdp/_flat_param.py in 1.12, 2.0 and later; _fully_shard/
    ("dtype_not_uniform_flatten", "ValueError", "`FlatParameter` requires uniform dtype but got torch.float16 and "
     "torch.float32"),
    ("dtype_not_uniform_flatten", "ValueError", "`FlatParameter` requires uniform `requires_grad`"),
    ("dtype_not_uniform_flatten", "ValueError", "Must flatten tensors with uniform dtype but got torch.bfloat16 and "
     "torch.uint8"),
    ("dtype_not_uniform_flatten", "ValueError", "Must flatten tensors with uniform `requires_grad` when "
     "`use_orig_params=False`"),
    ("dtype_not_uniform_flatten", "AssertionError", "FSDP expects uniform original parameter dtype but got "
     "{torch.float32, torch.bfloat16}"),
    ("dtype_not_uniform_flatten", "AssertionError", "FSDP reduce-scatter expects uniform gradient dtype but got "
     "{torch.float32, torch.bfloat16}"),
    ("integer_flatten", "ValueError", "Cannot flatten integer dtype tensors"),
    ("integer_flatten", "RuntimeError", "Only Tensors of floating point and complex dtype can require gradients"),
    # deepspeed: runtime/utils.py
    ("dtype_not_uniform_flatten", "RuntimeError", "expected there to be only one unique element in <generator object "
     "Init._convert_to_deepspeed_param.<locals>.all_gather_coalesced.<locals>.<genexpr> at 0x7f4b8c2b1d60>"),
    # transformers: modeling_utils.py in 4.28, 4.31, 4.40 and 5
    ("to_not_supported_quantized", "ValueError", "`.to` is not supported for `8-bit` models. Please use the model as "
     "it is, since the model has already been set to the correct devices and casted to the correct `dtype`."),
    ("to_not_supported_quantized", "ValueError", "`.to` is not supported for `4-bit` or `8-bit` bitsandbytes models. "
     "Please use the model as it is"),
    ("to_not_supported_quantized", "ValueError", "Calling `cuda()` is not supported for `4-bit` or `8-bit` quantized "
     "models. Please use the model as it is"),
    ("to_not_supported_quantized", "ValueError", "`.half()` is not supported for quantized model. Please use the model "
     "as it is, since the model has already been casted to the correct `dtype`."),
    ("to_not_supported_quantized", "ValueError", "You cannot cast a bitsandbytes model in a new `dtype`."),
    # accelerate: accelerator.py since 0.17
    ("device_map_with_distributed", "ValueError", "You can't train a model that has been loaded in 8-bit precision on "
     "a different device than the one you're training on."),
    ("device_map_with_distributed", "ValueError", "You can't train a model that has been loaded in 8-bit precision on "
     "multiple devices in any distributed mode."),
    ("device_map_with_distributed", "ValueError", "You can't train a model that has been loaded in 8-bit or 4-bit "
     "precision with CPU or disk offload."),
    ("device_map_with_distributed", "ValueError", "You can't train a model that has been loaded with "
     "`device_map='auto'` in any distributed mode."),
    # transformers: modeling_utils.py, old and new
    ("device_map_with_distributed", "ValueError", "DeepSpeed Zero-3 is not compatible with `low_cpu_mem_usage=True` or "
     "with passing a `device_map`."),
    ("device_map_with_distributed", "ValueError", "DeepSpeed Zero-3 is not compatible with passing a `device_map`."),
    ("device_map_with_distributed", "ValueError", "\n                        Some modules are dispatched on the CPU or "
     "the disk. Make sure you have enough GPU RAM to fit\n                        the quantized model."),
    # torch: nn/parallel/distributed.py
    ("device_map_with_distributed", "ValueError", "DistributedDataParallel device_ids and output_device arguments only "
     "work with single-device/multiple-device GPU modules or CPU modules, but got device_ids [0], output_device 0, and "
     "module parameters {device(type='cuda', index=0), device(type='cuda', index=1)}."),
    # torch: ATen's checks of devices, since 1.4
    ("device_mismatch", "RuntimeError", "Expected all tensors to be on the same device, but found at least two "
     "devices, cuda:0 and cpu! (when checking argument for argument mat2 in method wrapper_CUDA_mm)"),
    ("device_mismatch", "RuntimeError", "Expected all tensors to be on the same device, but got index is on cpu, "
     "different from other tensors on cuda:0 (when checking argument in method wrapper_CUDA__index_select)"),
    ("device_mismatch", "RuntimeError", "Input, output and indices must be on the current device"),
    ("device_mismatch", "RuntimeError", "Tensor for argument #2 'mat1' is on CPU, but expected it to be on GPU (while "
     "checking arguments for addmm)"),
    ("device_mismatch", "RuntimeError", "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) "
     "should be the same or input should be a MKLDNN tensor and weight is a dense tensor"),
    ("device_mismatch", "RuntimeError", "Expected a 'cuda' device type for generator but found 'cpu'"),
    ("device_mismatch", "RuntimeError", "module must have its parameters and buffers on device cuda:1 (device_ids[0]) "
     "but found one of them on device: cuda:2"),
    ("device_mismatch", "RuntimeError", "No backend type associated with device type cpu"),
    # triton: runtime/jit.py
    ("device_mismatch", "ValueError", "Pointer argument (at 0) cannot be accessed from Triton (cpu tensor?)"),
    # torch: meta tensors
    ("meta_tensor_no_data", "NotImplementedError", "Cannot copy out of meta tensor; no data!"),
    ("meta_tensor_no_data", "NotImplementedError", "Could not run 'aten::equal' with arguments from the 'Meta' "
     "backend."),
    ("meta_tensor_no_data", "RuntimeError", "Tensor.item() cannot be called on meta tensors"),
    ("meta_tensor_no_data", "RuntimeError", "Tensor on device cuda:0 is not on the expected device meta!"),
    ("meta_tensor_no_data", "RuntimeError", "Expected all tensors to be on the same device, but found at least two "
     "devices, meta and cuda:0!"),
    # accelerate: utils/modeling.py
    ("meta_tensor_no_data", "ValueError", "weight is on the meta device, we need a `value` to put in on 1."),
    ("adapter_size_mismatch", "ValueError", 'Trying to set a tensor of shape torch.Size([32000, 4096]) in "weight" '
     "(which has shape torch.Size([32001, 4096])), this looks incorrect."),
    # bitsandbytes: cextension.py and cuda_setup/main.py, 0.37 to now
    ("bnb_cuda_setup", "RuntimeError", "\n        CUDA Setup failed despite GPU being available. Please run the "
     "following command to get more information:\n\n        python -m bitsandbytes"),
    ("bnb_cuda_setup", "RuntimeError", "\nCUDA VERSION MISMATCH\nRequested CUDA version:          12.8"),
    ("bnb_cuda_setup", "RuntimeError", "Attempted to use bitsandbytes native library functionality but it's not "
     "available."),
    ("bnb_cuda_setup", "AttributeError", "/x/bitsandbytes/libbitsandbytes_cpu.so: undefined symbol: "
     "cget_col_row_stats"),
    ("bnb_cuda_setup", "AttributeError", "'NoneType' object has no attribute 'cquantize_blockwise_fp16_nf4'"),
    ("bnb_cuda_setup", "NameError", "name 'str2optimizer8bit_blockwise' is not defined"),
    # transformers: quantizers/quantizer_bnb_*.py, trainer_optimizer.py, 4.30 to now; importlib
    ("bnb_missing_or_old", "ImportError", "Using `load_in_8bit=True` requires Accelerate: `pip install accelerate` and "
     "the latest version of bitsandbytes `pip install -i https://test.pypi.org/simple/ bitsandbytes`"),
    ("bnb_missing_or_old", "ImportError", "Using `bitsandbytes` 4-bit quantization requires bitsandbytes: `pip install "
     "-U bitsandbytes>=0.46.1`"),
    ("bnb_missing_or_old", "ValueError", "Trainer tried to instantiate bnb optimizer but `bitsandbytes` is not "
     "installed!"),
    ("bnb_missing_or_old", "ValueError", "Detected int8 weights but the version of bitsandbytes is not compatible with "
     "int8 serialization. Make sure to download the latest `bitsandbytes` version."),
    ("bnb_missing_or_old", "ModuleNotFoundError", "No module named 'bitsandbytes'"),
    ("bnb_missing_or_old", "importlib.metadata.PackageNotFoundError", "No package metadata was found for bitsandbytes"),
    ("bnb_missing_or_old", "AttributeError", "module 'bitsandbytes.nn' has no attribute 'Linear4bit'"),
    # peft: tuners/tuners_utils.py, tuners/lora/model.py, utils/
    ("target_modules_not_found", "ValueError", "Target modules {'c_attn'} not found in the base model. Please check "
     "the target modules and try again."),
    ("target_modules_not_found", "ValueError", "Please specify `target_modules` or `target_parameters`in "
     "`peft_config`"),
    ("target_modules_not_found", "ValueError", "No modules were targeted for adaptation. This might be caused by a "
     "combination of mismatched target modules and excluded modules."),
    ("target_modules_not_found", "ValueError", "All modules were excluded. This is likely unintended. Check your "
     "`target_modules`, `exclude_modules` and `modules_to_save` configuration."),
    ("target_modules_not_found", "ValueError", "Target module ModuleDict(\n  (default): Linear(in_features=8)\n) is "
     "not supported. Currently, only `torch.nn.Linear` and `Conv1D` are supported."),
    ("modules_to_save_keyerror", "KeyError", "'base_model.model.lm_head.modules_to_save.default.weight'"),
    # torch: nn/modules/module.py
    ("adapter_size_mismatch", "RuntimeError", "Error(s) in loading state_dict for PeftModelForCausalLM:\n\tsize "
     "mismatch for base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight: copying a param with shape "
     "torch.Size([16, 4096]) from checkpoint, the shape in current model is torch.Size([8, 4096])."),
    ("empty_adapter", "RuntimeError", "Error(s) in loading state_dict for PeftModelForCausalLM:\n\tsize mismatch for "
     "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight: copying a param with shape "
     "torch.Size([0]) from checkpoint, the shape in current model is torch.Size([8, 4096])."),
    # torch: autograd, optim/optimizer.py, amp/grad_scaler.py, nn/parallel/distributed.py, utils/checkpoint.py
    ("no_grad_inputs", "RuntimeError", "element 0 of tensors does not require grad and does not have a grad_fn"),
    ("no_grad_inputs", "ValueError", "optimizer got an empty parameter list"),
    ("no_grad_inputs", "AssertionError", "No inf checks were recorded for this optimizer."),
    ("no_grad_inputs", "RuntimeError", "DistributedDataParallel is not needed when a module doesn't have any "
     "parameters that require a gradient."),
    ("no_grad_inputs", "RuntimeError", "none of output has requires_grad=True, this checkpoint() is not necessary"),
    ("fp16_unscale", "ValueError", "Attempting to unscale FP16 gradients."),
    ("checkpoint_recompute_mismatch", "torch.utils.checkpoint.CheckpointError", "torch.utils.checkpoint: Recomputed "
     "values for the following tensors have different metadata than during the forward pass.\ntensor at position 12:"),
    ("checkpoint_recompute_mismatch", "torch.utils.checkpoint.CheckpointError", "torch.utils.checkpoint: A different "
     "number of tensors was saved during the original forward and recomputation."),
    # safetensors: torch.py; transformers: modeling_utils.py
    ("tied_weights_save", "RuntimeError", "\n            Some tensors share memory, this will lead to duplicate memory "
     "on disk and potential differences when loading them again: [{'embed_tokens.weight', 'lm_head.weight'}]."),
    ("tied_weights_save", "RuntimeError", "The weights trying to be saved contained shared tensors "
     "[{'model.embed_tokens.weight', 'lm_head.weight'}] that are mismatching the transformers base configuration."),
    ("tied_weights_save", "RuntimeError", "Error while trying to find names to remove to save state dict, but found no "
     "suitable name to keep for saving amongst: {'lm_head.weight'}."),
    # torch: ATen's checks of types, 1.8 to now
    ("dtype_mismatch_matmul", "RuntimeError", "expected scalar type Half but found Float"),
    ("dtype_mismatch_matmul", "RuntimeError", "expected scalar type c10::Half but found c10::BFloat16"),
    ("dtype_mismatch_matmul", "RuntimeError", "mat1 and mat2 must have the same dtype, but got Float and BFloat16"),
    ("dtype_mismatch_matmul", "RuntimeError", "expected mat1 and mat2 to have the same dtype, but got: float != "
     "c10::BFloat16"),
    ("dtype_mismatch_matmul", "RuntimeError", "self and mat2 must have the same dtype, but got Half and Float"),
    ("dtype_mismatch_matmul", "RuntimeError", "Input type (c10::BFloat16) and bias type (float) should be the same"),
    ("dtype_mismatch_matmul", "RuntimeError", "Index put requires the source and destination dtypes match, got "
     "BFloat16 for the destination and Float for the source."),
    ("dtype_mismatch_matmul", "RuntimeError", "Expected attn_mask dtype to be bool or to match query dtype, but got "
     "attn_mask.dtype: c10::Half and  query.dtype: float instead."),
    ("dtype_mismatch_matmul", "RuntimeError", "Found dtype Float but expected BFloat16"),
    ("dtype_mismatch_matmul", "RuntimeError", "\"addmm_impl_cpu_\" not implemented for 'Half'"),
    ("dtype_mismatch_matmul", "RuntimeError", "value cannot be converted to type at::Half without overflow"),
    # flash-attn: csrc/flash_attn/flash_api.cpp; triton: language/semantic.py
    ("dtype_mismatch_matmul", "RuntimeError", "FlashAttention only support fp16 and bf16 data type"),
    ("dtype_mismatch_matmul", "AssertionError", "Both operands must be same dtype. Got bf16 and fp32"),
    # torch: ATen/native (Indexing, Loss, Embedding), on the CPU and on GPUs
    ("label_out_of_range", "IndexError", "index out of range in self"),
    ("label_out_of_range", "IndexError", "Target 5 is out of bounds."),
    ("label_out_of_range", "RuntimeError", "CUDA error: device-side assert triggered\nCUDA kernel errors might be "
     "asynchronously reported at some other API call"),
    # deepspeed: runtime/fp16/loss_scaler.py; fairseq: optim/fp16_optimizer.py; torch: multinomial, clipping, anomalies
    ("loss_nan_or_zero", "Exception", "Current loss scale already at minimum - cannot decrease scale anymore. Exiting "
     "run."),
    ("loss_nan_or_zero", "FloatingPointError", "Minimum loss scale reached (0.0001). Your loss is probably exploding."),
    # megatron: core/distributed/param_and_grad_buffer.py, 0.6 and 0.9
    ("loss_nan_or_zero", "AssertionError", "Rank 3: found NaN in local grad norm in backward pass before data-parallel "
     "communication collective. Device: 3, node: gpu1"),
    ("loss_nan_or_zero", "RuntimeError", "Rank 0, node gpu01, device 0, iteration 1200: Unexpected result nan "
     "(message='found NaN in local forward loss calculation')"),
    ("loss_nan_or_zero", "RuntimeError", "probability tensor contains either `inf`, `nan` or element < 0"),
    ("loss_nan_or_zero", "RuntimeError", "Function 'LogSoftmaxBackward0' returned nan values in its 0th output."),
]  # fmt: skip

IN_CALLS = [
    # bitsandbytes: what its functions raise of what they were not given
    ("quant_state_lost", "AssertionError", "", ("/x/bitsandbytes/functional.py", "dequantize_4bit")),
    ("quant_state_lost", "AttributeError", "'NoneType' object has no attribute 'shape'",
     ("/x/bitsandbytes/functional.py", "dequantize_4bit")),
    ("int8_cb_missing", "AttributeError", "'NoneType' object has no attribute 'to'",
     ("/x/bitsandbytes/autograd/_functions.py", "backward")),
    ("bnb_cuda_setup", "OSError", "libcusparse.so.11: cannot open shared object file: No such file or directory",
     ("/x/bitsandbytes/cextension.py", "<module>")),
    # deepspeed: runtime/zero/stage3.py
    ("dtype_not_uniform_flatten", "AssertionError", "",
     ("/x/deepspeed/runtime/zero/stage3.py", "__reduce_and_partition_ipg_grads")),
    # peft: utils/save_and_load.py; torch: a merge
    ("modules_to_save_keyerror", "KeyError", "'base_model.model.model.embed_tokens.weight'",
     ("/x/peft/utils/save_and_load.py", "set_peft_model_state_dict")),
    ("adapter_size_mismatch", "RuntimeError", "The size of tensor a (32000) must match the size of tensor b (32016) at "
     "non-singleton dimension 0", ("/x/peft/tuners/lora/layer.py", "merge")),
    # torch: shapes of anything else are no cause that is known
    ("unknown", "AttributeError", "'NoneType' object has no attribute 'shape'", ("/x/model.py", "forward")),
    ("unknown", "RuntimeError", "mat1 and mat2 shapes cannot be multiplied (512x4096 and 1024x64)",
     ("/x/model.py", "forward")),
]  # fmt: skip

SURVIVED = [
    # transformers, peft, bitsandbytes and torch: warnings, and what is tried before something else is
    "/x/torch/utils/checkpoint.py:61: UserWarning: None of the inputs have requires_grad=True. Gradients will be None",
    "`use_cache=True` is incompatible with gradient checkpointing. Setting `use_cache=False`.",
    "The installed version of bitsandbytes was compiled without GPU support. 8-bit optimizers, 8-bit multiplication, "
    "and GPU quantization are unavailable.",
    "CUDA SETUP: WARNING! libcudart.so not found in any environmental path. Searching in backup paths...",
    "The tokenizer does not have a padding token, setting pad token to eos token",
    "No checkpoint found, starting from scratch",
    "[2023-05-02 10:12:33,123] [INFO] [stage_1_and_2.py:1769:step] [deepspeed] OVERFLOW! Rank 0 Skipping step. "
    "Attempted loss scale: 65536, reducing to 32768.0",
]
