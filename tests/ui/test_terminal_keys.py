"""How long is waited for the rest of an escape sequence."""

from __future__ import annotations

import os
import selectors
from collections.abc import Iterator

import pytest
from textual import constants
from textual.drivers import linux_driver

from qltui.ui import terminal

TEXTUALS_WAIT = 0.1


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float | None]]:
    """What Textual's thread would have waited for each time, at most."""
    found: list[float | None] = []
    select = selectors.SelectSelector.select

    def noted(self: selectors.SelectSelector, timeout: float | None = None) -> object:
        found.append(timeout)
        return select(self, 0)

    monkeypatch.setattr(constants, "ESCAPE_DELAY", 0.02)
    monkeypatch.setattr(linux_driver, "selectors", selectors)
    monkeypatch.setattr(selectors.SelectSelector, "select", noted)
    terminal._look_at_keys_often()
    yield found


def test_only_after_something_came_is_the_wait_short(waits: list[float | None]) -> None:
    reading, writing = os.pipe()
    selector = linux_driver.selectors.SelectSelector()
    selector.register(reading, selectors.EVENT_READ)
    selector.select(TEXTUALS_WAIT)
    os.write(writing, b"\x1b")
    assert selector.select(TEXTUALS_WAIT), "the key"
    os.read(reading, 1)
    selector.select(TEXTUALS_WAIT)
    selector.select(TEXTUALS_WAIT)
    selector.close()
    os.close(reading)
    os.close(writing)
    before, at_the_key, after, long_after = waits
    assert (before, at_the_key, long_after) == (TEXTUALS_WAIT,) * 3
    assert after is not None
    assert 0.02 < after < 0.03, "just longer than an escape may be the beginning of more"
