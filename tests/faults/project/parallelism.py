from accelerate import Accelerator
from accelerate.parallelism_config import ParallelismConfig
from utils import get_lora_model

accelerator = Accelerator(cpu=True, parallelism_config=ParallelismConfig(dp_replicate_size=2, tp_size=2))
model = accelerator.prepare(get_lora_model())
