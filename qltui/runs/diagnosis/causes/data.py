"""Rows, columns and tokenizers."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

CAUSES = (
    Cause(
        "tokenizer_pad_missing",
        "there is no padding token",
        says="Rows of unlike lengths are to be padded, and the tokenizer or the model has no token for it.",
        fixes=(Fix("tokenizer.pad_token = tokenizer.eos_token, and model.config.pad_token_id to match"),),
        signs=(
            sign(
                r"the tokenizer does not have a padding token",
                r"no padding token is defined",
                r"Cannot handle batch sizes > 1 if no padding token",
            ),
            sign(
                r"(?:pad_token(?:_id)?|padding token).{0,60}(?:is None|not set|is not defined|must be (?:set"
                r"|specified|defined)|missing)"
            ),
        ),
    ),
    Cause(
        "dataset_column_error",
        "columns or values of the data are not as expected",
        says="The data lacks a column that was asked for, or a row's value has another type than it needs.",
        fixes=(
            Fix("see its first rows and columns", "qltui preview PRESET --set data=PATH"),
            Fix("name the columns (data.columns)"),
            Fix("remove_unused_columns=False, where a collator needs them"),
        ),
        signs=(
            sign(
                r"Column name.{0,80}not in the dataset",
                r"Column to remove.{0,80}not in the dataset",
                r"Column names?.{0,120}(?:don't|do not) (?:match|exist)",
            ),
            sign(
                r"No columns in the dataset match the model's forward method signature",
                r"Couldn't cast",
                r"CastError",
                r"DatasetGenerationCastError",
            ),
            sign(
                r"KeyError: '(?:text|messages|prompt|completion|chosen|rejected|instruction|input|output"
                r"|response|question|answer|label|labels|input_ids|conversations|content|role|query|context"
                r"|from|value|attention_mask|tools|images?)'"
            ),
            sign(
                r"""KeyError: ['\"].*""",
                frames=r"datasets/(?:arrow_dataset|formatting|iterable_dataset)|data_utils|_prepare_dataset|tokenize"
                r"|preprocess|format(?:ting)?_(?:func|prompt)|collat|dataset\.py|data\.py",
                alone=False,
                is_certain=False,
            ),
            sign(
                r"Unable to create tensor, you should probably activate truncation and/or padding",
                r"too many dimensions 'str'",
                r"(?:expected|excepted) sequence of length \d+ at dim \d+",
            ),
            sign(
                r"The batch received was empty",
                r"You should supply an encoding or a list of encodings to this method that includes input_ids",
            ),
            sign(
                r"text input must be of type `?str",
                r"TextEncodeInput must be Union",
                r"Input .{0,40}is not valid\. Should be a string",
            ),
            sign(
                r"JSON parse error",
                r"ArrowInvalid",
                r"ParserError: Error tokenizing data",
                r"JSONDecodeError",
                frames=r"datasets/|pandas|json|data",
                says="A file of the data is not what its name says: a line of it cannot be read.",
            ),
            sign(r"An error occurred while generating the dataset", alone=False, is_certain=False),
            sign(
                r"(?:Conversation roles must alternate|Only user and assistant roles are supported"
                r"|System role not supported|jinja2\.exceptions\.(?:TemplateError|UndefinedError))",
                says="A row's roles or messages are not as the model's chat template wants them.",
            ),
            sign(
                r"[Uu]nknown (?:dataset )?(?:column|format|role)",
                r"dataset.{0,80}(?:must (?:have|contain)|is missing|missing) .{0,60}(?:column|field|key)",
            ),
            sign(
                r"Cannot use chat template functions because tokenizer\.chat_template is not set",
                r"chat_template is not set",
                says="The rows are conversations, and the tokenizer has no chat template to write them with.",
            ),
            sign(
                r"TypeError: .{0,80}(?:NoneType|str|list|dict|float)",
                r"ValueError: (?:invalid literal for int|could not convert string to float)",
                frames=r"__getitem__|fetch\.py|collat|tokeniz|arrow_dataset|apply_chat_template|format(?:ting)?_(?:func|prompt)|preprocess",
                alone=False,
                is_certain=False,
            ),
        ),
    ),
    Cause(
        "dataset_too_small",
        "too few rows",
        says="There are too few rows: none is left after filtering, or fewer than a batch or the ranks need.",
        fixes=(
            Fix("see what is left of the rows, and why others are dropped", "qltui preview PRESET"),
            Fix("smaller batches", patch=(("training.micro_batch_size", 1),)),
            Fix("longer rows kept (data.max_length)"),
        ),
        signs=(
            sign(r"num_samples should be a positive integer value, but got num_samples=0"),
            sign(
                r"With n_samples=\d+.{0,80}the resulting train set will be empty",
                r"the (?:train|test|resulting).{0,20}set will be empty",
            ),
            sign(
                r"[Dd]ataset (?:is|was|seems) (?:empty|too small)",
                r"empty dataset",
                r"no (?:rows|samples|examples|training data) (?:left|remain|found|to train)",
                r"[Dd]ataset has no (?:rows|samples)",
            ),
            sign(
                r"args\.max_steps must be set to a positive value if dataloader does not have a length",
                r"There seems (?:to be )?not (?:to be )?a single sample in your epoch_iterator",
            ),
            sign(
                r"(?:ZeroDivisionError|float division by zero|integer division or modulo by zero)",
                frames=r"trainer|loop|steps|dataloader|sched|loader",
                alone=False,
                is_certain=False,
            ),
            sign(
                r"(?:number of|num) (?:rows|samples|examples).{0,80}(?:less|smaller"
                r"|fewer) than.{0,60}(?:batch|world|rank|process)"
            ),
            sign(
                r"drop_last.{0,60}(?:no|zero|0) batches", r"dataloader (?:is empty|has (?:zero|no) (?:length|batches))"
            ),
            sign(
                r"IndexError: (?:list index out of range|Invalid key: \d+ is out of bounds for size 0)",
                frames=r"datasets/|trainer|sampler|data",
                alone=False,
                is_certain=False,
            ),
        ),
    ),
)
