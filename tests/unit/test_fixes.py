"""``check --fix``: after it nothing blocks that had a fix, a second time changes nothing, and the rest stays."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qltui.advice.evaluation import evaluate
from qltui.advice.findings import Finding, Severity
from qltui.advice.setup import Setup
from qltui.cli.main import main
from qltui.configs.fixing import fixed
from qltui.configs.foreign.reading import Reading
from qltui.configs.foreign.together import read
from qltui.configs.mending import Fix, mend
from qltui.facts import versions
from qltui.facts.architecture import find

AXOLOTL = "base_model: org/model  # any\nsequence_len: 2048\nmicro_batch_size: 2\n"
TRAINER = "model_name_or_path: org/model\nper_device_train_batch_size: 2\noutput_dir: out\nnum_train_epochs: 1\n"
TRL = TRAINER + "use_peft: true\n"
FACTORY = "model_name_or_path: org/model\nstage: sft\nfinetuning_type: lora\ncutoff_len: 1024\n"
SETTINGS = "fsdp_config:\n  # as it was\n  state_dict_type: FULL_STATE_DICT\n"
ACCELERATE = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  # how much
  fsdp_activation_checkpointing: {checkpointing}
  fsdp_state_dict_type: FULL_STATE_DICT
num_processes: 2
"""
ZERO = '{\n  "zero_optimization": {\n    "stage": %d // why not\n  },\n  "gradient_clipping": 1.0 // last\n}\n'


def advise(reading: Reading) -> list[Finding]:
    there = {name: version for name in versions.TESTED if (version := versions.installed(name))}
    known = {"Qwen/Qwen3-30B-A3B": find("Qwen/Qwen3-30B-A3B")}.get(reading.values.get("model", ""))
    return evaluate(Setup.of_values(reading.values, reading.engine, None, known, there | {"trl": "1.16.0"}))


def blocks(reading: Reading) -> list[Finding]:
    return [finding for finding in advise(reading) if finding.severity is Severity.BLOCK]


def mended(paths: list[Path]) -> tuple[list[Finding], list[Finding]]:
    """Blocks before and after the fixes are written, which must change nothing when they are asked for again."""
    (reading,) = read(paths)
    before = blocks(reading)
    fix = fixed(reading, advise(reading), advise)
    for path, text in (fix.texts if fix else {}).items():
        Path(path).write_text(text)
    (again,) = read(paths)
    second = fixed(again, advise(again), advise)
    assert second is None or not second.texts, second.diff
    return before, blocks(again)


