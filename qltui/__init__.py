"""QLTUI: choose, launch and watch LoRA and QLoRA fine-tuning from a terminal."""

__version__ = "0.1.0"
