"""``check``: what would stop a configuration from running. Reads this program's own run files so far."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.reading import load_yaml, read
from engine.config.run_config import ALIASES, FIELDS
from engine.config.schema import ConfigError, Problem
from qltui.cli import exits, output
from qltui.configs import preflight
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse

OWN_FORMAT = "qltui"
FOREIGN_FORMATS = {
    "accelerate": {"distributed_type", "compute_environment", "fsdp_config", "deepspeed_config"},
    "deepspeed": {"zero_optimization", "train_micro_batch_size_per_gpu", "train_batch_size"},
    "axolotl": {"base_model", "datasets"},
    "llamafactory": {"finetuning_type", "model_name_or_path"},
}
"""Keys by which files of other programs are told apart."""
PLACE = re.compile(r"(.*?):(\d+)(?::\d+)?")
"""A file with line and perhaps column, as problems name it."""


def run_check(arguments: argparse.Namespace) -> int:
    """Print the findings on each file; 1 if any of them blocks."""
    files, findings = [], []
    for name in arguments.files:
        file_format, problems = _check(Path(name).expanduser())
        files.append({"path": name, "format": file_format, "ignored": []})
        findings += [_finding(problem, rule, name) for rule, problem in problems]
    blocked = any(finding["severity"] == "block" for finding in findings)
    if arguments.json:
        output.print_json({"blocked": blocked, "files": files, "findings": findings, "plan": None})
    else:
        _print(files, findings)
    return exits.NO if blocked else exits.FINE


def _check(path: Path) -> tuple[str, list[tuple[str, Problem]]]:
    """The format of a file, and what is wrong with it as (rule, problem)."""
    try:
        tree = load_yaml(path)
        file_format = _format_of(tree)
        if file_format != OWN_FORMAT:
            what = "of a kind that is not known" if file_format == "unknown" else f"a file of {file_format}"
            message = f"is {what}, which is not read yet."
            return file_format, [("format-not-read", Problem(str(path), "", message, "Give a run file of qltui."))]
        config = read(tree, where=str(path), base=path.resolve().parent)
    except ConfigError as error:
        return OWN_FORMAT, [("configuration", problem) for problem in error.problems]
    return OWN_FORMAT, [("preflight", problem) for problem in preflight.check(config)]


def _format_of(tree: dict[str, Any]) -> str:
    keys = set(map(str, tree))
    for name, marks in FOREIGN_FORMATS.items():
        if keys & marks:
            return name
    ours = {path.partition(".")[0] for path in FIELDS} | set(ALIASES) | set(FIELDS)
    return OWN_FORMAT if keys & ours or not keys else "unknown"


def _finding(problem: Problem, rule: str, name: str) -> dict[str, Any]:
    place = PLACE.fullmatch(problem.where)
    return {
        "rule": rule,
        "severity": "block",
        "field": problem.field or None,
        "message": f"{problem.message} {problem.remedy}".rstrip(),
        "why": None,
        "source": None,
        "file": place[1] if place else problem.where or name,
        "line": int(place[2]) if place else None,
        "fix": None,
    }


def _print(files: list[dict[str, Any]], findings: list[dict[str, Any]]) -> None:
    for finding in findings:
        place = finding["file"] if finding["line"] is None else f"{finding['file']}:{finding['line']}"
        field = f"{finding['field']}: " if finding["field"] else ""
        print(clean(f"{finding['severity']:5}  {place}: {field}{finding['message']}"))
    if not findings:
        print(f"{', '.join(file['path'] for file in files)}: nothing stands in the way of a launch.")
