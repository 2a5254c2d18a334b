"""What a user chose of the app itself, in ``qltui/`` of the XDG config folder: the theme, and other keys.

``keys.yaml`` gives bindings other keys by their id, as F1 or ``?`` lists them: ``home.presets: f2,x``.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events import read_json, write_json
from qltui.configs.places import config_folder
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from textual.binding import Binding

KEY_PROBLEMS = "Problems of keys.yaml"
"""Command of the palette that lists them."""
TAKEN = ("ctrl+a", "ctrl+b", "ctrl+s", "ctrl+j", "ctrl+z")
"""Keys that tmux, screen, terminals and shells need."""


class Keymap(NamedTuple):
    """Keys by a binding's id, and what is wrong with the rest of the file."""

    keys: dict[str, str]
    problems: list[str]

    @property
    def notice(self) -> str:
        """The first problem, and where the others are listed; empty where there is none."""
        if len(self.problems) < 2:
            return "".join(self.problems)
        return f"{self.problems[0]}\nand {len(self.problems) - 1} more: ctrl+p, {KEY_PROBLEMS}"


def keys_path() -> Path:
    return config_folder() / "keys.yaml"


def theme() -> str | None:
    """The name of the theme that was chosen last; None where none was."""
    name = _chosen().get("theme")
    return name if isinstance(name, str) else None


def _chosen() -> dict[str, Any]:
    return read_json(config_folder() / "app.json") or {}


def keep_theme(name: str) -> None:
    """Begin with this theme from now on.

    Raises:
        OSError: the folder cannot be written.
    """
    _keep("theme", name)


def low_bandwidth() -> bool:
    """Whether little was chosen to be sent to the terminal."""
    return _chosen().get("low_bandwidth") is True


def keep_low_bandwidth(low: bool) -> None:
    """Send little, or all, from now on.

    Raises:
        OSError: the folder cannot be written.
    """
    _keep("low_bandwidth", low)


def _keep(name: str, value: object) -> None:
    config_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(config_folder() / "app.json", {**_chosen(), "schema_version": 1, name: value})


def keymap(bindings: Mapping[str, Binding]) -> Keymap:
    """The user's keys for ``bindings``, by id."""
    from engine.config import ConfigError
    from engine.config.reading import load_yaml

    path = keys_path()
    if not path.is_file():
        return Keymap({}, [])
    try:
        said = load_yaml(path)
    except ConfigError as error:
        return Keymap({}, [clean(str(error))])
    found = Keymap({}, [])
    for name, keys in said.items():
        problem = _problem(str(name), keys, bindings)
        if problem:
            found.problems.append(clean(f"{path.name}: {problem}"))
        else:
            found.keys[str(name)] = ",".join(key.strip() for key in str(keys).split(","))
    return found


def all_bindings() -> dict[str, Binding]:
    """Every binding by its id."""
    return {binding.id: binding for binding in every_binding() if binding.id}


def every_binding() -> list[Binding]:
    """Those of the app, its screens and its widgets, all of which are imported for it."""
    from textual.binding import Binding

    import qltui.ui.screens
    import qltui.ui.widgets
    from qltui.ui.app import QltuiApp

    found = list(QltuiApp.BINDINGS)
    for package in (qltui.ui.screens, qltui.ui.widgets):
        for one in iter_modules(package.__path__, f"{package.__name__}."):
            module = import_module(one.name)
            for value in vars(module).values():
                if isinstance(value, type) and value.__module__ == one.name:
                    found += vars(value).get("BINDINGS", [])
    return [binding for binding in found if isinstance(binding, Binding)]


def _problem(name: str, keys: object, bindings: Mapping[str, Binding]) -> str:
    """Why a line of the file cannot be followed; empty if it can."""
    from engine.config.schema import nearest

    if name not in bindings:
        return f"{name!r} is the id of no key. {nearest(name, bindings)}".rstrip()
    for key in str(keys).split(","):
        if key.strip() in TAKEN:
            return f"{name}: {key.strip()} is needed by terminals. Take another key."
        if not _is_key(key.strip()):
            return f"{name}: {key.strip()!r} is no key. Write one such as f2, x, ctrl+x or f2,x."
    return ""


def _is_key(key: str) -> bool:
    from textual.keys import Keys

    *modifiers, last = key.split("+")
    known = {one.value.rpartition("+")[2] for one in Keys}
    return all(one in ("ctrl", "shift", "alt") for one in modifiers) and (last in known or _is_character(last))


def _is_character(name: str) -> bool:
    """A letter or digit, or another character by its name in Unicode, as in ``question_mark``."""
    import unicodedata

    if len(name) == 1:
        return name.isalnum()
    try:
        unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return False
    return True
