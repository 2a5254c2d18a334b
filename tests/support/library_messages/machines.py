"""Memory, disks, crashes and interrupts, in the words their sources raise or print them with."""

from __future__ import annotations

RAISED = [
    # torch: c10/cuda/CUDACachingAllocator.cpp, as worded since 1.0, 1.13, 2.1 and 2.5
    ("cuda_oom", "RuntimeError", "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 10.76 GiB total "
     "capacity; 9.71 GiB already allocated; 5.69 MiB free; 9.85 GiB reserved in total by PyTorch)"),
    ("cuda_oom", "torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 3.92 GiB. GPU 1 has a total "
     "capacity of 39.39 GiB of which 2.00 MiB is free."),
    ("cuda_oom", "torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 3.92 GiB."),
    ("cuda_oom", "torch.OutOfMemoryError", "HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
     "capacity of 63.98 GiB of which 0 bytes is free."),
    ("cuda_oom", "torch.OutOfMemoryError", "XPU out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
     "capacity of 15.91 GiB."),
    ("cuda_oom", "RuntimeError", "MPS backend out of memory (MPS allocated: 17.27 GB, other allocations: 1.10 GB, "
     "max allowed: 18.13 GB). Tried to allocate 500.00 MB on private pool."),
    ("cuda_oom", "RuntimeError", "NPU out of memory. Tried to allocate 1.00 GiB (NPU 0; 60.97 GiB total capacity; "
     "58.00 GiB already allocated; 58.00 GiB current active; 500.00 MiB free; 59.00 GiB reserved in total by "
     "PyTorch)"),
    # torch: c10/cuda/CUDAException.cpp, aten/src/ATen/cuda/Exceptions.h and its predecessors
    ("cuda_oom", "RuntimeError", "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported "
     "at some other API call, so the stacktrace below might be incorrect."),
    ("cuda_oom", "torch.AcceleratorError", "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in "
     "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information."),
    ("cuda_oom", "RuntimeError", "cuda runtime error (2) : out of memory at "
     "/pytorch/aten/src/THC/generic/THCStorage.cu:58"),
    ("cuda_oom", "RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ("cuda_oom", "RuntimeError", "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    # XLA, TensorFlow, vLLM: v1/worker/utils.py; torch: cudnn/Conv_v7.cpp
    ("cuda_oom", "jaxlib.xla_extension.XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate "
     "2147483648 bytes."),
    ("cuda_oom", "tensorflow.python.framework.errors_impl.ResourceExhaustedError", "OOM when allocating tensor with "
     "shape[8,512,30522] and type float on /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc"),
    ("cuda_oom", "ValueError", "Free memory on device (10.2/23.6 GiB) on startup is less than desired GPU memory "
     "utilization (0.9, 21.3 GiB)."),
    ("cuda_oom", "RuntimeError", "Unable to find a valid cuDNN algorithm to run convolution"),
    # Windows
    ("host_oom_sigkill", "OSError", "The paging file is too small for this operation to complete. (os error 1455)"),
    # numpy: core/src/multiarray/convert.c
    ("disk_full", "OSError", "12582912 requested and 0 written"),
    # torch: ProcessGroupNCCL
    ("cuda_oom", "torch.distributed.DistBackendError", "NCCL error in: "
     "../torch/csrc/distributed/c10d/NCCLUtils.hpp:268, unhandled cuda error (run with NCCL_DEBUG=INFO for "
     "details), NCCL version 2.21.5\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda "
     "failure 'out of memory'"),
    # accelerate: utils/memory.py
    ("cuda_oom", "RuntimeError", "No executable batch size found, reached zero."),
    # CPython and torch: c10/core/impl/alloc_cpu.cpp
    ("host_oom_sigkill", "RuntimeError", "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't "
     "allocate memory: you tried to allocate 34359738368 bytes. Error code 12 (Cannot allocate memory)"),
    ("host_oom_sigkill", "RuntimeError", "[enforce fail at CPUAllocator.cpp:64] . DefaultCPUAllocator: can't "
     "allocate memory: you tried to allocate 1 bytes. Error code 12 (Cannot allocate memory)"),
    ("host_oom_sigkill", "RuntimeError", "[enforce fail at ..\\\\c10\\\\core\\\\impl\\\\alloc_cpu.cpp:72] data. "
     "DefaultCPUAllocator: not enough memory: you tried to allocate 90177536 bytes."),
    ("host_oom_sigkill", "MemoryError", ""),
    ("host_oom_sigkill", "OSError", "[Errno 12] Cannot allocate memory"),
    ("host_oom_sigkill", "RuntimeError", "unable to mmap 4999720232 bytes from file "
     "<model-00001-of-00002.safetensors>: Cannot allocate memory (12)"),
    ("host_oom_sigkill", "numpy._core._exceptions._ArrayMemoryError", "Unable to allocate 2.00 GiB for an array "
     "with shape (268435456,) and data type float64"),
    ("host_oom_sigkill", "RuntimeError", "DataLoader worker (pid 1823) is killed by signal: Killed. "),
    # pyarrow: cpp/src/arrow/memory_pool.cc
    ("host_oom_sigkill", "pyarrow.lib.ArrowMemoryError", "malloc of size 8388608 failed"),
    # Ray: _private/worker.py
    ("host_oom_sigkill", "ray.exceptions.OutOfMemoryError", "Task was killed due to the node running low on memory."),
    # datasets: utils/py_utils.py; concurrent.futures
    ("host_oom_sigkill", "RuntimeError", "One of the subprocesses has abruptly died during map operation.To debug "
     "the error, disable multiprocessing."),
    ("host_oom_sigkill", "concurrent.futures.process.BrokenProcessPool", "A process in the process pool was "
     "terminated abruptly while the future was running or pending."),
    # CPython: subprocess.py, of accelerate's launcher
    ("host_oom_sigkill", "subprocess.CalledProcessError", "Command '['python', 'train.py']' died with "
     "<Signals.SIGKILL: 9>."),
    # torch: multiprocessing/spawn.py
    ("host_oom_sigkill", "torch.multiprocessing.spawn.ProcessExitedException", "process 1 terminated with signal "
     "SIGKILL"),
    # torch: utils/data/_utils/signal_handling.py, torch/csrc/DataLoader.cpp
    ("shm_bus_error", "RuntimeError", "DataLoader worker (pid 325) is killed by signal: Bus error. It is possible "
     "that dataloader's workers are out of shared memory. Please try to raise your shared memory limit."),
    # torch: aten/src/ATen/MapAllocator.cpp
    ("shm_bus_error", "RuntimeError", "unable to write to file </torch_1823_2>"),
    ("shm_bus_error", "RuntimeError", "unable to write to file </torch_12_345_0>: No space left on device (28)"),
    ("shm_bus_error", "RuntimeError", "unable to open shared memory object </torch_12_345_0> in read-write mode: "
     "No space left on device (28)"),
    ("shm_bus_error", "RuntimeError", "unable to allocate shared memory(shm) for file </torch_12_345_0>: Resource "
     "temporarily unavailable (11)"),
    # NCCL: src/misc/shmutils.cc
    ("shm_bus_error", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1, unhandled system error\nLast "
     "error:\nError while creating shared memory segment /dev/shm/nccl-1vGGJF (size 9637888)"),
    ("shm_bus_error", "subprocess.CalledProcessError", "Command '['python', 'train.py']' died with "
     "<Signals.SIGBUS: 7>."),
    # CPython: errno
    ("disk_full", "OSError", "[Errno 28] No space left on device: 'outputs/checkpoint-500'"),
    ("disk_full", "OSError", "[Errno 122] Disk quota exceeded"),
    ("disk_full", "OSError", "[Errno 27] File too large"),
    # torch: caffe2/serialize/inline_container.cc, torch/csrc/serialization.cpp
    ("disk_full", "RuntimeError", "[enforce fail at inline_container.cc:471] . PytorchStreamWriter failed writing "
     "file data/3: file write failed"),
    ("disk_full", "RuntimeError", "[enforce fail at inline_container.cc:337] . unexpected pos 1152 vs 1046"),
    ("disk_full", "RuntimeError", "write(): fd 29 failed with No space left on device"),
    # safetensors: bindings/python/src/lib.rs
    ("disk_full", "safetensors_rust.SafetensorError", "Error while serializing: IoError(Os { code: 28, kind: "
     'StorageFull, message: "No space left on device" })'),
    ("disk_full", "safetensors_rust.SafetensorError", "Error while serializing: I/O error: No space left on device "
     "(os error 28)"),
    # datasets: builder.py; huggingface_hub: file_download.py
    ("disk_full", "OSError", "Not enough disk space. Needed: 13.10 GiB (download: 3.10 GiB, generated: 10.00 GiB, "
     "post-processed: Unknown size)"),
    ("disk_full", "sqlite3.OperationalError", "database or disk is full"),
    # CPython: subprocess.py; torch: multiprocessing/spawn.py, utils/data
    ("sigsegv", "subprocess.CalledProcessError", "Command '['python', 'train.py']' died with <Signals.SIGSEGV: 11>."),
    ("sigsegv", "RuntimeError", "DataLoader worker (pid 12) is killed by signal: Segmentation fault. "),
    ("sigsegv", "torch.multiprocessing.spawn.ProcessExitedException", "process 0 terminated with signal SIGSEGV"),
    # torch: distributed/elastic/multiprocessing/api.py
    ("user_interrupt", "torch.distributed.elastic.multiprocessing.api.SignalException", "Process 2920830 got "
     "signal: 1"),
    ("user_interrupt", "torch.distributed.elastic.multiprocessing.api.SignalException", "Process 1359 got signal: 15"),
    ("user_interrupt", "KeyboardInterrupt", ""),
    # CPython on Windows; torch: c10/cuda/CUDACachingAllocator.cpp with a driver that tells no figures
    ("host_oom_sigkill", "OSError", "[WinError 1455] The paging file is too small for this operation to complete."),
    ("cuda_oom", "RuntimeError", "NVML_SUCCESS == r INTERNAL ASSERT FAILED at "
     '"../c10/cuda/CUDACachingAllocator.cpp":838, please report a bug to PyTorch.'),
    ("cuda_oom", "RuntimeError", "CUDA driver error: out of memory"),
    # Ray: exceptions.py
    ("host_oom_sigkill", "ray.exceptions.ActorDiedError", "The actor died unexpectedly before finishing this task.\n"
     "\tclass_name: CriticModelRayActor\nThe actor is dead because its worker process has died. Worker exit type: "
     "SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file."),
    # a program's own; triton: runtime/errors.py; torch: c10/cuda/CUDAException.cpp
    ("unknown", "ValueError", "the last batch is odd"),
    ("unknown", "triton.runtime.errors.OutOfResources", "out of resource: shared memory, Required: 147456, Hardware "
     "limit: 101376. Reducing block sizes or `num_stages` may help."),
    ("unknown", "RuntimeError", "CUDA error: an illegal memory access was encountered"),
]  # fmt: skip
"""(cause, exception, message)."""

IN_CALLS = [
    # CPython: socket.py under a download; multiprocessing, whose arenas lie in /dev/shm
    ("hub_not_found_or_offline", "socket.gaierror", "[Errno -2] Name or service not known",
     ("/x/urllib3/connection.py", "_new_conn")),
    ("shm_bus_error", "OSError", "[Errno 28] No space left on device",
     ("/usr/lib/python3.10/multiprocessing/heap.py", "__init__")),
    ("unknown", "ValueError", "a threshold must be positive", ("/x/mine.py", "f")),
]  # fmt: skip
"""(cause, exception, message, (file, function) of the newest call)."""

PRINTED = [
    # torchrun: distributed/elastic/multiprocessing/api.py and errors/__init__.py, of 1.9, 2.0 and 2.4
    ("host_oom_sigkill", "ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: -9) local_rank: 0 "
     "(pid: 1322) of binary: /usr/bin/python"),
    ("host_oom_sigkill", "E0325 20:57:27.620000 2606 "
     "site-packages/torch/distributed/elastic/multiprocessing/api.py:869] failed (exitcode: -9) local_rank: 5 "
     "(pid: 2630) of binary: /usr/bin/python"),
    ("host_oom_sigkill", "  traceback : Signal 9 (SIGKILL) received by PID 14750"),
    ("shm_bus_error", "  traceback : Signal 7 (SIGBUS) received by PID 14750"),
    ("sigsegv", "  traceback : Signal 11 (SIGSEGV) received by PID 14750"),
    ("sigsegv", "E0306 02:05:43.369000 140326225838080 torch/distributed/elastic/multiprocessing/api.py:833] "
     "failed (exitcode: -11) local_rank: 0 (pid: 209) of binary: /usr/bin/python"),
    # DeepSpeed: launcher/launch.py
    ("host_oom_sigkill", "[2023-05-20 12:09:28,634] [ERROR] [launch.py:434:sigkill_handler] ['/usr/bin/python', "
     "'-u', 'main.py', '--local_rank=0'] exits with return code = -9"),
    ("shm_bus_error", "[2023-05-24 04:55:16,109] [ERROR] [launch.py:434:sigkill_handler] ['/usr/bin/python', '-u', "
     "'train.py', '--local_rank=7'] exits with return code = -7"),
    ("sigsegv", "[2023-05-20 12:09:28,634] [ERROR] [launch.py:434:sigkill_handler] ['/usr/bin/python', '-u', "
     "'main.py', '--local_rank=0'] exits with return code = -11"),
    # torch: distributed/elastic/agent/server/api.py, of 1.13 and 2.4
    ("user_interrupt", "WARNING:torch.distributed.elastic.agent.server.api:Received 2 death signal, shutting down "
     "workers"),
    ("user_interrupt", "W0722 10:00:00.000000 140 torch/distributed/elastic/agent/server/api.py:688] Received "
     "Signals.SIGHUP death signal, shutting down workers"),
    # NCCL: src/include/alloc.h
    ("cuda_oom", "node1:3063028:3066152 [3] include/alloc.h:185 NCCL WARN Failed to CUDA calloc 6291456 bytes"),
    # bitsandbytes 0.41: cuda_setup/main.py
    ("bnb_cuda_setup", "CUDA SETUP: Problem: The main issue seems to be that the main CUDA runtime library was not "
     "detected."),
    # Jupyter, Databricks, old SLURM, PyCharm, lightning: pytorch/trainer/connectors/signal_connector.py
    ("host_oom_sigkill", "The kernel for train.ipynb appears to have died. It will restart automatically."),
    ("host_oom_sigkill", "Fatal error: The Python kernel is unresponsive."),
    ("host_oom_sigkill", "slurmstepd: error: Job 123 exceeded memory limit (34603008 > 33554432), being killed"),
    ("sigsegv", "Process finished with exit code -1073741819 (0xC0000005)"),
    ("user_interrupt", "[rank: 0] Received SIGTERM: 15"),
    ("user_interrupt", "Training was interrupted by the user"),
    ("user_interrupt", "wandb: Ctrl + C detected. Stopping sync."),
    # NCCL: src/misc/shmutils.cc
    ("shm_bus_error", "node1:12:34 [0] misc/shmutils.cc:72 NCCL WARN Error while creating shared memory segment "
     "/dev/shm/nccl-VPyhzw (size 21823872)"),
    # bash
    ("host_oom_sigkill", "Killed"),
    ("host_oom_sigkill", "train.sh: line 12: 28936 Killed                  python train.py --epochs 3"),
    ("host_oom_sigkill", "/var/spool/slurmd/job00191/slurm_script: line 28:  8156 Killed                  python3 "
     "main.py"),
    ("sigsegv", "Segmentation fault (core dumped)"),
    ("sigsegv", "run.sh: line 3: 1234 Segmentation fault      (core dumped) python train.py"),
    ("shm_bus_error", "Bus error (core dumped)"),
    ("user_interrupt", "Terminated"),
    # SLURM: src/slurmd/slurmstepd, src/srun
    ("host_oom_sigkill", "slurmstepd: error: Detected 1 oom_kill event in StepId=11300781.0. Some of the step "
     "tasks have been OOM Killed."),
    ("host_oom_sigkill", "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=191.batch cgroup. Some of your "
     "processes may have been killed by the cgroup out-of-memory handler."),
    ("host_oom_sigkill", "slurmstepd: error: Exceeded job memory limit at some point."),
    ("host_oom_sigkill", "srun: error: node107: task 0: Out Of Memory"),
    ("host_oom_sigkill", "srun: error: nid001277: tasks 1-3: Killed"),
    ("sigsegv", "srun: error: node107: task 0: Segmentation fault (core dumped)"),
    ("shm_bus_error", "srun: error: node107: task 0: Bus error"),
    ("user_interrupt", "slurmstepd: error: *** JOB 123 ON node107 CANCELLED AT 2023-12-05T07:16:01 DUE TO TIME "
     "LIMIT ***"),
    ("user_interrupt", "slurmstepd: error: *** STEP 440575.0 ON nid001277 CANCELLED AT 2023-12-05T07:16:01 ***"),
    ("user_interrupt", "slurmstepd: error: *** JOB 123 ON node107 CANCELLED AT 2023-12-05T07:16:01 DUE TO "
     "PREEMPTION ***"),
    ("user_interrupt", "=>> PBS: job killed: walltime 3601 exceeded limit 3600"),
    ("user_interrupt", "TERM_RUNLIMIT: job killed after reaching LSF run time limit."),
    ("host_oom_sigkill", "TERM_MEMLIMIT: job killed after reaching LSF memory usage limit."),
    ("host_oom_sigkill", "=>> PBS: job killed: mem 34359738368kb exceeded limit 33554432kb"),
    # Linux: mm/oom_kill.c; NVIDIA's driver
    ("host_oom_sigkill", "[12345.678] Out of memory: Killed process 28936 (python) total-vm:104857600kB, "
     "anon-rss:98765432kB"),
    ("host_oom_sigkill", "Memory cgroup out of memory: Killed process 28936 (python3) total-vm:1kB"),
    # Kubernetes: kubectl describe pod
    ("host_oom_sigkill", "      Reason:       OOMKilled"),
    ("host_oom_sigkill", "command terminated with exit code 137"),
    # torch: utils/data/_utils/signal_handling.py; CPython: faulthandler
    ("shm_bus_error", "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient "
     "shared memory (shm)."),
    # paddle: python/paddle/io/dataloader/worker.py
    ("shm_bus_error", "ERROR: Unexpected BUS error encountered in DataLoader worker. This might be caused by "
     "insufficient shared memory (shm), please check whether use_shared_memory is set"),
    ("sigsegv", "Fatal Python error: Segmentation fault"),
    ("shm_bus_error", "Fatal Python error: Bus error"),
    ("host_oom_sigkill", "terminate called after throwing an instance of 'std::bad_alloc'"),
    # Open MPI: prted
    ("sigsegv", "[node1:12345] *** Process received signal ***\n[node1:12345] Signal: Segmentation fault (11)"),
    ("sigsegv", "mpirun noticed that process rank 1 with PID 0 on node node1 exited on signal 11 (Segmentation "
     "fault)."),
    ("host_oom_sigkill", "mpirun noticed that process rank 1 with PID 0 on node node1 exited on signal 9 (Killed)."),
    # bitsandbytes: csrc/ops.cu
    ("cuda_oom", "Error out of memory at line 380 in file /mmfs1/bitsandbytes/csrc/pythonInterface.c"),
    # lightning: fabric/strategies/launchers; pytorch/trainer/call.py
    ("host_oom_sigkill", "[rank: 1] Child process with PID 2341 terminated with code -9. Forcefully terminating all "
     "other processes to avoid zombies"),
    ("user_interrupt", "Detected KeyboardInterrupt, attempting graceful shutdown ..."),
    # Colab, Kaggle, kubelet
    ("host_oom_sigkill", "Your session crashed after using all available RAM."),
    ("host_oom_sigkill", "Your notebook tried to allocate more memory than is available. It has restarted."),
    ("disk_full", "The node was low on resource: ephemeral-storage. Container main was using 100Gi"),
    # glibc: malloc/malloc.c
    ("sigsegv", "double free or corruption (!prev)"),
    ("sigsegv", "free(): invalid pointer"),
    ("sigsegv", "Illegal instruction (core dumped)"),
]  # fmt: skip
"""(cause, what is printed)."""

HEALTHY = [
    # DeepSpeed: runtime/fp16/loss_scaler.py
    "[2021-02-04 15:07:10,753] [INFO] [stage2.py:1357:step] [deepscale] OVERFLOW! Rank 0 Skipping step. Attempted loss"
    " scale: 4096.0, reducing to 2048.0",
    # torch: socket.cpp
    "[W socket.cpp:426] [c10d] The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in"
    " use).",
    "[W socket.cpp:697] [c10d] The client socket has failed to connect to [node-0]:29500 (errno: 97 - Address family"
    " not"
    " supported by protocol).",
    # torch: cuda/__init__.py
    "/x/torch/cuda/__init__.py:128: UserWarning: CUDA initialization: The NVIDIA driver on your system is too old"
    " (found"
    " version 11040).\n  return torch._C._cuda_getDeviceCount() > 0",
    "/x/torch/cuda/__init__.py:230: UserWarning: \nNVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not"
    " compatible"
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
    "node1:183006:183181 [1] misc/socket.cc:538 NCCL WARN Net : Connection closed by remote peer node2<47861>",
    "node1:1755:1755 [0] NCCL INFO NET/Plugin : No plugin found (libnccl-net.so), using internal implementation",
    # reducer.cpp
    "[W reducer.cpp:1300] Warning: find_unused_parameters=True was specified in DDP constructor, but did not find any"
    " unused parameters in the forward pass. (function operator())",
]
"""What runs that go on print, too."""
