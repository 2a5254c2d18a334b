"""The base model as the method wants it: whole, frozen with adapters, or quantised with adapters."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils.constants import SEQ_CLS_HEAD_NAMES
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    Mxfp4Config,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from engine.config import Attention, Checkpointing, Compute, LoraInit, Method, RunConfig, Task
from engine.errors import BadInput, cause_of_not_loaded, first_line, why_not_loaded
from engine.offloaded_inputs import keep_inputs_on_host
from engine.parameters import cast, trainable
from engine.quantized_experts import has_experts
from engine.quantized_linear import hold_int8_once
from engine.strategy.base import DTYPES, STORAGE
from engine.waiting_experts import experts_wait
from engine.waiting_linear import read_as_stored, stand_in_on, weights_wait

if TYPE_CHECKING:
    from torch import nn

    from engine.config.run_config import MethodConfig
    from engine.strategy import Strategy


def load_model(config: RunConfig, strategy: Strategy, tokenizer: Any, labels: list[str] | None) -> Any:
    """The model where ``strategy`` wants it loaded, adapters attached, only what is trained requiring gradients.

    Quantised weights may still wait for the strategy to quantise them. ``labels`` are the classes of a sequence
    classification.

    Raises:
        BadInput: the folder holds no such model, or no module has a name that adapters were wanted on.
    """
    model, missing = _base_model(config, strategy, labels)
    model.config.use_cache = False
    model.config.pad_token_id = tokenizer.pad_token_id  # a classifier finds the last token of a row by it
    new_rows = _fit_vocabulary(model, config, tokenizer, strategy.casts_to)
    _checkpoint_layers(model, config.training.gradient_checkpointing, offload=config.training.offload_activations)
    if config.method.name is Method.FULL:
        return model
    if strategy.device.type == "cpu":
        _keep_4bit_weights_plain(model)
    anew = _begun_anew(model, config, missing, is_quantized=strategy.is_quantized)
    if config.method.lora.use_dora:
        stand_in_on(model, strategy.device)
    adapted = _with_adapters(model, config, new_rows, anew)
    if config.method.name is Method.INT8:
        hold_int8_once(adapted)  # after adapters that begin from the weights: PEFT knows int8 by bitsandbytes' class
        if config.method.lora.use_dora and config.method.lora.init is LoraInit.OLORA:
            _measure_magnitudes(adapted)
    return adapted


def _base_model(config: RunConfig, strategy: Strategy, labels: list[str] | None) -> tuple[Any, set[str]]:
    """The model, and the names of the weights that its checkpoint lacks."""
    source = {"revision": config.model.revision, "trust_remote_code": config.model.trust_remote_code}
    kind, arguments = kind_of(labels)
    if config.model.attention is not Attention.AUTO:
        arguments["attn_implementation"] = config.model.attention.value
    try:
        quantization = quantization_of(config.method, strategy.compute, strategy.packed_dtype)
        if quantization is not None and labels is not None:
            quantization.llm_int8_skip_modules = _head_before_loading(config.model.path, source)
        place: Any = strategy.device_map(lambda: without_numbers(kind, config.model.path, source, arguments))
        shape = AutoConfig.from_pretrained(config.model.path, **source)
        is_quantized_already = getattr(shape, "quantization_config", None) is not None
        if is_quantized_already:
            quantization = _of_quantized(config, shape.quantization_config, quantization)
        if quantization is not None:  # given as None it would be taken for the checkpoint's own
            arguments["quantization_config"] = quantization
        # Fused experts come in 16 bit, and may be more than the device has room for.
        packs_experts = strategy.is_quantized and has_experts(shape) and len(set(place.values())) == 1
        quantizes = strategy.quantizes_by_block or packs_experts
        if quantizes:
            place = {"": strategy.device if is_quantized_already else "cpu"}
        with contextlib.ExitStack() as reading:
            if (quantizes or strategy.casts_by_block) and not is_quantized_already:
                reading.enter_context(experts_wait())
                reading.enter_context(weights_wait() if quantizes else read_as_stored(strategy.cast_later))
            model, told = kind.from_pretrained(
                config.model.path, dtype=strategy.load_dtype, device_map=place,
                output_loading_info=True, **source, **arguments,
            )  # fmt: skip
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise BadInput(
            f"model.path: {config.model.path} cannot be loaded: {why_not_loaded(config.model.path, error)}",
            cause_of_not_loaded(config.model.path, error),
        ) from error
    return model, set(told["missing_keys"])


def _of_quantized(config: RunConfig, stored: Any, wanted: BitsAndBytesConfig | None) -> Any:
    """How a checkpoint is loaded that is quantised already, given what its own configuration says of that.

    Raises:
        BadInput: it was quantised in a way that the method's is not.
    """
    way = stored.get("quant_method") if isinstance(stored, dict) else stored.quant_method
    if wanted is not None and way is not None and way != "bitsandbytes":
        raise BadInput(
            f"model.path: {config.model.path} is stored in {way}, which method.name={config.method.name.value} cannot"
            " quantise again; take a checkpoint in 16 bit, or method.name=lora."
        )
    return Mxfp4Config(dequantize=True) if way == "mxfp4" else wanted  # its own kernels have no backward


def kind_of(labels: list[str] | None) -> tuple[Any, dict[str, Any]]:
    """The class that loads a model for its task, and what its configuration says of the classes, if there are any."""
    if labels is None:
        return AutoModelForCausalLM, {}
    numbers = {label: index for index, label in enumerate(labels)}
    return AutoModelForSequenceClassification, {
        "num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": numbers,
    }  # fmt: skip


def classifier_head(model: Any) -> list[str]:
    """Names of the modules that a classifier has on top of its base: what no checkpoint of the base brings.

    They are trained whole and saved with the adapter, and so never quantised.
    """
    base = model.base_model  # the model itself where its code names none
    on_top = [name for name, child in model.named_children() if child is not base and list(child.parameters())]
    return [name for name in on_top if name in SEQ_CLS_HEAD_NAMES] if base is model else on_top


def _head_before_loading(path: str, source: dict[str, Any]) -> list[str]:
    """The head of a classifier that is still to be loaded, to be left out of its quantisation.

    By themselves Transformers leave out the last module alone, and only if it has no bias (5.23 quantizers/base.py
    ``get_keys_to_not_convert``).
    """
    return classifier_head(without_numbers(AutoModelForSequenceClassification, path, source, {}))


def without_numbers(kind: Any, path: str, source: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """The model as it would be loaded, on the meta device; ``arguments`` are of its configuration or of loading."""
    config, rest = AutoConfig.from_pretrained(path, **source, **arguments, return_unused_kwargs=True)
    with torch.device("meta"):
        return kind.from_config(config, trust_remote_code=source["trust_remote_code"], **rest)


def _begun_anew(model: Any, config: RunConfig, missing: set[str], *, is_quantized: bool) -> list[str]:
    """Modules of a classifier that begin with random numbers, and so are trained whole and saved with the adapter.

    They are its head, and parts of its base that the checkpoint lacks, as BERT's pooler may be. ``missing`` are the
    weights it lacks.

    Raises:
        BadInput: weights are missing whose place in the result nothing would take.
    """
    classifies = config.model.task is Task.SEQUENCE_CLASSIFICATION
    head = classifier_head(model) if classifies else []
    lacking = sorted({name.rpartition(".")[0] for name in missing if name.partition(".")[0] not in head})
    hopeless = is_quantized or not classifies or any(list(model.get_submodule(one).children()) for one in lacking)
    if lacking and hopeless:
        remedy = ", or use method.name=lora, which trains them whole" if classifies and is_quantized else ""
        raise BadInput(
            f"model.path: {config.model.path} has no weights for {lacking[0]} ({len(missing)} tensors are missing), "
            f"which adapters cannot make up for; take a checkpoint that has them{remedy}."
        )
    return [*head, *lacking]


def _fit_vocabulary(model: Any, config: RunConfig, tokenizer: Any, casts_to: torch.dtype | None) -> list[int]:
    """Give every token of the tokenizer an embedding; the rows nothing was learnt for yet, which are to be trained."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        for end in (model.get_input_embeddings(), model.get_output_embeddings()):
            if end is not None and casts_to is not None:
                cast(end, casts_to)  # new rows are drawn like those that are there
        model.resize_token_embeddings(len(tokenizer))
    added = tokenizer.convert_tokens_to_ids(config.model.new_tokens)
    return sorted({*added, *range(rows, len(tokenizer))})


