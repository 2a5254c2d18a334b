from safetensors.torch import save_file
from utils import get_model

model = get_model()
print("saving the merged model")
save_file(model.state_dict(), "merged.safetensors")