CASES: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "int8 under Axolotl's FSDP1": (
        {"a.yml": f"{AXOLOTL}adapter: lora\nload_in_8bit: true\nfsdp:\n  - full_shard\n{SETTINGS}bf16: true  # yes\n"},
        "fsdp-int8", ["-fsdp:", "-  - full_shard", "-fsdp_config:"]),
    "Axolotl's storage, which the file leaves out": (
        {"a.yml": f"{AXOLOTL}adapter: qlora\nload_in_4bit: true # four\nfp16: true\nfsdp_version: 2\n{SETTINGS}"},
        "fsdp2-4bit-storage-cast",
        [" load_in_4bit: true # four\n+bnb_config_kwargs:\n+  bnb_4bit_quant_storage: uint8\n"]),
    "preferences under Axolotl's FSDP2": (
        {"a.yml": f"{AXOLOTL}rl: dpo\nadapter: qlora\nload_in_4bit: true\nfsdp_version: 2\n{SETTINGS}"},
        "axolotl-fsdp2-quantised-preferences", ["+adapter: lora", "+load_in_4bit: false"]),
    "LoftQ in Axolotl": (
        {"a.yml": f"{AXOLOTL}adapter: qlora\nload_in_4bit: true\npeft:\n  loftq_config:\n    loftq_bits: 4\n"},
        "quantised-loftq", ["-peft:\n-  loftq_config:\n-    loftq_bits: 4\n"]),
    "both in Axolotl": (
        {"a.yml": f"{AXOLOTL}adapter: lora\ndeepspeed: z.json\nfsdp:\n- full_shard\n", "z.json": ZERO % 2},
        "deepspeed-and-fsdp", ["-fsdp:\n-- full_shard\n"]),
    "TRL's storage, which the command leaves out": (
        {"t.sh": "accelerate launch --use_fsdp --num_processes 2 trl/scripts/sft.py \\\n    --use_peft --bf16 \\\n"
                 "    --load_in_4bit true --output_dir out  # go\n"},
        "fsdp1-4bit-uint8",
        ["+    --load_in_4bit true --output_dir out \\\n+    --bnb_4bit_quant_storage bfloat16  # go"]),
    "int8 under FSDP by options": (
        {"t.sh": "accelerate launch --use_fsdp --fsdp_version 2 --num_processes 2 sft.py --use_peft --load_in_8bit\n"},
        "fsdp-int8", ["+accelerate launch --fsdp_version 2 --num_processes 2 --multi_gpu sft.py --use_peft"]),
    "an adapter asked for by nobody": (
        {"t.sh": "trl sft --model_name_or_path org/model --load_in_4bit\n"},
        "quantised-without-adapter", ["--load_in_4bit --use_peft true"]),
    "reentrant checkpointing in JSON between quotes": (
        {"t.sh": "accelerate launch --multi_gpu --num_processes 2 sft.py --use_peft --ddp_find_unused_parameters true "
                 "--gradient_checkpointing true --gradient_checkpointing_kwargs '{\"use_reentrant\": true}'\n"},
        "ddp-marked-ready-twice", ["--ddp_find_unused_parameters false "]),
    "FSDP's checkpointing for the model's own": (
        {"t.yaml": f"{TRL}bf16: true\n", "acc.yaml": ACCELERATE.format(checkpointing="true")},
        "fsdp2-adapter-saved-empty",
        ["+  fsdp_activation_checkpointing: false", " bf16: true\n+gradient_checkpointing: true"]),
    "checkpointing twice": (
        {"t.yaml": f"{TRL}gradient_checkpointing: true\n", "acc.yaml": ACCELERATE.format(checkpointing="true")},
        "fsdp-checkpointing-twice", ["+  fsdp_activation_checkpointing: false"]),
    "storage in TRL's file": (
        {"t.yaml": f"{TRL}bf16: true\nload_in_4bit: true\nbnb_4bit_quant_storage: bfloat16  # no\n",
         "acc.yaml": ACCELERATE.format(checkpointing="false")},
        "fsdp2-4bit-storage-damaged", ["+bnb_4bit_quant_storage: uint8  # no"]),
    "words of FSDP1 in Trainer's": (
        {"t.yaml": f"{TRAINER}fsdp: hybrid_shard auto_wrap\n"}, "fsdp2-hybrid", ['+fsdp: "full_shard auto_wrap"']),
    "the same in a list": (
        {"t.yaml": f"{TRAINER}fsdp:\n- hybrid_shard\n- auto_wrap\nseed: 1\n"},
        "fsdp2-hybrid", ["+fsdp: [full_shard, auto_wrap]"]),
    "a number that differs": (
        {"t.yaml": f"{TRAINER}max_grad_norm: 2.0\ndeepspeed: z.json\n", "z.json": ZERO % 2},
        "deepspeed-values-differ", ['+  "gradient_clipping": "auto"']),
    "a stage": (
        {"f.yaml": f"{FACTORY}quantization_bit: 8\ndeepspeed: z.json\n", "z.json": ZERO % 3},
        "llamafactory-int8-sharded", ['+    "stage": 2']),
    "PiSSA in LLaMA-Factory": (
        {"f.yaml": f"{FACTORY}pissa_init: true\npissa_iter: 16\nquantization_bit: 4\n"},
        "quantised-decomposing-init", ["-pissa_init: true\n-pissa_iter: 16\n"]),
    "bits that contradict in Axolotl": (
        {"a.yml": f"{AXOLOTL}adapter: qlora\nload_in_8bit: true  # eight\n"},
        "bits-contradict", ["+load_in_8bit: false  # eight", "+load_in_4bit: true"]),
    "both bits in TRL": (
        {"t.yaml": f"{TRL}load_in_4bit: true\nload_in_8bit: true\n"}, "bits-contradict", ["+load_in_8bit: false"]),
    "quantised weights trained whole by Axolotl": (
        {"a.yml": f"{AXOLOTL}load_in_4bit: true\n"}, "quantised-without-adapter", ["+adapter: lora"]),
    "TRL's dropout on experts, which the command leaves out": (
        {"t.sh": "trl sft --model_name_or_path Qwen/Qwen3-30B-A3B --use_peft --lora_target_modules all-linear\n"},
        "peft-experts-dropout", ["--lora_target_modules all-linear --lora_dropout 0.0"]),
    "values beside DeepSpeed's file": (
        {"acc.yaml": "compute_environment: LOCAL_MACHINE\ndistributed_type: DEEPSPEED\ndeepspeed_config:\n"
                     "  deepspeed_config_file: z.json\n  zero_stage: 3\n  zero3_init_flag: true # stays\n",
         "z.json": ZERO % 3},
        "deepspeed-file-and-more", ["-  zero_stage: 3"]),
    "loading that nothing synchronises": (
        {"t.yaml": TRL, "acc.yaml": ACCELERATE.format(checkpointing="false").replace(
            "  # how much", "  fsdp_cpu_ram_efficient_loading: true\n  fsdp_sync_module_states: false\n  # how much")},
        "fsdp-efficient-loading-unsynchronised", ["+  fsdp_sync_module_states: true"]),
    "quantised and trained whole": (
        {"f.yaml": FACTORY.replace("type: lora", "type: full") + "quantization_bit: 4\n"},
        "quantised-without-adapter", ["+finetuning_type: lora"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_a_file_lacks_is_written(name: str, tmp_path: Path) -> None:
    files, rule, lines = CASES[name]
    paths = [tmp_path / file for file in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    (reading,) = read(paths)
    fix = fixed(reading, advise(reading), advise)
    assert fix is not None
    assert all(line in fix.diff for line in lines), fix.diff
    before, after = mended(paths)
    assert rule in {finding.rule for finding in before}
    assert [finding.rule for finding in after if finding.fix] == []
    for path, text in zip(paths, files.values(), strict=True):
        now = path.read_text()
        comments = [line for line in text.splitlines() if line.strip().startswith("#")]
        assert "-fsdp_config:" in fix.diff or all(line in now for line in comments), "a comment is gone"


def test_lora_under_fsdp1_moves_to_fsdp2_and_says_so_in_its_section(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(TRL)
    old = ACCELERATE.format(checkpointing="false").replace("  fsdp_version: 2\n", "")
    (tmp_path / "acc.yaml").write_text(old)
    before, after = mended([tmp_path / "t.yaml", tmp_path / "acc.yaml"])
    assert [finding.rule for finding in before] == ["fsdp1-adapter-saved-empty"]
    assert after == []
    new = old.replace("num_processes", "  fsdp_version: 2\nnum_processes")
    assert (tmp_path / "acc.yaml").read_text() == new


def lines(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Some of the keys, each with one of its values, in any order."""
    some = st.fixed_dictionaries({}, optional=choices)
    return some.flatmap(
        lambda values: st.permutations([f"{key}: {value}\n" for key, value in values.items()]).map("".join)
    )


flags = st.sampled_from(["true", "false"])
common = {
    "bf16": flags, "fp16": flags, "save_only_model": flags, "load_best_model_at_end": flags,
    "ddp_find_unused_parameters": flags, "auto_find_batch_size": flags,
    "gradient_checkpointing": flags, "gradient_checkpointing_kwargs": st.sampled_from(["{use_reentrant: true}", "{}"]),
}  # fmt: skip
optimizers = st.sampled_from(["adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit"])
fsdp_settings = st.sampled_from([
    "", SETTINGS, "fsdp_config: {version: 1}\n", "fsdp_config:\n    state_dict_type: SHARDED_STATE_DICT\n",
    "fsdp_config:\n  activation_checkpointing: true # x\n  cpu_ram_efficient_loading: true\n",
])  # fmt: skip
axolotl = st.tuples(
    st.just(AXOLOTL), fsdp_settings,
    lines(adapter=st.sampled_from(["lora", "qlora"]), load_in_4bit=flags, load_in_8bit=flags, optimizer=optimizers,
          rl=st.sampled_from(["dpo", "kto"]), sample_packing=flags, fsdp_version=st.sampled_from([1, 2]),
          fsdp=st.just("[full_shard, auto_wrap]"), lora_modules_to_save=st.just("\n  - lm_head"),
          peft_init_lora_weights=st.sampled_from(["pissa", "olora", "true"]), **common),
).map("".join)  # fmt: skip
trl = st.tuples(
    st.just(TRAINER), fsdp_settings,
    lines(use_peft=flags, load_in_4bit=flags, load_in_8bit=flags, optim=optimizers,
          bnb_4bit_quant_storage=st.sampled_from(["uint8", "bfloat16", "float16"]), packing=flags,
          fsdp=st.sampled_from(["full_shard", "hybrid_shard auto_wrap", "[shard_grad_op, offload]", "true"]),
          torch_dtype=st.sampled_from(["bfloat16", "float16"]), init_lora_weights=st.sampled_from(["pissa", "true"]),
          **common),
).map("".join)  # fmt: skip
factory = st.tuples(
    st.just(FACTORY), fsdp_settings,
    lines(quantization_bit=st.sampled_from([4, 8]), optim=optimizers, pissa_init=flags, use_reentrant_gc=flags,
          fsdp=st.sampled_from(["full_shard", "hybrid_shard"]), **common),
).map("".join)  # fmt: skip


BY_WAY_OF_MORE = f"{TRL}gradient_checkpointing_kwargs: {{use_reentrant: true}}\noptim: adamw_bnb_8bit\n"
"""Moved to FSDP2, it has two blocks instead of one, and both are mended."""


@settings(max_examples=100, deadline=None)
@example(BY_WAY_OF_MORE, "acc1")
@given(st.one_of(axolotl, trl, factory), st.sampled_from([None, "acc1", "acc2", "zero2", "zero3"]))
def test_no_block_with_a_fix_is_left_and_a_second_time_changes_nothing(text: str, beside: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.yaml"
        path.write_text(text)
        paths = [path]
        if beside is not None:
            other = Path(folder) / ("z.json" if "zero" in beside else "acc.yaml")
            launch = ACCELERATE.format(checkpointing="true")
            other.write_text(ZERO % int(beside[-1]) if "zero" in beside else launch.replace("n: 2", f"n: {beside[-1]}"))
            paths.append(other)
            if "zero" in beside:
                path.write_text(f"{text}deepspeed: z.json\n")
        _, after = mended(paths)
        assert [(finding.rule, dict(finding.fix)) for finding in after if finding.fix] == []


def test_fixes_that_go_in_circles_or_bring_up_more_than_they_mend_are_not_written() -> None:
    found = {
        "lora": [Fix("too-large", True, {"method": "qlora"})],
        "qlora": [Fix("too-slow", True, {"method": "lora"})],
        "int8": [Fix("too-old", True, {"method": "full"})],
        "full": [Fix("too-large", True, {}), Fix("too-many", True, {})],
    }  # fmt: skip

    def advise(texts: Mapping[str, str]) -> list[Fix]:
        return found[texts["a"]]

    def apply(texts: Mapping[str, str], patch: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        return {"a": patch.get("method", texts["a"])}, {}

    for text in ("lora", "qlora", "int8"):
        assert mend({"a": text}, found[text], advise, apply).texts == {"a": text}


def test_our_own_files_are_mended_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "The tide comes in."}\n')
    file = tmp_path / "run.yaml"
    text = (
        "# One of ours.\nmodel: Qwen/Qwen3-8B  # base\ndata: rows.jsonl\nmethod: full\nstrategy: pipeline # layers\n"
        "hardware:\n  # CPU ranks\n  device: cpu\nprecision: fp16\nmax_length: 1024\n"
    )
    file.write_text(text)
    assert main(["check", str(file)]) == 1
    shown = capsys.readouterr().out
    assert "    -strategy: pipeline # layers\n    +strategy: zero3 # layers\n" in shown
    assert file.read_text() == text
    assert main(["check", str(file), "--fix"]) == 0
    new = file.read_text()
    assert new == text.replace("pipeline", "zero3").replace("precision: fp16", "precision: auto")
    main(["check", str(file), "--fix"])
    assert file.read_text() == new


def test_fields_our_file_leaves_out_are_written_in_their_section_or_by_their_short_name(tmp_path: Path) -> None:
    from qltui.configs.run_text import with_values

    text = "model: m\ntraining:\n  seed: 1  # any\n  epochs: 1\n# the end\n"
    assert with_values(text, {"training.optimizer": "adamw"})[0] == text.replace(
        "  epochs: 1\n", "  epochs: 1\n  optimizer: adamw\n"
    )
    assert with_values(text, {"strategy.name": "ddp"})[0] == text.replace("# the end", "strategy: ddp\n# the end")
    assert with_values(text, {"method.lora.dropout": 0.0})[0] == text.replace(
        "# the end", "method:\n  lora:\n    dropout: 0.0\n# the end"
    )
    short = "model: m\nmethod: qlora\n"
    assert with_values(short, {"method.lora.dropout": 0.0})[0] == f"{short}method.lora.dropout: 0.0\n"
    assert with_values("hardware: {gpus: ['1'], ranks_per_node: 2}\n", {"hardware.gpus": []})[0] == (
        "hardware: {gpus: [], ranks_per_node: 2}\n"
    )
    alone = "model: m\nhardware:\n  ranks_per_node: 2\n"
    assert with_values(alone, {"hardware.ranks_per_node": None})[0] == "model: m\n"


def test_ends_of_lines_stay_in_our_own_files(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "The tide comes in."}\n')
    file = tmp_path / "run.yaml"
    text = "model: Qwen/Qwen3-8B\r\ndata: rows.jsonl\r\nprecision: fp16  # half\r\nhardware:\r\n  device: cpu\r\n"
    file.write_bytes(text.encode())
    main(["check", str(file), "--fix"])
    assert file.read_bytes().decode() == text.replace("fp16", "auto")


def test_a_field_that_our_file_has_no_place_for_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "The tide comes in."}\n')
    file = tmp_path / "run.json"
    text = (
        '{"model": "gpt2", "data": "rows.jsonl", "method": "lora", "hardware": {"device": "cpu"}, "precision": "fp16"}'
    )
    file.write_text(text)
    main(["check", str(file), "--fix"])
    assert "not mended: data.max_length: can't be rewritten by itself in this file" in capsys.readouterr().err
    assert file.read_text() == text.replace("fp16", "auto")
