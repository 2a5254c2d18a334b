"""Keys that other programs take, read in their sources: ``python tests/support/program_keys.py FOLDER`` prints them.

FOLDER holds the unpacked wheels of trl, axolotl and llamafactory, and of the transformers each is exported for, as
``trl/``, ``axolotl/``, ``llamafactory/``, ``transformers-5.23.0/`` and ``transformers-5.6.0/``.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

LAUNCHER = ["num_processes"]
"""Of accelerate launch, to which ``trl sft`` hands on what it doesn't know."""


def read(folder: Path) -> dict[str, Any]:
    """By program, its keys, and those of its sections."""
    schemas = folder / "axolotl" / "axolotl" / "utils" / "schemas"
    hparams = folder / "llamafactory" / "llamafactory" / "hparams"
    trl = folder / "trl" / "trl"
    return {
        "trl": {
            "": sorted(
                {
                    *LAUNCHER,
                    *_fields(folder / "transformers-5.23.0" / "transformers" / "training_args.py", "TrainingArguments"),
                    *_fields(trl / "trainer" / "sft_config.py", "SFTConfig"),
                    *_fields(trl / "trainer" / "model_config.py", "ModelConfig"),
                    *_fields(trl / "scripts" / "utils.py", "ScriptArguments", "DatasetMixtureConfig"),
                }
            ),
            "datasets": _fields(trl / "scripts" / "utils.py", "DatasetConfig"),
        },
        "axolotl": {
            "": _fields(schemas / "config.py", *_bases(schemas / "config.py", "AxolotlInputConfig"), among=schemas),
            "fsdp_config": _fields(schemas / "fsdp.py", "FSDPConfig"),
            "datasets": _fields(schemas / "datasets.py", "SFTDataset"),
            "datasets.type": _fields(schemas / "datasets.py", "UserDefinedPrompterType"),
        },
        "llamafactory": {
            "": sorted(
                {
                    *_fields(folder / "transformers-5.6.0" / "transformers" / "training_args.py", "TrainingArguments"),
                    *(name for file in hparams.glob("*_args.py") for name in _fields(file)),
                }
            ),
        },
    }


def _bases(file: Path, name: str) -> list[str]:
    """A class and those it is made of."""
    classes = {one.name: one for one in ast.parse(file.read_text()).body if isinstance(one, ast.ClassDef)}
    return [name, *(ast.unparse(base) for base in classes[name].bases)]


def _fields(file: Path, *names: str, among: Path | None = None) -> list[str]:
    """Annotated names in the classes called so, or in all, that can be given."""
    found = set()
    for one in among.glob("*.py") if among else [file]:
        for node in ast.parse(one.read_text()).body:
            if isinstance(node, ast.ClassDef) and (not names or node.name in names):
                found |= {
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not _is_fixed(item)
                }
    return sorted(found)


def _is_fixed(item: ast.AnnAssign) -> bool:
    return isinstance(item.value, ast.Call) and any(
        keyword.arg == "init" and ast.unparse(keyword.value) == "False" for keyword in item.value.keywords
    )


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1])), indent=1))
