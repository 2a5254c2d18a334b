"""DataLoader workers: python workers.py large|killed|row|small."""

import os
import signal
import sys

import torch
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __len__(self):
        return 0 if sys.argv[1] == "empty" else 256

    def __getitem__(self, index):
        if sys.argv[1] == "killed" and index == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        if sys.argv[1] == "row" and index == 77:
            return torch.tensor([int(word) for word in ("12", "7", "x9")])
        return torch.randn(3, 512, 512)


if __name__ == "__main__":
    loader = DataLoader(Images(), batch_size=8, num_workers=2, shuffle=sys.argv[1] == "empty")
    for step, batch in enumerate(loader):
        print("step", step, batch.shape, batch.mean().item(), flush=True)
