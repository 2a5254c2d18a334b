"""Model folders as people have them: in the hub's cache, or with Python code of their own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from support.runs import DEMO

COMMIT = "0123456789abcdef0123456789abcdef01234567"

CONFIGURATION = """from transformers import LlamaConfig


class OwnConfig(LlamaConfig):
    model_type = "own"
"""
MODELING = """from transformers import LlamaForCausalLM

from .configuration_own import OwnConfig


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""
AUTO_MAP = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}


def put_into_hub_cache(home: Path, name: str, folder: Path) -> None:
    """Lay a model folder into ``HF_HOME=home`` as huggingface_hub keeps what it fetched of ``name``."""
    kept = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = kept / "snapshots" / COMMIT
    for made in (kept / "blobs", kept / "refs", snapshot):
        made.mkdir(parents=True)
    (kept / "refs" / "main").write_text(COMMIT)
    for file in folder.iterdir():
        blob = kept / "blobs" / hashlib.sha1(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)


def with_code_of_its_own(folder: Path) -> Path:
    """The demo's model as one that Transformers has no code for."""
    shutil.copytree(DEMO / "model", folder)
    (folder / "configuration_own.py").write_text(CONFIGURATION)
    (folder / "modeling_own.py").write_text(MODELING)
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "own", "architectures": ["OwnForCausalLM"], "auto_map": AUTO_MAP}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    return folder
