"""What two runs have done otherwise: fields of their configurations, versions and machines, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.reading import load_yaml, read_file
from engine.config.run_config import ALIASES, FIELDS, get
from engine.config.schema import ConfigError, as_text, flatten
from engine.events import RunDirectory, read_json
from qltui import words
from qltui.runs import store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NOT_COMPARED = ("schema_version", "name")
ABSENT = ""
"""Stands where a run says nothing of a field."""


class Difference(NamedTuple):
    """Something that is not the same in all the runs."""

    path: str
    """Dotted path of a field, ``versions.torch``, or a word such as ``gpus``."""
    label: str
    meaning: str
    values: tuple[str, ...]
    """As one types them, one of each run."""


class Figure(NamedTuple):
    """A result, beside those of the other runs; None where it is not known."""

    name: str
    values: tuple[float | str | None, ...]
    written: Callable[[Any], str]

    @property
    def texts(self) -> tuple[str, ...]:
        """As people read them."""
        return tuple(words.UNKNOWN if value is None else self.written(value) for value in self.values)


class Comparison(NamedTuple):
    """Runs side by side."""

    runs: tuple[dict[str, Any], ...]
    """As ``store.describe`` tells of them."""
    fields: list[Difference]
    circumstances: list[Difference]
    """Versions and machines."""
    figures: list[Figure]
    problems: list[str]
    """What could not be compared, and why."""


def compare(runs: Sequence[RunDirectory]) -> Comparison:
    """Put runs side by side. What cannot be read is told among ``problems``."""
    problems: list[str] = []
    configurations = [_configuration(run, problems) for run in runs]
    described = tuple(store.describe(run) for run in runs)
    return Comparison(
        described, _differing_fields(configurations), _differing_circumstances(runs), figures(runs, described), problems
    )  # fmt: skip


def parent_of(run: RunDirectory) -> RunDirectory | None:
    """The run that this one continues; None if it continues none, or one that is gone."""
    configuration = _configuration(run, [])
    parent = configuration.get("parent") if configuration else None
    try:
        return store.find(parent) if parent else None
    except store.RunNotFound:
        return None


def _configuration(run: RunDirectory, problems: list[str]) -> dict[str, str] | None:
    """Every field of ``run.yaml`` as text by dotted path; of one that this version refuses those that are there."""
    try:
        config = read_file(run.run_yaml)
        return {path: as_text(get(config, path)) for path in FIELDS}
    except (ConfigError, OSError):
        pass
    try:
        tree = load_yaml(run.run_yaml)
        return {ALIASES.get(path, path): as_text(value) for path, value in flatten(tree, FIELDS)}
    except (ConfigError, OSError) as error:
        problems.append(f"The configuration of {run.id} can't be read: {error}")
        return None


def _differing_fields(configurations: Sequence[Mapping[str, str] | None]) -> list[Difference]:
    if any(configuration is None for configuration in configurations):
        return []
    known = [configuration for configuration in configurations if configuration is not None]
    paths = [path for path in FIELDS if path not in NOT_COMPARED]
    paths += sorted({path for one in known for path in one if path not in FIELDS})
    found = []
    for path in paths:
        field = FIELDS.get(path)
        values = tuple(one.get(path, ABSENT) for one in known)
        if len(set(values)) > 1:
            label, meaning = (field.label, field.meaning) if field else (path, "A field that this version lacks.")
            found.append(Difference(path, label, meaning, values))
    return found


def _differing_circumstances(runs: Sequence[RunDirectory]) -> list[Difference]:
    """What of versions and machine, as the newest launch tells it, is not the same."""
    told = [_circumstances(run) for run in runs]
    names = dict.fromkeys(name for one in told for name in one)
    found = []
    for name in names:
        values = tuple(one.get(name, ABSENT) for one in told)
        if len(set(values)) > 1:
            label = name.removeprefix("versions.")
            meaning = f"Version of {label}." if label != name else CIRCUMSTANCES[name]
            found.append(Difference(name, label, meaning, values))
    return found


CIRCUMSTANCES = {
    "host": "The machine it was launched on.",
    "gpus": "GPUs of a node, as planned for.",
    "ranks": "Processes that trained together.",
    "device": "What the ranks computed on.",
}


def _circumstances(run: RunDirectory) -> dict[str, str]:
    attempt = run.last_attempt()
    launch = (read_json(attempt.launch_json) if attempt else None) or {}
    machine = _mapping((read_json(run.plan_json) or {}).get("machine"))
    launcher, versions = _mapping(launch.get("launcher")), _mapping(launch.get("versions"))
    listed = machine.get("gpus")
    cards = [str(_mapping(gpu).get("name")) for gpu in (listed if isinstance(listed, list) else ())]
    gpus = ", ".join(f"{cards.count(card)} x {card}" for card in dict.fromkeys(cards))
    values = {
        "host": launcher.get("host"), "gpus": gpus, "ranks": launch.get("world_size"), "device": launch.get("device"),
        **{f"versions.{name}": version for name, version in versions.items()},
    }  # fmt: skip
    return {name: str(value) for name, value in values.items() if value}


def figures(runs: Sequence[RunDirectory], described: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """What came of runs; a figure that none of them has is left out."""
    loss, count = "{:.4f}".format, "{:,.0f}".format
    accuracies = [_mapping(one.get("exact_match")).get("after") for one in described]
    rows = [
        Figure("state", tuple(one["state"] for one in described), str),
        Figure("step", tuple(one["step"] for one in described), count),
        Figure("loss", tuple(one["loss"] for one in described), loss),
        Figure("evaluation loss", tuple(one["eval_loss"] for one in described), loss),
        Figure("accuracy", tuple(one.get("accuracy") for one in described), words.share),
        Figure("exact match", tuple(accuracies), words.share),
        Figure("tokens/s", tuple(one["tokens_per_second"] for one in described), count),
        Figure("peak memory", tuple(map(measured_peak, described)), words.size),
        Figure("planned peak", tuple(planned_peak(run) for run in runs), words.size),
    ]
    return [row for row in rows if any(value is not None for value in row.values)]


def measured_peak(described: Mapping[str, Any]) -> int | None:
    """Bytes: the highest peak of any rank, as it tells itself (of its allocator; on CPU of the process)."""
    peaks = [peak for rank in described["ranks"] if isinstance(peak := rank.get("memory_peak"), int)]
    return max(peaks, default=None)


def planned_peak(run: RunDirectory) -> int | None:
    """Bytes: what the plan expected the fullest GPU's allocator to hold at most, in any phase."""
    phases = _mapping(_mapping((read_json(run.plan_json) or {}).get("memory")).get("phases"))
    try:
        return max((int(sum(_mapping(parts).values())) for parts in phases.values()), default=None)
    except TypeError:
        return None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
