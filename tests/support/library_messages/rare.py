"""Raisers and wordings that are seldom met, as their sources have them."""

from __future__ import annotations

RAISED = [
    # torch: native/Blas.cpp of packed bytes; nn/modules/module.py, transformers: modeling_utils.py of their one column
    ("quant_state_lost", "RuntimeError", "self and mat2 must have the same dtype, but got Half and Byte"),
    ("quant_state_lost", "RuntimeError", "expected mat1 and mat2 to have the same dtype, but got: float != unsigned "
     "char"),
    ("quant_state_lost", "RuntimeError", "Error(s) in loading state_dict for LlamaForCausalLM:\n\tsize mismatch for "
     "model.layers.0.self_attn.q_proj.weight: copying a param with shape torch.Size([8388608, 1]) from checkpoint, the "
     "shape in current model is torch.Size([4096, 4096])."),
    ("quant_state_lost", "ValueError", 'Trying to set a tensor of shape torch.Size([14336, 4096]) in "weight" (which '
     'has shape torch.Size([29360128, 1])), this look incorrect.'),
    ("quant_state_lost", "RuntimeError", "Error(s) in loading state_dict for LlamaForCausalLM:\n\tUnexpected key(s) in "
     'state_dict: "model.layers.0.mlp.down_proj.weight.absmax", "model.layers.0.mlp.down_proj.weight.quant_map".'),
    ("int8_cb_missing", "RuntimeError", "Error(s) in loading state_dict for LlamaForCausalLM:\n\tUnexpected key(s) in "
     'state_dict: "model.layers.0.self_attn.q_proj.SCB", "model.layers.0.self_attn.q_proj.weight_format".'),
    # torch: distributed/distributed_c10d.py, csrc/distributed/c10d/ProcessGroupNCCL.cpp
    ("dtype_not_uniform_flatten", "TypeError", "output tensor must have the same type as input tensor"),
    ("dtype_not_uniform_flatten", "ValueError", "Invalid usage of tensors with different dtypesFound torch.float32 and "
     " torch.bfloat16"),
    ("device_mismatch", "RuntimeError", "Tensors must be CUDA and dense"),
    # torch 1.3 to 1.7: aten/src/TH, ATen/TensorUtils.cpp, native/TensorIterator.cpp
    ("device_mismatch", "RuntimeError", "Expected object of device type cuda but got device type cpu for argument #1 "
     "'self' in call to _th_addmm"),
    ("device_mismatch", "RuntimeError", "expected device cuda:0 but got device cpu"),
    ("device_mismatch", "RuntimeError", "arguments are located on different GPUs at /x/aten/src/THC/generic/"
     "THCTensorMathBlas.cu:255"),
    ("device_mismatch", "RuntimeError", "Input and hidden tensors are not at the same device, found input tensor at "
     "cuda:0 and hidden tensor at cpu"),
    ("device_mismatch", "RuntimeError", "binary_op(): expected both inputs to be on same device, but input a is on "
     "cuda:1 and input b is on cuda:0"),
    ("device_mismatch", "RuntimeError", "Expected tensor for argument #1 'input' to have the same device as tensor for "
     "argument #2 'weight'; but device 0 does not equal 1 (while checking arguments for cudnn_convolution)"),
    ("dtype_mismatch_matmul", "RuntimeError", "Expected object of scalar type Float but got scalar type Half for "
     "argument #2 'mat2' in call to _th_addmm"),
    ("label_out_of_range", "RuntimeError", "index out of range: Tried to access index 30522 out of table with 30521 "
     "rows. at /x/aten/src/TH/generic/THTensorEvenMoreMath.cpp:418"),
    ("label_out_of_range", "RuntimeError", "Assertion `cur_target >= 0 && cur_target < n_classes' failed.  at "
     "/x/THNN/generic/ClassNLLCriterion.c:97"),
    # torch since: native/TensorAdvancedIndexing.cpp, native/mps, _subclasses/fake_tensor.py, nn/functional.py
    ("device_mismatch", "RuntimeError", "Placeholder storage has not been allocated on MPS device!"),
    ("device_mismatch", "RuntimeError", "Unhandled FakeTensor Device Propagation for aten.mm.default, found two "
     "different devices cuda:0, cpu"),
    ("device_mismatch", "RuntimeError", "expected self and mask to be on the same device, but got mask on cpu and self "
     "on cuda:0"),
    ("meta_tensor_no_data", "RuntimeError", "Expected all tensors to be on the same device, but found at least two "
     "devices, meta and cuda:0!"),
    ("dtype_mismatch_matmul", "RuntimeError", "index_add_(): self (Half) and source (Float) must have the same scalar "
     "type"),
    ("dtype_mismatch_matmul", "RuntimeError", "scatter(): Expected self.dtype to be equal to src.dtype"),
    ("dtype_mismatch_matmul", "RuntimeError", "Input type (torch.cuda.HalfTensor) and weight type "
     "(torch.cuda.FloatTensor) should be the same"),
    ("device_mismatch", "RuntimeError", "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) "
     "should be the same or input should be a MKLDNN tensor and weight is a dense tensor"),
    ("label_out_of_range", "AssertionError", "Padding_idx must be within num_embeddings"),
    ("tokenizer_pad_missing", "TypeError", "full_like(): argument 'fill_value' (position 2) must be Number, not "
     "NoneType"),
    ("tokenizer_pad_missing", "TypeError", "pad_sequence(): argument 'padding_value' (position 3) must be float, not "
     "NoneType"),
    # torch: amp/grad_scaler.py, distributions/distribution.py, distributed/fsdp/_fully_shard/_fsdp_param_group.py
    ("fp16_unscale", "RuntimeError", "unscale_() has already been called on this optimizer since the last update()."),
    ("loss_nan_or_zero", "ValueError", "Expected parameter logits (Tensor of shape (4, 128)) of distribution "
     "Categorical(logits: torch.Size([4, 128])) to satisfy the constraint IndependentConstraint(Real(), 1), but found "
     "invalid values:\ntensor([[nan, nan, nan,  ..., nan, nan, nan]], device='cuda:0')"),
    ("meta_tensor_no_data", "RuntimeError", "FSDP parameters should be materialized from meta device before training, "
     "but the following were still on meta device: ['layers.0.weight']"),
    # fairseq: optim/dynamic_loss_scaler.py; Lightning; Megatron
    ("loss_nan_or_zero", "FloatingPointError", "Minimum loss scale reached (0.0001). Your loss is probably exploding."),
    ("loss_nan_or_zero", "ValueError", "The loss returned in `training_step` is nan."),
    ("loss_nan_or_zero", "AssertionError", "Rank 3: found NaN in local forward loss calculation. Device: 3, node: n12"),
    # accelerate: big_modeling.py; peft: tuners/tuners_utils.py, utils/other.py; unsloth; LLaMA-Factory
    ("meta_tensor_no_data", "RuntimeError", "You can't move a model that has some modules offloaded to cpu or disk."),
    ("target_modules_not_found", "ValueError", "No `target_modules` passed but also no `target_parameters` found. "
     "Please check the values for these arguments."),
    ("target_modules_not_found", "RuntimeError", "Unsloth: No layers to finetune? You most likely specified "
     "target_modules = ['q'] incorrectly!"),
    ("modules_to_save_keyerror", "AttributeError", "'ModulesToSaveWrapper' object has no attribute 'weight'"),
    ("dataset_too_small", "RuntimeError", "Cannot find sufficient samples, consider increasing dataset size."),
    ("resume_mismatch", "FileNotFoundError", "[Errno 2] No such file or directory: "
     "'out/checkpoint-9/global_step9/zero_pp_rank_0_mp_rank_00_optim_states.pt'"),
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
    # torch: utils/checkpoint.py; transformers: feature_extraction_sequence_utils.py
    ("checkpoint_recompute_mismatch", "torch.utils.checkpoint.CheckpointError", "torch.utils.checkpoint: Unpack is "
     "being triggered for a tensor that was already unpacked once."),
    ("dataset_column_error", "ValueError", "You should supply an instance of `transformers.BatchFeature` or list of "
     "`transformers.BatchFeature` to this method that includes input_values, but you provided ['file', 'label']"),
    # transformers: trainer.py, utils/hub.py; datasets: load.py, data_files.py of an fsspec that is too new
    ("dataset_column_error", "ValueError", "The model did not return a loss from the inputs, only the following keys: "
     "logits. For reference, the inputs it received are input_ids,attention_mask."),
    ("dataset_column_error", "ValueError", "Trainer: evaluation requires an eval_dataset."),
    ("hub_not_found_or_offline", "OSError", "There was a specific connection error when trying to load x/y: <class "
     "'requests.exceptions.HTTPError'>"),
    ("hub_not_found_or_offline", "datasets.data_files.EmptyDatasetError", "The directory at /w/data doesn't contain "
     "any data files"),
    ("version_incompatibility", "ValueError", "Invalid pattern: '**' can only be an entire path component"),
    # urllib3, requests: of a server that is not named
    ("hub_not_found_or_offline", "urllib3.exceptions.ProxyError", "('Unable to connect to proxy', RemoteDisconnected("
     "'Remote end closed connection without response'))"),
    ("unknown", "requests.exceptions.ConnectionError", "HTTPSConnectionPool(host='api.wandb.ai', port=443): Max "
     "retries exceeded with url: /graphql"),
    ("save_dir_missing", "PermissionError", "[Errno 13] Permission denied: b'/app/lightning_logs/version_2/hparams'"),
    ("hub_not_found_or_offline", "RuntimeError", "unable to open file </c/hub/models--a--b/model.safetensors> in "
     "read-only mode: No such file or directory (2)"),
    ("device_map_with_distributed", "ValueError", "GRPO with vLLM is not compatible with `device_map`. Please set "
     "NPROC_PER_NODE equal to num_processes."),
    ("meta_tensor_no_data", "ValueError", "Detected mixed initialization where some ranks have model on cpu or gpu and "
     "some ranks are on meta. Either keep all ranks on the same device or set sync_module_states"),
    # NCCL: src/enqueue.cc
    ("cuda_arch_unsupported", "torch.distributed.DistBackendError", "NCCL error in: ProcessGroupNCCL.cpp:3690, invalid "
     "argument\nLast error:\nFP8 reduction support begins with sm90 capable devices."),
    ("unknown", "torch.distributed.DistBackendError", "NCCL error in: ProcessGroupNCCL.cpp:3690, invalid argument"),
    ("resume_mismatch", "ValueError", "Last checkpoint is unfinished and cannot be used to resume the training. Please "
     "remove the checkpoint manually"),
    # os, shutil: a folder that is moved to another disk
    ("save_dir_missing", "OSError", "[Errno 18] Invalid cross-device link: '/tmp/x/temp.ckpt' -> '/w/latest.ckpt'"),
]  # fmt: skip

