"""GPUs, drivers, architectures and versions, in the words their sources raise or print them with."""

from __future__ import annotations

RAISED = [
    # torch: c10/cuda/CUDAException.cpp over the driver
    ("gpu_lost_xid", "RuntimeError", "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be "
     "asynchronously reported at some other API call, so the stacktrace below might be incorrect."),
    ("gpu_lost_xid", "RuntimeError", "cuda runtime error (39) : uncorrectable ECC error encountered at "
     "/pytorch/aten/src/THC/THCCachingHostAllocator.cpp:265"),
    ("gpu_lost_xid", "RuntimeError", "CUDA error: uncorrectable NVLink error detected during the execution"),
    ("gpu_lost_xid", "torch.AcceleratorError", "CUDA error: unspecified launch failure"),
    ("gpu_lost_xid", "pynvml.NVMLError_GpuIsLost", "GPU is lost"),
    ("cuda_arch_unsupported", "RuntimeError", "CUDA error: no kernel image is available for execution on the device"),
    # flash-attn: csrc/flash_attn/flash_api.cpp
    ("cuda_arch_unsupported", "RuntimeError", "FlashAttention only supports Ampere GPUs or newer."),
    # transformers: training_args.py, of 4.2x and 5
    ("cuda_arch_unsupported", "ValueError", "Your setup doesn't support bf16/gpu. You need torch>=1.10, using "
     "Ampere GPU with cuda>=11.0"),
    ("cuda_arch_unsupported", "ValueError", "--tf32 requires Ampere or a newer GPU arch, cuda>=11 and torch>=1.7"),
    # triton: compiler; LLVM
    # deepspeed 0.16: runtime/engine.py
    ("version_incompatibility", "AssertionError", "no_sync context manager is incompatible with gradient partitioning "
     "logic of ZeRO stage 2"),
    # torch: cuda/__init__.py on ROCm; _inductor/exc.py; native/transformers/cuda; transformers 4.30: training_args.py
    ("cuda_driver_mismatch", "RuntimeError", "No HIP GPUs are available"),
    ("cuda_driver_mismatch", "ValueError", "FP16 Mixed precision training with AMP or APEX (`--fp16`) and FP16 half "
     "precision evaluation (`--fp16_full_eval`) can only be used on CUDA devices."),
    ("cuda_arch_unsupported", "RuntimeError", "Found Tesla P100-PCIE-16GB which is too old to be supported by the "
     "triton GPU compiler, which is used as the backend."),
    ("cuda_arch_unsupported", "RuntimeError", "Expected is_sm80 || is_sm90 to be true, but got false."),
    ("cuda_arch_unsupported", "RuntimeError", "cutlassF: no kernel found to launch!"),
    # triton: backends/nvidia/compiler.py, with a ptxas older than the GPU
    ("cuda_arch_unsupported", "subprocess.CalledProcessError", "Command '/x/triton/backends/nvidia/bin/ptxas -lineinfo "
     "-v --gpu-name=sm_120 /tmp/a.ptx -o /tmp/a.ptx.o 2> /tmp/a.log' returned non-zero exit status 255."),
    ("cuda_arch_unsupported", "RuntimeError", "PTX was compiled with an unsupported toolchain."),
    ("cuda_arch_unsupported", "RuntimeError", "Internal Triton PTX codegen error: \nptxas fatal   : Value 'sm_120' "
     "is not defined for option 'gpu-name'"),
    # torch: torch/cuda/__init__.py
    ("cuda_driver_mismatch", "RuntimeError", "The NVIDIA driver on your system is too old (found version 11040). "
     "Please update your GPU driver"),
    ("cuda_driver_mismatch", "AssertionError", "\nThe NVIDIA driver on your system is too old (found version "
     "10010).\nPlease update your GPU driver by downloading and installing a new\nversion"),
    ("cuda_driver_mismatch", "RuntimeError", "Found no NVIDIA driver on your system. Please check that you have an "
     "NVIDIA GPU and installed a driver from http://www.nvidia.com/Download/index.aspx"),
    ("cuda_driver_mismatch", "AssertionError", "Torch not compiled with CUDA enabled"),
    ("cuda_driver_mismatch", "RuntimeError", "No CUDA GPUs are available"),
    ("cuda_driver_mismatch", "RuntimeError", "CUDA unknown error - this may be due to an incorrectly set up "
     "environment, e.g. changing env variable CUDA_VISIBLE_DEVICES after program start. Setting the available "
     "devices to be zero."),
    ("cuda_driver_mismatch", "RuntimeError", "Unexpected error from cudaGetDeviceCount(). Did you run some cuda "
     "functions before calling NumCudaDevices() that might have already set an error? Error 804: forward "
     "compatibility was attempted on non supported HW"),
    ("cuda_driver_mismatch", "RuntimeError", "Unexpected error from cudaGetDeviceCount(). Did you run some cuda "
     "functions before calling NumCudaDevices() that might have already set an error? Error 803: system has "
     "unsupported display driver / cuda driver combination"),
    ("cuda_driver_mismatch", "RuntimeError", "CUDA driver initialization failed, you might not have a CUDA gpu."),
    ("cuda_driver_mismatch", "RuntimeError", "Attempting to deserialize object on a CUDA device but "
     "torch.cuda.is_available() is False. If you are running on a CPU-only machine, please use torch.load with "
     "map_location=torch.device('cpu') to map your storages to the CPU."),
    ("cuda_driver_mismatch", "RuntimeError", "CUDA error: CUDA driver version is insufficient for CUDA runtime "
     "version"),
    ("cuda_driver_mismatch", "OSError", "libcudart.so.11.0: cannot open shared object file: No such file or directory"),
    ("cuda_driver_mismatch", "ImportError", "libcudnn.so.9: cannot open shared object file: No such file or directory"),
    ("version_incompatibility", "ImportError", "/x/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommRegister"),
    ("version_incompatibility", "ImportError", "/x/torch/lib/../../nvidia/cusparse/lib/libcusparse.so.12: "
     "undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12"),
    # unsloth: models/_utils.py
    ("cuda_driver_mismatch", "NotImplementedError", "Unsloth cannot find any torch accelerator? You need a GPU."),
    ("cuda_driver_mismatch", "NotImplementedError", "Unsloth: No NVIDIA GPU found? Unsloth currently only supports "
     "GPUs!"),
    # transformers: modeling_utils.py of 4.36 to 5; flash-attn
    ("flash_attn_missing", "ImportError", "FlashAttention2 has been toggled on, but it cannot be used due to the "
     "following error: the package flash_attn seems to be not installed."),
    ("flash_attn_missing", "ImportError", "FlashAttention2 has been toggled on, but it cannot be used due to the "
     "following error: you need flash_attn package version to be greater or equal than 2.1.0. Detected version "
     "2.0.4."),
    ("flash_attn_missing", "ImportError", "Flash Attention 2 is not available. Please refer to the documentation "
     "of https://github.com/Dao-AILab/flash-attention for installing it. Make sure to have at least the version "
     "2.1.0"),
    ("flash_attn_missing", "ModuleNotFoundError", "No module named 'flash_attn'"),
    ("flash_attn_missing", "ModuleNotFoundError", "No module named 'flash_attn_2_cuda'"),
    ("flash_attn_missing", "ImportError", "/x/flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so: undefined symbol: "
     "_ZN3c104cuda9SetDeviceEi"),
    ("flash_attn_missing", "ImportError", "This modeling file requires the following packages that were not found "
     "in your environment: flash_attn. Run `pip install flash_attn`"),
    ("flash_attn_missing", "ValueError", "LlamaForCausalLM does not support Flash Attention 2.0 yet. Please "
     "request to add support where the model is hosted"),
    # transformers, trl, peft, datasets and their callers over the years
    ("version_incompatibility", "ImportError", "cannot import name 'LlamaFlashAttention2' from "
     "'transformers.models.llama.modeling_llama' (/x/modeling_llama.py)"),
    ("version_incompatibility", "ImportError", "cannot import name 'is_torch_tpu_available' from 'transformers' "
     "(/x/__init__.py)"),
    ("version_incompatibility", "TypeError", "SFTTrainer.__init__() got an unexpected keyword argument 'tokenizer'"),
    ("version_incompatibility", "TypeError", "__init__() got an unexpected keyword argument 'evaluation_strategy'"),
    ("version_incompatibility", "TypeError", "LoraConfig.__init__() got an unexpected keyword argument 'eva_config'"),
    ("version_incompatibility", "AttributeError", "'SFTConfig' object has no attribute 'model_init_kwargs'"),
    ("version_incompatibility", "AttributeError", "module 'torch.library' has no attribute 'register_fake'"),
    ("version_incompatibility", "AttributeError", "'DynamicCache' object has no attribute 'seen_tokens'"),
    ("version_incompatibility", "ImportError", "tokenizers>=0.21,<0.22 is required for a normal functioning of "
     "this module, but found tokenizers==0.15.2."),
    ("version_incompatibility", "ValueError", "The checkpoint you are trying to load has model type `qwen3_next` "
     "but Transformers does not recognize this architecture."),
    ("version_incompatibility", "ImportError", "Using the `Trainer` with `PyTorch` requires `accelerate>=0.26.0`: "
     "Please run `pip install transformers[torch]` or `pip install 'accelerate>=0.26.0'`"),
    ("version_incompatibility", "ImportError", "\nAutoModelForCausalLM requires PyTorch >= 2.6, but PyTorch was "
     "not found or an older version is installed."),
    ("version_incompatibility", "RuntimeError", "Numpy is not available"),
    ("version_incompatibility", "RuntimeError", "operator torchvision::nms does not exist"),
    ("version_incompatibility", "ValueError", "numpy.dtype size changed, may indicate binary incompatibility. "
     "Expected 96 from C header, got 88 from PyObject"),
    ("version_incompatibility", "AttributeError", "module 'numpy' has no attribute 'bool'"),
    ("version_incompatibility", "RuntimeError", "Failed to import transformers.trainer because of the following "
     "error (look up to see its traceback):\ncannot import name 'EncoderDecoderCache' from 'transformers'"),
    ("version_incompatibility", "Exception", "data did not match any variant of untagged enum ModelWrapper at line "
     "268080 column 3"),
    ("version_incompatibility", "NameError", "name 'PeftModel' is not defined"),
    ("version_incompatibility", "NotImplementedError", "Loading a dataset cached in a LocalFileSystem is not "
     "supported."),
    ("version_incompatibility", "pydantic.errors.PydanticUserError", "If you use `@root_validator` with pre=False "
     "(the default) you MUST specify `skip_on_failure=True`."),
    # torch: ProcessGroupNCCL.cpp, distributed_c10d.py; NCCL over an older driver
    ("cuda_driver_mismatch", "RuntimeError", "ProcessGroupNCCL is only supported with GPUs, no GPUs found!"),
    ("cuda_driver_mismatch", "RuntimeError", "Distributed package doesn't have NCCL built in"),
    ("cuda_driver_mismatch", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1, unhandled cuda error\n"
     "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 'API call is not supported in "
     "the installed CUDA driver'"),
    # torch: amp/autocast_mode.py, aten/src/ATen/cuda/CUDABlas.cpp; xformers: ops/fmha/dispatch.py
    ("cuda_arch_unsupported", "RuntimeError", "Current CUDA Device does not support bfloat16. Please switch dtype to "
     "float16."),
    ("cuda_arch_unsupported", "NotImplementedError", "No operator found for `memory_efficient_attention_forward` with "
     "inputs:\nrequires device with capability > (8, 0) but your GPU has capability (7, 5) (too old)"),
    # flash-attn's users
    ("flash_attn_missing", "NameError", "name 'flash_attn_varlen_func' is not defined"),
    ("flash_attn_missing", "ModuleNotFoundError", "No module named 'rotary_emb'"),
    # transformers of before, of models and torch of after
    ("version_incompatibility", "ValueError", "`rope_scaling` must be a dictionary with two fields, `type` and "
     "`factor`, got {'factor': 8.0, 'rope_type': 'llama3'}"),
    ("version_incompatibility", "ValueError", "Tokenizer class LLaMATokenizer does not exist or is not currently "
     "imported."),
    ("version_incompatibility", "ValueError", "Due to a serious vulnerability issue in `torch.load`, even with "
     "`weights_only=True`, we now require users to upgrade torch to at least v2.6 in order to use the function."),
    ("version_incompatibility", "RuntimeError", "cuDNN version incompatibility: PyTorch was compiled against (8, 7, 0) "
     "but found runtime version (8, 5, 0)."),
]  # fmt: skip
"""(cause, exception, message)."""

