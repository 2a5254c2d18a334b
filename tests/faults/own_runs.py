"""Faults of QLTUI's own runs: what its command prints, then the supervisor's and the ranks' logs."""

from __future__ import annotations

from fault import Fault

SMALL = "--set training.max_steps=40 --set training.save_every=20 --set training.eval_every=20"
LAUNCH = f"qltui launch demo-cpu {SMALL}"
LOGS = "tail -n +1 $QLTUI_HOME/runs/*/supervisor.log $QLTUI_HOME/runs/*/attempts/*/logs/*"
RANKS = '$(pgrep -f "engine.train $QLTUI_HOME")'
TRAINING = (
    "for i in $(seq 200); do grep -qs kind.:..step $QLTUI_HOME/runs/*/attempts/1/events/* && break; sleep 0.5; done"
)

FAULTS = [
    Fault("own_healthy", "none", f"{LAUNCH} --wait; {LOGS}", "evaluation after training", "nothing", stack="qltui",
          seconds=300),
    Fault("own_sigkill", "host_oom_sigkill",
          f"{LAUNCH} --name killed; {TRAINING}; kill -9 $(echo {RANKS} | cut -d' ' -f2); sleep 20; qltui status last;"
          f" {LOGS}",
          "SIGKILL", "the second rank killed with signal 9 while it trains", None, 1, stack="qltui", seconds=300),
    Fault("own_segfault", "sigsegv",
          f"{LAUNCH} --name faulted; {TRAINING}; kill -11 $(echo {RANKS} | cut -d' ' -f1); sleep 20; qltui status last;"
          f" {LOGS}", "SIGSEGV", "the first rank sent signal 11 while it trains", None, 0, stack="qltui", seconds=300),
    Fault("own_disk_full", "disk_full",
          "mkdir -p $QLTUI_HOME; unshare -m bash -c 'mount -t tmpfs -o size=1500k tmpfs $QLTUI_HOME && "
          f"{LAUNCH} --wait; {LOGS}'", "unexpected pos", "the disk of the runs' folder is full at a checkpoint", "save",
          stack="qltui", seconds=300),
    Fault("own_targets", "target_modules_not_found",
          f"{LAUNCH} --set method.lora.target_modules=[query_key_value] --wait; {LOGS}",
          "not found in the base model", "target modules of another architecture", "prepare", stack="qltui",
          seconds=300),
    Fault("own_offline", "hub_not_found_or_offline",
          f"HF_HUB_OFFLINE=1 {LAUNCH} --set model.path=company/private-llama --wait; {LOGS}",
          "company/private-llama", "a model that is not in the cache, HF_HUB_OFFLINE=1", stack="qltui",
          seconds=300),
]  # fmt: skip
