"""Memory of GPUs and hosts, shared memory, disks."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, Role, sign

CAUSES = (
    Cause(
        "cuda_oom",
        "out of GPU memory",
        says="The GPU had no room for what was asked of it.",
        fixes=(
            Fix("smaller batches, more of them accumulated", patch=(("training.micro_batch_size", 1),)),
            Fix("keep fewer activations: checkpoint every layer", patch=(("training.gradient_checkpointing", "all"),)),
            Fix("cut rows shorter (data.max_length)"),
            Fix("base weights in 4 bits", patch=(("method.name", "qlora"),)),
            Fix("see who else uses the GPU", "nvidia-smi"),
        ),
        signs=(
            sign(r"(?:CUDA|HIP|XPU|NPU|GPU|MPS backend|cuda runtime error \(2\)) ?(?:error)?:? ?out of memory"),
            sign(r"torch(?:\.cuda)?\.OutOfMemoryError|^OutOfMemoryError(?:$|: (?:CUDA|HIP|XPU|NPU|Allocation))"),
            sign(r"CUDA_ERROR_OUT_OF_MEMORY", r"cudaErrorMemoryAllocation", r"Cuda failure (?:2 )?'out of memory'"),
            sign(r"ncclUnhandledCudaError.*out of memory", r"CUDA driver error: out of memory"),
            sign(
                r"NVML_SUCCESS == .{0,60}INTERNAL ASSERT FAILED .{0,80}CUDACachingAllocator",
                is_certain=False,
                says="torch's allocator wanted to tell that the GPU is full, and could not ask the driver for figures.",
            ),
            sign(
                r"CUBLAS_STATUS_ALLOC_FAILED when calling `?cublasCreate",
                says="cuBLAS found no room for its workspace: the GPU's memory was as good as full.",
            ),
            sign(
                r"CUBLAS_STATUS_ALLOC_FAILED",
                r"CUDNN_STATUS_ALLOC_FAILED",
                is_certain=False,
                says="A CUDA library found no room for its workspace: the GPU's memory was as good as full.",
            ),
            sign(
                r"CUBLAS_STATUS_NOT_INITIALIZED when calling `?cublasCreate",
                is_certain=False,
                says="cuBLAS could not begin on this GPU: nearly always its memory was as good as full, sometimes a "
                "check on the GPU had failed before.",
            ),
            sign(
                r"NCCL WARN Failed to CUDA (?:calloc|malloc)",
                is_native=True,
                says="NCCL found no room on the GPU for its buffers beside what else is there.",
            ),
            sign(
                r"Error out of memory at line \d+ in file .*\.c[uc]?\b",
                says="bitsandbytes found no room on the GPU for what it keeps of an optimizer.",
            ),
            sign(
                r"No executable batch size found, reached zero", says="Even a batch of one row did not fit on the GPU."
            ),
            sign(r"(?:Triton|triton).*OutOfMemoryError: CUDA"),
            sign(
                r"RESOURCE_EXHAUSTED: (?:Out of memory|OOM)|OOM when allocating tensor with shape",
                r"kIOGPUCommandBufferCallbackErrorOutOfMemory|\bEL0004: ",
            ),
            sign(
                r"Unable to find a valid cuDNN algorithm to run convolution",
                is_certain=False,
                says="cuDNN found no way to compute within the memory that was left, which most often means that the "
                "GPU's memory was as good as full.",
            ),
            sign(
                r"Free memory on device .{0,80}is less than desired GPU memory utilization",
                r"No available memory for the cache blocks",
                r"No available memory for cache blocks",
                says="vLLM found no room on the GPU for its cache beside what else is there.",
            ),
        ),
    ),
    Cause(
        "host_oom_sigkill",
        "killed, most likely for want of host memory",
        says="A process was killed by SIGKILL. The kernel does that when the host or its container has no memory left.",
        fixes=(
            Fix("see what the kernel says of it", "dmesg -T | grep -i -E 'killed process|out of memory' | tail"),
            Fix("fewer ranks at a time on this host, or a host with more memory"),
            Fix(
                "no offload of parameters or optimizer to the CPU",
                patch=(("strategy.offload_parameters", False), ("strategy.offload_optimizer", False)),
            ),
            Fix("fewer workers that load data (data.num_workers)"),
        ),
        signs=(
            sign(
                r"DataLoader worker \(pid\(?s?\)? [\d, ]+\) is killed by signal: Killed",
                says="A process that loads data was killed, as the kernel does when the host has no memory left.",
            ),
            sign(
                r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory)",
                says="The host had no memory left for what was asked of it.",
            ),
            sign(r"(?:^|\W)MemoryError(?:\W|$)", alone=False, says="Python found no memory left on the host."),
            sign(r"^(?:numpy\.\S+)?_?ArrayMemoryError", r"Unable to allocate [\d.]+ [KMGT]iB for an array"),
            sign(
                r"Errno 12\] Cannot allocate memory",
                r"Cannot allocate memory \((?:os error )?12\)",
                r"(?:WinError|os error) 1455",
                r"ArrowMemoryError|re?m?alloc of size \d+ failed",
                r"std::bad_alloc",
                says="The host had no memory left for what was asked of it.",
            ),
            sign(
                r"Memory cgroup out of memory: Kill",
                r"Out of memory: Kill(?:ed)? process",
                r"oom-kill:constraint",
                r"oom_reaper:",
                is_native=True,
            ),
            sign(
                r"oom[-_]kill event",
                r"Out Of Memory",
                r"OUT_OF_MEMORY",
                r"oom_kill",
                r"OOMKilled",
                r"reason: OOM",
                r"[Ee]xceeded (?:job|step) memory limit|exceeded memory limit \(\d+ > \d+\)",
                r"using all available RAM|tried to allocate more memory than is available",
                r"node was low on resource: memory",
                r"TERM_MEMLIMIT|job killed: v?mem \S+ exceeded limit",
                is_native=True,
                says="The scheduler killed the job, which used more host memory than it had asked for.",
            ),
            sign(
                r"ray\.exceptions\.OutOfMemoryError",
                r"Task was killed due to the node running low on memory",
                says="Ray killed a worker, because the host ran low on memory.",
            ),
            sign(
                r"process \d+ terminated with signal SIGKILL",
                r"died with <Signals\.SIGKILL: 9>",
                r"[Rr]ank \d+ was ended by SIGKILL",
                role=Role.DEATH,
                is_certain=False,
            ),
            sign(r"Signal 9 \(SIGKILL\) received by PID", role=Role.DEATH, is_certain=False),
            sign(
                r"\(?exitcode\s*:? ?-9\b|terminated with code -9\b",
                r"exits with return code = -9",
                r"returned non-zero exit status 137",
                r"exit(?:ed)?(?: with)?(?: exit)? (?:code|status):? 137",
                r"exited on signal 9\b",
                role=Role.DEATH,
                is_certain=False,
            ),
            sign(
                r"(?:^|: line \d+: *\d* |: tasks? [\d,-]+: |\d\d<[\d:]+, [^\]]*\]|<\?, \?\w+/s\])Killed(?:\s|$)",
                role=Role.DEATH,
                is_certain=False,
            ),
            sign(
                r"[Kk]ernel .{0,60}appears to have died|The Python kernel is unresponsive",
                role=Role.DEATH,
                is_certain=False,
                says="The notebook's process died without a word, as it does when the kernel kills it because the host "
                "has no memory left.",
            ),
            sign(
                r"Worker unexpectedly exits with a connection error code|ActorDiedError: The actor died unexpectedly",
                role=Role.DEATH,
                is_certain=False,
                says="A worker of Ray died without a word, as it does when the kernel kills it because the host has no "
                "memory left.",
            ),
            sign(
                r"(?:BrokenProcessPool|One of the subprocesses has abruptly died during map operation)",
                role=Role.DEATH,
                is_certain=False,
                says="A process that prepared data died without a word, as it does when the kernel kills it "
                "because the host has no memory left.",
            ),
        ),
    ),
    Cause(
        "shm_bus_error",
        "shared memory is too small",
        says="Shared memory (/dev/shm) was full. Containers have 64 MiB of it unless they are given more.",
        fixes=(
            Fix("give the container more", "docker run --shm-size=16g ..."),
            Fix("see what fills it", "df -h /dev/shm; ls -la /dev/shm"),
            Fix("load data in the ranks themselves", patch=(("data.num_workers", 0),)),
        ),
        signs=(
            sign(r"is killed by signal: Bus error", r"out of shared memory", r"shared memory limit"),
            sign(r"unable to (?:open|write to|resize|mmap|allocate) (?:a )?(?:shared memory|file </torch_)"),
            sign(
                r"Error while creating shared memory segment",
                is_native=True,
                says="NCCL found no room in shared memory (/dev/shm), through which ranks of a host talk.",
            ),
            sign(
                r"shmem.*No space left on device",
                r"/dev/shm\S*.*No space left on device",
                r"No space left on device.*/dev/shm",
                says="NCCL found no room in shared memory (/dev/shm), through which ranks of a host talk.",
            ),
            sign(r"unable to allocate shared memory\(shm\)", r"ERROR: Unexpected (?:bus|BUS) error", is_native=True),
            sign(r"No space left on device", frames=r"multiprocessing/(?:heap|shared_memory|synchronize)\.py"),
            sign(
                r"\(SIGBUS\)|Signals\.SIGBUS|signal SIGBUS",
                r"(?:exitcode\s*:?|return code =) ?-7\b",
                r": tasks? [\d,-]+: Bus error",
                r"Fatal Python error: Bus error",
                r"^Bus error",
                r"Bus error \(core dumped\)",
                role=Role.DEATH,
                is_certain=False,
                says="A process died of a bus error, as it does when shared memory (/dev/shm) is full.",
            ),
        ),
    ),
    Cause(
        "disk_full",
        "the disk is full",
        says="A file could not be written whole, because its disk or its quota is full.",
        fixes=(
            Fix("see which disk", "df -h . /tmp ~"),
            Fix("keep fewer checkpoints", patch=(("training.keep_checkpoints", 1),)),
            Fix("put caches elsewhere", "export HF_HOME=/path/with/room TMPDIR=/path/with/room"),
        ),
        signs=(
            sign(
                r"No space left on device",
                r"Errno 28\b",
                r"ENOSPC",
                r"os error 28",
                r"StorageFull",
                r"Disk quota exceeded",
                r"Errno 122\b",
                r"node was low on resource: ephemeral-storage",
            ),
            sign(r"OSError: \d+ requested and \d+ written"),
            sign(r"write\(\): fd \d+ failed with Input/output error", is_certain=False),
            sign(r"PytorchStreamWriter failed writing file", r"inline_container\.cc:\d+\] \. unexpected pos"),
            sign(r"Not enough disk space", r"not enough free disk space", r"database or disk is full"),
            sign(
                r"File size limit exceeded",
                r"Errno 27\b.*File too large",
                r"\(SIGXFSZ\)",
                r"exitcode\s*:? ?-25\b",
                says="A file could not be written whole: it grew over the size that files may have here.",
            ),
            sign(r"I/O error: .*(?:write|space)", is_certain=False),
        ),
    ),
)
