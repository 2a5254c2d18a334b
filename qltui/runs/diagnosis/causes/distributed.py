"""Ranks that lose, miss or cannot find each other."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, Role, sign

CAUSES = (
    Cause(
        "nccl_timeout",
        "ranks waited in vain for each other",
        says="A rank did not come to an exchange that the others waited in. It died, hung, or did "
        "something else for long.",
        fixes=(
            Fix("look at the log of the rank that is missing there, shortly before"),
            Fix("see what ranks wait for while it hangs", "py-spy dump --pid PID"),
            Fix(
                "have ranks write down which exchange they are in",
                "export TORCH_NCCL_TRACE_BUFFER_SIZE=2000 TORCH_NCCL_DUMP_ON_TIMEOUT=1",
            ),
            Fix("if GPUs cannot reach each other directly", "export NCCL_P2P_DISABLE=1"),
        ),
        signs=(
            sign(r"Watchdog caught collective operation timeout", role=Role.PEER),
            sign(
                r"watchdog got stuck for|ProcessGroupNCCL watchdog hang",
                r"heartbeat monitor(?:ing)? timed out|Exception raised from checkTimeout",
                r"Received a timeout signal from this local rank",
                r"Some NCCL operations have failed or timed out",
                r"collective operation timeout",
                r"Timed out waiting \d+ms for (?:recv|send) operation",
                role=Role.PEER,
            ),
            sign(
                r"(?:monitoredBarrier|monitored_barrier).*(?:failed|Rank \d+ (?:successfully|failed))",
                r"Ranks? [\d, ]+ failed to pass monitoredBarrier",
                role=Role.PEER,
            ),
            sign(
                r"wait timeout after \d+ms",
                r"Socket Timeout",
                r"socketPollConnect",
                r"Wait timeout",
                r"timed out after \d+ (?:milli)?seconds? waiting for clients to join",
                role=Role.PEER,
                alone=False,
            ),
            sign(
                r"(?<!Errno 104\] )(?:Connection (?:closed by|reset by) (?:remote )?peer|(?<!Errno 32\] )Broken pipe"
                r"|Connection was likely closed|remote process exited or there was a network error"
                r"|NCCL communicator was aborted|ncclRemoteError|Application timeout caused pair closure"
                r"|Stop_waiting response|Read error \[|Failed to check the \"should dump\" flag"
                r"|Error waiting on exit barrier|Connection was reset by peer)",
                role=Role.PEER,
                is_certain=False,
                says="A rank lost its connection to another one, which died or ended early, or the network between "
                "them failed.",
            ),
            sign(
                r"Detected mismatch between collectives on ranks",
                is_native=True,
                says="Ranks called different exchanges: their programs went different ways (a branch, an odd last "
                "batch, a rank that logs or saves alone).",
            ),
            sign(r"\bEI0002\b|[Nn]otify wait time ?out", role=Role.PEER, is_native=True),
            sign(
                r"\bEE1002\b|reason=\[stream sync timeout\]|(?:OPS|HCCL) function error: Hccl",
                role=Role.PEER,
                is_native=True,
                is_certain=False,
            ),
            sign(r"CollectiveFingerPrint", r"\[Rank \d+\] .*NCCL.*(?:timeout|abort)", role=Role.PEER),
            sign(
                r"Signal 6 \(SIGABRT\)", r"exitcode\s*:? ?-6\b", r"return code = -6\b", role=Role.PEER, is_certain=False
            ),
            sign(
                r"DistBackendError(?!.*(?:unhandled cuda error|ncclInvalid|, invalid (?:argument|usage)))",
                r"DistStoreError|DistNetworkError",
                role=Role.PEER,
                is_certain=False,
            ),
        ),
    ),
    Cause(
        "nccl_init_network",
        "ranks cannot reach each other",
        says="Ranks did not find each other when they began: the address, the port, the network interface "
        "or a firewall.",
        fixes=(
            Fix("name the interface both hosts share", "export NCCL_SOCKET_IFNAME=eth0 GLOO_SOCKET_IFNAME=eth0"),
            Fix("see what NCCL tries", "export NCCL_DEBUG=INFO"),
            Fix("see whether the first host answers", "nc -zv MASTER_ADDR MASTER_PORT"),
            Fix("without InfiniBand", "export NCCL_IB_DISABLE=1"),
            Fix("if GPUs cannot reach each other directly", "export NCCL_P2P_DISABLE=1"),
        ),
        signs=(
            sign(
                r"The client socket has (?:timed out|failed to connect)",
                r"client socket cannot be initialized",
                r"connect\(\) timed out",
                r"wait timeout after .{0,60}torchelastic/(?:role_info|assigned_ranks)",
            ),
            sign(r"RendezvousTimeoutError", r"RendezvousClosedError"),
            sign(r"\bEI0006\b", role=Role.PEER, is_native=True),
            sign(
                r"Socket Timeout|[Ww]ait timeout",
                frames=r"elastic/agent/\S+ (?:_rendezvous|_assign_worker_ranks|_share_and_gather|_initialize_workers)$",
            ),
            sign(
                r"ssh: (?:connect to host|Could not resolve hostname)|ssh exited with exit code 255",
                r"^(?:pdsh@)?\S*:? ?(?:\S+: )?Host key verification failed|Permission denied \(publickey",
                is_native=True,
                says="The launcher could not log in to another host by ssh, as it does without a password to start "
                "ranks there.",
            ),
            sign(
                r"RendezvousConnectionError",
                r"The connection to the C10d store has failed",
                role=Role.PEER,
                is_certain=False,
            ),
            sign(
                r"[Cc]onnection (?:reset|closed|refused)|Broken pipe|DistNetworkError|DistStoreError",
                frames=r"elastic/rendezvous/\S+ \w+\Z",
                role=Role.PEER,
                says="torchrun lost the one that all nodes meet at, or never reached it: the first node, its port, the "
                "network interface or a firewall.",
            ),
            sign(
                r"(?:remote process exited or there was a network error|ncclRemoteError|ncclInternalError"
                r"|[Cc]onnection (?:closed|reset) by (?:remote )?peer)",
                frames=r" (?:_verify_params?_\w+|_sync_module_states|_sync_params_and_buffers|_setup_devices"
                r"|init_process_group|_new_process_group_helper|init_distributed|_broadcast_model|main_process_first)\b",
                role=Role.PEER,
            ),
            sign(
                r"ncclUnhandledCudaError.*Cuda failure (?:\d+ )?'(?:invalid argument|invalid resource handle"
                r"|operation not supported|peer access is not supported|named symbol not found|mapping of buffer)",
                is_certain=False,
                says="NCCL could not connect the GPUs of this host: a call to the driver failed, as it does where GPUs "
                "cannot reach each other's memory (WSL, virtual machines, some consumer cards).",
            ),
            sign(
                r"Timed out after \d+ seconds waiting for clients",
                r"waiting for clients\. \d+/\d+ clients joined",
                r"store based barrier.*(?:timed out|timeout)",
                r"Timed out initializing process group",
            ),
            sign(
                r"Bootstrap ?: no socket interface found",
                r"No socket interface found",
                r"Could not find.*interface",
                r"failed to find a free.*interface",
                r"Unable to find address for",
                r"unable to resolve (?:host|address)",
            ),
            sign(
                r"(?:Name or service not known|Temporary failure in name resolution|No route to host"
                r"|Network is unreachable)",
                frames=r"distributed|TCPStore|rendezvous|init_process_group|gloo|nccl",
            ),
            sign(
                r"(?:TCPStore|c10d|rendezvous|gloo).*(?:Connection refused|connect\(\).*timed out"
                r"|No route to host|Name or service not known|Temporary failure in name resolution)",
                r"Gloo connectFullMesh failed",
            ),
            sign(
                r"(?:ncclSystemError|unhandled system error|ncclInternalError)"
                r"(?!.*(?:(?:closed by remote|reset by) peer|[Dd]uplicate GPU))",
                r"(?:Net(?:work)?|NET)/(?:IB|Socket|OFI) ?.*(?:fail|error)",
                r"socketStartConnect",
                r"ibv_\w+ failed",
                r"ncclInvalidUsage.*(?:socket|net)|Failed to initialize any NET plugin",
            ),
            sign(
                r"Call to (?:connect|ibv_\w+|bind|socket) .*(?:failed|returned)",
                r"NCCL WARN (?:Call to|NET/|Connect to)",
                is_certain=False,
            ),
            sign(
                r"environment variable (?:MASTER_ADDR|MASTER_PORT|RANK|WORLD_SIZE) expected, but not set",
                says="The rank was not told where the others are: it was started without a launcher such as torchrun.",
            ),
        ),
    ),
    Cause(
        "port_in_use",
        "the port is taken",
        says="Another process, often a run of before that has not ended, uses the port at which ranks meet.",
        fixes=(
            Fix("see who", "ss -ltnp | grep PORT"),
            Fix("let a free one be chosen", "torchrun --rdzv-backend=c10d --rdzv-endpoint=localhost:0 ..."),
            Fix("another port", "torchrun --master-port 29501 ..."),
        ),
        signs=(
            sign(r"EADDRINUSE", r"[Aa]ddress already in use", r"Errno 98\b", r"Only one usage of each socket address"),
            sign(r"server socket has failed to (?:listen|bind)"),
            sign(
                r"Tried to launch distributed communication on port `?\d+`?, but another process is utilizing "
                r"it"
            ),
        ),
    ),
    Cause(
        "parallel_size_mismatch",
        "ranks, GPUs and sizes do not add up",
        says="The number of ranks does not fit the GPUs there are, or the sizes of parallelism that were asked for.",
        fixes=(
            Fix("one rank a GPU that is there", "nvidia-smi -L; echo $CUDA_VISIBLE_DEVICES"),
            Fix("sizes whose product is the number of ranks (tensor, pipeline, context and data parallel)"),
        ),
        signs=(
            sign(
                r"[Dd]uplicate GPU detected",
                says="Several ranks use the same GPU: there are more ranks than GPUs, or the ranks do not choose "
                "theirs by their local rank.",
            ),
            sign(
                r"invalid device ordinal",
                r"Invalid device id",
                r"device >= 0 && device < num_gpus",
                r"Invalid CUDA 'device=",
                r"invalid device ID",
                r"Attempting to deserialize object on CUDA device \d+ but",
                r"But your machine only has",
                r"No slot '\d+' specified on host",
                r"available GPUs .{0,20}less than .{0,30}GPUs|required GPUs exceeds",
                says="A rank asked for a GPU that is not there: there are more ranks than GPUs that they may see.",
            ),
            sign(r"[Ww]orld[_ ]size \d+ must be divisible by"),
            sign(
                r"world[_ ]size.{0,60}(?:(?:is|must be) (?:not )?(?:divisible|equal|a multiple)|(?:!="
                r"|doesn't match|does not match))",
                alone=False,
            ),
            sign(
                r"(?:tensor|pipeline|context|sequence|expert"
                r"|data)[-_ ](?:model[-_ ])?parallel.{0,80}(?:divisible|must (?:be|equal)|not equal"
                r"|does not match|exceeds)",
                alone=False,
            ),
            sign(
                r"divisible by .{0,40}(?:tensor|pipeline|parallel|world|tp_size|num_?proc|ranks)",
                r"(?:num_attention_|attention )heads.{0,60}divisible",
                alone=False,
                says="Layers, heads or ranks do not divide evenly by the sizes of parallelism that were asked for.",
            ),
            sign(r"\d is not divisible by \d", frames=r"megatron|tensor_parallel|ensure_divisibility"),
            sign(
                r"Mesh should not be bigger than default world size",
                r"DeviceMesh.*(?:world|size)",
                r"invalid ParallelismConfig",
                r"ParallelismConfig total_size",
                r"Invalid parallel dims|!= WORLD_SIZE",
                r"[Nn]umber of (?:process|rank|GPU|gpu|device|node)\w* .{0,120}(?:must|should) (?:be|equal|match)"
                r".{0,40}world",
                r"[Pp]arallelism .{0,60}cannot be used with .{0,40}parallelism",
            ),
            sign(
                r"DP world size of \d+ but the current world size",
                r"Loading a checkpoint for MP=\d+ when running with",
                r"checkpoint .{0,60}world[_ ]size.{0,40}(?:different|differs)",
                r"loaded with a different (?:dp|world)",
                says="The checkpoint is of another number of ranks, and cannot be spread anew over these.",
            ),
            sign(
                r"nproc[-_]per[-_]node.{0,80}(?:greater|more|exceed)", r"requested \d+ (?:GPUs?|processes).{0,40}only"
            ),
            sign(r"expects? \d+ (?:ranks|processes|GPUs) but (?:got|found)"),
        ),
    ),
    Cause(
        "ddp_ready_twice",
        "a gradient was ready twice (DDP)",
        says="DDP got a parameter's gradient twice in one step: reentrant checkpointing with "
        "find_unused_parameters, or shared weights.",
        fixes=(
            Fix("checkpoint without reentrance: gradient_checkpointing_kwargs={'use_reentrant': False}"),
            Fix("do not search for unused parameters: ddp_find_unused_parameters=False"),
        ),
        signs=(
            sign(r"Expected to mark a variable ready only once", r"marked as ready twice"),
            sign(
                r"Gradient computed twice for this partition",
                r"has already been reduced\. Gradient",
                says="ZeRO got a parameter's gradient twice in one step: two backward passes, or reentrant "
                "checkpointing.",
            ),
        ),
    ),
    Cause(
        "ddp_unused_params",
        "parameters that got no gradient (DDP)",
        says="Some trained parameters took no part in the loss, and DDP waited for their gradients.",
        fixes=(
            Fix("adapters only where every batch passes (method.lora.target_modules)"),
            Fix("let DDP look for them: ddp_find_unused_parameters=True"),
        ),
        signs=(
            sign(
                r"Expected to have finished reduction in the prior iteration",
                r"parameters that were not used in producing (?:the )?loss",
                r"did not receive grad for rank",
                r"one parameter is used in first iteration, but then got unused",
            ),
        ),
    ),
)
