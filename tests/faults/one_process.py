"""Faults of one process: data, adapters, dtypes, gradients, saving and loading."""

from __future__ import annotations

from fault import Fault

FAULTS = [
    Fault("trainer_pad_missing", "tokenizer_pad_missing", "python pad_missing.py",
          "Asking to pad", "Trainer whose collator pads with a tokenizer without a pad token", "data"),
    Fault("tokenize_no_pad", "tokenizer_pad_missing", "python tokenize_no_pad.py",
          "Asking to pad", "tokenizer(texts, padding=True) without a pad token", "data"),
    Fault("classify_no_pad_id", "tokenizer_pad_missing", "python classify.py --num_labels 5 --no_pad_id",
          "Cannot handle batch sizes > 1", "classification with no config.pad_token_id", "forward"),
    Fault("classify_labels", "label_out_of_range", "python classify.py --num_labels 2",
          "is out of bounds", "five labels in the data, num_labels=2", "forward"),
    Fault("labels_loop", "label_out_of_range", "python labels_loop.py",
          "is out of bounds", "plain loop, a label 3 of 3 classes at step 15", "forward"),
    Fault("token_out_of_range", "label_out_of_range", "python added_tokens.py",
          "index out of range in self", "added a pad token, embeddings not resized: a token id outside them", "forward",
          or_also=("unknown",)),
    Fault("trainer_raw_columns", "dataset_column_error", "python raw_columns.py",
          "No columns in the dataset match", "Trainer given rows that were never tokenized", "data"),
    Fault("map_keyerror", "dataset_column_error", "python map_column.py",
          "KeyError: 'instruction'", "dataset.map reads a column that is not there", "data"),
    Fault("trl_columns", "dataset_column_error",
          "sed 's/messages/dialog/' data/train.jsonl > data/dialog.jsonl; python sft.py data/dialog.jsonl",
          "KeyError", "TRL given rows with neither text nor messages", "data"),
    Fault("trl_broken_json", "dataset_column_error",
          "(head -40 data/train.jsonl; echo '{\"messages\": [{\"role\": \"user\", '; tail -5 data/train.jsonl)"
          " > data/broken.jsonl; python sft.py data/broken.jsonl",
          "DatasetGenerationError", "a row cut in the middle in a JSON lines file", "data", or_also=("unknown",)),
    Fault("split_too_small", "dataset_too_small", "head -1 data/train.jsonl > data/one.jsonl; python sft.py data/one.jsonl",
          "the resulting train set will be empty", "train_test_split of a single row", "data"),
    Fault("targets_not_found", "target_modules_not_found", "python targets.py",
          "not found in the base model", "target_modules of another architecture", "prepare"),
    Fault("targets_not_linear", "target_modules_not_found", "python targets_type.py",
          "is not supported", "target_modules names a whole attention block", "prepare"),
    Fault("frozen_loop", "no_grad_inputs", "python frozen.py",
          "does not require grad", "plain loop, every parameter frozen", "backward"),
    Fault("checkpoint_frozen_inputs", "no_grad_inputs", "python checkpoint_reentrant.py",
          "does not require grad", "reentrant checkpointing over a frozen base, inputs need no grad", "backward"),
    Fault("recompute_metadata", "checkpoint_recompute_mismatch", "python recompute.py cache",
          "have different metadata", "a layer's cache grows between forward and recomputation", "backward"),
    Fault("recompute_count", "checkpoint_recompute_mismatch", "python recompute.py skip",
          "number of tensors was saved", "a layer takes another branch when recomputed", "backward"),
]  # fmt: skip
