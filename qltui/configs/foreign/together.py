"""Foreign files read together: those that name each other say one training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.schema import Problem
from qltui.advice import programs
from qltui.advice.versions import Bound
from qltui.configs.foreign.files import read_content, read_file
from qltui.configs.foreign.keys import TEMPLATE
from qltui.configs.foreign.reading import Format, Reading
from qltui.facts import versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SUFFIXES = (".yaml", ".yml", ".json", ".jsonc", ".sh", ".slurm", ".sbatch")
MAX_FILES = 2000
"""Files of a folder that are looked at."""
ORDER = (
    Format.DEEPSPEED, Format.FSDP, Format.ACCELERATE, Format.TRAINER, Format.LLAMA_FACTORY, Format.LLAMA_FACTORY_V1,
    Format.AXOLOTL, Format.COMMAND,
)  # fmt: skip
"""Who is overruled by whom, the last one overruling all."""
MUST_AGREE = ("micro_batch_size", "gradient_accumulation_steps", "max_grad_norm", "precision")
"""What Trainer compares with DeepSpeed's configuration before it starts."""
UNSHARDED = ("single", "ddp")
DOUBLES = ("batch_size", "n_gpus", "n_gpus_per_node", "state_dict_env")
"""Names for what stands under another name too."""


def read(paths: Iterable[Path]) -> list[Reading]:
    """What files and folders say, a reading for each training.

    A file that another one names is read with it, also if it wasn't given but lies where it is looked for. A single
    launch file beside a single training is taken as that training's. Nothing is raised: what is wrong is in
    ``problems``.
    """
    given: dict[Path, Reading] = {}
    alone: list[Reading] = []
    for path in paths:
        if path.is_dir():
            found = list(_in_folder(path))
            given.update({one.resolve(): reading for one in found if (reading := read_file(one)).format})
            if not any(one.resolve() in given for one in found):
                alone.append(_nothing(path))
        else:
            given[path.resolve()] = read_file(path)
    groups = _grouped(given)
    return [*alone, *(_settled(group[0] if len(group) == 1 else combine(group)) for group in groups)]


def read_again(reading: Reading, texts: Mapping[str, str]) -> Reading:
    """The training that a reading is of, with other texts in its files.

    Raises:
        Unreadable: a text is none of the known formats.
    """
    parts = []
    for file in reading.files:
        part = Reading(file.path, None)
        read_content(part, texts[file.path])
        parts.append(part)
    return _settled(parts[0] if len(parts) == 1 else combine(parts))


def _in_folder(folder: Path) -> Iterator[Path]:
    """Files of a folder, and of those in it, that may be configurations."""
    shown = (path for path in sorted(folder.rglob("*")) if not any(part.startswith(".") for part in path.parts[1:]))
    for count, path in enumerate(path for path in shown if path.suffix in SUFFIXES and path.is_file()):
        if count == MAX_FILES:
            return
        yield path


def _nothing(folder: Path) -> Reading:
    remedy = f"Looked at are files ending in {', '.join(SUFFIXES)}."
    return Reading(str(folder), None, problems=[Problem(str(folder), "", "holds no known configuration.", remedy)])


def _grouped(given: dict[Path, Reading]) -> list[list[Reading]]:
    """Readings by training: each with the files it names, directly or through another."""
    named: set[Path] = set()
    reached: dict[Path, list[Path]] = {}
    for path in list(given):
        reached[path] = [path]
        for one in reached[path]:  # grows while it is walked
            for other in _named_by(given, one):
                if other not in reached[path]:
                    reached[path].append(other)
                    named.add(other)
    groups = [[given[one] for one in files] for path, files in reached.items() if path not in named]
    groups = groups or [[given[one] for one in files] for files in reached.values()]  # a ring of files
    return _with_launch(groups)


def _with_launch(groups: list[list[Reading]]) -> list[list[Reading]]:
    """A training and a launch given side by side taken together, if there is one of each kind."""
    training = [group for group in groups if any(reading.trains for reading in group)]
    if len(training) != 1:
        return groups
    launching = [group for group in groups if group is not training[0] and group[0].format in ORDER[:3]]
    kinds = [group[0].format for group in launching]
    present = [reading.format for reading in training[0]]
    if len(set(kinds)) < len(kinds) or any(kind in present for kind in kinds):
        return groups
    rest = [group for group in groups if group not in (training[0], *launching)]
    return [training[0] + [reading for group in launching for reading in group], *rest]


def _named_by(given: dict[Path, Reading], path: Path) -> Iterator[Path]:
    """Files that a file names, read if they weren't yet; a note where one isn't found."""
    reading = given[path]
    for key, name in reading.references.items():
        if TEMPLATE.search(name):
            continue
        found = _look_for(name, path, given)
        if found is not None:
            if found not in given:
                given[found] = read_file(found)
            yield found
        else:
            line = reading.lines.get(key)
            where = f"{reading.path}:{line}" if line else reading.path
            note = Problem(where, key, f"names {name}, which isn't found: taken as unknown.", "Give that file too.")
            if note not in reading.notes:
                reading.notes.append(note)


