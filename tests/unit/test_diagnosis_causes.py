"""Causes told from what libraries raise and print, alone and at the end of a log."""

from __future__ import annotations

import pytest
from support.library_messages import data, environment, machines, models, ranks, rare
from support.short_logs import STEPS, assert_printed, assert_raised, diagnosed, traceback

AREAS = (data, environment, machines, models, ranks, rare)


@pytest.mark.parametrize(("cause", "kind", "message"), [row for area in AREAS for row in area.RAISED])
def test_of_an_exception(cause: str, kind: str, message: str) -> None:
    assert_raised(cause, kind, message)


@pytest.mark.parametrize(("cause", "kind", "message", "newest"), [row for area in AREAS for row in area.IN_CALLS])
def test_of_an_exception_that_its_calls_tell_apart(
    cause: str, kind: str, message: str, newest: tuple[str, str]
) -> None:
    told = traceback(kind, message, newest)
    assert diagnosed(told).cause == cause
    assert diagnosed(f"{STEPS}{told}").cause == cause


@pytest.mark.parametrize(("cause", "text"), environment.PRINTED + machines.PRINTED + ranks.PRINTED)
def test_of_what_is_printed(cause: str, text: str) -> None:
    assert_printed(cause, text)


@pytest.mark.parametrize("text", data.SURVIVED + models.SURVIVED)
def test_what_a_run_gets_over_is_no_cause(text: str) -> None:
    assert diagnosed(f"{text}\n{STEPS}").cause == "none"


@pytest.mark.parametrize("text", machines.HEALTHY)
def test_healthy(text: str) -> None:
    assert diagnosed(f"{STEPS}{text}\n").cause == "none"
    assert diagnosed(f"{text}\n{STEPS}").cause == "none"


def test_of_a_refusal_the_first_exception_of_the_chain_tells() -> None:
    # huggingface_hub and transformers: what the hub said comes before what was made of it
    first = traceback("requests.exceptions.HTTPError", "403 Client Error: Forbidden for url: https://huggingface.co/x")
    second = traceback("huggingface_hub.errors.GatedRepoError", "403 Client Error.\n\nCannot access gated repo")
    last = traceback("OSError", "x is not a local folder and is not a valid model identifier listed on 'x'")
    because = "\nThe above exception was the direct cause of the following exception:\n\n"
    assert diagnosed(because.join((first, second, last))).cause == "hub_auth_gated"
