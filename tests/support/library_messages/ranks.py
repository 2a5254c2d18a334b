"""Ranks, ports, sizes and DeepSpeed, in the words their sources raise or print them with."""

from __future__ import annotations

RAISED = [
    # torch: ProcessGroupNCCL.cpp, ProcessGroupGloo.cpp, TCPStore.cpp
    ("nccl_timeout", "torch.distributed.DistBackendError", "NCCL communicator was aborted on rank 1. Original "
     "reason for failure was: [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, "
     "OpType=ALLREDUCE, Timeout(ms)=1800000) ran for 1800648 milliseconds before timing out."),
    ("nccl_timeout", "RuntimeError", "[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out "
     "waiting 1800000ms for recv operation to complete"),
    ("nccl_timeout", "RuntimeError", "[../third_party/gloo/gloo/transport/tcp/pair.cc:589] Read error "
     "[10.0.0.2]:35718: Connection reset by peer"),
    ("nccl_timeout", "RuntimeError", "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed "
     "by peer [10.0.0.2]:1234"),
    ("nccl_timeout", "RuntimeError", "Rank 0 timed out in monitoredBarrier after 1800000 ms.\nRank 1 failed to "
     "pass monitoredBarrier in 1800000 ms"),
    ("nccl_timeout", "torch.distributed.DistStoreError", "wait timeout after 300000ms, keys: "
     "/worker/attempt_0/default/store_based_barrier_key:1"),
    ("nccl_timeout", "RuntimeError", "Detected mismatch between collectives on ranks. Rank 0 is running "
     "collective: CollectiveFingerPrint(SequenceNumber=8, OpType=ALLREDUCE), but Rank 1 is running collective: "
     "CollectiveFingerPrint(SequenceNumber=8, OpType=BARRIER)."),
    # torch: ProcessGroupNCCL.cpp over NCCL: src/misc/socket.cc, src/bootstrap.cc, src/transport/net_ib.cc
    ("nccl_init_network", "RuntimeError", "NCCL error in: /pytorch/torch/lib/c10d/ProcessGroupNCCL.cpp:911, "
     "unhandled system error, NCCL version 2.7.8\nncclSystemError: System call (socket, malloc, munmap, etc) "
     "failed."),
    ("nccl_init_network", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:2006, unhandled system error "
     "(run with NCCL_DEBUG=INFO for details), NCCL version 2.20.5\nncclSystemError: System call (e.g. socket, "
     "malloc) or external library call failed or device error. \nLast error:\nsocketStartConnect: Connect to "
     "10.0.0.1<45761> failed : Software caused connection abort"),
    ("nccl_init_network", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1, internal "
     "error\nncclInternalError: Internal check failed.\nLast error:\nBootstrap : no socket interface found"),
    # torch: TCPStore.cpp, socket.cpp, elastic/rendezvous
    ("nccl_init_network", "torch.distributed.DistNetworkError", "The client socket has timed out after 60000ms "
     "while trying to connect to (10.0.0.1, 29500)."),
    ("nccl_init_network", "TimeoutError", "The client socket has timed out after 900s while trying to connect to "
     "(node-0, 29500)."),
    ("nccl_init_network", "RuntimeError", "The client socket has failed to connect to any network address of "
     "(node-0, 29500). The IPv6 network addresses of (node-0, 29500) cannot be retrieved (gai error: -2 - Name or "
     "service not known)."),
    ("nccl_init_network", "RuntimeError", "connect() timed out. Original timeout was 1800000 ms."),
    ("nccl_init_network", "torch.distributed.DistStoreError", "Timed out after 1801 seconds waiting for clients. "
     "1/2 clients joined."),
    ("nccl_init_network", "torch.distributed.elastic.rendezvous.api.RendezvousConnectionError", "The connection to "
     "the C10d store has failed. See inner exception for details."),
    ("nccl_init_network", "torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError", ""),
    ("nccl_init_network", "RuntimeError", "Timed out initializing process group in store based barrier on rank: 0, "
     "for key: store_based_barrier_key:1 (world_size=4, worker_count=2, timeout=0:30:00)"),
    ("nccl_init_network", "ValueError", "Error initializing torch.distributed using env:// rendezvous: environment "
     "variable MASTER_ADDR expected, but not set"),
    ("nccl_init_network", "RuntimeError", "[/pytorch/third_party/gloo/gloo/transport/tcp/device.cc:84] ifa != "
     "nullptr. Unable to find address for: eth7"),
    ("nccl_init_network", "RuntimeError", "Gloo connectFullMesh failed with "
     "[../third_party/gloo/gloo/transport/tcp/pair.cc:144] no error"),
    ("port_in_use", "RuntimeError", "Address already in use"),
    ("port_in_use", "RuntimeError", "The server socket has failed to listen on any local network address. The "
     "server socket has failed to bind to [::]:29500 (errno: 98 - Address already in use)."),
    ("port_in_use", "torch.distributed.DistNetworkError", "The server socket has failed to listen on any local "
     "network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use"),
    ("port_in_use", "RuntimeError", "The server socket has failed to listen on any local network address. useIpv6: "
     "0, code: -48, name: EADDRINUSE, message: address already in use"),
    ("port_in_use", "OSError", "[Errno 98] Address already in use"),
    # accelerate: commands/launch.py
    ("port_in_use", "ConnectionError", "Tried to launch distributed communication on port `29500`, but another "
     "process is utilizing it. Please specify a different port (such as using the `--main_process_port` flag or "
     "specifying a different `main_process_port` in your config file) and rerun your script."),
    # NCCL: src/init.cc; torch: c10/cuda
    ("parallel_size_mismatch", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1, invalid usage (run "
     "with NCCL_DEBUG=WARN for details), NCCL version 2.21.5\nncclInvalidUsage: This usually reflects invalid "
     "usage of NCCL library.\nLast error:\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000"),
    ("parallel_size_mismatch", "RuntimeError", "CUDA error: invalid device ordinal\nCUDA kernel errors might be "
     "asynchronously reported at some other API call,so the stacktrace below might be incorrect."),
    ("parallel_size_mismatch", "torch.AcceleratorError", "CUDA error: invalid device ordinal\nGPU device may be "
     "out of range, do you have enough GPUs?"),
    ("parallel_size_mismatch", "AssertionError", "Invalid device id"),
    ("parallel_size_mismatch", "RuntimeError", "Attempting to deserialize object on CUDA device 3 but "
     "torch.cuda.device_count() is 1. Please use torch.load with map_location to map your storages to an existing "
     "device."),
    # torch: distributed/device_mesh.py
    ("parallel_size_mismatch", "RuntimeError", "Mesh should not be bigger than default world size 2, but found 4 "
     "ranks!"),
    # Megatron-LM: core/parallel_state.py, core/utils.py, core/tensor_parallel
    ("parallel_size_mismatch", "RuntimeError", "world_size (1) is not divisible by 2"),
    ("parallel_size_mismatch", "RuntimeError", "decoder world_size (4) is not divisible by "
     "expert_tensor_model_pipeline_parallel size (8)"),
    ("parallel_size_mismatch", "AssertionError", "First dimension of the tensor should be divisible by tensor "
     "parallel size"),
    ("parallel_size_mismatch", "AssertionError", "world size (6) is not divisible by tensor parallel size (4) "
     "times pipeline parallel size (1)"),
    # NeMo: collections/nlp; lightning: trainer/connectors
    ("parallel_size_mismatch", "lightning.fabric.utilities.exceptions.MisconfigurationException", "You requested "
     "gpu: [0, 1, 2, 3]\n But your machine only has: [0, 1]"),
    # torchtune: training/_distributed.py; torchtitan: distributed/parallel_dims.py
    ("parallel_size_mismatch", "ValueError", "world_size 8 must be divisible by tensor_parallel_dim 3"),
    ("parallel_size_mismatch", "AssertionError", "Invalid parallel dims: dp_replicate(1) * dp_shard(4) * cp(1) * "
     "tp(4) * pp(1) != WORLD_SIZE(8)"),
    # vLLM: config.py
    ("parallel_size_mismatch", "ValueError", "Total number of attention heads (28) must be divisible by tensor "
     "parallel size (8)."),
    # accelerate: parallelism_config.py
    ("parallel_size_mismatch", "ValueError", "ParallelismConfig total_size (4) does not match num_processes (2). "
     "Please adjust dp_replicate_size/ dp_shard_size/tp_size/cp_size/sp_size."),
    # DeepSpeed: runtime/engine.py
    ("parallel_size_mismatch", "deepspeed.runtime.zero.utils.ZeRORuntimeException", "The checkpoint being loaded "
     "used a DP world size of 8 but the current world size is 4. Automatic adjustment of ZeRO's optimizer state "
     "partitioning with a new world size is not currently supported."),
    # torch: csrc/distributed/c10d/reducer.cpp
    ("ddp_ready_twice", "RuntimeError", "Expected to mark a variable ready only once. This error is caused by one "
     "of the following reasons: 1) Use of a module parameter outside the `forward` function."),
    # DeepSpeed: runtime/zero/stage_1_and_2.py
    ("ddp_ready_twice", "AssertionError", "The parameter 447 has already been reduced. Gradient computed twice for "
     "this partition. Multiple gradient reduction is currently not supported"),
    ("ddp_unused_params", "RuntimeError", "Expected to have finished reduction in the prior iteration before "
     "starting a new one. This error indicates that your module has parameters that were not used in producing "
     "loss."),
    # transformers: integrations/deepspeed.py; lightning: strategies/deepspeed.py; DeepSpeed: runtime/config.py
    ("deepspeed_config_mismatch", "ValueError", "Please correct the following DeepSpeed config values that "
     "mismatch TrainingArguments values:\n- ds gradient_accumulation_steps=8 vs hf "
     "gradient_accumulation_steps=4\nThe easiest method is to set these DeepSpeed config values to 'auto'."),
    ("deepspeed_config_mismatch", "lightning.fabric.utilities.exceptions.MisconfigurationException", "Do not set "
     "`gradient_accumulation_steps` in the DeepSpeed config as this will be set with the `accumulate_grad_batches` "
     "argument passed via the Lightning Trainer."),
    ("deepspeed_config_mismatch", "ValueError", "When using DeepSpeed, `accelerate.prepare()` requires you to pass "
     "at least one of training or evaluation dataloaders with `batch_size` attribute returning an integer value or "
     "alternatively set an integer value in `train_micro_batch_size_per_gpu` in the deepspeed config file"),
    ("deepspeed_config_mismatch", "pydantic_core._pydantic_core.ValidationError", "1 validation error for "
     "DeepSpeedZeroConfig\nstage3_prefetch_bucket_size\n  Input should be a valid integer"),
    ("deepspeed_config_mismatch", "ValueError", "Found `optimizer` configured in the DeepSpeed config, but no "
     "`scheduler`. Please configure a scheduler in the DeepSpeed config."),
    ("deepspeed_config_mismatch", "ValueError", "You cannot create a `DummyOptim` without specifying an optimizer "
     "in the config file."),
    ("deepspeed_batch_assert", "AssertionError", "Check batch related parameters. train_batch_size is not equal to "
     "micro_batch_per_gpu * gradient_acc_step * world_size 256 != 2 * 18 * 7"),
    ("deepspeed_batch_assert", "AssertionError", "Train batch size: 0 has to be greater than 0"),
    ("deepspeed_batch_assert", "AssertionError", "Gradient accumulation steps: 0 has to be greater than 0"),
    ("deepspeed_batch_assert", "AssertionError", "Either train_batch_size or train_micro_batch_size_per_gpu needs "
     "to be provided"),
    # DeepSpeed: ops/op_builder/builder.py; torch: utils/cpp_extension.py
    ("deepspeed_op_build", "deepspeed.ops.op_builder.builder.MissingCUDAException", "CUDA_HOME does not exist, "
     "unable to compile CUDA op(s)"),
    ("deepspeed_op_build", "deepspeed.ops.op_builder.builder.CUDAMismatchException", ">- DeepSpeed Op Builder: "
     "Installed CUDA version 11.5 does not match the version torch was compiled with 12.1, unable to compile "
     "cuda/cpp extensions without a matching cuda version."),
    ("deepspeed_op_build", "RuntimeError", "Unable to JIT load the async_io op due to it not being compatible due "
     "to hardware/software issue. None"),
    ("deepspeed_op_build", "RuntimeError", "Error building extension 'cpu_adam'"),
    ("deepspeed_op_build", "RuntimeError", "Ninja is required to load C++ extensions (pip install ninja to get it)"),
    ("deepspeed_op_build", "ImportError", "/root/.cache/torch_extensions/py39_cu117/fused_adam/fused_adam.so: "
     "cannot open shared object file: No such file or directory"),
    ("deepspeed_op_build", "ImportError", "No module named 'fused_adam'"),
    ("deepspeed_op_build", "AttributeError", "'DeepSpeedCPUAdam' object has no attribute 'ds_opt_adam'"),
    ("deepspeed_op_build", "AssertionError", "CUDA_HOME does not exist, unable to compile CUDA op(s)"),
    ("deepspeed_op_build", "RuntimeError", "PyTorch version mismatch! DeepSpeed ops were compiled and installed "
     "with a different version than what is being used at runtime."),
    # DeepSpeed: ops/adam/cpu_adam.py, runtime/engine.py; apex: csrc/multi_tensor_apply.cuh
    ("optimizer_offload_device", "AssertionError", "CPUAdam param is on cuda:0 and must be 'cpu', make sure you "
     "enabled 'offload_optimizer': 'cpu' in your ZeRO config."),
    ("optimizer_offload_device", "deepspeed.runtime.zero.utils.ZeRORuntimeException", "You are using ZeRO-Offload "
     "with a client provided optimizer (<class 'torch.optim.adamw.AdamW'>) which in most cases will yield poor "
     "performance."),
    # torch under DeepSpeed's ZeRO-3
    ("zero3_weight_1d", "RuntimeError", "'weight' must be 2-D"),
    ("zero3_weight_1d", "AssertionError", "{'id': 291, 'status': 'NOT_AVAILABLE', 'numel': 0, 'ds_numel': "
     "131072000, 'shape': (0,), 'ds_shape': (32000, 4096)}"),
    ("zero3_weight_1d", "RuntimeError", "size mismatch, got input (2), mat (2x4096), vec (0)"),
    ("zero3_weight_1d", "AssertionError", "{'id': 0, 'status': <ZeroParamStatus.INFLIGHT: 3>, 'numel': 0}"),
    # torch: csrc/distributed/c10d/reducer.cpp with a static graph; NCCL under an older torch
    ("ddp_unused_params", "RuntimeError", "Your training graph has changed in this iteration, e.g., one parameter is "
     "used in first iteration, but then got unused in the second iteration."),
    ("nccl_timeout", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1275, internal error, NCCL version "
     "2.14.3\nncclInternalError: Internal check failed.\nLast error:\nNet : Connection closed by remote peer u<50260>"),
    # DeepSpeed: launcher/runner.py, runtime/config.py; Ray: util/placement_group of verl
    ("parallel_size_mismatch", "ValueError", "No slot '4' specified on host 'localhost'"),
    ("parallel_size_mismatch", "ValueError", "Total available GPUs 4 is less than total desired GPUs 8"),
    ("deepspeed_config_mismatch", "AssertionError", "bfloat16 and fp16 modes cannot be simultaneously enabled"),
    # torch: utils/cpp_extension.py
    ("deepspeed_op_build", "subprocess.CalledProcessError", "Command '['ninja', '-v']' returned non-zero exit status "
     "1."),
    ("deepspeed_op_build", "RuntimeError", "\nThe detected CUDA version (11.5) mismatches the version that was used to "
     "compile\nPyTorch (12.1). Please make sure to use the same CUDA versions."),
    # torch under DeepSpeed's ZeRO-3
    ("zero3_weight_1d", "RuntimeError", "mat2 must be a matrix, got 1-D tensor"),
    ("zero3_weight_1d", "RuntimeError", "Function LinearFunctionForZeroStage3Backward returned an invalid gradient at "
     "index 1 - got [4096, 4096] but expected shape compatible with [0]"),
    # DeepSpeed: runtime/engine.py, runtime/config.py; transformers: deepspeed.py before 4.20; accelerate
    ("deepspeed_config_mismatch", "AssertionError", "cpu_adam is not a supported DeepSpeed Optimizer"),
    ("deepspeed_config_mismatch", "AssertionError", "zero stage 2 requires an optimizer"),
    ("deepspeed_config_mismatch", "AssertionError", "You are using an untested ZeRO Optimizer. Please add "
     '<"zero_allow_untested_optimizer": true> in the configuration file to use it.'),
    ("deepspeed_config_mismatch", "AssertionError", "DeepSpeed requires --deepspeed_config to specify configuration "
     "file"),
    ("deepspeed_config_mismatch", "ValueError", "ZeRO inference only makes sense with ZeRO Stage 3 - please adjust "
     "your config"),
    ("deepspeed_config_mismatch", "ValueError", "`zero_optimization.reduce_bucket_size` not found in kwargs. Please "
     "specify `zero_optimization.reduce_bucket_size` without `auto` (set to correct value) in the DeepSpeed config "
     "file or pass it in kwargs."),
    ("optimizer_offload_device", "ValueError", "ZeRO Offload can only work with DeepSpeed optimizers"),
    # torch: nn/modules/module.py, of a checkpoint of ZeRO-3's pieces and of a model in pieces
    ("zero3_weight_1d", "RuntimeError", "Error(s) in loading state_dict for OPTForCausalLM:\n\tsize mismatch for "
     "model.decoder.layers.25.fc1.weight: copying a param with shape torch.Size([0]) from checkpoint, the shape in "
     "current model is torch.Size([10240, 2560])."),
    ("zero3_weight_1d", "RuntimeError", "Error(s) in loading state_dict for Linear:\n\tsize mismatch for weight: "
     "copying a param with shape torch.Size([32, 6]) from checkpoint, the shape in current model is torch.Size([0])."),
    ("empty_adapter", "RuntimeError", "Error(s) in loading state_dict for PeftModel:\n\tsize mismatch for "
     "base_model.model.q_proj.lora_A.default.weight: copying a param with shape torch.Size([0]) from checkpoint, the "
     "shape in current model is torch.Size([8, 64])."),
    # nanotron: parallel/context.py; finetrainers: parallel/accelerate.py
    ("parallel_size_mismatch", "ValueError", "('The number of process requires to run all replicas (8)', 'must be "
     "equal to the world size (4).')"),
    ("parallel_size_mismatch", "ValueError", "World size 2 must be divisible by the product of all parallel degrees "
     "and data parallel shards."),
    # NCCL: between GPUs that cannot reach each other; what else it meets is no network
    ("nccl_init_network", "torch.distributed.DistBackendError", "NCCL error in: x.hpp:317, unhandled cuda error (run "
     "with NCCL_DEBUG=INFO for details), NCCL version 2.23.4\nncclUnhandledCudaError: Call to CUDA function "
     "failed.\nLast error:\nCuda failure 1 'invalid argument'"),
    ("unknown", "torch.distributed.DistBackendError", "NCCL error in: x.hpp:317, unhandled cuda error (run with "
     "NCCL_DEBUG=INFO for details), NCCL version 2.23.4\nncclUnhandledCudaError: Call to CUDA function failed.\nLast "
     "error:\nCuda failure 'an illegal memory access was encountered'"),
    # torch: distributed/elastic/agent/server/api.py, of a node that does not come; TCPStore before 1.9
    ("nccl_init_network", "torch.distributed.DistStoreError", "wait timeout after 900000ms, keys: "
     "/none/torchelastic/role_info/0, /none/torchelastic/role_info/1"),
    ("nccl_init_network", "RuntimeError", "connect() timed out."),
    ("deepspeed_batch_assert", "ValueError", "Train batch size must be divisible by micro-batch data parallelism"),
    # torch: optim/adamw.py
    ("optimizer_offload_device", "RuntimeError", "`fused=True` requires all the params to be floating point Tensors of "
     "supported devices: ['cuda', 'xpu'] but torch.float32 and cpu"),
    # NCCL: src/init.cc, of an internal error and of plugins
    ("parallel_size_mismatch", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1275, internal error, NCCL "
     "version 2.14.3\nncclInternalError: Internal check failed.\nLast error:\nDuplicate GPU detected : rank 1 and rank "
     "0 both on CUDA device 1000"),
    ("nccl_init_network", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:94, invalid usage, NCCL version "
     "2.27.5\nncclInvalidUsage: This usually reflects invalid usage of NCCL.\nLast error:\nFailed to initialize "
     "any NET plugin"),
]  # fmt: skip
"""(cause, exception, message)."""

IN_CALLS = [
    # torch: gloo, in a collective of a rank that lost its peer
    ("optimizer_offload_device", "RuntimeError", "expected input to be on cuda",
     ("/x/apex/optimizers/fused_adam.py", "step")),
    ("optimizer_offload_device", "RuntimeError", "Expected all tensors to be on the same device, but found at "
     "least two devices, cuda:0 and cpu!", ("/x/torch/optim/adamw.py", "_single_tensor_adamw")),
    ("parallel_size_mismatch", "AssertionError", "151851 is not divisible by 4",
     ("/x/megatron/core/utils.py", "ensure_divisibility")),
    ("zero3_weight_1d", "RuntimeError", "The size of tensor a (0) must match the size of tensor b (4096) at "
     "non-singleton dimension 1", ("/x/peft/tuners/lora/layer.py", "merge")),
    ("zero3_weight_1d", "IndexError", "Dimension out of range (expected to be in range of [-1, 0], but got 1)",
     ("/x/deepspeed/runtime/zero/linear.py", "forward")),
    ("nccl_init_network", "socket.gaierror", "[Errno -2] Name or service not known",
     ("/x/torch/distributed/elastic/rendezvous/static_tcp_rendezvous.py", "next_rendezvous")),
    ("deepspeed_op_build", "OSError", "CUDA_HOME environment variable is not set. Please set it to your CUDA "
     "install root.", ("/x/torch/utils/cpp_extension.py", "_join_cuda_home")),
    ("unknown", "ConnectionResetError", "[Errno 104] Connection reset by peer",
     ("/usr/lib/python3.10/multiprocessing/connection.py", "_recv")),
    ("deepspeed_op_build", "TypeError", "unsupported operand type(s) for +: 'NoneType' and 'str'",
     ("/x/deepspeed/ops/op_builder/builder.py", "installed_cuda_version")),
    ("nccl_init_network", "RuntimeError", "Connection reset by peer",
     ("/x/torch/distributed/elastic/rendezvous/c10d_rendezvous_backend.py", "_call_store")),
    ("nccl_init_network", "torch.distributed.DistBackendError", "NCCL error in: x.hpp:268, remote process exited or "
     "there was a network error, NCCL version 2.21.5\nncclRemoteError: A call failed possibly due to a network error.",
     ("/x/torch/distributed/utils.py", "_verify_param_shape_across_processes")),
    ("nccl_timeout", "torch.distributed.DistBackendError", "NCCL error in: x.hpp:268, remote process exited or there "
     "was a network error, NCCL version 2.21.5", ("/x/torch/distributed/distributed_c10d.py", "all_reduce")),
    ("deepspeed_op_build", "ValueError", "invalid literal for int() with base 10: ''",
     ("/x/deepspeed/ops/op_builder/builder.py", "is_compatible")),
    ("nccl_init_network", "torch.distributed.DistStoreError", "Socket Timeout",
     ("/x/torch/distributed/elastic/agent/server/api.py", "_assign_worker_ranks")),
    ("deepspeed_config_mismatch", "json.decoder.JSONDecodeError", "Expecting property name enclosed in double quotes: "
     "line 10 column 5 (char 200)", ("/x/accelerate/utils/deepspeed.py", "__init__")),
]  # fmt: skip
"""(cause, exception, message, (file, function) of the newest call)."""

PRINTED = [
    # torch: ProcessGroupNCCL.cpp of 1.13, 2.2, 2.6
    ("nccl_timeout", "[E ProcessGroupNCCL.cpp:475] [Rank 2] Watchdog caught collective operation timeout: "
     "WorkNCCL(SeqNum=880, OpType=BROADCAST, NumelIn=131137536, NumelOut=131137536, Timeout(ms)=1800000) ran for "
     "1800648 milliseconds before timing out."),
    ("nccl_timeout", "[rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught "
     "collective operation timeout: WorkNCCL(SeqNum=1580, OpType=ALLREDUCE) ran for 600060 milliseconds before "
     "timing out."),
    ("nccl_timeout", "[rank7]:[F1130 08:42:13.417383413 ProcessGroupNCCL.cpp:1306] [PG 0 Rank 7] [PG 0 Rank 7] "
     "ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress in monitoring enqueued "
     "collectives."),
    ("nccl_timeout", "[E ProcessGroupGloo.cpp:2791] [Rank 0]: Rank 1 failed to pass monitoredBarrier in 1800000 ms"),
    ("port_in_use", "[E socket.cpp:462] [c10d] The server socket has failed to listen on any local network address."),
    ("nccl_init_network", "[E socket.cpp:957] [c10d] The client socket has timed out after 60s while trying to "
     "connect to (10.0.0.1, 29500)."),
    # torch: include/c10/util/C++17.h; nvcc and ninja
    ("deepspeed_op_build", "/x/torch/include/c10/util/C++17.h:13:2: error: #error \"You're trying to build PyTorch "
     'with a too old version of GCC. We need GCC 9 or later."'),
    ("deepspeed_op_build", "/x/deepspeed/ops/csrc/includes/cpu_adam.h:19:10: fatal error: cuda.h: No such file or "
     "directory"),
    ("deepspeed_op_build", "ninja: build stopped: subcommand failed."),
    ("deepspeed_op_build", "/usr/bin/ld: cannot find -lcurand: No such file or directory"),
    # OpenSSH and pdsh, as DeepSpeed's launcher starts other hosts
    ("nccl_init_network", "node2: ssh: connect to host node2 port 22: Connection refused"),
    ("nccl_init_network", "pdsh@node1: node2: ssh exited with exit code 255"),
    ("nccl_init_network", "node2: Host key verification failed."),
    # Ascend's CANN and HCCL
    ("nccl_timeout", "EI0002: The wait execution of the Notify register times out. Reason: The Notify register has not "
     "received the Notify record from remote rank [4294967295]."),
    ("nccl_timeout", "EE1002: Stream synchronize timeout. rtDeviceSynchronize execute failed, reason=[stream sync "
     "timeout]"),
    ("nccl_timeout", "RuntimeError: InnerRunOpApi:torch_npu/csrc/framework/OpParamMaker.cpp:281 OPS function error: "
     "HcclAllreduce, error code is 6\n[ERROR] ERR01100 OPS call acl api failed."),
    ("nccl_init_network", "EI0006: Getting socket times out. Reason: Remote Rank did not send the data in time."),
    ("cuda_oom", "EL0004: Failed to allocate memory. Possible Cause: Available memory is insufficient."),
    ("nccl_timeout", "[rank1]:[E ProcessGroupNCCL.cpp:1414] [PG 0 Rank 1] Received a timeout signal from this local "
     "rank and will start to dump the debug info. Last enqueued NCCL work: 5, last completed NCCL work: 4."),
]  # fmt: skip
"""(cause, what is printed)."""
