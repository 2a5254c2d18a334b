"""Every foreign format: recognised by its keys, its values in the rules' words, each with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qltui.configs.foreign.detect import detect
from qltui.configs.foreign.files import read_file
from qltui.configs.foreign.reading import Format, Reading

SAMPLES = Path(__file__).parent / "foreign"
PRESETS = sorted((Path(__file__).parents[2] / "presets").glob("*.yaml"))


def said(tmp_path: Path, text: str, name: str = "config.yaml") -> Reading:
    """What a text says, without a problem."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    reading = read_file(path)
    assert not reading.problems, reading.problems
    return reading


def holds(reading: Reading, **values: Any) -> None:
    """The reading says these values; None stands for one it says nothing of."""
    assert {name: reading.values.get(name) for name in values} == values


def test_accelerate_fsdp2() -> None:
    reading = read_file(SAMPLES / "accelerate_fsdp2.yaml")
    assert (reading.format, reading.engine) == (Format.ACCELERATE, "accelerate")
    assert "distributed_type" in reading.evidence
    holds(
        reading, strategy="fsdp2", use_fsdp=True, use_deepspeed=None, world_size=16, n_gpus=16, n_gpus_per_node=8,
        nodes=2, precision="bf16", cpu_offload_params=True, gc="fsdp", fsdp_sharding="full",
        cpu_ram_efficient_loading=False, state_dict_type="sharded", state_dict_env="sharded",
        wrap_classes=["LlamaDecoderLayer"], method=None,
    )  # fmt: skip
    places = {name: (place.key, place.line) for name, place in reading.places.items()}
    assert places["strategy"] == ("fsdp_config.fsdp_version", 8)
    assert places["precision"] == ("mixed_precision", 4)
    assert reading.ignored == ["compute_environment", "rdzv_backend"]
    assert reading.lines["rdzv_backend"] == 16
    assert not reading.problems


def test_accelerate_names_deepspeeds_file() -> None:
    reading = read_file(SAMPLES / "accelerate_zero.yaml")
    holds(reading, use_deepspeed=True, strategy=None, precision="fp32", world_size=4, zero3_init=True)
    assert reading.references == {"deepspeed_config.deepspeed_config_file": "ds_zero3.json"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("distributed_type: MULTI_GPU\nnum_processes: 4", {"strategy": "ddp", "n_gpus": 4}),
        ("distributed_type: 'NO'\nnum_processes: 1", {"strategy": "single", "n_gpus": 1}),
        ("distributed_type: NO\nnum_processes: 8", {"strategy": None}),  # contradicts itself: nothing is made of it
        ("distributed_type: MULTI_CPU\nnum_processes: 2", {"strategy": "ddp", "gpu_vendor": "cpu", "n_gpus": None}),
        ("distributed_type: MULTI_NPU\nnum_processes: 2", {"strategy": "ddp", "gpu_vendor": "other", "n_gpus": None}),
        ("distributed_type: MEGATRON_LM\nnum_processes: 2", {"strategy": "other"}),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_offload_params: false}", {"strategy": "fsdp1"}),
        ("distributed_type: FSDP\nfsdp_config:\n", {"strategy": "fsdp1", "cpu_offload_params": None}),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_sharding_strategy: 4}", {"fsdp_sharding": "hybrid"}),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 2, offload_optimizer_device: nvme}",
         {"strategy": "zero2", "nvme_opt": True, "cpu_offload_opt": False, "nvme_params": None}),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n"
         "parallelism_config: {parallelism_config_cp_size: 4}",
         {"uses_parallelism_config": True, "sequence_parallel": "cp"}),
        ("distributed_type: MULTI_GPU\ndynamo_config: {dynamo_backend: INDUCTOR}", {"compile": True}),
    ],
)  # fmt: skip
def test_accelerate(tmp_path: Path, text: str, values: dict[str, Any]) -> None:
    holds(said(tmp_path, text), **values)