def quantization_of(method: MethodConfig, compute: Compute, packed: torch.dtype) -> BitsAndBytesConfig | None:
    """How a base is quantised, to be computed with in ``compute``; ``packed`` is what automatic storage comes to."""
    wanted = method.quantization
    if method.name is Method.QLORA:
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=wanted.type.value,
            bnb_4bit_use_double_quant=wanted.double_quantization,
            bnb_4bit_compute_dtype=DTYPES[compute],
            bnb_4bit_quant_storage=STORAGE.get(wanted.storage, packed),
        )
    if method.name is Method.INT8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=wanted.int8_threshold)
    return None


def _keep_4bit_weights_plain(model: nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights in evaluation mode.

    On CPUs with AVX512-BF16 ``Linear4bit.forward`` repacks its weight at the first forward in eval mode, and the packed
    kernel has no backward: training after an evaluation would go on with gradients that stop at that layer, silently
    (bitsandbytes 0.50.2, nn/modules.py ``Linear4bit.forward`` and autograd/_functions.py ``matmul_4bit``).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _checkpoint_layers(model: Any, wanted: Checkpointing | int, *, offload: bool) -> None:
    if wanted is Checkpointing.NONE:
        return
    # The non-reentrant variant needs no gradient on its inputs and works under DDP with frozen weights.
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    checkpointed = layers[:wanted] if isinstance(wanted, int) else layers
    for layer in layers[len(checkpointed) :]:
        layer.gradient_checkpointing = False
    if offload:
        keep_inputs_on_host(checkpointed)


def _with_adapters(model: Any, config: RunConfig, new_rows: list[int], anew: list[str]) -> Any:
    """The model with adapters; ``anew`` are modules to be trained whole beside those that were asked for."""
    wanted = config.method.lora
    initialisation: bool | str = True if wanted.init is LoraInit.DEFAULT else wanted.init.value
    classifies = config.model.task is Task.SEQUENCE_CLASSIFICATION
    # PEFT adds heads of the common names by itself, but by the end of their names: it takes DistilBERT's
    # ``pre_classifier`` for one, and adapts it all the same (0.21.2 utils/other.py ``_set_trainable``).
    anew = [name for name in anew if name not in SEQ_CLS_HEAD_NAMES]
    adapters = PeftLoraConfig(
        r=wanted.rank,
        lora_alpha=wanted.alpha,
        lora_dropout=wanted.dropout,
        target_modules=wanted.target_modules,
        modules_to_save=[*wanted.modules_to_save, *anew] or None,
        use_rslora=wanted.use_rslora,
        use_dora=wanted.use_dora,
        init_lora_weights=initialisation,
        trainable_token_indices=_rows_to_train(model, wanted.modules_to_save, new_rows),
        task_type=TaskType.SEQ_CLS if classifies else TaskType.CAUSAL_LM,
    )
    try:
        adapted = get_peft_model(model, adapters)
    except ValueError as error:
        raise BadInput(f"method.lora.target_modules: {first_line(error)}", "target_modules_not_found") from error
    except TypeError as error:
        if "modules_to_save" not in str(error):
            raise
        raise BadInput(
            f"method.lora.modules_to_save: {wanted.modules_to_save} are endings of modules that have adapters, and "
            "PEFT trains whole what ends so; give whole names, as o_proj instead of proj."
        ) from error
    if not any(isinstance(module, LoraLayer) for module in adapted.modules()):
        raise BadInput(
            f"method.lora.target_modules: {wanted.target_modules} matches no module of this model.",
            "target_modules_not_found",
        )
    for parameter in trainable(adapted).values():
        # PEFT makes its own weights float32 and leaves copies of whole modules as they were; one type for all that is
        # trained is more exact, and what sharding strategies need.
        parameter.data = parameter.data.float()
    return adapted


def _measure_magnitudes(adapted: nn.Module) -> None:
    """Begin DoRA's magnitudes anew, at the norms of the weights that olora left.

    PEFT takes norms with the scales that int8 weights had before (0.21.2 utils/integrations.py
    ``dequantize_bnb_weight`` keeps them), so that the output would change before anything is learnt.
    """
    for module in adapted.modules():
        if isinstance(module, LoraLayer):
            for adapter, variant in module.lora_variant.items():
                variant.init(module, adapter_name=adapter)


def _rows_to_train(model: Any, trained_whole: list[str], rows: list[int]) -> dict[str, list[int]] | None:
    """Rows of the embedding, and of a head of its own, that are trained beside the adapters."""
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    names = {name: module for name, module in model.named_modules() if any(module is end for end in ends)}
    if model.config.get_text_config().tie_word_embeddings:
        names = {name: module for name, module in names.items() if module is ends[0]}
    chosen = {name: rows for name in names if name.rpartition(".")[2] not in trained_whole}
    return chosen if rows else None


def adapted_modules(model: nn.Module) -> int:
    """How many modules carry adapters."""
    return sum(isinstance(module, LoraLayer) for module in model.modules())