def _look_for(name: str, by: Path, given: dict[Path, Reading]) -> Path | None:
    """A named file: from the working directory, from the naming file's folder and those above it, or by its name alone
    among the given ones."""
    for folder in (Path.cwd(), *by.parents):
        candidate = folder / name
        if candidate.is_file():
            return candidate.resolve()
    same = [path for path in given if path.name == Path(name).name and path != by]
    return same[0] if len(same) == 1 else None


def combine(parts: list[Reading]) -> Reading:
    """Several files as one training. Where they contradict each other the later in ``ORDER`` stands, with a note."""
    ordered = sorted(parts, key=lambda part: ORDER.index(part.format) if part.format in ORDER else -1)
    main = ordered[-1]
    whole = Reading(main.path, main.format, main.evidence, parts=parts)
    for part in ordered:
        for name, value in part.values.items():
            _merge(whole, part, name, value)
        whole.ignored += part.ignored
        whole.problems += part.problems
        whole.notes += part.notes
    _mismatches(whole, ordered)
    return whole


def _settled(reading: Reading) -> Reading:
    """Enter what follows once everything that belongs together is read."""
    values = reading.values
    if values.get("fsdp_activation_checkpointing") and any(part.values.get("gc") == "hf" for part in reading.files):
        values.update(gc="fsdp", hf_gc_also=True)
        place = reading.places["fsdp_activation_checkpointing"]._replace(spelling={})
        reading.places.update(gc=place, hf_gc_also=place)
    is_sharded = values.get("use_fsdp") or values.get("use_deepspeed")
    by_torchrun = values.get("launcher") == "torchrun" and values.get("world_size", 1) > 1
    if by_torchrun and "micro_batch_size" in values and not is_sharded:  # Trainer's way
        values.setdefault("strategy", "ddp")
    is_elsewhere = any("fsdp_config" in part.references for part in reading.files) and not any(
        part.format is Format.FSDP for part in reading.files
    )
    if reading.trains and values.get("use_fsdp") and "strategy" not in values and not is_elsewhere:
        _assume_version(reading)
    return reading


def _assume_version(reading: Reading) -> None:
    """FSDP without a version, as Trainer takes it: 1 before Transformers 5.10, 2 from there on."""
    package = programs.PACKAGE.get(reading.engine, reading.engine)
    runs_with = {} if versions.installed(package) else programs.PINNED.get(reading.engine, {})
    there = runs_with.get("transformers") or versions.installed("transformers") or versions.TESTED["transformers"]
    number = 2 if Bound("transformers", since="5.10").holds({"transformers": there}) else 1
    place = reading.places.get("use_fsdp")
    message = f"names no version of FSDP: taken as {number}, the default of Transformers {there}."
    where = f"{place.file}:{place.line}" if place else reading.path
    reading.notes.append(Problem(where, place.key if place else "fsdp", message, "Say it: version in fsdp_config."))
    reading.values["strategy"] = f"fsdp{number}"
    if place:
        reading.places["strategy"] = place._replace(start=-1, end=-1, spelling={})


def _merge(whole: Reading, part: Reading, name: str, value: Any) -> None:
    old = whole.values.get(name)
    if name == "env":
        value = {**(old or {}), **value}
    elif name == "strategy" and old is not None and old not in UNSHARDED and value in UNSHARDED:
        return  # sharding is asked for in one file, and starting the ranks that shall do it in the other
    elif name == "launcher" and old is not None:
        return
    place, old_place = part.places.get(name), whole.places.get(name)
    if old_place and not place and name != "env":
        return
    is_news = name not in DOUBLES and not (name == "strategy" and old in UNSHARDED)
    if place and old_place and old != value and is_news:
        there = f"{old_place.file}:{old_place.line} ({old_place.key})"
        message = f"makes {name} {_shown(value)}, but {there} makes it {_shown(old)}; the first stands."
        whole.notes.append(Problem(f"{place.file}:{place.line}", place.key, message))
    whole.values[name] = value
    whole.places.pop(name, None)
    if place:
        whole.places[name] = place


def _mismatches(whole: Reading, parts: list[Reading]) -> None:
    """Note DeepSpeed's numbers that differ from the trainer's: Trainer refuses to start then."""
    training = [part for part in parts if part.trains and part.format is not Format.AXOLOTL]
    for part in parts:
        for name in MUST_AGREE:
            place = part.places.get(name)
            is_deepspeeds = part.format is Format.DEEPSPEED or (place and place.key.startswith("deepspeed_config."))
            if not place or not is_deepspeeds:
                continue
            if any(name in other.places and other.values[name] != part.values[name] for other in training):
                whole.values["ds_config_mismatch"] = True
                whole.places["ds_config_mismatch"] = place._replace(spelling={})


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
