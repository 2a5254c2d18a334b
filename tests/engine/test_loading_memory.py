"""Memory while sharded runs load, on CPU ranks: this rank's share and about one block, never the model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import small_tokenizers
from support.ranks import run_ranks
from transformers import LlamaConfig, LlamaForCausalLM