IN_CALLS = [
    # torch: gloo, in a collective of a rank that lost its peer
    ("version_incompatibility", "KeyError", "'qwen3'",
     ("/x/transformers/models/auto/configuration_auto.py", "__getitem__")),
    ("version_incompatibility", "AttributeError", "'list' object has no attribute 'keys'",
     ("/x/transformers/tokenization_utils_base.py", "_set_model_specific_special_tokens")),
    # a module of one's own, and one of a library, called by torch
    ("unknown", "TypeError", "Decoder.forward() missing 1 required positional argument: 'y'",
     ("/x/site-packages/torch/nn/modules/module.py", "_call_impl")),
    ("version_incompatibility", "TypeError", "LlamaAttention.forward() missing 1 required positional argument: 'x'",
     ("/x/site-packages/transformers/models/llama/modeling_llama.py", "forward")),
]  # fmt: skip
"""(cause, exception, message, (file, function) of the newest call)."""

PRINTED = [
    # Linux: mm/oom_kill.c; NVIDIA's driver
    ("gpu_lost_xid", "[ 123.45] NVRM: Xid (PCI:0000:44:00): 79, pid=1234, GPU has fallen off the bus."),
    ("gpu_lost_xid", "Unable to determine the device handle for GPU0000:03:00.0: Unknown Error"),
    ("gpu_lost_xid", "NVRM: (PCI ID: 10de:26b5) installed in this system has fallen off the bus and is not "
     "responding to commands."),
    ("cuda_driver_mismatch", "Failed to initialize NVML: Driver/library version mismatch"),
    ("cuda_driver_mismatch", 'docker: Error response from daemon: could not select device driver "" with '
     "capabilities: [[gpu]]."),
]  # fmt: skip
"""(cause, what is printed)."""
