"""What holds everywhere in the app: keys, footers, themes, the palette, and terminals that are too small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.screen import text_of, until, until_seen
from support.written_runs import WrittenRun
from textual.color import Color
from textual.geometry import Size
from textual.screen import Screen
from textual.theme import BUILTIN_THEMES

from qltui.ui import preferences
from qltui.ui.app import QltuiApp
from qltui.ui.screens.confirm import Confirm
from qltui.ui.screens.doctor import Doctor
from qltui.ui.screens.help import Help
from qltui.ui.screens.home import Home
from qltui.ui.screens.monitor import Monitor
from qltui.ui.screens.new_run import NewRun
from qltui.ui.screens.post_mortem import PostMortem
from qltui.ui.screens.presets import Presets
from qltui.ui.screens.runs import Runs
from qltui.ui.theme import CONTRAST, TEXT, contrast
from qltui.ui.widgets.footer import Footer, Key, fitting
from qltui.ui.widgets.too_small import NEEDED, is_too_small

SMALL = ((40, 10), (1, 1))


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "qltui"


def screens(run: WrittenRun) -> list[Screen[Any]]:
    """One of each kind."""
    return [
        Home(), Presets(), Runs(), Doctor(), NewRun({}), Monitor(run.run.path), PostMortem(run.run.path),
        Confirm("Stop?", "It saves.", "Stop"),
    ]  # fmt: skip


@pytest.mark.parametrize("binding", preferences.all_bindings().values(), ids=lambda binding: binding.id)
def test_a_key_says_what_it_does_and_is_free(binding: Any) -> None:
    assert binding.tooltip
    assert not set(preferences.TAKEN) & {key.strip() for key in binding.key.split(",")}


def test_every_binding_has_an_id() -> None:
    assert [binding for binding in preferences.every_binding() if not binding.id] == []


async def test_a_footer_has_at_most_six_keys_and_room_for_them(written_run: WrittenRun, size: tuple[int, int]) -> None:
    app = QltuiApp()
    async with app.run_test(size=size) as pilot:
        for screen in screens(written_run):
            await app.push_screen(screen)
            await pilot.pause()
            for footer in screen.query(Footer):
                assert 1 <= len(footer.shown) <= 6, screen
                assert sum(key.width for key in footer.shown) <= size[0]
                await until(pilot, lambda footer=footer: footer.shown[-1].what in text_of(pilot), "the last key")


def test_keys_leave_the_footer_where_there_is_no_room_but_never_the_last() -> None:
    keys = [Key(name, name, "word", "", enabled=True) for name in "abcdefgh"]
    assert [key.key for key in fitting(keys, 120)] == ["a", "b", "c", "d", "e", "h"]
    assert [key.key for key in fitting(keys, 3 * keys[0].width)] == ["a", "b", "h"]
    assert [key.key for key in fitting(keys, 1)] == ["h"]


async def test_a_footer_is_clicked(size: tuple[int, int]) -> None:
    async with QltuiApp().run_test(size=size) as pilot:
        column = text_of(pilot).splitlines()[-1].index("doctor")
        await pilot.click(Footer, offset=(column, 0))
        await until(pilot, lambda: isinstance(pilot.app.screen, Doctor), "the doctor")
        await until_seen(pilot, "textual")
        column = text_of(pilot).splitlines()[-1].index("back")
        await pilot.click(Footer, offset=(column, 0))
        await until(pilot, lambda: isinstance(pilot.app.screen, Home), "home")


@pytest.mark.parametrize("name", [name for name, theme in BUILTIN_THEMES.items() if not theme.ansi])
def test_what_is_written_can_be_read_in_every_theme(name: str) -> None:
    app = QltuiApp()
    app.theme = name
    variables = app.get_css_variables()
    for ground in ("background", "surface", "panel"):
        for text in (*TEXT, "foreground"):
            assert contrast(Color.parse(variables[text]), Color.parse(variables[ground])) >= CONTRAST, (text, ground)


def test_sizes_that_are_too_small() -> None:
    assert [is_too_small(Size(*size)) for size in ((72, 20), (71, 20), (72, 19))] == [False, True, True]


def test_contrast_is_that_of_wcag() -> None:
    assert contrast(Color.parse("#000"), Color.parse("#fff")) == pytest.approx(21)
    assert contrast(Color.parse("#777777"), Color.parse("#fff")) == pytest.approx(4.48, abs=0.01)
    assert CONTRAST >= 3, "what WCAG asks of large text and of marks"


async def test_screens_are_shown_in_themes_that_are_not_ours(written_run: WrittenRun) -> None:
    app = QltuiApp()
    async with app.run_test(size=(120, 36)) as pilot:
        for name in ("ansi-dark", "textual-light"):
            app.theme = name
            for screen in (Runs(), NewRun({}), Monitor(written_run.run.path)):
                await app.push_screen(screen)
                await pilot.pause()
        await until_seen(pilot, "demo")


async def test_a_theme_is_kept(config: Path) -> None:
    async with QltuiApp().run_test() as pilot:
        pilot.app.theme = "nord"
        await until(pilot, lambda: preferences.theme() == "nord", "the theme kept")
    assert QltuiApp().theme == "nord"
    (config / "app.json").write_text('{"theme": "of another version"}')
    assert QltuiApp().theme == "qltui"
    (config / "app.json").write_text("no json")
    assert QltuiApp().theme == "qltui"


async def test_a_theme_that_cannot_be_kept_is_told(config: Path) -> None:
    config.parent.mkdir()
    config.write_text("a file, where a folder must be")
    async with QltuiApp().run_test(notifications=True) as pilot:
        pilot.app.theme = "nord"
        await until_seen(pilot, "The theme is not kept")


async def test_keys_are_remapped_by_id(config: Path) -> None:
    config.mkdir(parents=True)
    (config / "keys.yaml").write_text("home.doctor: f6,x\n")
    async with QltuiApp().run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "f6 doctor")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Doctor), "the doctor")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("home.doctr: x", "'home.doctr' is the id of no key. Did you mean home.doctor"),
        ("home.doctor: ctrl+b", "home.doctor: ctrl+b is needed by terminals"),
        ("home.doctor: hyper+x", "'hyper+x' is no key"),
        ("home.doctor: [x", "keys.yaml:1:16: is not valid YAML"),
        ("- home.doctor", "is not a mapping"),
    ],
)
async def test_a_bad_entry_is_told_and_the_others_hold(config: Path, text: str, told: str) -> None:
    config.mkdir(parents=True)
    (config / "keys.yaml").write_text(text)
    keymap = preferences.keymap(preferences.all_bindings())
    assert keymap.keys == {}
    assert told in keymap.problems[0]
    async with QltuiApp().run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: len(pilot.app._notifications) == 1, "a notice")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, Doctor), "the doctor by its own key")


async def test_many_bad_entries_are_one_notice_and_all_of_them_can_be_read(config: Path) -> None:
    config.mkdir(parents=True)
    names = [f"home.no-key-{number}" for number in range(40)]
    (config / "keys.yaml").write_text("".join(f"{name}: x\n" for name in names) + "home.doctor: x\n")
    async with QltuiApp().run_test(size=(120, 36), notifications=True) as pilot:
        await until_seen(pilot, "and 39 more")
        (notice,) = pilot.app._notifications
        assert "'home.no-key-0' is the id of no key" in notice.message
        await pilot.press("ctrl+p", *"of keys")
        await until_seen(pilot, "Lines that change no key, and why")
        await pilot.press("enter")
        await until_seen(pilot, "'home.no-key-1' is the id of no key")
        await pilot.press("end")
        await until_seen(pilot, "'home.no-key-39'")
        await pilot.press("escape", "x")
        await until(pilot, lambda: isinstance(pilot.app.screen, Doctor), "the doctor by the line that is right")


async def test_without_a_bad_entry_the_palette_does_not_speak_of_them() -> None:
    app = QltuiApp()
    async with app.run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "^p palette")
        assert preferences.KEY_PROBLEMS not in [one.title for one in app.get_system_commands(app.screen)]


async def test_the_palette_has_the_keys_of_the_screen() -> None:
    async with QltuiApp(lambda: NewRun({})).run_test(size=(120, 36)) as pilot:
        await pilot.press("ctrl+p", *"undo")
        await until_seen(pilot, "Take the last fix or choice back (f8)")
        await pilot.press("enter")
        await until_seen(pilot, "nothing to take back")


async def test_the_palette_says_nothing_twice() -> None:
    app = QltuiApp(lambda: NewRun({}))
    async with app.run_test(size=(120, 36)) as pilot:
        await until_seen(pilot, "^p palette")
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert len(set(titles)) == len(titles)
        assert {"Review", "Undo", "Doctor", "Presets", "Runs", "Quit", "Theme"} <= set(titles)


@pytest.mark.parametrize("small", SMALL, ids=str)
async def test_a_terminal_too_small_says_what_is_needed(written_run: WrittenRun, small: tuple[int, int]) -> None:
    app = QltuiApp()
    async with app.run_test(size=(120, 36)) as pilot:
        for screen in screens(written_run)[1:]:
            await app.push_screen(screen)
            await pilot.resize_terminal(*small)
            if small > (30, 8):
                await until_seen(pilot, f"terminal: {small[0]} x {small[1]}")
                await until_seen(pilot, "needed: 72 x 20")
                assert "▸" not in text_of(pilot)
            depth = len(app.screen_stack)
            await pilot.press("n", "q", "escape", "enter")
            assert len(app.screen_stack) == depth, "a key did what nobody saw"
            await pilot.resize_terminal(120, 36)
            await until(pilot, lambda: "needed: 72" not in text_of(pilot), f"{screen} back")
            assert app.screen is screen


async def test_a_screen_opened_in_a_terminal_too_small_is_there_when_it_grows(written_run: WrittenRun) -> None:
    app = QltuiApp()
    async with app.run_test(size=(40, 10)) as pilot:
        await until_seen(pilot, "needed: 72 x 20")
        await app.push_screen(Help(app.screen))
        await until_seen(pilot, "needed: 72 x 20")
        await pilot.resize_terminal(80, 24)
        await until_seen(pilot, "Keys")
        app.pop_screen()
        await until_seen(pilot, "New run")


async def test_what_is_said_to_be_enough_is() -> None:
    app = QltuiApp(lambda: NewRun({"model.path": "meta-llama/Llama-3.1-8B"}, "4xA40"))
    async with app.run_test(size=NEEDED) as pilot:
        await pilot.press("pagedown", "pagedown", "pagedown")
        await until_seen(pilot, "× blocked")
        await until_seen(pilot, "QLoRA")
        await until_seen(pilot, "pgdn next")
