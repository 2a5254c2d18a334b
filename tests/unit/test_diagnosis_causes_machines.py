"""Messages of machines, ranks, environments and DeepSpeed, in the words their sources raise or print them with."""

from __future__ import annotations

import io

import pytest

from qltui.runs.diagnosis.diagnosis import Diagnosis, diagnose_log


def diagnosed(log: str) -> Diagnosis:
    return diagnose_log(io.BytesIO(log.encode()), "log")


RAISED = [
    # torch: c10/cuda/CUDACachingAllocator.cpp, as worded since 1.0, 1.13, 2.1 and 2.5
    ("cuda_oom", "RuntimeError", "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 10.76 GiB total capacity;"
     " 9.71 GiB already allocated; 5.69 MiB free; 9.85 GiB reserved in total by PyTorch)"),
    ("cuda_oom", "torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 3.92 GiB. GPU 1 has a total"
     " capacity of 39.39 GiB of which 2.00 MiB is free."),
    ("cuda_oom", "torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 3.92 GiB."),
    ("cuda_oom", "torch.OutOfMemoryError", "HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity"
     " of 63.98 GiB of which 0 bytes is free."),
    ("cuda_oom", "torch.OutOfMemoryError", "XPU out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity"
     " of 15.91 GiB."),
    ("cuda_oom", "RuntimeError", "MPS backend out of memory (MPS allocated: 17.27 GB, other allocations: 1.10 GB, max"
     " allowed: 18.13 GB). Tried to allocate 500.00 MB on private pool."),
    ("cuda_oom", "RuntimeError", "NPU out of memory. Tried to allocate 1.00 GiB (NPU 0; 60.97 GiB total capacity;"
     " 58.00 GiB already allocated; 58.00 GiB current active; 500.00 MiB free; 59.00 GiB reserved in total by PyTorch)"),
    # torch: c10/cuda/CUDAException.cpp, aten/src/ATen/cuda/Exceptions.h and its predecessors
    ("cuda_oom", "RuntimeError", "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some"
     " other API call, so the stacktrace below might be incorrect."),
    ("cuda_oom", "torch.AcceleratorError", "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in"
     " https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information."),
    ("cuda_oom", "RuntimeError", "cuda runtime error (2) : out of memory at"
     " /pytorch/aten/src/THC/generic/THCStorage.cu:58"),
    ("cuda_oom", "RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    # torch: ProcessGroupNCCL
    ("cuda_oom", "torch.distributed.DistBackendError", "NCCL error in:"
     " ../torch/csrc/distributed/c10d/NCCLUtils.hpp:268, unhandled cuda error (run with NCCL_DEBUG=INFO for details),"
     " NCCL version 2.21.5\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\n"
     "Cuda failure 'out of memory'"),
    # accelerate: utils/memory.py
    ("cuda_oom", "RuntimeError", "No executable batch size found, reached zero."),
    # CPython and torch: c10/core/impl/alloc_cpu.cpp
    ("host_oom_sigkill", "RuntimeError", "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't"
     " allocate memory: you tried to allocate 34359738368 bytes. Error code 12 (Cannot allocate memory)"),
    ("host_oom_sigkill", "RuntimeError", "[enforce fail at CPUAllocator.cpp:64] . DefaultCPUAllocator: can't allocate"
     " memory: you tried to allocate 1 bytes. Error code 12 (Cannot allocate memory)"),
    ("host_oom_sigkill", "RuntimeError", "[enforce fail at ..\\\\c10\\\\core\\\\impl\\\\alloc_cpu.cpp:72] data."
     " DefaultCPUAllocator: not enough memory: you tried to allocate 90177536 bytes."),
    ("host_oom_sigkill", "MemoryError", ""),
    ("host_oom_sigkill", "OSError", "[Errno 12] Cannot allocate memory"),
    ("host_oom_sigkill", "RuntimeError", "unable to mmap 4999720232 bytes from file <model-00001-of-00002.safetensors>:"
     " Cannot allocate memory (12)"),
    ("host_oom_sigkill", "numpy._core._exceptions._ArrayMemoryError", "Unable to allocate 2.00 GiB for an array with"
     " shape (268435456,) and data type float64"),
    ("host_oom_sigkill", "RuntimeError", "DataLoader worker (pid 1823) is killed by signal: Killed. "),
    # pyarrow: cpp/src/arrow/memory_pool.cc
    ("host_oom_sigkill", "pyarrow.lib.ArrowMemoryError", "malloc of size 8388608 failed"),
    # Ray: _private/worker.py
    ("host_oom_sigkill", "ray.exceptions.OutOfMemoryError", "Task was killed due to the node running low on memory."),
    # datasets: utils/py_utils.py; concurrent.futures
    ("host_oom_sigkill", "RuntimeError", "One of the subprocesses has abruptly died during map operation.To debug the"
     " error, disable multiprocessing."),
    ("host_oom_sigkill", "concurrent.futures.process.BrokenProcessPool", "A process in the process pool was terminated"
     " abruptly while the future was running or pending."),
    # CPython: subprocess.py, of accelerate's launcher
    ("host_oom_sigkill", "subprocess.CalledProcessError", "Command '['python', 'train.py']' died with"
     " <Signals.SIGKILL: 9>."),
    # torch: multiprocessing/spawn.py
    ("host_oom_sigkill", "torch.multiprocessing.spawn.ProcessExitedException", "process 1 terminated with signal"
     " SIGKILL"),
    # torch: utils/data/_utils/signal_handling.py, torch/csrc/DataLoader.cpp
    ("shm_bus_error", "RuntimeError", "DataLoader worker (pid 325) is killed by signal: Bus error. It is possible that"
     " dataloader's workers are out of shared memory. Please try to raise your shared memory limit."),
    # torch: aten/src/ATen/MapAllocator.cpp
    ("shm_bus_error", "RuntimeError", "unable to write to file </torch_1823_2>"),
    ("shm_bus_error", "RuntimeError", "unable to write to file </torch_12_345_0>: No space left on device (28)"),
    ("shm_bus_error", "RuntimeError", "unable to open shared memory object </torch_12_345_0> in read-write mode: No"
     " space left on device (28)"),
    ("shm_bus_error", "RuntimeError", "unable to allocate shared memory(shm) for file </torch_12_345_0>: Resource"
     " temporarily unavailable (11)"),
    # NCCL: src/misc/shmutils.cc
    ("shm_bus_error", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1, unhandled system error\n"
     "Last error:\nError while creating shared memory segment /dev/shm/nccl-1vGGJF (size 9637888)"),
    ("shm_bus_error", "subprocess.CalledProcessError", "Command '['python', 'train.py']' died with"
     " <Signals.SIGBUS: 7>."),
    # CPython: errno
    ("disk_full", "OSError", "[Errno 28] No space left on device: 'outputs/checkpoint-500'"),
    ("disk_full", "OSError", "[Errno 122] Disk quota exceeded"),
    ("disk_full", "OSError", "[Errno 27] File too large"),
    # torch: caffe2/serialize/inline_container.cc, torch/csrc/serialization.cpp
    ("disk_full", "RuntimeError", "[enforce fail at inline_container.cc:471] . PytorchStreamWriter failed writing file"
     " data/3: file write failed"),
    ("disk_full", "RuntimeError", "[enforce fail at inline_container.cc:337] . unexpected pos 1152 vs 1046"),
    ("disk_full", "RuntimeError", "write(): fd 29 failed with No space left on device"),
    # safetensors: bindings/python/src/lib.rs
    ("disk_full", "safetensors_rust.SafetensorError", "Error while serializing: IoError(Os { code: 28, kind:"
     ' StorageFull, message: "No space left on device" })'),
    ("disk_full", "safetensors_rust.SafetensorError", "Error while serializing: I/O error: No space left on device (os"
     " error 28)"),
    # datasets: builder.py; huggingface_hub: file_download.py
    ("disk_full", "OSError", "Not enough disk space. Needed: 13.10 GiB (download: 3.10 GiB, generated: 10.00 GiB,"
     " post-processed: Unknown size)"),
    ("disk_full", "sqlite3.OperationalError", "database or disk is full"),
    # torch: ProcessGroupNCCL.cpp, ProcessGroupGloo.cpp, TCPStore.cpp
    ("nccl_timeout", "torch.distributed.DistBackendError", "NCCL communicator was aborted on rank 1. Original reason"
     " for failure was: [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE,"
     " Timeout(ms)=1800000) ran for 1800648 milliseconds before timing out."),
    ("nccl_timeout", "RuntimeError", "[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting"
     " 1800000ms for recv operation to complete"),
    ("nccl_timeout", "RuntimeError", "[../third_party/gloo/gloo/transport/tcp/pair.cc:589] Read error"
     " [10.0.0.2]:35718: Connection reset by peer"),
    ("nccl_timeout", "RuntimeError", "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by"
     " peer [10.0.0.2]:1234"),
    ("nccl_timeout", "RuntimeError", "Rank 0 timed out in monitoredBarrier after 1800000 ms.\nRank 1 failed to pass"
     " monitoredBarrier in 1800000 ms"),
    ("nccl_timeout", "torch.distributed.DistStoreError", "wait timeout after 300000ms, keys:"
     " /worker/attempt_0/default/store_based_barrier_key:1"),
    ("nccl_timeout", "RuntimeError", "Detected mismatch between collectives on ranks. Rank 0 is running collective:"
     " CollectiveFingerPrint(SequenceNumber=8, OpType=ALLREDUCE), but Rank 1 is running collective:"
     " CollectiveFingerPrint(SequenceNumber=8, OpType=BARRIER)."),
    # torch: ProcessGroupNCCL.cpp over NCCL: src/misc/socket.cc, src/bootstrap.cc, src/transport/net_ib.cc
    ("nccl_init_network", "RuntimeError", "NCCL error in: /pytorch/torch/lib/c10d/ProcessGroupNCCL.cpp:911, unhandled"
     " system error, NCCL version 2.7.8\nncclSystemError: System call (socket, malloc, munmap, etc) failed."),
    ("nccl_init_network", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:2006, unhandled system error (run"
     " with NCCL_DEBUG=INFO for details), NCCL version 2.20.5\nncclSystemError: System call (e.g. socket, malloc) or"
     " external library call failed or device error. \nLast error:\nsocketStartConnect: Connect to 10.0.0.1<45761>"
     " failed : Software caused connection abort"),
    ("nccl_init_network", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1, internal error\n"
     "ncclInternalError: Internal check failed.\nLast error:\nBootstrap : no socket interface found"),
    # torch: TCPStore.cpp, socket.cpp, elastic/rendezvous
    ("nccl_init_network", "torch.distributed.DistNetworkError", "The client socket has timed out after 60000ms while"
     " trying to connect to (10.0.0.1, 29500)."),
    ("nccl_init_network", "TimeoutError", "The client socket has timed out after 900s while trying to connect to"
     " (node-0, 29500)."),
    ("nccl_init_network", "RuntimeError", "The client socket has failed to connect to any network address of (node-0,"
     " 29500). The IPv6 network addresses of (node-0, 29500) cannot be retrieved (gai error: -2 - Name or service not"
     " known)."),
    ("nccl_init_network", "RuntimeError", "connect() timed out. Original timeout was 1800000 ms."),
    ("nccl_init_network", "torch.distributed.DistStoreError", "Timed out after 1801 seconds waiting for clients. 1/2"
     " clients joined."),
    ("nccl_init_network", "torch.distributed.elastic.rendezvous.api.RendezvousConnectionError", "The connection to the"
     " C10d store has failed. See inner exception for details."),
    ("nccl_init_network", "torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError", ""),
    ("nccl_init_network", "RuntimeError", "Timed out initializing process group in store based barrier on rank: 0, for"
     " key: store_based_barrier_key:1 (world_size=4, worker_count=2, timeout=0:30:00)"),
    ("nccl_init_network", "ValueError", "Error initializing torch.distributed using env:// rendezvous: environment"
     " variable MASTER_ADDR expected, but not set"),
    ("nccl_init_network", "RuntimeError", "[/pytorch/third_party/gloo/gloo/transport/tcp/device.cc:84] ifa != nullptr."
     " Unable to find address for: eth7"),
    ("nccl_init_network", "RuntimeError", "Gloo connectFullMesh failed with"
     " [../third_party/gloo/gloo/transport/tcp/pair.cc:144] no error"),
    ("port_in_use", "RuntimeError", "Address already in use"),
    ("port_in_use", "RuntimeError", "The server socket has failed to listen on any local network address. The server"
     " socket has failed to bind to [::]:29500 (errno: 98 - Address already in use)."),
    ("port_in_use", "torch.distributed.DistNetworkError", "The server socket has failed to listen on any local network"
     " address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use"),
    ("port_in_use", "RuntimeError", "The server socket has failed to listen on any local network address. useIpv6: 0,"
     " code: -48, name: EADDRINUSE, message: address already in use"),
    ("port_in_use", "OSError", "[Errno 98] Address already in use"),
    # accelerate: commands/launch.py
    ("port_in_use", "ConnectionError", "Tried to launch distributed communication on port `29500`, but another process"
     " is utilizing it. Please specify a different port (such as using the `--main_process_port` flag or specifying a"
     " different `main_process_port` in your config file) and rerun your script."),
    # NCCL: src/init.cc; torch: c10/cuda
    ("parallel_size_mismatch", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1, invalid usage (run with"
     " NCCL_DEBUG=WARN for details), NCCL version 2.21.5\nncclInvalidUsage: This usually reflects invalid usage of NCCL"
     " library.\nLast error:\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000"),
    ("parallel_size_mismatch", "RuntimeError", "CUDA error: invalid device ordinal\nCUDA kernel errors might be"
     " asynchronously reported at some other API call,so the stacktrace below might be incorrect."),
    ("parallel_size_mismatch", "torch.AcceleratorError", "CUDA error: invalid device ordinal\nGPU device may be out of"
     " range, do you have enough GPUs?"),
    ("parallel_size_mismatch", "AssertionError", "Invalid device id"),
    ("parallel_size_mismatch", "RuntimeError", "Attempting to deserialize object on CUDA device 3 but"
     " torch.cuda.device_count() is 1. Please use torch.load with map_location to map your storages to an existing"
     " device."),
    # torch: distributed/device_mesh.py
    ("parallel_size_mismatch", "RuntimeError", "Mesh should not be bigger than default world size 2, but found 4"
     " ranks!"),
    # Megatron-LM: core/parallel_state.py, core/utils.py, core/tensor_parallel
    ("parallel_size_mismatch", "RuntimeError", "world_size (1) is not divisible by 2"),
    ("parallel_size_mismatch", "RuntimeError", "decoder world_size (4) is not divisible by"
     " expert_tensor_model_pipeline_parallel size (8)"),
    ("parallel_size_mismatch", "AssertionError", "First dimension of the tensor should be divisible by tensor parallel"
     " size"),
    ("parallel_size_mismatch", "AssertionError", "world size (6) is not divisible by tensor parallel size (4) times"
     " pipeline parallel size (1)"),
    # NeMo: collections/nlp; lightning: trainer/connectors
    ("parallel_size_mismatch", "lightning.fabric.utilities.exceptions.MisconfigurationException", "You requested gpu:"
     " [0, 1, 2, 3]\n But your machine only has: [0, 1]"),
    # torchtune: training/_distributed.py; torchtitan: distributed/parallel_dims.py
    ("parallel_size_mismatch", "ValueError", "world_size 8 must be divisible by tensor_parallel_dim 3"),
    ("parallel_size_mismatch", "AssertionError", "Invalid parallel dims: dp_replicate(1) * dp_shard(4) * cp(1) * tp(4)"
     " * pp(1) != WORLD_SIZE(8)"),
    # vLLM: config.py
    ("parallel_size_mismatch", "ValueError", "Total number of attention heads (28) must be divisible by tensor parallel"
     " size (8)."),
    # accelerate: parallelism_config.py
    ("parallel_size_mismatch", "ValueError", "ParallelismConfig total_size (4) does not match num_processes (2). Please"
     " adjust dp_replicate_size/ dp_shard_size/tp_size/cp_size/sp_size."),
    # DeepSpeed: runtime/engine.py
    ("parallel_size_mismatch", "deepspeed.runtime.zero.utils.ZeRORuntimeException", "The checkpoint being loaded used a"
     " DP world size of 8 but the current world size is 4. Automatic adjustment of ZeRO's optimizer state partitioning"
     " with a new world size is not currently supported."),
    # torch: csrc/distributed/c10d/reducer.cpp
    ("ddp_ready_twice", "RuntimeError", "Expected to mark a variable ready only once. This error is caused by one of"
     " the following reasons: 1) Use of a module parameter outside the `forward` function."),
    # DeepSpeed: runtime/zero/stage_1_and_2.py
    ("ddp_ready_twice", "AssertionError", "The parameter 447 has already been reduced. Gradient computed twice for this"
     " partition. Multiple gradient reduction is currently not supported"),
    ("ddp_unused_params", "RuntimeError", "Expected to have finished reduction in the prior iteration before starting a"
     " new one. This error indicates that your module has parameters that were not used in producing loss."),
    # CPython: subprocess.py; torch: multiprocessing/spawn.py, utils/data
    ("sigsegv", "subprocess.CalledProcessError", "Command '['python', 'train.py']' died with <Signals.SIGSEGV: 11>."),
    ("sigsegv", "RuntimeError", "DataLoader worker (pid 12) is killed by signal: Segmentation fault. "),
    ("sigsegv", "torch.multiprocessing.spawn.ProcessExitedException", "process 0 terminated with signal SIGSEGV"),
    # torch: distributed/elastic/multiprocessing/api.py
    ("user_interrupt", "torch.distributed.elastic.multiprocessing.api.SignalException", "Process 2920830 got signal:"
     " 1"),
    ("user_interrupt", "torch.distributed.elastic.multiprocessing.api.SignalException", "Process 1359 got signal: 15"),
    ("user_interrupt", "KeyboardInterrupt", ""),
    # torch: c10/cuda/CUDAException.cpp over the driver
    ("gpu_lost_xid", "RuntimeError", "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be"
     " asynchronously reported at some other API call, so the stacktrace below might be incorrect."),
    ("gpu_lost_xid", "RuntimeError", "cuda runtime error (39) : uncorrectable ECC error encountered at"
     " /pytorch/aten/src/THC/THCCachingHostAllocator.cpp:265"),
    ("gpu_lost_xid", "RuntimeError", "CUDA error: uncorrectable NVLink error detected during the execution"),
    ("gpu_lost_xid", "torch.AcceleratorError", "CUDA error: unspecified launch failure"),
    ("gpu_lost_xid", "pynvml.NVMLError_GpuIsLost", "GPU is lost"),
    ("cuda_arch_unsupported", "RuntimeError", "CUDA error: no kernel image is available for execution on the device"),
    # flash-attn: csrc/flash_attn/flash_api.cpp
    ("cuda_arch_unsupported", "RuntimeError", "FlashAttention only supports Ampere GPUs or newer."),
    # transformers: training_args.py, of 4.2x and 5
    ("cuda_arch_unsupported", "ValueError", "Your setup doesn't support bf16/gpu. You need torch>=1.10, using Ampere"
     " GPU with cuda>=11.0"),
    ("cuda_arch_unsupported", "ValueError", "--tf32 requires Ampere or a newer GPU arch, cuda>=11 and torch>=1.7"),
    # triton: compiler; LLVM
    ("cuda_arch_unsupported", "RuntimeError", "PTX was compiled with an unsupported toolchain."),
    ("cuda_arch_unsupported", "RuntimeError", "Internal Triton PTX codegen error: \nptxas fatal   : Value 'sm_120' is"
     " not defined for option 'gpu-name'"),
    # torch: torch/cuda/__init__.py
    ("cuda_driver_mismatch", "RuntimeError", "The NVIDIA driver on your system is too old (found version 11040). Please"
     " update your GPU driver"),
    ("cuda_driver_mismatch", "AssertionError", "\nThe NVIDIA driver on your system is too old (found version 10010).\n"
     "Please update your GPU driver by downloading and installing a new\nversion"),
    ("cuda_driver_mismatch", "RuntimeError", "Found no NVIDIA driver on your system. Please check that you have an"
     " NVIDIA GPU and installed a driver from http://www.nvidia.com/Download/index.aspx"),
    ("cuda_driver_mismatch", "AssertionError", "Torch not compiled with CUDA enabled"),
    ("cuda_driver_mismatch", "RuntimeError", "No CUDA GPUs are available"),
    ("cuda_driver_mismatch", "RuntimeError", "CUDA unknown error - this may be due to an incorrectly set up"
     " environment, e.g. changing env variable CUDA_VISIBLE_DEVICES after program start. Setting the available devices"
     " to be zero."),
    ("cuda_driver_mismatch", "RuntimeError", "Unexpected error from cudaGetDeviceCount(). Did you run some cuda"
     " functions before calling NumCudaDevices() that might have already set an error? Error 804: forward compatibility"
     " was attempted on non supported HW"),
    ("cuda_driver_mismatch", "RuntimeError", "Unexpected error from cudaGetDeviceCount(). Did you run some cuda"
     " functions before calling NumCudaDevices() that might have already set an error? Error 803: system has"
     " unsupported display driver / cuda driver combination"),
    ("cuda_driver_mismatch", "RuntimeError", "CUDA driver initialization failed, you might not have a CUDA gpu."),
    ("cuda_driver_mismatch", "RuntimeError", "Attempting to deserialize object on a CUDA device but"
     " torch.cuda.is_available() is False. If you are running on a CPU-only machine, please use torch.load with"
     " map_location=torch.device('cpu') to map your storages to the CPU."),
    ("cuda_driver_mismatch", "RuntimeError", "CUDA error: CUDA driver version is insufficient for CUDA runtime"
     " version"),
    ("cuda_driver_mismatch", "OSError", "libcudart.so.11.0: cannot open shared object file: No such file or directory"),
    ("cuda_driver_mismatch", "ImportError", "libcudnn.so.9: cannot open shared object file: No such file or directory"),
    ("version_incompatibility", "ImportError", "/x/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommRegister"),
    ("version_incompatibility", "ImportError", "/x/torch/lib/../../nvidia/cusparse/lib/libcusparse.so.12: undefined"
     " symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12"),
    # unsloth: models/_utils.py
    ("cuda_driver_mismatch", "NotImplementedError", "Unsloth cannot find any torch accelerator? You need a GPU."),
    ("cuda_driver_mismatch", "NotImplementedError", "Unsloth: No NVIDIA GPU found? Unsloth currently only supports"
     " GPUs!"),
    # transformers: modeling_utils.py of 4.36 to 5; flash-attn
    ("flash_attn_missing", "ImportError", "FlashAttention2 has been toggled on, but it cannot be used due to the"
     " following error: the package flash_attn seems to be not installed."),
    ("flash_attn_missing", "ImportError", "FlashAttention2 has been toggled on, but it cannot be used due to the"
     " following error: you need flash_attn package version to be greater or equal than 2.1.0. Detected version"
     " 2.0.4."),
    ("flash_attn_missing", "ImportError", "Flash Attention 2 is not available. Please refer to the documentation of"
     " https://github.com/Dao-AILab/flash-attention for installing it. Make sure to have at least the version 2.1.0"),
    ("flash_attn_missing", "ModuleNotFoundError", "No module named 'flash_attn'"),
    ("flash_attn_missing", "ModuleNotFoundError", "No module named 'flash_attn_2_cuda'"),
    ("flash_attn_missing", "ImportError", "/x/flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so: undefined symbol:"
     " _ZN3c104cuda9SetDeviceEi"),
    ("flash_attn_missing", "ImportError", "This modeling file requires the following packages that were not found in"
     " your environment: flash_attn. Run `pip install flash_attn`"),
    ("flash_attn_missing", "ValueError", "LlamaForCausalLM does not support Flash Attention 2.0 yet. Please request to"
     " add support where the model is hosted"),
    # transformers, trl, peft, datasets and their callers over the years
    ("version_incompatibility", "ImportError", "cannot import name 'LlamaFlashAttention2' from"
     " 'transformers.models.llama.modeling_llama' (/x/modeling_llama.py)"),
    ("version_incompatibility", "ImportError", "cannot import name 'is_torch_tpu_available' from 'transformers'"
     " (/x/__init__.py)"),
    ("version_incompatibility", "TypeError", "SFTTrainer.__init__() got an unexpected keyword argument 'tokenizer'"),
    ("version_incompatibility", "TypeError", "__init__() got an unexpected keyword argument 'evaluation_strategy'"),
    ("version_incompatibility", "TypeError", "LoraConfig.__init__() got an unexpected keyword argument 'eva_config'"),
    ("version_incompatibility", "AttributeError", "'SFTConfig' object has no attribute 'model_init_kwargs'"),
    ("version_incompatibility", "AttributeError", "module 'torch.library' has no attribute 'register_fake'"),
    ("version_incompatibility", "AttributeError", "'DynamicCache' object has no attribute 'seen_tokens'"),
    ("version_incompatibility", "ImportError", "tokenizers>=0.21,<0.22 is required for a normal functioning of this"
     " module, but found tokenizers==0.15.2."),
    ("version_incompatibility", "ValueError", "The checkpoint you are trying to load has model type `qwen3_next` but"
     " Transformers does not recognize this architecture."),
    ("version_incompatibility", "ImportError", "Using the `Trainer` with `PyTorch` requires `accelerate>=0.26.0`:"
     " Please run `pip install transformers[torch]` or `pip install 'accelerate>=0.26.0'`"),
    ("version_incompatibility", "ImportError", "\nAutoModelForCausalLM requires PyTorch >= 2.6, but PyTorch was not"
     " found or an older version is installed."),
    ("version_incompatibility", "RuntimeError", "Numpy is not available"),
    ("version_incompatibility", "RuntimeError", "operator torchvision::nms does not exist"),
    ("version_incompatibility", "ValueError", "numpy.dtype size changed, may indicate binary incompatibility. Expected"
     " 96 from C header, got 88 from PyObject"),
    ("version_incompatibility", "AttributeError", "module 'numpy' has no attribute 'bool'"),
    ("version_incompatibility", "RuntimeError", "Failed to import transformers.trainer because of the following error"
     " (look up to see its traceback):\ncannot import name 'EncoderDecoderCache' from 'transformers'"),
    ("version_incompatibility", "Exception", "data did not match any variant of untagged enum ModelWrapper at line"
     " 268080 column 3"),
    ("version_incompatibility", "NameError", "name 'PeftModel' is not defined"),
    ("version_incompatibility", "NotImplementedError", "Loading a dataset cached in a LocalFileSystem is not"
     " supported."),
    ("version_incompatibility", "pydantic.errors.PydanticUserError", "If you use `@root_validator` with pre=False (the"
     " default) you MUST specify `skip_on_failure=True`."),
    # transformers: integrations/deepspeed.py; lightning: strategies/deepspeed.py; DeepSpeed: runtime/config.py
    ("deepspeed_config_mismatch", "ValueError", "Please correct the following DeepSpeed config values that mismatch"
     " TrainingArguments values:\n- ds gradient_accumulation_steps=8 vs hf gradient_accumulation_steps=4\nThe easiest"
     " method is to set these DeepSpeed config values to 'auto'."),
    ("deepspeed_config_mismatch", "lightning.fabric.utilities.exceptions.MisconfigurationException", "Do not set"
     " `gradient_accumulation_steps` in the DeepSpeed config as this will be set with the `accumulate_grad_batches`"
     " argument passed via the Lightning Trainer."),
    ("deepspeed_config_mismatch", "ValueError", "When using DeepSpeed, `accelerate.prepare()` requires you to pass at"
     " least one of training or evaluation dataloaders with `batch_size` attribute returning an integer value or"
     " alternatively set an integer value in `train_micro_batch_size_per_gpu` in the deepspeed config file"),
    ("deepspeed_config_mismatch", "pydantic_core._pydantic_core.ValidationError", "1 validation error for"
     " DeepSpeedZeroConfig\nstage3_prefetch_bucket_size\n  Input should be a valid integer"),
    ("deepspeed_config_mismatch", "ValueError", "Found `optimizer` configured in the DeepSpeed config, but no"
     " `scheduler`. Please configure a scheduler in the DeepSpeed config."),
    ("deepspeed_config_mismatch", "ValueError", "You cannot create a `DummyOptim` without specifying an optimizer in"
     " the config file."),
    ("deepspeed_batch_assert", "AssertionError", "Check batch related parameters. train_batch_size is not equal to"
     " micro_batch_per_gpu * gradient_acc_step * world_size 256 != 2 * 18 * 7"),
    ("deepspeed_batch_assert", "AssertionError", "Train batch size: 0 has to be greater than 0"),
    ("deepspeed_batch_assert", "AssertionError", "Gradient accumulation steps: 0 has to be greater than 0"),
    ("deepspeed_batch_assert", "AssertionError", "Either train_batch_size or train_micro_batch_size_per_gpu needs to be"
     " provided"),
    # DeepSpeed: ops/op_builder/builder.py; torch: utils/cpp_extension.py
    ("deepspeed_op_build", "deepspeed.ops.op_builder.builder.MissingCUDAException", "CUDA_HOME does not exist, unable"
     " to compile CUDA op(s)"),
    ("deepspeed_op_build", "deepspeed.ops.op_builder.builder.CUDAMismatchException", ">- DeepSpeed Op Builder:"
     " Installed CUDA version 11.5 does not match the version torch was compiled with 12.1, unable to compile cuda/cpp"
     " extensions without a matching cuda version."),
    ("deepspeed_op_build", "RuntimeError", "Unable to JIT load the async_io op due to it not being compatible due to"
     " hardware/software issue. None"),
    ("deepspeed_op_build", "RuntimeError", "Error building extension 'cpu_adam'"),
    ("deepspeed_op_build", "RuntimeError", "Ninja is required to load C++ extensions (pip install ninja to get it)"),
    ("deepspeed_op_build", "ImportError", "/root/.cache/torch_extensions/py39_cu117/fused_adam/fused_adam.so: cannot"
     " open shared object file: No such file or directory"),
    ("deepspeed_op_build", "ImportError", "No module named 'fused_adam'"),
    ("deepspeed_op_build", "AttributeError", "'DeepSpeedCPUAdam' object has no attribute 'ds_opt_adam'"),
    ("deepspeed_op_build", "AssertionError", "CUDA_HOME does not exist, unable to compile CUDA op(s)"),
    ("deepspeed_op_build", "RuntimeError", "PyTorch version mismatch! DeepSpeed ops were compiled and installed with a"
     " different version than what is being used at runtime."),
    # DeepSpeed: ops/adam/cpu_adam.py, runtime/engine.py; apex: csrc/multi_tensor_apply.cuh
    ("optimizer_offload_device", "AssertionError", "CPUAdam param is on cuda:0 and must be 'cpu', make sure you enabled"
     " 'offload_optimizer': 'cpu' in your ZeRO config."),
    ("optimizer_offload_device", "deepspeed.runtime.zero.utils.ZeRORuntimeException", "You are using ZeRO-Offload with"
     " a client provided optimizer (<class 'torch.optim.adamw.AdamW'>) which in most cases will yield poor"
     " performance."),
    # torch under DeepSpeed's ZeRO-3
    ("zero3_weight_1d", "RuntimeError", "'weight' must be 2-D"),
    ("zero3_weight_1d", "AssertionError", "{'id': 291, 'status': 'NOT_AVAILABLE', 'numel': 0, 'ds_numel': 131072000,"
     " 'shape': (0,), 'ds_shape': (32000, 4096)}"),
    ("zero3_weight_1d", "RuntimeError", "size mismatch, got input (2), mat (2x4096), vec (0)"),
    ("zero3_weight_1d", "AssertionError", "{'id': 0, 'status': <ZeroParamStatus.INFLIGHT: 3>, 'numel': 0}"),
]  # fmt: skip
"""(cause, exception, message)."""

IN_CALLS = [
    # torch: gloo, in a collective of a rank that lost its peer
    ("optimizer_offload_device", "RuntimeError", "expected input to be on cuda",
     ("/x/apex/optimizers/fused_adam.py", "step")),
    ("optimizer_offload_device", "RuntimeError", "Expected all tensors to be on the same device, but found at least two"
     " devices, cuda:0 and cpu!", ("/x/torch/optim/adamw.py", "_single_tensor_adamw")),
    ("parallel_size_mismatch", "AssertionError", "151851 is not divisible by 4",
     ("/x/megatron/core/utils.py", "ensure_divisibility")),
    ("zero3_weight_1d", "RuntimeError", "The size of tensor a (0) must match the size of tensor b (4096) at"
     " non-singleton dimension 1", ("/x/peft/tuners/lora/layer.py", "merge")),
    ("zero3_weight_1d", "IndexError", "Dimension out of range (expected to be in range of [-1, 0], but got 1)",
     ("/x/deepspeed/runtime/zero/linear.py", "forward")),
    ("nccl_init_network", "socket.gaierror", "[Errno -2] Name or service not known",
     ("/x/torch/distributed/elastic/rendezvous/static_tcp_rendezvous.py", "next_rendezvous")),
    ("hub_not_found_or_offline", "socket.gaierror", "[Errno -2] Name or service not known",
     ("/x/urllib3/connection.py", "_new_conn")),
    ("shm_bus_error", "OSError", "[Errno 28] No space left on device",
     ("/usr/lib/python3.10/multiprocessing/heap.py", "__init__")),
    ("version_incompatibility", "KeyError", "'qwen3'",
     ("/x/transformers/models/auto/configuration_auto.py", "__getitem__")),
    ("version_incompatibility", "AttributeError", "'list' object has no attribute 'keys'",
     ("/x/transformers/tokenization_utils_base.py", "_set_model_specific_special_tokens")),
    ("deepspeed_op_build", "OSError", "CUDA_HOME environment variable is not set. Please set it to your CUDA install"
     " root.", ("/x/torch/utils/cpp_extension.py", "_join_cuda_home")),
    ("unknown", "ValueError", "a threshold must be positive", ("/x/mine.py", "f")),
]  # fmt: skip
"""(cause, exception, message, (file, function) of the newest call)."""

PRINTED = [
    # torchrun: distributed/elastic/multiprocessing/api.py and errors/__init__.py, of 1.9, 2.0 and 2.4
    ("host_oom_sigkill", "ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: -9) local_rank: 0 (pid:"
     " 1322) of binary: /usr/bin/python"),
    ("host_oom_sigkill", "E0325 20:57:27.620000 2606 site-packages/torch/distributed/elastic/multiprocessing/api.py:869]"
     " failed (exitcode: -9) local_rank: 5 (pid: 2630) of binary: /usr/bin/python"),
    ("host_oom_sigkill", "  traceback : Signal 9 (SIGKILL) received by PID 14750"),
    ("shm_bus_error", "  traceback : Signal 7 (SIGBUS) received by PID 14750"),
    ("sigsegv", "  traceback : Signal 11 (SIGSEGV) received by PID 14750"),
    ("sigsegv", "E0306 02:05:43.369000 140326225838080 torch/distributed/elastic/multiprocessing/api.py:833] failed"
     " (exitcode: -11) local_rank: 0 (pid: 209) of binary: /usr/bin/python"),
    # DeepSpeed: launcher/launch.py
    ("host_oom_sigkill", "[2023-05-20 12:09:28,634] [ERROR] [launch.py:434:sigkill_handler] ['/usr/bin/python', '-u',"
     " 'main.py', '--local_rank=0'] exits with return code = -9"),
    ("shm_bus_error", "[2023-05-24 04:55:16,109] [ERROR] [launch.py:434:sigkill_handler] ['/usr/bin/python', '-u',"
     " 'train.py', '--local_rank=7'] exits with return code = -7"),
    ("sigsegv", "[2023-05-20 12:09:28,634] [ERROR] [launch.py:434:sigkill_handler] ['/usr/bin/python', '-u', 'main.py',"
     " '--local_rank=0'] exits with return code = -11"),
    # bash
    ("host_oom_sigkill", "Killed"),
    ("host_oom_sigkill", "train.sh: line 12: 28936 Killed                  python train.py --epochs 3"),
    ("host_oom_sigkill", "/var/spool/slurmd/job00191/slurm_script: line 28:  8156 Killed                  python3"
     " main.py"),
    ("sigsegv", "Segmentation fault (core dumped)"),
    ("sigsegv", "run.sh: line 3: 1234 Segmentation fault      (core dumped) python train.py"),
    ("shm_bus_error", "Bus error (core dumped)"),
    ("user_interrupt", "Terminated"),
    # SLURM: src/slurmd/slurmstepd, src/srun
    ("host_oom_sigkill", "slurmstepd: error: Detected 1 oom_kill event in StepId=11300781.0. Some of the step tasks have"
     " been OOM Killed."),
    ("host_oom_sigkill", "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=191.batch cgroup. Some of your"
     " processes may have been killed by the cgroup out-of-memory handler."),
    ("host_oom_sigkill", "slurmstepd: error: Exceeded job memory limit at some point."),
    ("host_oom_sigkill", "srun: error: node107: task 0: Out Of Memory"),
    ("host_oom_sigkill", "srun: error: nid001277: tasks 1-3: Killed"),
    ("sigsegv", "srun: error: node107: task 0: Segmentation fault (core dumped)"),
    ("shm_bus_error", "srun: error: node107: task 0: Bus error"),
    ("user_interrupt", "slurmstepd: error: *** JOB 123 ON node107 CANCELLED AT 2023-12-05T07:16:01 DUE TO TIME LIMIT"
     " ***"),
    ("user_interrupt", "slurmstepd: error: *** STEP 440575.0 ON nid001277 CANCELLED AT 2023-12-05T07:16:01 ***"),
    ("user_interrupt", "slurmstepd: error: *** JOB 123 ON node107 CANCELLED AT 2023-12-05T07:16:01 DUE TO PREEMPTION"
     " ***"),
    ("user_interrupt", "=>> PBS: job killed: walltime 3601 exceeded limit 3600"),
    ("user_interrupt", "TERM_RUNLIMIT: job killed after reaching LSF run time limit."),
    ("host_oom_sigkill", "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit."),
    ("host_oom_sigkill", "=>> PBS: job killed: mem 34359738368kb exceeded limit 33554432kb"),
    # Linux: mm/oom_kill.c; NVIDIA's driver
    ("host_oom_sigkill", "[12345.678] Out of memory: Killed process 28936 (python) total-vm:104857600kB,"
     " anon-rss:98765432kB"),
    ("host_oom_sigkill", "Memory cgroup out of memory: Killed process 28936 (python3) total-vm:1kB"),
    ("gpu_lost_xid", "[ 123.45] NVRM: Xid (PCI:0000:44:00): 79, pid=1234, GPU has fallen off the bus."),
    ("gpu_lost_xid", "Unable to determine the device handle for GPU0000:03:00.0: Unknown Error"),
    ("gpu_lost_xid", "NVRM: (PCI ID: 10de:26b5) installed in this system has fallen off the bus and is not responding to"
     " commands."),
    ("cuda_driver_mismatch", "Failed to initialize NVML: Driver/library version mismatch"),
    ("cuda_driver_mismatch", "docker: Error response from daemon: could not select device driver \"\" with capabilities:"
     " [[gpu]]."),
    # Kubernetes: kubectl describe pod
    ("host_oom_sigkill", "      Reason:       OOMKilled"),
    ("host_oom_sigkill", "command terminated with exit code 137"),
    # torch: utils/data/_utils/signal_handling.py; CPython: faulthandler
    ("shm_bus_error", "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared"
     " memory (shm)."),
    ("sigsegv", "Fatal Python error: Segmentation fault"),
    ("shm_bus_error", "Fatal Python error: Bus error"),
    ("host_oom_sigkill", "terminate called after throwing an instance of 'std::bad_alloc'"),
    # Open MPI: prted
    ("sigsegv", "[node1:12345] *** Process received signal ***\n[node1:12345] Signal: Segmentation fault (11)"),
    ("sigsegv", "mpirun noticed that process rank 1 with PID 0 on node node1 exited on signal 11 (Segmentation fault)."),
    ("host_oom_sigkill", "mpirun noticed that process rank 1 with PID 0 on node node1 exited on signal 9 (Killed)."),
    # torch: ProcessGroupNCCL.cpp of 1.13, 2.2, 2.6
    ("nccl_timeout", "[E ProcessGroupNCCL.cpp:475] [Rank 2] Watchdog caught collective operation timeout:"
     " WorkNCCL(SeqNum=880, OpType=BROADCAST, NumelIn=131137536, NumelOut=131137536, Timeout(ms)=1800000) ran for 1800648"
     " milliseconds before timing out."),
    ("nccl_timeout", "[rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective"
     " operation timeout: WorkNCCL(SeqNum=1580, OpType=ALLREDUCE) ran for 600060 milliseconds before timing out."),
    ("nccl_timeout", "[rank7]:[F1130 08:42:13.417383413 ProcessGroupNCCL.cpp:1306] [PG 0 Rank 7] [PG 0 Rank 7]"
     " ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress in monitoring enqueued"
     " collectives."),
    ("nccl_timeout", "[E ProcessGroupGloo.cpp:2791] [Rank 0]: Rank 1 failed to pass monitoredBarrier in 1800000 ms"),
    ("port_in_use", "[E socket.cpp:462] [c10d] The server socket has failed to listen on any local network address."),
    ("nccl_init_network", "[E socket.cpp:957] [c10d] The client socket has timed out after 60s while trying to connect to"
     " (10.0.0.1, 29500)."),
    # bitsandbytes: csrc/ops.cu
    ("cuda_oom", "Error out of memory at line 380 in file /mmfs1/bitsandbytes/csrc/pythonInterface.c"),
]  # fmt: skip
"""(cause, what is printed)."""

HEALTHY = [
    # DeepSpeed: runtime/fp16/loss_scaler.py
    "[2021-02-04 15:07:10,753] [INFO] [stage2.py:1357:step] [deepscale] OVERFLOW! Rank 0 Skipping step. Attempted loss"
    " scale: 4096.0, reducing to 2048.0",
    # torch: socket.cpp
    "[W socket.cpp:426] [c10d] The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in use).",
    "[W socket.cpp:697] [c10d] The client socket has failed to connect to [node-0]:29500 (errno: 97 - Address family not"
    " supported by protocol).",
    # torch: cuda/__init__.py
    "/x/torch/cuda/__init__.py:128: UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found"
    " version 11040).\n  return torch._C._cuda_getDeviceCount() > 0",
    "/x/torch/cuda/__init__.py:230: UserWarning: \nNVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible"
    " with the current PyTorch installation.\n",
    # DeepSpeed: ops/op_builder/async_io.py
    " [WARNING]  async_io requires the dev libaio .so object and headers but these were not found.\nasync_io"
    " ............... [NO] ....... [NO]",
    # transformers: trainer.py, and a model's loading
    "[WARNING|modeling_utils.py:1] Flash Attention 2 is not available, falling back to sdpa.",
    # torch: ProcessGroupNCCL.cpp
    "[W ProcessGroupNCCL.cpp:1569] Rank 0 using best-guess GPU 0 to perform barrier as devices used by this process are"
    " currently unknown. This can potentially cause a hang if this rank to GPU mapping is incorrect.",
    "[rank0]:[W1212 10:00:00.1 ProcessGroupNCCL.cpp:1250] Warning: WARNING: process group has NOT been destroyed before"
    " we destruct ProcessGroupNCCL. On normal program exit, the application should call destroy_process_group",
    # DeepSpeed: runtime/zero/stage3.py
    "[2024-01-01 10:00:00,000] [WARNING] [stage3.py:1949:step] 1 pytorch allocator cache flushes since last step. this"
    " happens when there is high memory pressure and is detrimental to performance.",
    # NCCL
    "node1:1755:1755 [0] misc/ibvwrap.cc:63 NCCL WARN Failed to open libibverbs.so[.1]",
    "node1:1755:1755 [0] NCCL INFO NET/Plugin : No plugin found (libnccl-net.so), using internal implementation",
    # reducer.cpp
    "[W reducer.cpp:1300] Warning: find_unused_parameters=True was specified in DDP constructor, but did not find any"
    " unused parameters in the forward pass. (function operator())",
]
"""What runs that go on print, too."""

STEPS = "".join(
    f"{{'loss': {2 - step / 10:.4f}, 'learning_rate': 1e-05, 'epoch': {step / 100}}}\n" for step in range(9)
)


@pytest.mark.parametrize(("cause", "kind", "message"), RAISED)
def test_of_an_exception(cause: str, kind: str, message: str) -> None:
    text = f"{kind}: {message}" if message else kind
    calls = 'Traceback (most recent call last):\n  File "/x/train.py", line 12, in main\n    run()\n'
    whole = diagnosed(f"{STEPS}{calls}{text}\n")
    assert whole.cause == cause
    assert any(line.line > STEPS.count("\n") for line in whole.evidence)
    assert diagnosed(text).cause == cause, "the exception alone, as people cut it out"


@pytest.mark.parametrize(("cause", "kind", "message", "newest"), IN_CALLS)
def test_of_an_exception_that_its_calls_tell_apart(
    cause: str, kind: str, message: str, newest: tuple[str, str]
) -> None:
    file, function = newest
    log = (
        f'Traceback (most recent call last):\n  File "/x/train.py", line 12, in main\n    run()\n  File "{file}", line 3,'
        f" in {function}\n    f()\n{kind}: {message}\n"
    )
    assert diagnosed(log).cause == cause


@pytest.mark.parametrize(("cause", "text"), PRINTED)
def test_of_what_is_printed(cause: str, text: str) -> None:
    assert diagnosed(f"{STEPS}{text}\n").cause == cause
    assert diagnosed(text).cause == cause


@pytest.mark.parametrize("text", HEALTHY)
def test_healthy(text: str) -> None:
    assert diagnosed(f"{STEPS}{text}\n").cause == "none"
    assert diagnosed(f"{text}\n{STEPS}").cause == "none"
