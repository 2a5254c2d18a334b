"""Logs of faults that were really caused, as they came and as collectors and people show them: the cause is found."""

from __future__ import annotations

import io
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from qltui.runs.diagnosis.diagnosis import diagnose_log

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
from variants import WAYS, Variant, variants

BY_WAY: dict[str, list[Variant]] = defaultdict(list)
for variant in variants():
    BY_WAY[variant.name].append(variant)


@pytest.mark.parametrize("way", WAYS)
def test_the_cause_of_each_is_found(way: str) -> None:
    missed = {}
    for variant in BY_WAY[way]:
        found = diagnose_log(io.BytesIO(variant.text), variant.log)
        if found.cause not in (variant.label["cause"], *variant.label.get("or_also", ())):
            missed[variant.log] = f"{found.cause}, not {variant.label['cause']}"
    assert not missed


def test_the_line_of_evidence_is_in_the_log() -> None:
    for variant in BY_WAY["as it came"]:
        lines = variant.text.decode("utf-8", "replace").split("\n")
        for evidence in diagnose_log(io.BytesIO(variant.text), variant.log).evidence:
            assert evidence.file == variant.log
            first = evidence.text.split()[0].rstrip(":")
            assert evidence.text.startswith("raised in") or first in lines[evidence.line - 1], (variant.log, evidence)
