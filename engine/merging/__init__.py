"""Adapters merged into their bases: of saved runs, file by file, and of models that are being trained."""
