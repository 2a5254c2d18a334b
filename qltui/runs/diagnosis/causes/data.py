"""Rows, columns and tokenizers."""

from __future__ import annotations

from qltui.runs.diagnosis.causes.cause import Cause, Fix, sign

_UNREADABLE = "A file of the data is not what its name says: a line of it cannot be read."

CAUSES = (
    Cause(
        "tokenizer_pad_missing",
        "there is no padding token",
        says="Rows of unlike lengths are to be padded, and the tokenizer or the model has no token for it.",
        fixes=(Fix("tokenizer.pad_token = tokenizer.eos_token, and model.config.pad_token_id to match"),),
        signs=(
            sign(
                r"tokenizer .{0,60}(?:does not|doesn't) have a pad(?:ding)?[ _]token",
                r"no padding token is defined",
                r"Cannot handle batch sizes > 1 if no padding token",
                r"attempting to pad samples but the tokenizer you are using .{0,80}does not have one",
                r"argument '(?:fill|padding)_value' .{0,20}must be \w+, not NoneType",
            ),
            sign(
                r"(?:[Pp]ad_token(?:_id)?|[Pp]adding[ _]token)\b.{0,60}(?:is None|=None|not set|is not (?:defined|set)"
                r"|(?:must|has to) be (?:set|specified|defined)|missing)"
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
                r"[Cc]olumns? .{0,120}not (?:in|found in) (?:the )?(?:dataset|table)",
                r"Column names?.{0,120}(?:don't|do not) (?:match|exist)",
                r"Column '.*' doesn't exist",
                r"Column \d+ named \S+ expected length \d+ but got length",
            ),
            sign(
                r"IndexError: Invalid key: \S+ is out of bounds for size 0",
                says="Every column of the data was dropped, as none is an argument of the model: rows are left empty.",
            ),
            sign(
                r"JSON parse error",
                r"ParserError: Error tokenizing data",
                r"Failed to (?:read|load JSON from) file '.*' with error",
                r"Not able to read records in the JSON file",
                says=_UNREADABLE,
            ),
            sign(
                r"No columns in the dataset match the model's forward method signature",
                r"Couldn't cast",
                r"CastError",
                r"\bArrow(?:Invalid|NotImplementedError|TypeError|KeyError): ",
            ),
            sign(
                r"KeyError: '(?:text|messages|prompt|completion|chosen|rejected|instruction|input|output"
                r"|response|question|answer|label|labels|input_ids|conversations|content|role|query|context"
                r"|from|value|attention_mask|tools|images?)'"
            ),
            sign(
                r"KeyError: 'loss'",
                frames=r" compute_loss\Z",
                is_certain=False,
                says="The model returned no loss: the rows have no labels, or not under the name that it wants.",
            ),
            sign(
                r"KeyError: \S",
                frames=r"datasets/(?:arrow_dataset|dataset_dict|formatting|iterable_dataset)|data_utils|_prepare_dataset"
                r"|aligner|datasets\.py|data_collat|torch/utils/data|_map_single|tokenize"
                r"|preprocess|format(?:ting)?_(?:func|prompt)|collat|dataset\.py|data\.py",
                alone=False,
                is_certain=False,
            ),
            sign(
                r"Unable to create tensor, you should probably activate truncation and/or padding",
                r"too many dimensions 'str'",
                r"(?:expected|excepted) sequence of length \d+ at dim \d+",
                r"type of None unknown: <class 'NoneType'>",
            ),
            sign(
                r"stack expects each tensor to be equal size",
                frames=r"collat",
                says="Rows of unlike lengths or shapes were put into one batch, and nothing pads them.",
            ),
            sign(
                r"The batch received was empty",
                r"You should supply an (?:encoding|instance of) .{0,120}to this method that includes",
            ),
            sign(
                r"text input must (?:be )?of type `?str",
                r"TextEncodeInput must be Union",
                r"Input .{0,40}is not valid\. Should be a string",
            ),
            sign(
                r"JSONDecodeError",
                r"UnicodeDecodeError",
                frames=r"datasets/|pandas/|data\w*\.py |(?m: \w*(?:data|example|record|jsonl)\w*$)",
                says=_UNREADABLE,
            ),
            sign(r"An error occurred while generating the dataset", alone=False, is_certain=False),
            sign(
                r"(?:Conversation roles must alternate|Only user and assistant roles are supported"
                r"|System role not supported|jinja2\.exceptions\.(?:TemplateError|UndefinedError))",
                says="A row's roles or messages are not as the model's chat template wants them.",
            ),
            sign(
                r"(?:didn't pass|need to (?:provide|pass|specify)) .{0,40}`?dataset_text_field",
                r"`formatting_func` should return",
                r"Undefined dataset .{0,80}in dataset_info\.json",
                r"Cannot find valid samples, check",
                r"unhandled prompt tokenization strategy",
                r"Unknown split \W",
                r"BuilderConfig '.*' not found",
                r"Config name is missing",
                r"(?:--do_train|training) requires a train[_ ]dataset|evaluation requires an eval_dataset",
                r"but you didn't pass an `eval_dataset`",
                r"The model did not return a loss from the inputs",
                alone=False,
            ),
            sign(
                r"[Uu]nknown (?:dataset )?(?:column|format|role)",
                r"[Dd]ataset.{0,80}(?:must (?:have|contain)|is missing|missing) .{0,60}(?:column|field|key)",
                r"(?:must have|[Mm]issing|requires) (?:a |the )?(?:required )?columns?\b",
                alone=False,
            ),
            sign(
                r"chat_template is not set",
                says="The rows are conversations, and the tokenizer has no chat template to write them with.",
            ),
            sign(
                r"TypeError: .{0,80}(?:NoneType|str|list|dict|float)",
                r"ValueError: (?:invalid literal for int|could not convert string to float)",
                frames=r"__getitem__|fetch\.py|collat|tokeniz|arrow_dataset|aligner|apply_chat_template|format(?:ting)?_(?:func|prompt)|preprocess",
                alone=False,
                is_certain=False,
            ),
            sign(
                r"(?:Value|Index|Attribute|Assertion)Error",
                frames=r"_map_single|_worker_loop",
                alone=False,
                is_certain=False,
                says="What is done with every row failed on one that is not as it expects.",
            ),
        ),
    ),
    Cause(
        "unknown",
        "pictures do not fit their places in a row",
        says="A row has another number of places for pictures than pictures give: it was cut too short, or the "
        "processor counts them otherwise than the model.",
        fixes=(
            Fix("longer rows (data.max_length, cutoff_len), or smaller pictures (max_pixels)"),
            Fix("versions that belong together", "pip install -U transformers"),
        ),
        signs=(
            sign(
                r"(?:[Ii]mage|[Vv]ideo|[Aa]udio) features and (?:image|video|audio) tokens do not match",
                r"[Mm]ismatch in `?(?:image|video|audio)`? token count between text and",
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
                r"Please pass `features` or at least one example when writing data",
                r'Instruction "\w+" corresponds to no data',
                r"should be either positive and smaller than the number of samples",
                r"the number of shards exceeds the number of samples",
                r"enough samples to at least yield one packed sequence",
                r"Cannot find sufficient samples, consider increasing dataset size",
                r"Index -?\d+ out of range for dataset of size \d+",
            ),
            sign(
                r"With n_samples=\d+.{0,80}the resulting train set will be empty",
                r"the (?:train|test|resulting).{0,20}set will be empty",
            ),
            sign(
                r"[Dd]ataset (?:is|was|seems) (?:empty|too small)",
                r"empty dataset",
                r"[Nn]o (?:rows|(?:training )?(?:samples|examples|data)) (?:left|remain|found|to train|after)",
                r"[Dd]ataset has no (?:rows|samples)",
            ),
            sign(
                r"Unsupported types \(<class 'NoneType'>\) passed to `_gpu_broadcast_one`",
                alone=False,
                is_certain=False,
                says="The first rank had no rows to send to the others.",
            ),
            sign(
                r"^StopIteration",
                frames=r"utils/data/dataloader\.py \w+\Z",
                alone=False,
                is_certain=False,
                says="The data came to its end before the run had its steps.",
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
                r"|fewer) than.{0,60}(?:batch|world|rank|process)",
                r"batch[_ ]size.{0,60}(?:larger|greater|bigger) than.{0,40}(?:dataset|number of (?:rows|samples))",
            ),
            sign(
                r"drop_last.{0,60}(?:no|zero|0) batches", r"dataloader (?:is empty|has (?:zero|no) (?:length|batches))"
            ),
            sign(
                r"IndexError: list index out of range",
                frames=r"datasets/|trainer|sampler|data",
                alone=False,
                is_certain=False,
            ),
        ),
    ),
)
