"""``check``: what would stop a configuration from running, ours or another program's, and what mends it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.schema import ConfigError, Problem
from qltui import words
from qltui.advice.evaluation import ROOMIER, evaluate
from qltui.advice.findings import Severity
from qltui.advice.our_runs import anywhere
from qltui.advice.setup import Setup
from qltui.cli import exits, output
from qltui.configs import fixing
from qltui.configs.foreign import together
from qltui.configs.foreign.reading import TITLES, Format, Reading
from qltui.configs.run_file import read_file
from qltui.runs.assessment import assess, find_architecture, versions_here
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse

    from engine.config import RunConfig
    from qltui.advice.findings import Finding
    from qltui.configs.foreign.patching import Patched
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

PLACE = re.compile(r"(.*?):(\d+)(?::\d+)?")
"""A file with line and perhaps column, as problems name it."""


class Checked(NamedTuple):
    """What came of one configuration, which may lie in several files."""

    reading: Reading
    findings: list[dict[str, Any]]
    fix: Patched | None
    plan: dict[str, Any] | None
    assumed: str = ""
    """What the plan takes for granted, after a comma."""


def run_check(arguments: argparse.Namespace) -> int:
    """Print the findings on each file, those that still stand after ``--fix``; 1 if any of them blocks."""
    machine = _machine(arguments.gpus)
    checked = _check_all(arguments.files, machine)
    diff = "".join(one.fix.diff for one in checked if one.fix)
    if arguments.fix:
        _write_fixes(checked)
        checked = _check_all(arguments.files, machine) if diff else checked
    blocked = any(finding["severity"] == Severity.BLOCK for one in checked for finding in one.findings)
    if arguments.json:
        output.print_json(_document(checked, blocked, diff))
    else:
        _print(checked, fixing=arguments.fix)
    return exits.NO if blocked else exits.FINE


def _check_all(names: list[str], machine: Machine | None) -> list[Checked]:
    return [_check(reading, machine) for reading in together.read(Path(name).expanduser() for name in names)]


def _machine(described: str | None) -> Machine | None:
    if described is None:
        return None
    from qltui.facts import machine as machines

    try:
        return machines.parse(described)
    except machines.UnknownMachine as error:
        raise exits.Refused(f"--gpus: {error}") from error


def _check(reading: Reading, machine: Machine | None) -> Checked:
    if reading.format is Format.QLTUI:
        return _check_ours(reading, machine)
    if reading.format is None and not reading.problems:
        what = "is no configuration that is known." if not reading.evidence else reading.evidence
        remedy = f"Known are: {', '.join(TITLES.values())}."
        return Checked(reading, [_of_problem(Problem(reading.path, "", what, remedy), "format-unknown")], None, None)
    if reading.format is None:
        return Checked(reading, [_of_problem(problem, "unreadable") for problem in reading.problems], None, None)
    # The program that reads it may take it nevertheless.
    findings = [_of_problem(problem, "file", Severity.WARN) for problem in reading.problems]
    findings += [_of_problem(note, "note", Severity.INFO) for note in reading.notes]
    refused = Severity.INFO if reading.is_deepspeeds_alone else Severity.WARN
    findings += [_of_problem(one, "not-json", refused) for file in reading.files for one in file.loose]

    planned: dict[bytes, list[Finding]] = {}

    def advise(reading: Reading) -> list[Finding]:
        architecture = _architecture(reading.values.get("model"))
        found = evaluate(Setup.of_values(reading.values, reading.engine, machine, architecture, versions_here()))
        if not any(one.severity is Severity.BLOCK for one in found):
            verdicts = _fitting(reading, machine, architecture, planned)
            found = verdicts + [one for one in found if not (verdicts and one.rule in ROOMIER)]
        return sorted(found, key=lambda finding: finding.severity.order)

    advised = advise(reading)
    fix = fixing.fixed(reading, advised, advise)
    findings += [_of_finding(finding, reading) for finding in advised]
    is_open = machine is not None and machine.gpus > 1 and "strategy" not in reading.values
    assumed = ", if nothing shards it (the files name no strategy)" if is_open else ""
    return Checked(reading, findings, fix, _plan_of(reading, machine), assumed)


def _check_ours(reading: Reading, described: Machine | None) -> Checked:
    """A run of ours: on the machine that was described, else on this one."""
    try:
        config = read_file(Path(reading.path))
    except ConfigError as error:
        return Checked(reading, [_of_problem(problem, "configuration") for problem in error.problems], None, None)
    wanted = config if described is None else anywhere(config)
    assessed = assess(wanted, described, thorough=described is not None)

    def advise_again(config: RunConfig) -> list[Finding]:
        return assessed.again(config if described is None else anywhere(config))

    findings = [_of_problem(problem, "preflight", file=reading.path) for problem in assessed.problems]
    findings += [_of_finding(finding, reading) for finding in assessed.advice.findings]
    plan = None
    if described is not None and assessed.architecture is not None and assessed.advice.fit is not None:
        from qltui.cli.commands.plan import document, plan_run

        plan = document(plan_run(assessed.config, assessed.architecture, described, assessed.lengths))
    return Checked(reading, findings, fixing.fixed_run(reading.path, assessed.advice.findings, advise_again), plan)


def _fitting(
    reading: Reading, described: Machine | None, architecture: Architecture | None, planned: dict[bytes, list[Finding]]
) -> list[Finding]:
    """Whether it fits the GPUs that were described, else those here; kept in ``planned``, as mending asks often."""
    filled = _completed(reading)
    if architecture is None or filled is None:
        return []
    machine = described or _here()
    ranks = filled.get("world_size", 1)
    if not machine.cards or (described is None and ranks > machine.gpus):
        return []
    from engine.config.quick_msgspec import msgspec
    from qltui.advice import fitting_others
    from qltui.configs.foreign.as_run import as_run

    config = as_run(filled, machine.gpus)
    if config is None:
        return []
    of_config = msgspec.json.encode(config)
    if of_config not in planned:
        keys = {name: place.key for name, place in reading.places.items()}
        planned[of_config] = fitting_others.judge(config, filled, keys, architecture, machine)
    return planned[of_config]


def _completed(reading: Reading) -> dict[str, Any] | None:
    """What its files say and what their program takes for the rest; None where that is too little to plan it."""
    from qltui.advice.fitting_others import completed

    return completed(reading.values, reading.engine, {key for file in reading.files for key in file.lines})


def _here() -> Machine:
    from qltui.facts import machine as machines
    from qltui.runs import store

    return machines.here(store.runs_home())


def _plan_of(reading: Reading, machine: Machine | None) -> dict[str, Any] | None:
    """The memory of another program's training, as ours would take it; None where its files say too little."""
    if machine is None or not machine.cards:
        return None
    from qltui.cli.commands.plan import document, plan_run
    from qltui.configs.foreign.as_run import as_run

    config = as_run(_completed(reading) or reading.values, machine.gpus)
    architecture = find_architecture(config.model.path) if config else None
    return document(plan_run(config, architecture, machine)) if config and architecture else None


