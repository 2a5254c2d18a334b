"""The monitor on a run that another program started."""

from __future__ import annotations

from pathlib import Path

from support.screen import text_of, until_seen

from qltui.runs.foreign.follow import ForeignFollower
from qltui.ui.app import QltuiApp
from qltui.ui.screens.monitor import Monitor

LOGS = Path(__file__).parents[1] / "unit" / "foreign_logs"


async def test_it_shows_what_is_known_and_has_no_keys_that_ask_anything(tmp_path: Path, size: tuple[int, int]) -> None:
    log = tmp_path / "train.log"
    log.write_bytes((LOGS / "trl.log").read_bytes()[:5000])
    follower = ForeignFollower(log)
    async with QltuiApp(lambda: Monitor(log, readonly=True, source=follower)).run_test(size=size) as pilot:
        await until_seen(pilot, "step 12 / 24")
        for absent in ("stop and save", "k checkpoint", "audits", "Phases", "first rank"):
            assert absent not in text_of(pilot)
        assert "started elsewhere" in text_of(pilot)
        await pilot.press("s", "k")
        assert isinstance(pilot.app.screen, Monitor)
        with open(log, "ab") as file:
            file.write((LOGS / "trl.log").read_bytes()[5000:])
        await until_seen(pilot, "✓ finished")
        await until_seen(pilot, "eval loss 0.4157")
