"""Presets: run files that come with the program, and the user's own.

The program's are found from a checkout and from an installed wheel; the user's lie in the XDG config folder. A user's
preset hides none of the program's: where both have a name, the bare name means the program's, ``my:NAME`` the user's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import qltui
from engine.config.reading import load_yaml
from engine.config.schema import ConfigError, Problem, nearest
from qltui.configs.places import config_folder
from qltui.configs.run_file import read_file

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig

PACKAGE = Path(qltui.__file__).parent
MINE = "my:"
"""What a user's preset may always be called by, before its name."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Preset(NamedTuple):
    """A preset, as lists show it."""

    name: str
    """What it is launched by: its own name, or ``my:NAME`` where the program has one of that name."""
    path: Path
    config: RunConfig | None
    """None where the file cannot be used."""
    is_mine: bool
    """Whether it is the user's."""
    problem: str = ""
    """Why the file cannot be used, in a line."""

    @property
    def description(self) -> str:
        return _line(self.config.description) if self.config else ""

    @property
    def hardware(self) -> str:
        """The machine it was planned for, as ``--gpus`` takes it; empty where it does not say."""
        return _line(self.config.hardware.planned_for) if self.config else ""


class PresetExists(ConfigError):
    """There is a preset of that name already."""


def folder() -> Path:
    """Where the program's presets lie."""
    installed = PACKAGE / "presets"
    return installed if installed.is_dir() else PACKAGE.parent / "presets"


def user_folder() -> Path:
    """Where the user's presets lie; it need not be there."""
    return config_folder() / "presets"


def files() -> dict[str, Path]:
    """The file of each preset by the name it is launched by: the program's first, each part sorted."""
    bundled = {file.stem: file for file in sorted(folder().glob("*.yaml"))}
    own = {file.stem: file for file in sorted(user_folder().glob("*.yaml"))}
    return bundled | {f"{MINE}{name}" if name in bundled else name: file for name, file in own.items()}


def names() -> list[str]:
    """What all presets are launched by, the program's first."""
    return list(files())


def bundled() -> list[str]:
    """Names of those that come with the program."""
    return sorted(file.stem for file in folder().glob("*.yaml"))


def find(name: str) -> Path | None:
    """The file of a preset; None if there is none of that name."""
    known = files()
    own = user_folder() / f"{name.removeprefix(MINE)}.yaml"
    if name.startswith(MINE) and own in known.values():
        return own
    return known.get(name)


def name_of(file: Path) -> str:
    """What the preset in a file is launched by."""
    return next(name for name, one in files().items() if one == file)


def path(name: str) -> Path:
    """The file of a preset.

    Raises:
        ConfigError: there is no such preset; names the nearest ones.
    """
    found = find(name)
    if found is None:
        raise ConfigError([Problem("", name, "there is no such preset.", nearest(name, names()))])
    return found


def presets() -> list[Preset]:
    """Every preset, the program's first; one that cannot be read says so and hides no other."""
    return [_read(name, file) for name, file in files().items()]


def preset(name: str) -> Preset:
    """One of them.

    Raises:
        ConfigError: there is no such preset; names the nearest ones.
    """
    return _read(name, path(name))


def content(file: Path) -> str:
    """A few letters that stand for what a preset says: another text, another content; its description does not count.

    Raises:
        ConfigError: the file cannot be read.
    """
    import hashlib
    import json

    said = {key: value for key, value in load_yaml(file).items() if key != "description"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _read(name: str, file: Path) -> Preset:
    is_mine = file.parent != folder()
    try:
        return Preset(name, file, read_file(file), is_mine)
    except ConfigError as error:
        first, *others = error.problems
        told = [first, *(one._replace(where="") if one.where == first.where else one for one in others)]
        return Preset(name, file, None, is_mine, " ".join(map(_line, told)))


def _line(value: object) -> str:
    return " ".join(str(value).split())


def save(name: str, config: RunConfig, description: str, hardware: str, *, replace: bool = False) -> Path:
    """Keep a configuration as the user's preset ``name``, and return its file.

    What belongs to one run or one machine is left out: the run it continues, and which GPUs it took.

    Args:
        hardware: the machine it was planned for, as ``--gpus`` takes it; may be empty.
        replace: write over a preset of the user's that has the name.

    Raises:
        PresetExists: the user has one of that name, and ``replace`` was not asked for.
        ConfigError: the name cannot be one, or the folder cannot be written.
    """
    import msgspec

    from qltui.configs.writing import fragment_yaml, write_text

    name = name.removeprefix(MINE)
    if not NAME.fullmatch(name):
        remedy = "Use letters, digits, '.', '_' and '-', 64 at most."
        raise ConfigError([Problem("", "name", f"a preset cannot be called {name!r}.", remedy)])
    file = user_folder() / f"{name}.yaml"
    if file.exists() and not replace:
        raise PresetExists([Problem(str(file), "", "is there already.", "Choose another name, or replace it.")])
    kept = msgspec.structs.replace(
        config, name=name, description=_line(description), parent=None,
        hardware=msgspec.structs.replace(config.hardware, planned_for=_line(hardware), gpus=[]),
    )  # fmt: skip
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, fragment_yaml(kept))
    except OSError as error:
        remedy = "Make it writable, or set XDG_CONFIG_HOME to a folder that is."
        raise ConfigError([Problem(str(file), "", f"cannot be written ({error.strerror}).", remedy)]) from None
    return file
