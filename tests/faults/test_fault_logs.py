"""The kept logs belong to faults, tell them, and tell nothing of the machine they were made on."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import make
import variants

from engine.events import PHASES

LABELS = json.loads(make.LABELS.read_text(encoding="utf-8"))
MACHINE = re.compile(rb"/tmp/|/root\b|\.pyenv|" + re.escape(str(Path(__file__).parents[2])).encode())


def test_every_log_has_a_label_and_every_label_a_log() -> None:
    assert set(LABELS) == {file.name for file in make.LOGS.glob("*.log")}


@pytest.mark.parametrize("name", LABELS)
def test_log_shows_its_fault_and_not_the_machine(name: str) -> None:
    log = (make.LOGS / name).read_bytes()
    fault = make.FAULTS[name.removesuffix(".log")]
    assert fault.shows.encode() in log
    assert LABELS[name] == make.label_of(fault, LABELS[name]["stack"])
    assert LABELS[name]["phase"] in (None, *PHASES)
    assert not MACHINE.search(log)
    assert len(log) <= make.LARGEST + 100


def test_variants_keep_the_lines() -> None:
    made = list(variants.variants())
    assert {variant.name for variant in made} == set(variants.WAYS)
    for variant in made:
        whole = (make.LOGS / variant.log).read_bytes()
        if variant.name == "last lines":
            assert whole.endswith(variant.text) and variant.label["shows"].encode() in variant.text
        else:
            assert variant.text.count(b"\n") == whole.count(b"\n")
            for before, after in zip(whole.split(b"\n"), variant.text.split(b"\n"), strict=True):
                assert after.endswith(before)
