"""Whether vLLM takes a run's adapter as it is, point by point, and the command that serves it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.choices import Method, Task
from engine.events import read_json
from qltui.configs import hub
from qltui.facts import vllm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from engine.config import RunConfig

YES, NO, UNKNOWN = "yes", "no", "unknown"


class NoAdapter(Exception):
    """There is nothing to check; the message says why."""


class Point(NamedTuple):
    """One thing that vLLM looks at."""

    what: str
    verdict: str
    """yes: it takes it; no: it refuses it; unknown: its source does not settle it."""
    says: str
    source: str
    """Where in vLLM's source it stands."""


class Served(NamedTuple):
    """What would come of it."""

    version: str
    """Of vLLM, whose source was read."""
    adapter: Path
    points: list[Point]
    command: str
    """That serves the base with the adapter; to be used if nothing is refused."""

    @property
    def is_taken(self) -> bool:
        """Whether nothing is refused."""
        return all(point.verdict != NO for point in self.points)


class Adapter(NamedTuple):
    """A saved adapter and the base it is for, as their files tell."""

    folder: Path
    settings: dict[str, Any]
    """``adapter_config.json``"""
    keys: list[str]
    """Names of its tensors."""
    architecture: str | None
    """Of the base; None where its configuration is not here."""
    vocabulary: int | None

    def has(self, *parts: str) -> bool:
        """Whether a tensor's name has one of these parts."""
        return any(part in key.split(".") for key in self.keys for part in parts)


def check(config: RunConfig, folder: Path, name: str) -> Served:
    """Look at the adapter in ``folder`` as vLLM would; ``name`` is what it would be served as.

    Raises:
        NoAdapter: none can be read there.
    """
    release, adapter = vllm.known(), _read(config, folder)
    points = [
        _rank(adapter, release), _scaling(adapter), _flag(adapter, "use_dora", "DoRA"), _initialisation(adapter),
        _trained_whole(adapter), _biases(adapter), _new_tokens(adapter), *_ends(adapter, release),
        *_experts(adapter, release), _keys(adapter), _architecture(adapter, release), *_task(config), _base(config),
    ]  # fmt: skip
    return Served(release.version, folder, points, _command(config, adapter, name, release))


def _read(config: RunConfig, folder: Path) -> Adapter:
    settings = read_json(folder / "adapter_config.json")
    if settings is None:
        raise NoAdapter(f"{folder} holds no adapter that can be read.")
    base_folder = hub.model_folder(config.model.path, config.model.revision)
    base = (read_json(base_folder / "config.json") if base_folder else None) or {}
    architectures = base.get("architectures") or [None]
    text = base.get("text_config") or base
    keys = _names(folder / "adapter_model.safetensors")
    return Adapter(folder, settings, keys, architectures[0], text.get("vocab_size"))