def _architecture(model: Any) -> Architecture | None:
    """None where the model is not said, or not known here: then no rule asks for it."""
    return find_architecture(model) if isinstance(model, str) else None


def _of_finding(finding: Finding, reading: Reading) -> dict[str, Any]:
    place = reading.places.get(finding.field or "")
    line = place.line if place else reading.lines.get(finding.field or "")
    return {
        "rule": finding.rule, "severity": finding.severity.value, "field": place.key if place else finding.field,
        "message": finding.message, "why": finding.why, "source": finding.source,
        "file": place.file if place else reading.path, "line": line, "fix": dict(finding.fix) or None,
    }  # fmt: skip


def _of_problem(
    problem: Problem, rule: str, severity: Severity = Severity.BLOCK, file: str | None = None
) -> dict[str, Any]:
    place = PLACE.fullmatch(problem.where)
    return {
        "rule": rule, "severity": severity.value, "field": problem.field or None,
        "message": f"{problem.message} {problem.remedy}".rstrip(), "why": None, "source": None,
        "file": place[1] if place else problem.where or file, "line": int(place[2]) if place else None, "fix": None,
    }  # fmt: skip


def _document(checked: list[Checked], blocked: bool, diff: str) -> dict[str, Any]:
    plans = {one.reading.path: one.plan for one in checked if one.plan is not None}
    return {
        "blocked": blocked,
        "files": [
            {"path": file.path, "format": file.format.value if file.format else "unknown", "ignored": file.ignored}
            for one in checked for file in one.reading.files
        ],
        "findings": [finding for one in checked for finding in one.findings],
        "diff": diff or None,
        "plan": next(iter(plans.values())) if len(plans) == 1 else None,
        "plans": plans,
    }  # fmt: skip


def _print(checked: list[Checked], *, fixing: bool) -> None:
    for one in checked:
        for file in one.reading.files:
            title = TITLES[file.format] if file.format else "unknown"
            title += f" ({TITLES[file.arguments]})" if file.arguments else ""
            understood = f", {len(file.values)} values understood" if file.format not in (None, Format.QLTUI) else ""
            ignored = f", ignored: {', '.join(file.ignored)}" if file.ignored else ""
            _say(f"{file.path}: {title}{understood}{ignored}")
        for finding in one.findings:
            place = finding["file"] if finding["line"] is None else f"{finding['file']}:{finding['line']}"
            field = f"{finding['field']}: " if finding["field"] else ""
            _say(f"  {finding['severity']:5}  {place}: {field}{finding['message']}  [{finding['rule']}]")
        if not one.findings:
            print("  nothing stands in the way")
        if one.plan is not None:
            _say(f"  {_plan_line(one)}")
        if one.fix and one.fix.diff and not fixing:
            print("  what would mend it (--fix writes it):")
            print("".join(f"    {clean(line)}\n" for line in one.fix.diff.splitlines()), end="")


def _say(text: str) -> None:
    print("\n".join(output.wrapped(clean(text))))


def _plan_line(checked: Checked) -> str:
    plan = checked.plan or {}
    gpu = plan["per_gpu"]
    total, capacity, error = (gpu[f"{name}_bytes"] / 2**30 for name in ("total", "capacity", "error"))
    host = plan["host"]["total_bytes"]
    offloaded = f", and {words.size(host)} of each host's memory" if host else ""
    sizes = f"{total:.1f} of {capacity:.1f} GiB on each GPU, give or take {error:.1f}{offloaded}"
    return f"memory: {sizes}: {plan['verdict']}{checked.assumed}"


def _write_fixes(checked: list[Checked]) -> None:
    from qltui.configs.writing import write_text

    for one in checked:
        for path, text in (one.fix.texts if one.fix else {}).items():
            try:
                write_text(Path(path), text)
            except OSError as error:
                why = error.strerror or error
                advice = "Make it and its folder writable, or put in by hand what check prints without --fix"
                raise exits.Refused(f"{path}: cannot be written ({why}). {advice}.") from None
            print(clean(f"wrote {path}"), file=sys.stderr)
        for name, why in (one.fix.missing if one.fix else {}).items():
            print(clean(f"not mended: {name}: {why}"), file=sys.stderr)