def test_deepspeed() -> None:
    reading = read_file(SAMPLES / "ds_zero3.json")
    assert (reading.format, reading.engine) == (Format.DEEPSPEED, "deepspeed")
    holds(
        reading, strategy="zero3", use_deepspeed=True, cpu_offload_opt=True, nvme_opt=False, cpu_offload_params=False,
        gather_16bit_on_save=False, gradient_accumulation_steps=4, micro_batch_size=None, max_grad_norm=None,
        precision="bf16",
    )  # fmt: skip
    assert reading.places["cpu_offload_opt"][1:3] == ("zero_optimization.offload_optimizer.device", 9)
    assert reading.ignored == ["zero_optimization.offload_optimizer.pin_memory", "zero_optimization.overlap_comm"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"zero_optimization": {"stage": 0}}', {"strategy": "ddp"}),
        ('{"zero_optimization": {"stage": 2, "cpu_offload": true}}', {"strategy": "zero2", "cpu_offload_opt": True}),
        ('{"zero_optimization": {"stage": "auto"}}', {"strategy": None, "use_deepspeed": True}),
        ('{"train_micro_batch_size_per_gpu": "8"}', {"micro_batch_size": 8, "batch_size": 8, "strategy": None}),
        ('{"train_batch_size": 8, "fp16": {"enabled": false}, "bf16": {"enabled": false}}', {"precision": "fp32"}),
        ('{"train_batch_size": 8, "fp16": {"enabled": false}, "bf16": {"enabled": "auto"}}', {"precision": None}),
        ('{"zero_optimization": {"stage": 3}, "scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 0}}}',
         {"ds_warmup_num_steps": 0}),
    ],
)  # fmt: skip
def test_deepspeed_values(tmp_path: Path, text: str, values: dict[str, Any]) -> None:
    holds(said(tmp_path, text, "ds.json"), **values)


def test_axolotl() -> None:
    reading = read_file(SAMPLES / "axolotl_qlora.yaml")
    assert (reading.format, reading.engine) == (Format.AXOLOTL, "axolotl")
    holds(
        reading, model="Qwen/Qwen3-8B", method="qlora4", has_adapter=True, strategy="fsdp2", use_fsdp=True,
        packing=True, quant_storage="bfloat16", quant_type="nf4", lora_rank=32, lora_targets=["all-linear"],
        max_length=4096, batch_size=2, gradient_accumulation_steps=4, epochs=3.0, optim="paged_adamw_8bit",
        learning_rate=2e-4, precision=None, gc="hf", use_reentrant=False, attn="fa2", liger=True,
        cpu_offload_params=False, state_dict_type="full", trainer="hf", uses_gradient_checkpointing_arg=None,
    )  # fmt: skip
    assert reading.places["strategy"][1:3] == ("fsdp_version", 30)
    assert reading.ignored == ["datasets", "wandb_project"]


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ("", {"method": "full", "has_adapter": False, "strategy": None, "trainer": "hf"}),
        ("adapter: lora\nload_in_8bit: true", {"method": "int8"}),
        ("adapter: lora\nload_in_4bit: true", {"method": "qlora4", "quant_storage": None}),
        ("adapter: lora", {"method": "lora"}),
        ("adapter: ia3", {"method": "other"}),
        ("adapter: lora\ngptq: true", {"method": "other"}),
        ("adapter: '{{ adapter }}'", {"method": None, "has_adapter": None}),
        ("rl: dpo", {"trainer": "trl_dpo"}),
        ("rl: ${RL}", {"trainer": None}),
        ("deepspeed: zero3.json", {"use_deepspeed": True, "strategy": None}),
        ("deepspeed:\nfsdp:\nfsdp_version: 2", {"use_deepspeed": None, "use_fsdp": None, "strategy": None}),
        ("fsdp: [full_shard, auto_wrap, offload]", {"strategy": "fsdp1", "cpu_offload_params": True}),
        ("fsdp_config: {fsdp_version: 2}", {"strategy": "fsdp2"}),
        ("bf16: true", {"precision": "bf16"}),
        ("bf16: false\nfp16: true", {"precision": "fp16"}),
        ("bf16: false", {"precision": None}),
        ("bf16: false\nfp16: false", {"precision": "fp32"}),
        ("bf16: false\nfp16: false\nfloat16: true", {"precision": None, "model_dtype": "float16"}),
        ("gradient_checkpointing: offload", {"gc": "hf"}),
        ("gradient_checkpointing: false", {"gc": "none"}),
        (
            "gradient_checkpointing: true\nfsdp_config: {activation_checkpointing: on}",
            {"gc": "fsdp", "hf_gc_also": True},
        ),
        ("liger_rope: true", {"liger": None}),  # without its plugin it does nothing
        ("reward_model: true", {"task": "seq_cls"}),
        ("flash_attention: true", {"attn": "fa2"}),
        ("adapter: lora\npeft_init_lora_weights: pissa_niter_4", {"init": "pissa_niter"}),
        ("adapter: lora\nlora_modules_to_save: [lm_head]", {"modules_to_save": True}),
        ("resume_from_checkpoint: out/checkpoint-3", {"resume": True}),
    ],
)
def test_axolotl_values(tmp_path: Path, lines: str, values: dict[str, Any]) -> None:
    holds(said(tmp_path, f"base_model: some/model\nsequence_len: 512\nmicro_batch_size: 1\n{lines}\n"), **values)