IN_CALLS = [
    ("dataset_column_error", "KeyError", "'loss'", ("/x/transformers/trainer.py", "compute_loss")),
    ("dataset_column_error", "TypeError", "list indices must be integers or slices, not str",
     ("/x/llamafactory/data/aligner.py", "convert_sharegpt")),
    ("int8_cb_missing", "AttributeError", "'NoneType' object has no attribute 'device'",
     ("/x/bitsandbytes/nn/modules.py", "init_8bit_state")),
    ("int8_cb_missing", "TypeError", "'NoneType' object is not subscriptable",
     ("/x/bitsandbytes/autograd/_functions.py", "forward")),
    ("quant_state_lost", "RuntimeError", "The size of tensor a (8388608) must match the size of tensor b (4096) at "
     "non-singleton dimension 0", ("/x/peft/tuners/lora/layer.py", "merge")),
    ("resume_mismatch", "RuntimeError", "The size of tensor a (8) must match the size of tensor b (16) at "
     "non-singleton dimension 0", ("/x/torch/optim/adamw.py", "_single_tensor_adamw")),
    ("dataset_too_small", "StopIteration", "", ("/x/torch/utils/data/dataloader.py", "__next__")),
    ("no_grad_inputs", "ValueError", "max() arg is an empty sequence",
     ("/x/deepspeed/runtime/zero/stage3.py", "_configure_tensor_swapping")),
    ("resume_mismatch", "KeyError", "'optimizer'", ("/x/train.py", "main_worker")),
    ("adapter_size_mismatch", "RuntimeError", "The size of tensor a (2560) must match the size of tensor b (5120) at "
     "non-singleton dimension 0", ("/x/loader.py", "add_lora")),
    ("save_dir_missing", "FileNotFoundError", "[Errno 2] No such file or directory: 'a/tmp.pth.tar' -> 'a/last'",
     ("/x/timm/utils/checkpoint_saver.py", "_replace")),
]  # fmt: skip
