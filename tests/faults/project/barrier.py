import os
import time
from datetime import timedelta

import torch.distributed as dist

dist.init_process_group("gloo")
rank = dist.get_rank()
if rank == 0:
    print("preprocessing data on the main process ...", flush=True)
else:
    time.sleep(int(os.environ.get("PREPROCESS_SECONDS", "30")))
dist.monitored_barrier(timeout=timedelta(seconds=8), wait_all_ranks=True)
print(f"rank {rank} goes on")