def test_llama_factory() -> None:
    reading = read_file(SAMPLES / "llamafactory_lora.yaml")
    assert (reading.format, reading.engine) == (Format.LLAMA_FACTORY, "llamafactory")
    holds(
        reading, model="meta-llama/Llama-3.1-8B", method="qlora4", quant_storage="bfloat16", compute_dtype="bfloat16",
        lora_rank=8, lora_targets=["q_proj", "v_proj"], max_length=2048, micro_batch_size=1, gc="hf", attn="fa2",
        trainer="hf", precision="bf16", use_deepspeed=True, strategy=None, uses_gradient_checkpointing_arg=None,
    )  # fmt: skip
    assert reading.references == {"deepspeed": "ds_zero3.json"}
    assert reading.ignored == ["template"]


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ("finetuning_type: full", {"method": "full", "has_adapter": False}),
        ("finetuning_type: oft", {"method": "other"}),
        ("finetuning_type: lora\nquantization_bit: 8", {"method": "int8"}),
        ("finetuning_type: lora\nquantization_bit: 4\nquantization_method: hqq", {"method": "other"}),
        ("finetuning_type: lora\npissa_init: true", {"init": "pissa_niter"}),
        ("finetuning_type: lora\npissa_init: true\npissa_iter: -1", {"init": "pissa"}),
        ("finetuning_type: lora\nstage: dpo\nresize_vocab: true", {"trainer": "trl_dpo", "resize_vocab": True}),
        ("lora_rank: 8", {"method": "lora", "gc": "hf"}),  # its own defaults
        ("finetuning_type: lora\ndisable_gradient_checkpointing: true", {"gc": "none"}),
        ("finetuning_type: lora\nneat_packing: true", {"packing": True}),
    ],
)
def test_llama_factory_values(tmp_path: Path, lines: str, values: dict[str, Any]) -> None:
    text = f"model_name_or_path: m\ntemplate: llama3\ncutoff_len: 512\n{lines}\n"
    holds(said(tmp_path, text), **values)


def test_llama_factory_v1(tmp_path: Path) -> None:
    reading = said(
        tmp_path,
        "model: Qwen/Qwen3-0.6B\nmodel_class: llm\npeft_config: {name: lora, r: 16}\n"
        "quant_config: {name: bnb, quantization_bit: 4}\ndist_config: {name: fsdp2}\ncutoff_len: 512\n",
    )
    assert reading.format is Format.LLAMA_FACTORY_V1
    holds(reading, method="qlora4", strategy="fsdp2", use_fsdp=True, lora_rank=16, max_length=512)


