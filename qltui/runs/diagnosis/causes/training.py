"""Numbers, types and shapes that go wrong while a model is trained."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

CAUSES = (
    Cause(
        "checkpoint_recompute_mismatch",
        "recomputed activations differ",
        says="Checkpointing computed a layer anew for the backward pass and got tensors of other shapes "
        "or another number.",
        fixes=(
            Fix("checkpoint the other way: use_reentrant=True, or False"),
            Fix("no compilation and no autocast that changes in between"),
            Fix("another strategy", patch=(("strategy.name", "fsdp2"),)),
        ),
        signs=(
            sign(
                r"Recomputed values for the following tensors have different metadata",
                r"have different metadata than during the forward",
            ),
            sign(r"different number of tensors was saved during the original forward and recomputation"),
            sign(
                r"tensor that was already unpacked once",
                says="What a checkpointed layer had saved was asked for twice in one backward pass, as functions of "
                "one's own do that read ctx.saved_tensors twice.",
            ),
            sign(r"CheckpointError: torch\.utils\.checkpoint"),
            sign(
                r"[Cc]heckpointing is not compatible with \.grad\(\)",
                r"you are trying to backward through .{0,40}checkpoint",
            ),
        ),
    ),
    Cause(
        "fp16_unscale",
        "weights in fp16 under mixed precision",
        says="Mixed precision with fp16 wants trained weights in float32, and these are in fp16.",
        fixes=(
            Fix("bf16, where the GPU can", patch=(("precision.compute", "bf16"),)),
            Fix("trained weights in float32: load with torch_dtype=float32, or cast adapters to float32"),
        ),
        signs=(
            sign(r"Attempting to unscale FP16 gradients"),
            sign(
                r"_amp_foreach_non_finite_check_and_unscale.{0,40}not implemented for 'BFloat16'",
                says="The scaler of fp16 got gradients in bf16: weights in bf16 are trained with fp16=True.",
            ),
            sign(
                r"unscale_\(\) has already been called on this optimizer since",
                r"Attempted \w+ but _scale is None",
                is_certain=False,
                says="The scaler of fp16 was called twice, or before it had scaled a loss: trainer and accelerate do "
                "not fit each other, or a loop of one's own calls it out of order.",
            ),
        ),
    ),
    Cause(
        "dtype_mismatch_matmul",
        "types that can't be multiplied",
        says="A product got tensors of two types, such as float32 and bfloat16: some part was cast and another not.",
        fixes=(
            Fix("compute under autocast: with torch.autocast('cuda', dtype=torch.bfloat16)"),
            Fix("load all of it in one type: dtype=torch.bfloat16"),
            Fix("adapters in the type of the weights"),
        ),
        signs=(
            sign(
                r"mat1 and mat2 must have the same dtype",
                r"(?:expected|[Ee]xpect|should) .{0,80}(?:have|be) (?:of )?(?:the )?same d?type",
                r"must (?:have|be) (?:the )?same dtype",
                r"should either all have the same dtype",
            ),
            sign(
                r"expected scalar type [\w:]+ but found [\w:]+",
                r"Found dtype \w+ but expected \w+",
                r"expected dtype \S+ .{0,40}but got dtype",
                r"value cannot be converted to type at::\w+ without overflow",
                r"result type \w+ can't be cast to the desired output type",
                r"expected both vectors to have same dtype",
                r"source and destination dtypes match, got",
                r"attn_mask dtype to be bool or (?:float or )?to match query dtype",
                r"Invalid dtype for bias - should match query",
                r"mixed dtype \(CPU\): ",
                r"Expected object of scalar type \w+ but got scalar type",
                r"must have the same scalar type",
                r"Expected self\.dtype to be equal to",
            ),
            sign(
                r"Input type \(?[\w.:]*\)? and (?:bias"
                r"|weight) type .{0,60}should be the same"
            ),
            sign(
                r"""\"\w+\" not implemented for '(?:Half|BFloat16)'""",
                says="The CPU, or this GPU, has no such operation in 16 bits.",
            ),
            sign(
                r"query and key must have the same dtype",
                r"Expected query, key, and value to have the same dtype",
                r"FlashAttention only support(?:s)? fp16 and bf16",
                says="Attention got tensors of types it cannot compute with.",
            ),
        ),
    ),
    Cause(
        "loss_nan_or_zero",
        "the loss is no number, or zero",
        says="The loss became NaN, infinite or exactly zero: the numbers overflowed, rows have nothing to "
        "learn, or weights are damaged.",
        fixes=(
            Fix("bf16 in place of fp16", patch=(("precision.compute", "bf16"),)),
            Fix("a lower learning rate, and warmup"),
            Fix("see that rows keep something to learn", "qltui preview PRESET"),
            Fix("gradients clipped", patch=(("training.max_grad_norm", 1.0),)),
        ),
        signs=(
            sign(
                r"Current loss scale already at minimum",
                says="fp16 overflowed step after step, whatever the loss was scaled by.",
            ),
            sign(
                r"OVERFLOW! .{0,40}Attempted loss scale: 1(?:\.0)?, reducing to 1\b",
                is_native=True,
                is_certain=False,
                says="fp16 overflowed even where the loss was no longer scaled up: no step is taken.",
            ),
            sign(
                r"probability tensor contains either `?inf`?, `?nan`?",
                r"Training losses will be all 0",
                r"[Ff]ound (?:NaN|Inf) in (?:local |the )?(?:forward )?(?:grad|loss)",
                r"[Ll]oss returned in .{0,30} is (?:nan|inf)\b",
                r"but found invalid values:\s*tensor\(\[*\s*-?(?:nan|inf)",
                r"Minimum loss scale reached",
                r"Unexpected result (?:nan|inf)",
                r"(?:[Ll]oss|gradients?|grad_norm) (?:is|are|was|became|contains?|turned)(?: \w+)? ?(?:NaN"
                r"|nan|inf)\b",
            ),
            sign(
                r"(?:NaN|nan|Nan) (?:loss|or Inf found|detected|values? (?:found|detected|in)|encountered)",
                r"[Nn]on-finite (?:loss|grad)",
            ),
            sign(r"The total norm of order .{0,40}for gradients from `?parameters`? is non-finite"),
            sign(r"Function '\w+' returned nan values in its"),
            sign(r"FloatingPointError", alone=False),
            sign(r"linalg\.svd: The algorithm failed to converge because the input matrix contained non-finite"),
        ),
    ),
    Cause(
        "label_out_of_range",
        "an index beyond its table",
        says="A label, or a token's number, is beyond what the model has room for: classes, or rows of its embeddings.",
        fixes=(
            Fix("as many classes as labels (model.num_labels); labels from 0"),
            Fix("resize the embeddings after tokens were added: model.resize_token_embeddings(len(tokenizer))"),
            Fix("see where: run it once so, or on the CPU", "CUDA_LAUNCH_BLOCKING=1 python SCRIPT"),
        ),
        signs=(
            sign(
                r"Assertion `t >= 0 && t < n_classes` failed",
                r"Target -?\d+ is out of bounds",
                r"Assertion `cur_target >= 0 && cur_target < n_classes'? failed",
                r"nll_loss.{0,80}Assertion",
                is_native=True,
                says="A label is beyond the number of classes (or the vocabulary) that the model has.",
            ),
            sign(
                r"srcIndex < srcSelectDimSize",
                r"index out of range in self",
                r"Tried to access index -?\d+ out of table with",
                r"Padding_idx must be within num_embeddings",
                r"index \d+ is out of bounds for dimension \d+ with size \d+",
                r"vectorized_gather_kernel.{0,120}Assertion",
                r"Assertion .{0,60}(?:idx|ind|index)\w* .{0,80}(?:failed|out of bounds)",
                is_native=True,
                says="A token's number, or a position, is beyond the rows of a table: a tokenizer with more "
                "tokens than the model has embeddings, or a row longer than it has positions.",
            ),
            sign(
                r"device-side assert triggered",
                is_certain=False,
                says="A check on the GPU failed; nearly always an index is beyond its table: a label, or a "
                "token's number.",
            ),
            sign(
                r"Class values must be (?:smaller|non-negative)",
                r"(?:label|class).{0,60}(?:out of range|out of bounds|>= num_labels)",
            ),
            sign(r"Label values must be", r"labels? .{0,40}(?:not in|outside) .{0,40}(?:range|classes)"),
            sign(
                r"Using a target size \(torch\.Size\(\[.*\]\)\) that is different to the input size",
                r"Target size \(torch\.Size.{0,60}must be the same as input size",
                frames=r"loss",
                alone=False,
                is_certain=False,
            ),
        ),
    ),
    Cause(
        "meta_tensor_no_data",
        "weights that were never loaded",
        says="Some weights exist in name alone (on the meta device), and were to be used or moved.",
        fixes=(
            Fix("load them all: no init_empty_weights without a checkpoint that has them"),
            Fix("no offload of parts (device_map) where the model is saved or moved"),
            Fix(
                "under FSDP, let rank 0 load and the others get theirs: cpu_ram_efficient_loading with "
                "sync_module_states"
            ),
        ),
        signs=(
            sign(
                r"Cannot copy out of meta tensor",
                r"Tensor on device meta is not on the expected device",
                r"not on the expected device meta",
                r"on the meta device",
            ),
            sign(
                r"arguments from the 'Meta' backend",
                r"with Meta tensors",
                r"storage of Meta tensor",
                r"(?:two devices|different devices),? .{0,30}\bmeta\b",
            ),
            sign(
                r"(?:parameters|params|weights).{0,60}(?:are|is) on (?:the )?meta",
                r"no data! Please use torch\.nn\.Module\.to_empty",
                r"were still on meta device",
                r"some ranks have model on cpu or gpu and some ranks are on meta",
            ),
            sign(
                r"You can't move a model that has some modules offloaded",
                says="Parts of the model were put on the CPU or the disk (device_map); such a model cannot be moved.",
            ),
            sign(
                r"is on the meta device, we need a `value`",
                r"Tensor\.item\(\) cannot be called on meta tensors",
                r"aten::_local_scalar_dense.{0,80}meta",
            ),
        ),
    ),
)
