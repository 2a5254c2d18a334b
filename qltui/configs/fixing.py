"""What ``check --fix`` writes: the fixes of findings in the texts of files, other programs' and our own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qltui.advice.findings import Severity
from qltui.configs.mending import Fix, mend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from engine.config import RunConfig
    from qltui.advice.findings import Finding
    from qltui.configs.foreign.patching import Patched
    from qltui.configs.foreign.reading import Reading

CHOSEN = {"method", "strategy", "method.name", "strategy.name"}
"""What a person chose to do: only where it cannot run is another way written."""


def fixes_of(findings: Iterable[Finding]) -> list[Fix]:
    """Blocks and warnings with the values that are written for them."""
    return [
        Fix(one.rule, blocks, one.fix if blocks or CHOSEN.isdisjoint(one.fix) else {})
        for one in findings
        if (blocks := one.severity is Severity.BLOCK) or one.severity is Severity.WARN
    ]


def fixed(reading: Reading, findings: list[Finding], advise: Callable[[Reading], list[Finding]]) -> Patched | None:
    """The files of another program, mended; None where nothing is to be mended.

    ``advise`` says what there is to find in a reading of other texts.
    """
    fixes = fixes_of(findings)
    loose = [] if reading.is_deepspeeds_alone else [file.path for file in reading.files if file.loose]
    if not loose and not any(fix.patch for fix in fixes):
        return None
    from qltui.configs.foreign.json_keys import strict
    from qltui.configs.foreign.keys import Unreadable
    from qltui.configs.foreign.patching import apply, result_of, texts_of
    from qltui.configs.foreign.together import read_again

    def apply_to(texts: Mapping[str, str], patch: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        return apply(reading, texts, patch)

    try:
        texts = texts_of(reading)
        now = texts | {path: strict(texts[path]) for path in loose}
        return result_of(texts, mend(now, fixes, lambda now: fixes_of(advise(read_again(reading, now))), apply_to))
    except Unreadable:
        return None


def fixed_run(path: str, findings: list[Finding], advise: Callable[[RunConfig], list[Finding]]) -> Patched | None:
    """A run file of ours, mended; None where nothing is to be mended. ``advise`` as in :func:`fixed`."""
    fixes = fixes_of(findings)
    if not any(fix.patch for fix in fixes):
        return None
    from engine.config.reading import parse_yaml, read
    from qltui.configs.foreign.patching import result_of
    from qltui.configs.run_text import with_values

    base = Path(path).resolve().parent

    def advise_on(texts: Mapping[str, str]) -> list[Fix]:
        return fixes_of(advise(read(parse_yaml(texts[path], path), where=path, base=base)))

    def apply_to(texts: Mapping[str, str], patch: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        text, missing = with_values(texts[path], patch)
        return {path: text}, missing

    texts = {path: Path(path).read_bytes().decode("utf-8")}  # its ends of lines as they are
    return result_of(texts, mend(texts, fixes, advise_on, apply_to))
