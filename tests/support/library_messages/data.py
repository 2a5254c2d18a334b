"""Rows, models from the hub and checkpoints, in the words their sources raise or print them with."""

from __future__ import annotations

RAISED = [
    # transformers: tokenization_utils_base.py, models/*/modeling_*.py, 4.0 to 5; peft: utils/other.py
    ("tokenizer_pad_missing", "ValueError", "Asking to pad but the tokenizer does not have a padding token. Please "
     "select a token to use as `pad_token` `(tokenizer.pad_token = tokenizer.eos_token e.g.)`"),
    ("tokenizer_pad_missing", "ValueError", "Cannot handle batch sizes > 1 if no padding token is defined."),
    ("tokenizer_pad_missing", "ValueError", "You are attempting to pad samples but the tokenizer you are using "
     "(GPT2Tokenizer) does not have a pad token."),
    ("tokenizer_pad_missing", "ValueError", "self.model.config.pad_token_id has to be defined."),
    ("dataset_column_error", "ValueError", "Unable to create tensor, you should probably activate truncation and/or "
     "padding with 'padding=True' 'truncation=True' to have batched tensors with the same length."),
    ("dataset_column_error", "ValueError", "too many dimensions 'str'"),
    ("dataset_column_error", "ValueError", "expected sequence of length 64 at dim 1 (got 36)"),
    ("dataset_column_error", "ValueError", "type of None unknown: <class 'NoneType'>. Should be one of a python, "
     "numpy, pytorch or tensorflow object."),
    ("dataset_column_error", "ValueError", "text input must be of type `str` (single example), `List[str]` (batch or "
     "single pretokenized example) or `List[List[str]]` (batch of pretokenized examples)."),
    ("dataset_column_error", "AssertionError", "text input must of type `str` (single example), `List[str]`"),
    ("dataset_column_error", "TypeError", "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, "
     "InputSequence]]"),
    ("dataset_column_error", "ValueError", "Cannot use apply_chat_template() because tokenizer.chat_template is not "
     "set and no template argument was passed!"),
    # transformers: trainer.py
    ("dataset_column_error", "ValueError", "No columns in the dataset match the model's forward method signature. The "
     "following columns have been ignored: [text]."),
    ("dataset_column_error", "ValueError", "Trainer: training requires a train_dataset."),
    # datasets: arrow_dataset.py, table.py, builder.py, formatting/formatting.py
    ("dataset_column_error", "ValueError", "Column name ['labels'] not in the dataset. Current columns in the dataset: "
     "['text']"),
    ("dataset_column_error", "ValueError", "Original column name x not in the dataset. Current columns in the dataset: "
     "['text']"),
    ("dataset_column_error", "IndexError", "Invalid key: 6 is out of bounds for size 0"),
    ("dataset_column_error", "datasets.table.CastError", "Couldn't cast\ninstruction: string\nto\n{'text': "
     "Value(dtype='string', id=None)}\nbecause column names don't match"),
    ("dataset_column_error", "TypeError", "Couldn't cast array of type\nstruct<role: string>\nto\nstring"),
    ("dataset_column_error", "datasets.exceptions.DatasetGenerationError", "An error occurred while generating the "
     "dataset"),
    ("dataset_column_error", "ValueError", "Unknown split \"validation\". Should be one of ['train']."),
    ("dataset_column_error", "KeyError", "'instruction'"),
    # pyarrow and pandas
    ("dataset_column_error", "pyarrow.lib.ArrowInvalid", "JSON parse error: Column() changed from object to array in "
     "row 0"),
    ("dataset_column_error", "pyarrow.lib.ArrowInvalid", "Column 1 named token_type_ids expected length 113 but got "
     "length 112"),
    ("dataset_column_error", "pyarrow.lib.ArrowInvalid", "cannot mix list and non-list, non-null values"),
    ("dataset_column_error", "pandas.errors.ParserError", "Error tokenizing data. C error: Expected 3 fields in line "
     "12, saw 5"),
    # templates of models, through jinja2
    ("dataset_column_error", "jinja2.exceptions.TemplateError", "Conversation roles must alternate "
     "user/assistant/user/assistant/..."),
    ("dataset_column_error", "jinja2.exceptions.UndefinedError", "'str object' has no attribute 'role'"),
    # trl: sft_trainer.py before 0.13; LLaMA-Factory: data/; axolotl: utils/data
    ("dataset_column_error", "ValueError", "You passed `packing=False` to the SFTTrainer, but you didn't pass a "
     "`dataset_text_field` or `formatting_func` argument."),
    ("dataset_column_error", "ValueError", "Undefined dataset my_dataset in dataset_info.json."),
    ("dataset_column_error", "RuntimeError", "Cannot find valid samples, check `data/README.md` for the data format."),
    ("dataset_column_error", "ValueError", "unhandled prompt tokenization strategy: alpaca_x"),
    # torch: utils/data/sampler.py; datasets: arrow_dataset.py, arrow_writer.py, arrow_reader.py
    ("dataset_too_small", "ValueError", "num_samples should be a positive integer value, but got num_samples=0"),
    ("dataset_too_small", "ValueError", "With n_samples=1, test_size=0.1 and train_size=None, the resulting train set "
     "will be empty. Adjust any of the aforementioned parameters."),
    ("dataset_too_small", "datasets.arrow_writer.SchemaInferenceError", "Please pass `features` or at least one "
     "example when writing data"),
    ("dataset_too_small", "IndexError", "Index 49 out of range for dataset of size 20."),
    ("dataset_too_small", "ValueError", 'Instruction "train" corresponds to no data!'),
    # huggingface_hub: utils/_errors.py, utils/_http.py; transformers: utils/hub.py; datasets: load.py
    ("hub_auth_gated", "OSError", "You are trying to access a gated repo.\nMake sure to request access at "
     "https://huggingface.co/meta-llama/Llama-2-7b-hf and pass a token having permission to this repo"),
    ("hub_auth_gated", "huggingface_hub.errors.GatedRepoError", "403 Client Error. (Request ID: x)\n\nCannot access "
     "gated repo for url https://huggingface.co/google/gemma-7b/resolve/main/config.json.\nYour request to access "
     "model google/gemma-7b is awaiting a review from the repo authors."),
    ("hub_auth_gated", "huggingface_hub.errors.LocalTokenNotFoundError", "Token is required (`token=True`), but no "
     "token found."),
    ("hub_auth_gated", "huggingface_hub.errors.HfHubHTTPError", "401 Client Error: Unauthorized for url: "
     "https://huggingface.co/api/whoami-v2\n\nInvalid credentials in Authorization header"),
    ("hub_auth_gated", "datasets.exceptions.DatasetNotFoundError", "Dataset 'bigcode/the-stack' is a gated dataset on "
     "the Hub. Visit the dataset page at https://huggingface.co/datasets/bigcode/the-stack to ask for access."),
    ("hub_not_found_or_offline", "OSError", "foo/bar is not a local folder and is not a valid model identifier listed "
     "on 'https://huggingface.co/models'\nIf this is a private repository, make sure to pass a token having permission "
     "to this repo"),
    ("hub_not_found_or_offline", "huggingface_hub.utils._errors.RepositoryNotFoundError", "401 Client Error. (Request "
     "ID: x)\n\nRepository Not Found for url: https://huggingface.co/foo/bar/resolve/main/config.json.\nPlease make "
     "sure you specified the correct `repo_id` and `repo_type`.\nIf you are trying to access a private or gated repo, "
     "make sure you are authenticated.\nInvalid username or password."),
    ("hub_not_found_or_offline", "OSError", "We couldn't connect to 'https://huggingface.co' to load this file, "
     "couldn't find it in the cached files and it looks like gpt2 is not the path to a directory"),
    ("hub_not_found_or_offline", "ValueError", "Connection error, and we cannot find the requested files in the cached "
     "path. Please try again or make sure your Internet connection is on."),
    ("hub_not_found_or_offline", "requests.exceptions.ConnectionError", "(MaxRetryError(\"HTTPSConnectionPool(host="
     "'huggingface.co', port=443): Max retries exceeded with url: /gpt2/resolve/main/config.json\"))"),
    ("hub_not_found_or_offline", "huggingface_hub.utils._validators.HFValidationError", "Repo id must be in the form "
     "'repo_name' or 'namespace/repo_name': '/data/models/llama'."),
    ("hub_not_found_or_offline", "OSError", "Incorrect path_or_model_id: '/w/models/llama'. Please provide either the "
     "path to a local folder or the repo_id of a model on the Hub."),
    ("hub_not_found_or_offline", "OSError", "Error no file named pytorch_model.bin, tf_model.h5, model.ckpt.index or "
     "flax_model.msgpack found in directory /w/out."),
    ("hub_not_found_or_offline", "ValueError", "Can't find 'adapter_config.json' at '/w/out/checkpoint-100'"),
    ("hub_not_found_or_offline", "ConnectionError", "Couldn't reach 'tatsu-lab/alpaca' on the Hub (ConnectionError)"),
    ("hub_not_found_or_offline", "FileNotFoundError", "Couldn't find a dataset script at /w/alpaca/alpaca.py or any "
     "data file in the same directory."),
    ("hub_not_found_or_offline", "FileNotFoundError", "[Errno 2] No such file or directory: 'data/train.jsonl'"),
    ("hub_not_found_or_offline", "OSError", "Consistency check failed: file should be of size 4976698672 but has size "
     "1234 (model-00001-of-00004.safetensors)."),
    # transformers: dynamic_module_utils.py, 4.27 to 5; datasets: load.py
    ("trust_remote_code_needed", "ValueError", "Loading THUDM/chatglm-6b requires you to execute the configuration "
     "file in that repo on your local machine. Make sure you have read the code there to avoid malicious use, then set "
     "the option `trust_remote_code=True` to remove this error."),
    ("trust_remote_code_needed", "ValueError", "The repository for Qwen/Qwen-7B-Chat contains custom code which must "
     "be executed to correctly load the model. Please pass the argument `trust_remote_code=True`"),
    ("trust_remote_code_needed", "RuntimeError", "Dataset scripts are no longer supported, but found pubmed.py"),
    # torch: optim/optimizer.py, serialization.py, distributed/checkpoint; transformers: trainer.py
    ("resume_mismatch", "ValueError", "loaded state dict contains a parameter group that doesn't match the size of "
     "optimizer's group"),
    ("resume_mismatch", "ValueError", "loaded state dict has a different number of parameter groups"),
    ("resume_mismatch", "_pickle.UnpicklingError", "Weights only load failed. This file can still be loaded, to do so "
     "you have two options"),
    ("resume_mismatch", "ValueError", "Can't find a valid checkpoint at out/checkpoint-500"),
    ("resume_mismatch", "FileNotFoundError", "[Errno 2] No such file or directory: "
     "'out/checkpoint-100/trainer_state.json'"),
    ("resume_mismatch", "RuntimeError", "Error(s) in loading state_dict for PeftModelForCausalLM:\n\tMissing key(s) in "
     "state_dict: \"base_model.model.model.embed_tokens.weight\"."),
    # transformers: trainer.py 4.36 and 4.48, utils/generic; torch: serialization.py; safetensors
    ("save_dir_missing", "RuntimeError", "Parent directory /w/out/checkpoint-5 does not exist."),
    ("save_dir_missing", "FileNotFoundError", "[Errno 2] No such file or directory: './out/tmp-checkpoint-100' -> "
     "'./out/checkpoint-100'"),
    ("save_dir_missing", "OSError", "[Errno 39] Directory not empty: '/x/tmp-checkpoint-s0yubqtr' -> "
     "'/x/checkpoint-50'"),
    ("save_dir_missing", "OSError", "[Errno 30] Read-only file system: '/kaggle/input/out'"),
    ("save_dir_missing", "ValueError", "Output directory (/w/out) already exists and is not empty. Use "
     "--overwrite_output_dir to overcome."),
    ("save_dir_missing", "safetensors_rust.SafetensorError", "Error while serializing: I/O error: Permission denied "
     "(os error 13)"),
    ("disk_full", "safetensors_rust.SafetensorError", "Error while serializing: I/O error: No space left on device (os "
     "error 28)"),
    ("unknown", "safetensors_rust.SafetensorError", "Error while deserializing header: MetadataIncompleteBuffer"),
]  # fmt: skip

