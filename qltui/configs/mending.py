"""Fixes put into files until nothing is left that one would mend: what is written once stands the next time too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Texts = Mapping[str, str]
    """The present text of each file, by its path."""
    Advise = Callable[[Texts], list["Fix"]]
    """What files of these texts would need, the gravest first; raises ValueError where they can't be judged."""
    Apply = Callable[[Texts, Mapping[str, Any]], tuple[dict[str, str], dict[str, str]]]
    """Values put into texts, and the names that could not be, with the reason."""

MAX_ROUNDS = 20


class Fix(NamedTuple):
    """What a finding offers."""

    rule: str
    blocks: bool
    patch: Mapping[str, Any]
    """New values by name; empty where none mends it."""


class Mended(NamedTuple):
    """Texts after all that could be mended."""

    texts: dict[str, str]
    missing: dict[str, str]
    """Names that fixes of what still stands would set and could not, with the reason."""


def mend(texts: Texts, fixes: list[Fix], advise: Advise, apply: Apply) -> Mended:
    """Blocks first, whatever else their fixes bring up; then of the rest each fix after which less is to be said.

    ``fixes`` are those that the texts need as they stand.
    """
    now, fixes = _without_blocks(dict(texts), fixes, advise, apply)
    for _ in range(MAX_ROUNDS):
        better = next(
            (one for fix in fixes if fix.patch and (one := _tried(now, fixes, fix, advise, apply)) is not None), None
        )
        if better is None:
            break
        now, fixes = better
    missing: dict[str, str] = {}
    for fix in fixes:
        missing |= apply(now, fix.patch)[1]
    return Mended(now, missing)


def _without_blocks(
    now: dict[str, str], fixes: list[Fix], advise: Advise, apply: Apply
) -> tuple[dict[str, str], list[Fix]]:
    """The best that fixes of blocks make of the texts, one round after the other; as they were, if they get no better.

    A round may bring up more blocks than it mends, which the next ones mend.
    """
    best = now, fixes
    seen = [now]
    for _ in range(MAX_ROUNDS):
        patch: dict[str, Any] = {}
        for fix in fixes:
            if fix.blocks:
                patch = {**fix.patch, **patch}
        now, _ = apply(now, patch)
        if now in seen:  # nothing more to mend, or in circles
            break
        try:
            fixes = advise(now)
        except ValueError:
            break
        seen.append(now)
        if _blocks(fixes) < _blocks(best[1]):
            best = now, fixes
    return best


def _blocks(fixes: list[Fix]) -> tuple[int, int]:
    """How many blocks there are, and how many of them a fix is left for."""
    blocks = [fix for fix in fixes if fix.blocks]
    return len(blocks), sum(bool(fix.patch) for fix in blocks)


def _tried(
    now: dict[str, str], fixes: list[Fix], fix: Fix, advise: Advise, apply: Apply
) -> tuple[dict[str, str], list[Fix]] | None:
    """The texts with one fix in them, if fewer findings are left, and no more blocks."""
    new, _ = apply(now, fix.patch)
    if new == now:
        return None
    try:
        after = advise(new)
    except ValueError:
        return None
    blocks, before = sum(one.blocks for one in after), sum(one.blocks for one in fixes)
    return (new, after) if (blocks, len(after)) < (before, len(fixes)) else None
