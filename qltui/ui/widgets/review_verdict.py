"""Whether a run can be launched, and all that should be known before, in lines."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from textual.content import Content

from qltui.ui import words
from qltui.ui.widgets.findings_panel import counted
from qltui.ui.widgets.review_overview import forcing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.config import Problem
    from qltui.runs.assessment import Assessment
    from qltui.runs.prospect import Prospect
    from qltui.runs.rehearsal_job import RehearsalJob
    from qltui.ui.clipboard import Copied

REFUSED = Content.styled("✗ ", "bold $error")


def verdict_lines(
    planned: Assessment, here: Assessment, described: str, prospect: Prospect, notes: Sequence[str]
) -> list[Content]:
    """The lines of a run that can be read.

    Args:
        planned: on the machine it is planned for.
        here: on this one; the same where none was described.
        described: the machine as it was described; empty for this one.
        prospect: what it would write and start, and whether another run stands in its way now.
        notes: what else is to be told.
    """
    lines = []
    if described:
        lines.append(
            Content.assemble(("▲ planned for ", "bold $warning"), words.plain(described), ", not for this machine")
        )
    lines += [Content.assemble(REFUSED, (one.rule, "bold"), " stops it; ", forcing(one)) for one in planned.blocks]
    lines += [problem_text(one) for one in planned.problems]
    known = set(planned.refusals)
    lines += [problem_text(one, Content.assemble(REFUSED, "here: ")) for one in here.refusals if one not in known]
    if not here.refusals:
        findings = planned.advice.findings
        counts = f"  findings: {counted(findings)}" if findings else ""
        hint = "w queues it: it starts by itself" if prospect.may_wait else "Enter or l launches it here"
        lines.append(Content.assemble(("✓ ready", "bold $success"), (f"  {hint}", "$muted"), counts))
    if prospect.refusal and not here.refusals:
        lines.append(Content.assemble(("▲ not now: ", "bold $warning"), words.plain(prospect.refusal)))
    return lines + [Content.assemble(("→ ", "$accent"), words.plain(note)) for note in notes]


def problem_text(problem: Problem, mark: Content = REFUSED) -> Content:
    """A problem, its field first."""
    place = words.plain(problem.field or problem.where)
    return Content.assemble(
        mark, (f"{place} " if place else "", "bold"), words.plain(problem.message),
        (f"  {words.plain(problem.remedy)}" if problem.remedy else "", "$muted"),
    )  # fmt: skip


def job_line(job: RehearsalJob) -> Content:
    """How a rehearsal goes, or what came of it."""
    if job.is_running:
        how = "ending" if job.is_cancelled else "rehearsing"
        said = job.lines[-1] if job.lines else "starting"
        return Content.assemble((f"◔ {how} ", "bold $secondary"), f"{words.duration(job.seconds)}  {words.plain(said)}")
    outcome = job.outcome
    if outcome is None and job.is_cancelled:
        return Content.assemble(("■ rehearsal cancelled", "bold $accent"), f"  after {words.duration(job.seconds)}")
    if outcome is None or not outcome.get("ok"):
        failure = (outcome or {}).get("failure") or {}
        reason = failure.get("message") or (job.lines[-1] if job.lines else "it ended without a word")
        return Content.assemble(("✗ rehearsal failed  ", "bold $error"), words.plain(reason))
    return Content.assemble(("✓ rehearsed", "bold $success"), f"  it went well, in {words.duration(job.seconds)}")


def command_text(prospect: Prospect, shell: str, *, is_copied: bool) -> str:
    """The commands of a launch: what does it from a ``shell``, by a copy of run.yaml or not, and what that starts."""
    by_copy = " (y copies run.yaml there)" if is_copied else ""
    return (
        f"# The same from a shell{by_copy}\n{shell}\n\n"
        f"# What starts the ranks, as launch.json will have it\n{shlex.join(prospect.argv)}\n\n"
        f"# The run's folder, which gets the files, attempts, checkpoints and the result\n{prospect.folder}\n"
    )


def copied_text(name: str, copied: Copied) -> Content:
    """Which way a copy went, and where its file lies."""
    file = f"file: {words.path(copied.file)}" if copied.file else f"▲ no file: {copied.problem}"
    if copied.program == "tmux":
        way = f"given to tmux, which hands it to your terminal's clipboard where that takes OSC 52 · {file}"
    elif copied.program:
        way = f"copied with {copied.program} · {file}"
    elif copied.sequence:
        way = f"sent to your terminal's clipboard (OSC 52); not every terminal takes it · {file}"
    else:
        mark = Content.styled("▲ ", "bold $warning")
        return Content.assemble(mark, (name, "bold"), f" is too long for a terminal's clipboard · {file}")
    return Content.assemble(("✓ ", "bold $success"), (name, "bold"), f" {way}")