IN_CALLS = [
    # datasets: formatting/formatting.py, with LLaMA-Factory's and axolotl's keys
    ("dataset_column_error", "KeyError", "None", ("/x/datasets/formatting/formatting.py", "__getitem__")),
    ("dataset_column_error", "KeyError", "'validation'", ("/x/datasets/dataset_dict.py", "__getitem__")),
    ("dataset_column_error", "KeyError", "'text1'", (r"E:\x\rows.py", "preprocess")),
    ("dataset_column_error", "json.decoder.JSONDecodeError", "Extra data: line 2 column 1 (char 120)",
     ("/x/finetune.py", "make_supervised_data_module")),
    ("dataset_column_error", "RuntimeError", "stack expects each tensor to be equal size, but got [12] at entry 0 and "
     "[20] at entry 1", ("/x/torch/utils/data/_utils/collate.py", "collate_tensor_fn")),
    # LLaMA-Factory: data/mm_plugin.py, in what datasets applies to every row; a row's picture, in a worker of torch
    ("dataset_column_error", "ValueError", "The number of images does not match the number of <image> tokens in [].",
     ("/x/datasets/arrow_dataset.py", "_map_single")),
    ("hub_not_found_or_offline", "FileNotFoundError", "[Errno 2] No such file or directory: '/data/coco/1.jpg'",
     ("/x/torch/utils/data/_utils/fetch.py", "fetch")),
    ("dataset_too_small", "ZeroDivisionError", "integer division or modulo by zero",
     ("/x/transformers/trainer.py", "_inner_training_loop")),
    ("resume_mismatch", "json.decoder.JSONDecodeError", "Expecting value: line 1 column 1 (char 0)",
     ("/x/transformers/trainer_callback.py", "load_from_json")),
    ("resume_mismatch", "_pickle.UnpicklingError", "invalid load key, '\\x00'.",
     ("/x/transformers/trainer.py", "_load_rng_state")),
    ("save_dir_missing", "RuntimeError", "File ./out/checkpoint-10/optimizer.pt cannot be opened.",
     ("/x/torch/serialization.py", "_open_zipfile_writer")),
    ("save_dir_missing", "PermissionError", "[Errno 13] Permission denied: '/models'", ("/x/os.py", "makedirs")),
    ("save_dir_missing", "OSError", "[Errno 5] Input/output error: '/app/out'", ("/x/os.py", "mkdir")),
    ("trust_remote_code_needed", "EOFError", "EOF when reading a line",
     ("/x/transformers/dynamic_module_utils.py", "resolve_trust_remote_code")),
    # anything else with these words
    ("unknown", "KeyError", "'weight_x'", ("/x/model.py", "forward")),
    ("unknown", "PermissionError", "[Errno 13] Permission denied: '/x'", ("/x/peft/utils/save_and_load.py", "load")),
]  # fmt: skip

SURVIVED = [
    # huggingface_hub, peft, datasets, trl: what is said of files that are not needed, and of retries
    "Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-2-7b-hf/resolve/main/config.json.\n"
    "Access to model meta-llama/Llama-2-7b-hf is restricted. - silently ignoring the lookup for the file config.json",
    "'(MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: /x\"))' "
    "thrown while requesting HEAD https://huggingface.co/x/resolve/main/config.json",
    "Skipping row 17: KeyError: 'text'",
    "/x/trl/trainer/utils.py:139: UserWarning: Could not find response key `### Response:` in the following instance",
    "A question of the data: ValueError: Target modules ['q_proj'] not found in the base model. How do I fix it?",
]
