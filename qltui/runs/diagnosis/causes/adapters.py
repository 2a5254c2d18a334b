"""Adapters that are empty, do not fit, or have nothing to learn."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

CAUSES = (
    Cause(
        "target_modules_not_found",
        "adapters have nowhere to go",
        says="None of the modules that were named for adapters is in this model, or one of them can't have adapters.",
        fixes=(
            Fix("every linear layer", patch=(("method.lora.target_modules", "all-linear"),)),
            Fix("see what it has: print(model)"),
        ),
        signs=(
            sign(r"[Tt]arget modules .{0,300}not found in the base model", r"No modules were targeted for adaptation"),
            sign(
                r"Target module .{0,2000}is not supported",
                r"target_modules.{0,80}(?:not found|no match|did not match)",
                r"[Tt]arget modules .{0,300}(?:excluded|not (?:present|part of) )",
                r"All modules were excluded",
                r"Please specify `?target_modules",
                r"Only instances of PreTrainedModel support `target_modules",
                r"No `?target_modules`? passed",
                r"No layers to finetune\?",
                r"modules_to_save cannot be applied to modules of type",
                r"target_modules should (?:be|not)",
                r"Currently,? only (?:the following modules are supported: )?`torch\.nn\.Linear`",
                r"No layer keys? .{0,80}target_modules",
                r"[Cc]annot find .{0,40}(?:target_modules|LoRA modules|lora modules)",
            ),
            sign(
                r"(?:modules_to_save|layers_to_transform|layers_pattern).{0,120}(?:not found|did not match"
                r"|no modules)"
            ),
        ),
    ),
    Cause(
        "modules_to_save_keyerror",
        "whole modules beside the adapter could not be saved",
        says="Modules that are trained whole beside the adapter (modules_to_save) were looked for under another name.",
        fixes=(
            Fix("a newer peft", "pip install -U peft"),
            Fix("adapters alone", patch=(("method.lora.modules_to_save", ()),)),
        ),
        signs=(
            sign(r"KeyError: .*modules_to_save", r"'ModulesToSaveWrapper' object has no attribute"),
            sign(
                r"KeyError: '(?:base_model\.|model\.)?[\w.]*(?:lm_head|score|classifier"
                r"|embed_tokens)[\w.]*weight'",
                frames=r"peft/|save_pretrained|get_peft_model_state_dict",
            ),
        ),
    ),
    Cause(
        "empty_adapter",
        "the adapter is empty",
        says="The adapter's file holds no weights, or none that the model has a place for.",
        fixes=(
            Fix("save through the wrapper that shards: accelerator.get_state_dict(model), not model.state_dict()"),
            Fix("versions that gather before they save", "pip install -U peft accelerate transformers"),
        ),
        signs=(
            sign(
                r"size mismatch for \S*(?:lora_|modules_to_save)\S*: copying a param with shape torch\.Size\(\[0\]\)",
                says="The adapter was saved while ranks held pieces of it alone: its tensors in the file are empty.",
            ),
            sign(
                r"(?:adapter|LoRA|lora).{0,120}(?:holds|has|contains|with) (?:no|0|zero) (?:tensors|weights"
                r"|parameters|keys)"
            ),
            sign(
                r"(?:adapter|lora).{0,60}(?:is empty|are empty|state dict is empty)",
                r"[Ee]mpty adapter",
                r"ADAPTER_TENSOR_COUNT=0",
            ),
            sign(r"no (?:adapter|LoRA|lora) (?:weights|tensors|parameters|keys) (?:were )?(?:found|saved|in)"),
        ),
    ),
    Cause(
        "adapter_size_mismatch",
        "adapter or checkpoint of another shape",
        says="Weights of a checkpoint have other shapes than the model's: another rank, other modules, or "
        "another vocabulary.",
        fixes=(
            Fix("rank and modules as they were when it was saved (adapter_config.json beside it)"),
            Fix(
                "resize the vocabulary as it was before the adapter is loaded: "
                "model.resize_token_embeddings(len(tokenizer))"
            ),
        ),
        signs=(
            sign(r"size mismatch for \S*(?:lora_|base_model|adapter|modules_to_save)"),
            sign(r"size mismatch for \S+: copying a param with shape"),
            sign(
                r"Trying to set a tensor of shape .{0,80}which has shape .{0,80}this looks? incorrect",
                r"You set `ignore_mismatched_sizes` to `False`",
            ),
            sign(
                r"The size of tensor a \([1-9]\d*\) must match the size of tensor b \([1-9]\d*\)",
                frames=r"peft/\S+ (?:merge\w*|_unload\w*|unload|load_adapter|get_delta_weight)\b"
                r"|(?:merge|add|apply)_\w*lora",
            ),
            sign(r"vocab size .{0,80}does not match .{0,60}(?:LoRA|adapter) weight"),
            sign(r"[Ss]ize mismatch .{0,80}(?:adapter|lora_[AB])"),
            sign(r"(?:shape mismatch|ignore_mismatched_sizes).{0,300}(?:checkpoint|instantiated)", is_certain=False),
            sign(r"mismatched sizes? .{0,80}(?:adapter|lora)", is_certain=False),
        ),
    ),
    Cause(
        "unknown",
        "a quantised model without adapters",
        says="A quantised model alone can't be trained: it needs adapters, and there are none.",
        fixes=(Fix("give it adapters before it is trained: model = get_peft_model(model, LoraConfig(...))"),),
        signs=(sign(r"cannot perform fine-tuning on purely quantized models"),),
    ),
    Cause(
        "no_grad_inputs",
        "nothing that is trained takes part in the loss",
        says="The loss depends on nothing that has gradients: adapters frozen or not in use, or "
        "checkpointing that cuts them off.",
        fixes=(
            Fix("model.enable_input_require_grads(), or gradient_checkpointing_kwargs={'use_reentrant': False}"),
            Fix("load an adapter to go on with by is_trainable=True"),
            Fix("see what is trained: model.print_trainable_parameters()"),
        ),
        signs=(
            sign(r"element 0 of (?:tensors|variables) does not require grad"),
            sign(
                r"(?:optimizer got an empty parameter list|No inf checks were recorded for this optimizer)",
                r"doesn't have any parameters that require a gradient",
                r"differentiated Tensors? does not require grad",
                r"none of output has requires_grad=True",
                says="There is nothing to train: no parameter has, or got, a gradient.",
            ),
            sign(
                r"max\(\) arg is an empty sequence|list index out of range",
                frames=r"deepspeed/runtime/(?:zero/stage\w*|bf16_optimizer|fp16/\w+)\.py (?:__init__|_[cs]\w+)\Z",
                is_certain=False,
                says="DeepSpeed was given no parameter to train: all of them are frozen.",
            ),
            sign(
                r"None of the (?:parameters|inputs) (?:require|have requires_grad).{0,60}(?:cannot|nothing"
                r"|Error)",
                alone=False,
            ),
            sign(r"no (?:trainable parameters|parameters (?:to|that) (?:train|require))", r"No trainable parameters"),
        ),
    ),
    Cause(
        "tied_weights_save",
        "weights that share memory could not be saved",
        says="Two names of the model stand for the same tensor (tied embeddings), which safetensors does "
        "not write twice.",
        fixes=(
            Fix("model.save_pretrained(...), or safetensors.torch.save_model in place of save_file"),
            Fix("before transformers 5 also save_safetensors=False"),
        ),
        signs=(
            sign(r"[Ss]ome tensors share memory", r"The weights trying to be saved contained shared tensors"),
            sign(
                r"is shared with a parameter already managed by another FSDP group",
                r"Cannot concatenate overlapping meshes",
                says="Tied embeddings were put into two groups of FSDP.",
            ),
            sign(r"tied .{0,80}(?:cannot|can't|could not) be saved"),
            sign(
                r"found no suitable name to keep for saving amongst",
                r"You are trying to save a non contiguous tensor",
                says="A tensor to be saved is a piece of another, or shares its memory, which safetensors does "
                "not write.",
            ),
        ),
    ),
)
