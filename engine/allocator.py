"""Imported before torch by a rank: has torch take GPU memory in segments that can grow.

Segments of fixed size fall apart into blocks that are too small for the next long row: runs were seen to need more than
1.1 times what they had allocated at most, against 1.03 times with segments that grow (``python -m points.capped``).
"""

from __future__ import annotations

import os

NAMES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Variables torch reads the same from: today's name, and the one that torch before 2.9 knew alone."""

if not any(name in os.environ for name in NAMES):
    os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