def test_trl() -> None:
    reading = read_file(SAMPLES / "trl_dpo.yaml")
    assert (reading.format, reading.engine) == (Format.TRAINER, "trl")
    holds(
        reading, method="qlora4", has_adapter=True, quant_storage="bfloat16", model_dtype="bfloat16", trainer="trl_dpo",
        lora_targets_router=True, batch_size=4, gc="hf", uses_gradient_checkpointing_arg=True, max_length=1024,
        max_steps=None, precision="bf16", save_total=3, strategy=None, compute_dtype=None,
    )  # fmt: skip
    assert reading.places["method"][1:3] == ("load_in_4bit", 4)


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ("", {"method": None, "strategy": None, "precision": None, "gc": None}),
        ("use_peft: true", {"method": "lora"}),
        ("use_peft: false", {"method": "full"}),
        ("use_peft: true\nload_in_8bit: true", {"method": "int8"}),
        ("use_peft: true\nload_in_4bit: ${FOUR}", {"method": None}),
        ("fsdp: full_shard auto_wrap offload", {"use_fsdp": True, "strategy": None, "cpu_offload_params": True}),
        ("fsdp: ''", {"use_fsdp": None}),
        ("fsdp: true\nfsdp_config: {version: 2, reshard_after_forward: false}",
         {"strategy": "fsdp2", "fsdp_sharding": "grad_op"}),
        ("deepspeed: {zero_optimization: {stage: 2}}", {"strategy": "zero2", "use_deepspeed": True}),
        ("num_generations: 8", {"trainer": "trl_grpo"}),
        ("env:\n  NCCL_P2P_DISABLE: 1", {"env": {"NCCL_P2P_DISABLE": "1"}}),
        ("use_flash_attention_2: yes", {"attn": "fa2"}),
        ("lora_task_type: SEQ_CLS", {"task": "seq_cls"}),
        ("ddp_find_unused_parameters: False", {"find_unused": False}),
        ("lora_modules_to_save: []", {"modules_to_save": False}),
        ("learning_rate: 1e-4", {"learning_rate": 1e-4}),
    ],
)  # fmt: skip
def test_trainer_values(tmp_path: Path, lines: str, values: dict[str, Any]) -> None:
    holds(said(tmp_path, f"model_name_or_path: m\nnum_train_epochs: 1\n{lines}\n"), **values)


FLAT = """read -r -d '' training_commands <<EOF
openrlhf.cli.train_sft \\
   --max_len 2048 --micro_train_batch_size 2 \\
   --pretrain meta-llama/Meta-Llama-3-8B \\
   --zero_stage 3 \\
   --bf16 --flash_attn --packing_samples \\
   --lora_rank 64 --load_in_4bit \\
   --input_template $'User: {}\\nAssistant: '
EOF
if [[ ${1} != "slurm" ]]; then
    deepspeed --num_gpus 8 --module $training_commands
fi
"""
DOTTED = """ray job submit --address="http://127.0.0.1:8265" --runtime-env-json='{"working_dir": "/openrlhf"}' \\
   -- python3 -m openrlhf.cli.train_ppo_ray --actor.num_nodes 2 --actor.num_gpus_per_node 8 \\
   --actor.model_name_or_path Qwen/Qwen3-8B --ds.lora.rank 64 --ds.lora.dropout 0.1 \\
   --ds.adam_offload --train.batch_size 128 --actor.adam.lr 5e-7 --actor.gradient_checkpointing_enable \\
   --vllm.num_engines 4 --reward.remote_url http://localhost:5000
"""


def test_openrlhf_from_the_script_that_writes_its_command_down(tmp_path: Path) -> None:
    reading = said(tmp_path, FLAT, "train_sft_llama.sh")
    assert (reading.format, reading.engine) == (Format.COMMAND, "openrlhf")
    holds(
        reading, model="meta-llama/Meta-Llama-3-8B", strategy="zero3", method="qlora4", lora_rank=64, max_length=2048,
        micro_batch_size=2, precision="bf16", attn="fa2", packing=True, gc="none", quant_storage="uint8",
        compute_dtype="bfloat16", has_adapter=True, trainer="openrlhf_sft", n_gpus=8, launcher="deepspeed",
    )  # fmt: skip
    places = {name: (place.key, place.line) for name, place in reading.places.items()}
    assert (places["strategy"], places["lora_rank"]) == (("zero_stage", 5), ("lora_rank", 7))
    assert reading.ignored == ["--input_template"]


