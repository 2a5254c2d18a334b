"""The runs that prove on GPUs that models load which no card could hold whole (tests/points/loading.py)."""

from __future__ import annotations

from points.loading import MODEL, WAYS, all_loads

from qltui.advice.memory import Phase

LAYERS = 40
"""The script's default."""


def test_each_run_is_held_to_less_than_the_whole_model() -> None:
    """Or it would prove nothing: with less, what loads whole cannot go through."""
    loads = all_loads(MODEL, LAYERS)[1:]
    assert [load.point.name for load in loads] == list(WAYS)
    for load in loads:
        assert load.planned[Phase.LOAD] < load.cap < 0.9 * load.whole, load.point.name


def test_the_preset_for_two_small_cards_fits_them_with_all_its_layers() -> None:
    preset, *_ = all_loads(MODEL, 80)
    assert max(preset.planned.values()) < preset.cap < 24 << 30
    assert preset.whole > preset.cap
    assert preset.point.values["strategy.offload_parameters"]
