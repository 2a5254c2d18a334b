"""Other programs that train: the packages they come in, and the versions they pin."""

from __future__ import annotations

PACKAGE = {"hf": "transformers"}
"""The package a program comes in, where it isn't named as the program is."""

PINNED: dict[str, dict[str, str]] = {
    # pyproject.toml of axolotl 0.19.0; of torch it takes 2.11 to 2.13
    "axolotl": {
        "torch": "2.11.0", "transformers": "5.16.1", "peft": "0.20.0", "accelerate": "1.13.0", "bitsandbytes": "0.50.2",
    },
    # pyproject.toml of llamafactory 0.9.5: the newest it takes
    "llamafactory": {"transformers": "5.6.0", "peft": "0.18.1", "accelerate": "1.11.0"},
    # openrlhf 0.11.2's metadata
    "openrlhf": {"transformers": "5.15.0", "deepspeed": "0.19.6"},
}  # fmt: skip
"""Versions that come with a program; what is installed here is then not what it runs with."""
