"""Faults of the machine and of the hub: memory, disk, shared memory, signals, addresses, answers."""

from __future__ import annotations

from fault import Fault

SMALL_DISK = "mkdir -p outputs && unshare -m bash -c 'mount -t tmpfs -o size={size} tmpfs outputs && "
SMALL_SHM = "unshare -m bash -c 'mount -t tmpfs -o size=4m tmpfs /dev/shm && "
HUB_FREE = "HF_HUB_DISABLE_TELEMETRY=1 "

FAULTS = [
    Fault("python_killed", "host_oom_sigkill",
          "mkdir -p /sys/fs/cgroup/memory/fault1 && echo 900M > /sys/fs/cgroup/memory/fault1/memory.limit_in_bytes;"
          " echo $BASHPID > /sys/fs/cgroup/memory/fault1/cgroup.procs; RANK=0 WORLD_SIZE=1 MASTER_ADDR=127.0.0.1"
          " MASTER_PORT=29530 python ddp.py --happens memory --rank 0; echo exit code $?",
          "Killed", "one process fills the memory its cgroup allows; bash says Killed"),
    Fault("memory_error", "host_oom_sigkill",
          "ulimit -v 12000000; RANK=0 WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 MASTER_PORT=29531 python ddp.py"
          " --happens memory --rank 0", "DefaultCPUAllocator", "the same with ulimit -v: the allocation fails instead",
          None, 0),
    Fault("python_segfault", "sigsegv",
          "RANK=0 WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 MASTER_PORT=29532 python ddp.py --happens segfault --rank 0;"
          " echo exit code $?", "Segmentation fault", "one process reads address 0; bash says so"),
    Fault("disk_full_trainer", "disk_full", f"{SMALL_DISK.format(size='256k')} python finetune.py 20'",
          "unexpected pos", "Trainer's optimizer state goes to a full disk: torch.save does not say so", "save"),
    Fault("disk_full_torch_save", "disk_full", f"{SMALL_DISK.format(size='3m')} python save_to_disk.py'",
          "unexpected pos", "torch.save to a full disk", "save"),
    Fault("disk_full_data_cache", "disk_full",
          "for i in 1 2 3 4 5 6 7 8; do cat data/train.jsonl data/train.jsonl; done > data/more.jsonl;"
          " export HF_DATASETS_CACHE=$PWD/outputs; mkdir outputs; unshare -m bash -c"
          " 'mount -t tmpfs -o size=300k tmpfs outputs && python sft.py data/more.jsonl'",
          "No space left on device", "datasets writes its cache to a full disk", "data"),
    Fault("shm_small", "shm_bus_error", f"{SMALL_SHM} python workers.py large'",
          "unable to allocate shared memory", "/dev/shm of 4 MB, workers that hand over batches of 25 MB", "data"),
    Fault("worker_killed", "host_oom_sigkill", "python workers.py killed",
          "exited unexpectedly", "a DataLoader worker killed with signal 9", "data"),
    Fault("interrupt_trainer", "user_interrupt", "timeout --foreground -s INT 50 python finetune.py 20000",
          "KeyboardInterrupt", "Ctrl-C in the middle of Trainer's steps"),
    Fault("interrupt_torchrun", "user_interrupt",
          "sed -i 's/in enumerate(get_batches(get_tokenizer()))/in enumerate(b for _ in range(999) for b in"
          " get_batches(get_tokenizer()))/' ddp.py; timeout --foreground -s INT 60 torchrun --nproc_per_node 2"
          " --master_port 29533 ddp.py", "got signal: 2", "Ctrl-C under torchrun"),
    Fault("terminate_torchrun", "user_interrupt",
          "sed -i 's/in enumerate(get_batches(get_tokenizer()))/in enumerate(b for _ in range(999) for b in"
          " get_batches(get_tokenizer()))/' ddp.py; timeout --foreground -s TERM 60 torchrun --nproc_per_node 2"
          " --master_port 29534 ddp.py", "got signal: 15", "torchrun told to end with SIGTERM, as by a scheduler"),
    Fault("hub_gated", "hub_auth_gated", HUB_FREE + "HF_TOKEN=hf_none python load_hub.py meta-llama/Llama-3.1-8B",
          "gated repo", "403 GatedRepo: licence not accepted", "load", hub="gated"),
    Fault("hub_gated_no_token", "hub_auth_gated", HUB_FREE + "python load_hub.py meta-llama/Llama-3.1-8B",
          "gated repo", "401 GatedRepo: not logged in", "load", hub="gated_no_token"),
    Fault("hub_gated_download", "hub_auth_gated", HUB_FREE + "python login.py",
          "restricted", "snapshot_download of a gated repository", "load", hub="gated_no_token"),
    Fault("hub_missing", "hub_not_found_or_offline", HUB_FREE + "python load_hub.py meta-llama/Lama-3-8B",
          "is not a valid model identifier", "404 RepoNotFound: a typing mistake", "load", hub="missing"),
    Fault("hub_missing_no_token", "hub_not_found_or_offline", HUB_FREE + "python load_hub.py company/private-llama",
          "is not a valid model identifier", "401 RepoNotFound: private or missing, not logged in", "load",
          hub="missing_no_token", or_also=("hub_auth_gated",)),
    Fault("hub_bad_token", "hub_auth_gated", HUB_FREE + "HF_TOKEN=hf_old python load_hub.py company/private-llama",
          "401", "401 without a code: the token is not valid", "load", hub="bad_token"),
    Fault("hub_dead", "hub_not_found_or_offline", HUB_FREE + "python load_hub.py meta-llama/Llama-3.1-8B",
          "We couldn't connect to", "nobody answers at the hub's address", "load", hub="dead"),
    Fault("hub_offline", "hub_not_found_or_offline", "HF_HUB_OFFLINE=1 python load_hub.py meta-llama/Llama-3.1-8B",
          "We couldn't connect to", "HF_HUB_OFFLINE=1 and nothing in the cache", "load"),
    Fault("hub_broken", "hub_not_found_or_offline", HUB_FREE + "python load_hub.py meta-llama/Llama-3.1-8B",
          "We couldn't connect to", "the hub answers 503", "load", hub="broken", seconds=240),
    Fault("hub_data_missing", "hub_not_found_or_offline", HUB_FREE + "python load_data_hub.py",
          "company/support-chats", "a data set that is not there", "data", hub="missing"),
    Fault("hub_data_offline", "hub_not_found_or_offline", "HF_HUB_OFFLINE=1 python load_data_hub.py",
          "company/support-chats", "a data set, HF_HUB_OFFLINE=1", "data"),
    Fault("path_wrong", "hub_not_found_or_offline", "HF_HUB_OFFLINE=1 python load_hub.py ./models/llama-3",
          "Repo id must be", "a folder that is not there", "load"),
    Fault("worker_row", "dataset_column_error", "python workers.py row",
          "in DataLoader worker process", "a row that cannot be read, in a DataLoader worker", "data",
          or_also=("unknown",)),
]  # fmt: skip
