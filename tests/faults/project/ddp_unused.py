import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.value_head = nn.Linear(16, 16), nn.Linear(16, 4), nn.Linear(16, 1)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


dist.init_process_group("gloo")
model = DistributedDataParallel(TwoHeads())
optimizer = torch.optim.AdamW(model.parameters())
for step in range(5):
    optimizer.zero_grad()
    loss = model(torch.randn(8, 16)).pow(2).mean()
    loss.backward()
    optimizer.step()
    if dist.get_rank() == 0:
        print("step", step, "loss", loss.item(), flush=True)
dist.destroy_process_group()