def test_openrlhf_by_its_dotted_names(tmp_path: Path) -> None:
    reading = said(tmp_path, DOTTED, "ppo.sh")
    holds(
        reading, model="Qwen/Qwen3-8B", strategy="zero2", method="lora", lora_rank=64, lora_dropout=0.1, gc="hf",
        use_reentrant=False, cpu_offload_opt=True, precision="bf16", learning_rate=5e-7, global_batch_size=128,
        trainer="openrlhf_ppo_vllm", n_gpus=16, n_gpus_per_node=8, nodes=2,
    )  # fmt: skip
    assert reading.ignored == ["--reward.remote_url"]


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("--pretrain m --micro_train_batch_size 1", {"method": "full", "has_adapter": False, "precision": None}),
        ("--pretrain m --micro_train_batch_size 1 --zero_stage $STAGE --param_dtype fp16",
         {"strategy": None, "precision": "fp16", "model_dtype": "float16"}),
        ("--ds.zero_stage 0 --ds.load_in_4bit", {"strategy": "ddp", "method": "qlora4", "has_adapter": False}),
        ("--ds.zero_stage 2 --ds.tensor_parallel_size 2", {"strategy": "other"}),
        ("--ds.zero_stage 2 --ds.lora.rank $RANK", {"strategy": "zero2", "method": None, "has_adapter": None}),
        ("--train.micro_batch_size 1 --backend fsdp2", {"strategy": "fsdp2", "use_deepspeed": None}),
    ],
)  # fmt: skip
def test_openrlhf_values(tmp_path: Path, arguments: str, values: dict[str, Any]) -> None:
    reading = said(tmp_path, f"deepspeed ../train_sft.py {arguments}\n", "train.sh")
    assert reading.engine == "openrlhf"
    holds(reading, **values)


def test_a_device_map_may_be_called_auto(tmp_path: Path) -> None:
    holds(said(tmp_path, "base_model: m\nsequence_len: 8\ndevice_map: auto\n"), device_map="auto",
          device_map_replaced=True)  # fmt: skip
    own = said(tmp_path, "model_name_or_path: m\nnum_train_epochs: 1\ndevice_map: auto\n")
    holds(own, device_map="auto", device_map_replaced=False)
    trl = "model_name_or_path: m\nnum_train_epochs: 1\nmodel_init_kwargs: {device_map: auto}\n"
    holds(said(tmp_path, trl), device_map="auto", device_map_replaced=True)


def test_trainer_as_json(tmp_path: Path) -> None:
    text = '{\n"model_name_or_path": "m",\n"per_device_train_batch_size": 2,\n"bf16": true\n}'
    reading = said(tmp_path, text, "args.json")
    assert reading.format is Format.TRAINER
    assert reading.places["precision"][1:3] == ("bf16", 4)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["model.path", "data.path", "method.name"], Format.QLTUI),
        (["schema_version", "model", "data"], Format.QLTUI),
        (["zero_optimization.stage"], Format.DEEPSPEED),
        (["train_batch_size", "fp16.enabled", "gradient_clipping"], Format.DEEPSPEED),
        (["compute_environment", "mixed_precision"], Format.ACCELERATE),
        (
            ["model_name_or_path", "learning_rate", "bf16", "seed", "finetuning_type"],
            Format.LLAMA_FACTORY,
        ),
        (["model_name_or_path", "learning_rate"], Format.TRAINER),
        (["base_model", "learning_rate"], Format.AXOLOTL),
        (["fsdp_transformer_layer_cls_to_wrap", "xla"], Format.FSDP),
        (["name", "on", "jobs"], None),
        (["seed"], None),
        (["architectures", "hidden_size", "num_attention_heads", "dtype"], None),
        ([], None),
    ],
)
def test_told_by_keys(keys: list[str], found: Format | None) -> None:
    assert detect(keys)[0] is found


@pytest.mark.parametrize(
    "preset", sorted((Path(__file__).parents[2] / "presets").glob("*.yaml")), ids=lambda path: path.stem
)
def test_own_runs_are_known(preset: Path) -> None:
    reading = read_file(preset)
    assert (reading.format, reading.problems) == (Format.QLTUI, [])
