import torch
from utils import get_model

model = get_model()
print("saving checkpoint to outputs/checkpoint.pt ...")
torch.save(model.state_dict(), "outputs/checkpoint.pt")
