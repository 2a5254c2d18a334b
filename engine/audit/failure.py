"""What a failed audit raises, and how every audit is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.reporter import Reporter


class AuditFailure(RuntimeError):
    """A measurement contradicts what the run claims; the run must not go on as if nothing were."""


def report_audit(reporter: Reporter, audit: str, check: Callable[[], str | None], path: str | None = None) -> None:
    """Run a check and say its result in an event; ``check`` returns what it measured, None if there is nothing to.

    Raises:
        AuditFailure: as ``check`` did; the event is written first.
    """
    where = {} if path is None else {"path": path}
    try:
        detail = check()
    except AuditFailure as error:
        reporter.emit("audit", audit=audit, result="failed", detail=str(error), **where)
        raise
    if detail is not None:
        reporter.emit("audit", audit=audit, result="passed", detail=detail, **where)
