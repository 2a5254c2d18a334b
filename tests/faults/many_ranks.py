"""Faults of several processes: launchers, process groups, DDP, FSDP, DeepSpeed."""

from __future__ import annotations

import json

from fault import Fault

TWO = "torchrun --nproc_per_node 2 --master_port $((20000 + RANDOM % 9000))"
ACCELERATED = (
    "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
    " --dynamo_backend no --main_process_port"
)
"""On a CPU too this is how Accelerate starts several ranks; ``--cpu`` alone starts one."""
ACCELERATE = f"{ACCELERATED} $((20000 + RANDOM % 9000))"
BATCH = {"train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 1}
ZERO3 = {"zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0}}
ADAM = {"optimizer": {"type": "Adam", "params": {"lr": 0.001}}}
OFFLOAD = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}
ON_CPU = "export DS_ACCELERATOR=cpu;"


def ds(*parts: dict[str, object]) -> str:
    """Writes ds.json of these parts."""
    config = {name: value for part in parts for name, value in part.items()}
    return f"{ON_CPU} echo '{json.dumps(config)}' > ds.json; "


FAULTS = [
    Fault("torchrun_sigkill", "host_oom_sigkill", f"{TWO} ddp.py --happens kill",
          "SIGKILL", "rank 1 killed with signal 9 under torchrun", None, 1),
    Fault("accelerate_sigkill", "host_oom_sigkill", f"{ACCELERATE} ddp.py --happens kill --rank 0",
          "SIGKILL", "rank 0 killed with signal 9 under accelerate launch", None, 0),
    Fault("torchrun_memory_limit", "host_oom_sigkill",
          "mkdir -p /sys/fs/cgroup/memory/fault && echo 2500M > /sys/fs/cgroup/memory/fault/memory.limit_in_bytes &&"
          f" (echo $BASHPID > /sys/fs/cgroup/memory/fault/cgroup.procs; {TWO} ddp.py --happens memory)",
          "SIGKILL", "rank 1 fills the memory its cgroup allows", None, 1),
    Fault("torchrun_segfault", "sigsegv", f"{TWO} ddp.py --happens segfault",
          "SIGSEGV", "rank 1 reads address 0", None, 1),
    Fault("torchrun_segfault_stacks", "sigsegv", f"PYTHONFAULTHANDLER=1 {TWO} ddp.py --happens segfault --rank 0",
          "Fatal Python error: Segmentation fault", "the same on rank 0, with Python's fault handler on", None, 0),
    Fault("torchrun_hang", "nccl_timeout", f"{TWO} ddp.py --happens hang --timeout 15",
          "Timed out waiting", "rank 1 sleeps in step 5; rank 0 gives up after gloo's 15 s", "forward", 0),
    Fault("torchrun_leaves", "unknown", f"{TWO} ddp.py --happens leave",
          "Connection closed by peer", "rank 1 ends with status 0 in step 5, rank 0 loses its connection", None, 0,
          or_also=("nccl_timeout",)),
    Fault("torchrun_raises", "unknown", f"{TWO} ddp.py --happens divide",
          "ZeroDivisionError", "rank 1 divides by zero in the script's own code", None, 1),
    Fault("torchrun_healthy", "none", f"{TWO} ddp.py", "step 15", "nothing: ended without leaving its process group"),
    Fault("monitored_barrier", "nccl_timeout", f"{TWO} barrier.py",
          "monitoredBarrier", "rank 1 comes to a barrier too late, rank 0 tells so", None, 0),
    Fault("ddp_unused", "ddp_unused_params", f"{TWO} ddp_unused.py",
          "Expected to have finished reduction", "a head that no loss uses, find_unused_parameters=False", "forward"),
    Fault("ddp_twice", "ddp_ready_twice", f"{TWO} ddp_twice.py",
          "mark a variable ready only once", "reentrant checkpointing and find_unused_parameters=True", "backward"),
    Fault("fsdp_mixed_dtypes", "dtype_not_uniform_flatten", f"{TWO} fsdp.py mixed",
          "Must flatten tensors with uniform dtype", "float32 adapters in bf16 layers under FSDP1", "prepare"),
    Fault("fsdp_int8", "integer_flatten", f"{TWO} fsdp.py int8",
          "Cannot flatten integer dtype", "int8 layers under FSDP1", "prepare", or_also=("dtype_not_uniform_flatten",)),
    Fault("fsdp_4bit_storage", "integer_flatten", f"{TWO} fsdp.py storage",
          "flatten", "4-bit layers stored as uint8 under FSDP1", "prepare", or_also=("dtype_not_uniform_flatten",)),
    Fault("fsdp2_int8", "int8_cb_missing", f"{TWO} fsdp2_int8.py",
          "has no attribute 'CB'", "int8 layers under FSDP2", "forward"),
    Fault("mesh_too_big", "parallel_size_mismatch", f"{TWO} mesh.py",
          "Mesh should not be bigger", "a mesh of 2 x 2 on two ranks", "prepare"),
    Fault("accelerate_parallelism", "parallel_size_mismatch", f"{ACCELERATE} parallelism.py",
          "ValueError", "Accelerate told 2 x 2 ways of parallelism on two ranks", "prepare"),
    Fault("accelerate_device_map", "device_map_with_distributed", f"{ACCELERATE} device_map.py",
          "in any distributed mode", "a device map over several devices, two ranks", "prepare"),
    Fault("device_map_disk", "device_mismatch", "python device_map.py",
          "expected device meta but got cpu", "layers on disk by the device map, trained by one process", "backward",
          or_also=("unknown",)),
    Fault("port_taken", "port_in_use",
          "python -m http.server 29511 --bind 127.0.0.1 > /dev/null 2>&1 & sleep 2;"
          " torchrun --nproc_per_node 2 --master_addr 127.0.0.1 --master_port 29511 ddp.py",
          "EADDRINUSE", "another program listens on the master port"),
    Fault("accelerate_port_taken", "none",
          "python -m http.server 29512 --bind 127.0.0.1 > /dev/null 2>&1 & sleep 2;"
          f" {ACCELERATED} 29512 ddp.py",
          "already in use", "nothing: the same under accelerate launch, which takes another port"),
    Fault("env_port_taken", "port_in_use",
          "python -m http.server 29513 --bind 127.0.0.1 > /dev/null 2>&1 & sleep 2;"
          " MASTER_ADDR=127.0.0.1 MASTER_PORT=29513 RANK=0 WORLD_SIZE=1 python ddp.py",
          "EADDRINUSE", "the same without a launcher", None, 0),
    Fault("master_unknown", "nccl_init_network",
          "MASTER_ADDR=gpu-node-01.cluster.local MASTER_PORT=29514 RANK=1 WORLD_SIZE=2 timeout 60 python ddp.py"
          " --timeout 15", "gpu-node-01.cluster.local", "the master's name cannot be resolved", None, 1),
    Fault("master_refuses", "nccl_init_network",
          "MASTER_ADDR=127.0.0.1 MASTER_PORT=29515 RANK=1 WORLD_SIZE=2 python ddp.py --timeout 12",
          "imed out", "nobody listens at the master's address", None, 1),
    Fault("rank_missing", "nccl_init_network",
          "MASTER_ADDR=127.0.0.1 MASTER_PORT=29516 RANK=0 WORLD_SIZE=2 python ddp.py --timeout 12",
          "1/2 clients joined", "the second rank never comes", None, 0),
    Fault("zero3_device_map", "device_map_with_distributed", ds(BATCH, ZERO3) + f"{TWO} zero3_map.py",
          "DeepSpeed Zero-3 is not compatible with", "device_map under ZeRO-3", "load"),
    Fault("deepspeed_batch", "deepspeed_batch_assert",
          ds(BATCH, ZERO3, {"train_batch_size": 16}) + f"{TWO} zero_loop.py model",
          "Check batch related parameters", "train_batch_size 16, on two ranks with 4 rows each", "load",
          stack="qltui"),
    Fault("deepspeed_no_batch", "deepspeed_batch_assert", ds(ZERO3) + f"{TWO} zero_loop.py model",
          "needs to be provided", "a file for DeepSpeed without any batch size", "load", stack="qltui"),
    Fault("deepspeed_no_zero", "deepspeed_config_mismatch", ds(BATCH) + f"{TWO} deepspeed_trainer.py",
          "Please specify the ZeRO optimization config", "a file for DeepSpeed without zero_optimization", "prepare",
          stack="qltui"),
    Fault("deepspeed_mismatch", "deepspeed_config_mismatch",
          ds({"train_micro_batch_size_per_gpu": 8}, ZERO3) + f"{TWO} deepspeed_trainer.py",
          "Please correct the following DeepSpeed config values",
          "8 rows in DeepSpeed's file, 4 in the Trainer's arguments", "prepare", stack="qltui"),
    Fault("tf517_deepspeed_mismatch", "deepspeed_config_mismatch",
          ds({"train_micro_batch_size_per_gpu": 8}, ZERO3) + f"{TWO} deepspeed_trainer.py",
          "Please correct the following DeepSpeed config values",
          "8 rows in DeepSpeed's file, 4 in the Trainer's arguments", "prepare", stack="tf517"),
    Fault("zero3_embedding", "zero3_weight_1d", ds(BATCH, ZERO3) + f"{TWO} zero_loop.py embedding",
          "'weight' must be 2-D", "the embedding's weight used outside of it under ZeRO-3", "forward", stack="qltui"),
    Fault("zero3_head", "zero3_weight_1d", ds(BATCH, ZERO3) + f"{TWO} zero_loop.py head",
          "vec (0)", "the head's weight used by the loss under ZeRO-3", "forward", stack="qltui"),
    Fault("zero3_adapter", "empty_adapter", ds(BATCH, ZERO3) + f"{TWO} zero3_adapter.py",
          "torch.Size([0])", "an adapter saved under ZeRO-3 as rank 0 holds it, then loaded", "load", stack="qltui"),
    Fault("tf517_zero3_adapter", "empty_adapter", ds(BATCH, ZERO3) + f"{TWO} zero3_adapter.py",
          "torch.Size([0])", "an adapter saved under ZeRO-3 as rank 0 holds it, then loaded", "load", stack="tf517"),
    Fault("deepspeed_no_compiler", "deepspeed_op_build",
          ds(BATCH, OFFLOAD, ADAM) + f"export CXX=/opt/none/bin/c++; {TWO} zero.py",
          "Error building extension", "an operation to be built with a compiler that is not there", "prepare"),
    Fault("deepspeed_launcher_kill", "host_oom_sigkill",
          f"{ON_CPU} deepspeed --num_accelerators 2 --no_local_rank --master_port 29518 ddp.py --happens kill",
          "exits with return code = -9", "rank 1 killed with signal 9 under DeepSpeed's launcher", None, 1),
]  # fmt: skip
"""``rank`` is None where every rank fails alike."""