def _names(path: Path) -> list[str]:
    """Names of the tensors in a safetensors file; its layout: https://huggingface.co/docs/safetensors#format."""
    try:
        with open(path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            return sorted(name for name in header if name != "__metadata__")
    except (OSError, ValueError, TypeError, OverflowError, MemoryError):
        raise NoAdapter(f"{path} cannot be read; its run's newest checkpoint may have another.") from None


def _rank(adapter: Adapter, release: vllm.Vllm) -> Point:
    rank, most = _most_rank(adapter), release.ranks[-1]
    if rank > most:
        return Point("rank", NO, f"{rank} is more than its largest, {most}", vllm.RANK)
    needs = f"needs --max-lora-rank {_room(rank, release)}; its default is {release.default_rank}"
    return Point("rank", YES, f"{rank}{'' if rank <= release.default_rank else f' {needs}'}", vllm.RANK)


def _most_rank(adapter: Adapter) -> int:
    ranks: list[int] = [adapter.settings.get("r") or 0, *(adapter.settings.get("rank_pattern") or {}).values()]
    return max(ranks)


def _room(rank: int, release: vllm.Vllm) -> int:
    return next((one for one in release.ranks if one >= rank), release.ranks[-1])


def _scaling(adapter: Adapter) -> Point:
    rule = "alpha / sqrt(rank), rsLoRA" if adapter.settings.get("use_rslora") else "alpha / rank"
    return Point("scaling", YES, rule, vllm.HELPER)


def _flag(adapter: Adapter, key: str, name: str) -> Point:
    is_on = bool(adapter.settings.get(key))
    return Point(name, NO if is_on else YES, "it knows no magnitudes" if is_on else "not used", vllm.HELPER)


def _initialisation(adapter: Adapter) -> Point:
    began = adapter.settings.get("init_lora_weights", True)
    if isinstance(began, str) and began.lower() not in vllm.INITIALISATIONS:
        return Point("initialisation", NO, f"{began} took a part out of the base's weights as it began", vllm.HELPER)
    return Point("initialisation", YES, "leaves the base's weights as they are", vllm.HELPER)


def _trained_whole(adapter: Adapter) -> Point:
    modules = adapter.settings.get("modules_to_save") or []
    refused = [name for name in modules if name not in vllm.WHOLE_MODULES]
    if refused:
        return Point("modules trained whole", NO, f"it takes no {', '.join(refused)}", vllm.HELPER)
    return Point("modules trained whole", YES, ", ".join(modules) or "none", vllm.HELPER)


def _biases(adapter: Adapter) -> Point:
    trained = adapter.settings.get("bias", "none") != "none" or adapter.settings.get("lora_bias")
    return Point("biases", NO if trained else YES, "it takes none" if trained else "none are trained", vllm.HELPER)


def _new_tokens(adapter: Adapter) -> Point:
    if adapter.has("token_adapter") or adapter.settings.get("trainable_token_indices"):
        return Point("new tokens", NO, "rows of embeddings are no LoRA weight to it", vllm.KEYS)
    return Point("new tokens", YES, "none", vllm.KEYS)


def _ends(adapter: Adapter, release: vllm.Vllm) -> Iterator[Point]:
    whole = adapter.settings.get("modules_to_save") or []
    adapted = [name for name in vllm.ENDS if adapter.has(name) and name not in whole]
    if not adapted or adapter.has("token_adapter"):
        return
    told, what = " and ".join(adapted), "adapters on the ends"
    if "lm_head" in adapted and (adapter.vocabulary or 0) > release.largest_head:
        yield Point(what, NO, f"its head takes at most {release.largest_head:,} tokens", vllm.HEAD)
    elif adapter.architecture is None:
        yield Point(what, UNKNOWN, f"{told}; the base's config.json is not here", vllm.MODELS)
    elif adapter.architecture in release.ends:
        yield Point(what, YES, told, vllm.MODELS)
    else:
        yield Point(what, NO, f"its {adapter.architecture} takes none on {told}", f"{vllm.MODELS}, {vllm.MODULES}")


def _experts(adapter: Adapter, release: vllm.Vllm) -> Iterator[Point]:
    if not adapter.has("experts"):
        return
    if adapter.architecture in release.fused_experts:
        yield Point("adapters on experts", YES, "as PEFT saves them", vllm.EXPERTS)
    else:
        says = "with --enable-mixed-moe-lora-format; the layout is taken on trust, so compare an answer with qltui's"
        yield Point("adapters on experts", UNKNOWN, says, vllm.EXPERTS)


def _keys(adapter: Adapter) -> Point:
    known = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", *vllm.WHOLE_MODULES)
    told = ("lora_magnitude_vector", "token_adapter", *(adapter.settings.get("modules_to_save") or []))
    odd = [key for key in adapter.keys if not any(part in known or part in told for part in key.split("."))]
    if not adapter.keys:
        return Point("tensors", NO, "the file is empty", vllm.KEYS)
    if odd:
        return Point("tensors", NO, f"{odd[0]} is no name it knows", vllm.KEYS)
    return Point("tensors", YES, f"{len(adapter.keys)}, by names it knows", vllm.KEYS)


def _architecture(adapter: Adapter, release: vllm.Vllm) -> Point:
    name = adapter.architecture
    if name in release.adapters:
        return Point("architecture", YES, str(name), vllm.MODELS)
    if name in release.no_adapters:
        return Point("architecture", NO, f"it serves {name} without adapters", vllm.MODELS)
    says = "the base's config.json is not here" if name is None else f"{name} is none of its own"
    return Point("architecture", UNKNOWN, says, vllm.MODELS)


def _task(config: RunConfig) -> Iterator[Point]:
    if config.model.task is Task.SEQUENCE_CLASSIFICATION:
        says = "its server makes a classifier of the base with --runner pooling; a merged one has its head already"
        yield Point("classification", UNKNOWN, says, "examples/pooling/classify/classification_with_lora_offline.py")


def _base(config: RunConfig) -> Point:
    if config.method.name is Method.LORA:
        return Point("base", YES, "served as it was trained on", "docs/merge.md")
    says = (
        f"trained on {config.method.name.value} weights and served over the base's own, which answers differently; "
        "qltui merge keeps the weights it was trained on"
    )
    return Point("base", UNKNOWN, says, "docs/merge.md")


def _command(config: RunConfig, adapter: Adapter, name: str, release: vllm.Vllm) -> str:
    words = ["vllm", "serve", config.model.path]
    if config.model.revision:
        words += ["--revision", config.model.revision]
    words += ["--enable-lora", "--max-lora-rank", str(_room(_most_rank(adapter), release))]
    module = f"{name}={adapter.folder}"
    if adapter.has("experts") and adapter.architecture not in release.fused_experts:
        words.append("--enable-mixed-moe-lora-format")
        module = json.dumps({"name": name, "path": str(adapter.folder), "is_3d_lora_weight": True})
    return shlex.join([*words, "--lora-modules", module])
