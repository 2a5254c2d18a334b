"""What is offered for the death of a run of ours: patches that change something and may be, with what they come to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.runs import DEMO
from support.small_runs import config as small_config

from engine.config import RunConfig, get
from engine.config.reading import read, read_file
from engine.events import EventWriter, RunDirectory, write_json
from qltui.advice import planner
from qltui.advice.lengths import of_rows
from qltui.advice.memory import Phase, total
from qltui.facts import gpus as gpu_facts
from qltui.facts import machine as machines
from qltui.facts.gpus import Gpu
from qltui.runs import launching, plan_file, recovery, status
from qltui.runs.assessment import assess, find_architecture
from qltui.runs.diagnosis import fixes as fix_rules
from qltui.runs.diagnosis.causes import BY_ID
from qltui.runs.diagnosis.continuing import first_bad_step, start_of
from qltui.runs.diagnosis.diagnosis import Diagnosis, Evidence, of_cause
from qltui.runs.diagnosis.fixes import apply_patch, with_fixes
from qltui.runs.diagnosis.memory_fixes import gpu_fixes, host_fixes
from qltui.runs.diagnosis.own_runs import diagnose_end
from qltui.runs.diagnosis.prediction import GROWING, Correction, Predictor, correct

GIB = 2**30
LLAMA = "meta-llama/Llama-3.1-8B"
HEADER = "Traceback (most recent call last):"
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 6.00 GiB. GPU 0 has a total capacity of 23.52 GiB of which 1.02 GiB is free."
    " Including non-PyTorch memory, this process has 22.50 GiB memory in use. Of the allocated memory 21.00 GiB is"
    " allocated by PyTorch, and 300.00 MiB is reserved by PyTorch but unallocated."
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def llama(**values: object) -> RunConfig:
    tree = {"model": LLAMA, "data": "/no/data.jsonl", "max_length": 1024, "method": "qlora", **values}
    return read(tree, where="test", base=Path("/"))


def fixes(config: RunConfig, machine: str, measured: dict[str, float], **more: Any) -> list[Any]:
    architecture = find_architecture(LLAMA)
    assert architecture is not None
    taken = {phase: int(size * GIB) for phase, size in measured.items()}
    plain = Predictor(architecture, machines.parse(machine), more.get("lengths"), others=more.get("others", 0))
    found, _ = gpu_fixes(config, plain, taken, next(iter(measured)), more.get("allowed", lambda _config: True))
    return found


def plan_of(config: RunConfig, machine: str) -> Any:
    architecture = find_architecture(LLAMA)
    assert architecture is not None
    return Predictor(architecture, machines.parse(machine), None).plan(config)


def test_a_plan_is_corrected_by_what_was_measured() -> None:
    plan = plan_of(llama(micro_batch_size=2, **{"training.loss": "full"}), "1xRTX 4090")
    backward = plan.phases[Phase.BACKWARD]
    growing = sum(backward.get(part, 0) for part in GROWING)
    as_measured = {"backward": total(backward) + growing}
    assert correct(plan, as_measured).factor == pytest.approx(2)
    assert correct(plan, as_measured).allocated(plan) == pytest.approx(total(backward) + growing)
    assert correct(plan, {"optimizer": total(plan.phases[Phase.OPTIMIZER]) + GIB}) == Correction(1.0, GIB)
    assert correct(plan, {"backward": 1, "load": 1, "save": 99 * GIB}) == Correction(), "never downwards"
    both = correct(plan, {"load": total(plan.phases[Phase.LOAD]) + GIB, **as_measured})
    assert both.offset == GIB
    assert both.factor == pytest.approx(2 - GIB / growing)


def test_smaller_batches_keep_the_rows_of_a_step() -> None:
    config = llama(micro_batch_size=4, gradient_accumulation_steps=3)
    first, *_ = fixes(config, "1xRTX 4090", {"backward": 36})
    after = planner.with_values(config, dict(first.patch)).training
    assert after.micro_batch_size * after.gradient_accumulation_steps == 12
    assert re.match(r"\d+\.\d → \d+\.\d GiB per GPU, (~\d+ % slower|same speed)", first.effect), first.effect


def test_what_fits_comes_first_and_what_learns_the_same_before_what_does_not() -> None:
    found = fixes(llama(micro_batch_size=4), "1xRTX 4090", {"backward": 36})
    learnt = [bool({"data.max_length", "method.name"} & dict(fix.patch).keys()) for fix in found]
    assert learnt == sorted(learnt)
    assert {True, False} == set(learnt)
    assert all("does not fit" not in fix.effect for fix in found)


def test_one_row_that_does_not_fit_is_recomputed_sharded_or_cut() -> None:
    config = llama(strategy="ddp", method="lora", gradient_accumulation_steps=4)
    found = fixes(config, "2xRTX 4090", {"backward": 27})
    patched = [dict(fix.patch) for fix in found]
    assert not any(one.get("training.micro_batch_size") for one in patched)
    assert any(one.get("strategy.name") == "fsdp2" for one in patched)
    assert any("training.gradient_checkpointing" in one for one in patched)


def test_a_death_that_the_plan_did_not_see_still_has_ways_out() -> None:
    """Where all that is known says that it fits, it took at least all there was."""
    config = llama(micro_batch_size=2)
    (first, *_) = fixes(config, "1xH100-80", {"backward": 10})
    before = float(first.effect.split()[0])
    assert before >= 79


def test_what_others_hold_of_the_card_is_no_room() -> None:
    config = llama(micro_batch_size=8)

    def most_rows(**more: Any) -> int:
        found = [dict(fix.patch) for fix in fixes(config, "1xH100-80", {"backward": 82}, **more)]
        return max(one.get("training.micro_batch_size", 0) for one in found if one.keys() == recovery.SAME_RESULTS)

    assert most_rows(others=40 * GIB) < most_rows()


def test_shorter_rows_say_how_many_are_cut() -> None:
    lengths = of_rows(range(1, 1025), 1024, shortest=1, longest=1024, measured=True)
    config = llama(micro_batch_size=4)
    found = fixes(config, "1xRTX 4090", {"backward": 36}, lengths=lengths)
    (effect,) = [fix.effect for fix in found if fix.patch == (("data.max_length", 512),)]
    assert "; 50 % of the rows are cut (0 % were)" in effect


def test_logits_that_are_all_there_at_once_are_taken_in_chunks() -> None:
    config = llama(max_length=8192, **{"training.loss": "full", "training.gradient_checkpointing": "all"})
    first, *_others = fixes(config, "1xRTX 4090", {"backward": 27})
    assert (first.title, first.patch) == ("the loss in chunks of tokens", (("training.loss", "auto"),))
    before, after = re.match(r"(\d+\.\d) → (\d+\.\d) GiB per GPU, same speed", first.effect).groups()
    assert float(before) - float(after) > 8, "of 8,192 x 128,256 logits little is left"
    in_chunks = fixes(llama(max_length=8192, micro_batch_size=4), "1xRTX 4090", {"backward": 36})
    assert in_chunks
    assert all("training.loss" not in dict(fix.patch) for fix in in_chunks)


def test_inputs_of_layers_may_wait_on_the_host() -> None:
    config = llama(max_length=32768, **{"training.gradient_checkpointing": "all"})
    (fix,) = [
        fix for fix in fixes(config, "1xRTX 4090", {"backward": 24.5})
        if fix.patch == (("training.gradient_checkpointing", "all"), ("training.offload_activations", True))
    ]  # fmt: skip
    assert "per GPU" in fix.effect
    assert "does not fit" not in fix.effect


def test_offload_is_left_out_only_where_the_gpus_have_room() -> None:
    def patches(machine: str) -> list[Any]:
        config = llama(strategy="fsdp2", **{"strategy.offload_parameters": True, "strategy.offload_optimizer": True})
        architecture = find_architecture(LLAMA)
        assert architecture is not None
        return [fix.patch for fix in host_fixes(config, Predictor(architecture, machines.parse(machine), None))]

    assert len(patches("2xH100-80")) == 1
    assert patches("2x6G") == []


def test_what_may_not_be_is_not_offered() -> None:
    config = llama(micro_batch_size=4)
    for name, value in (("training.gradient_checkpointing", "none"), ("data.max_length", 1024)):
        found = fixes(
            config, "1xRTX 4090", {"backward": 36},
            allowed=lambda one, name=name, value=value: get(one, name) == value,
        )  # fmt: skip
        assert found
        assert all(name not in dict(fix.patch) for fix in found)


def dead_run(config: RunConfig, machine: str = "cpu", steps: list[Any] | None = None) -> tuple[RunDirectory, Any]:
    """(a run that ended after these losses, its status); as its files say, no process ever ran."""
    run = launching.create(config, plan_file.document(assess(config, machines.parse(machine))))
    attempt = run.new_attempt()
    events = EventWriter(attempt.events(0), attempt=1, node=0, rank=0, local_rank=0)
    events.emit("started", world_size=1, device="cpu", pid=1)
    for number, loss in enumerate(steps or [], 1):
        events.step = number
        events.emit("step", loss=loss, grad_norm=1.0)
    events.emit(
        "failed", phase="backward", error="OutOfMemoryError", message=OUT_OF_MEMORY, bad_input=False,
        traceback=f'{HEADER}\n  File "a.py", line 1, in f\ntorch.OutOfMemoryError: {OUT_OF_MEMORY}\n',
    )  # fmt: skip
    attempt.log(0).write_text("")
    write_json(attempt.exits_json, {"first": 0, "ranks": {"0": {"code": 1, "signal": None, "time": 1.0}}})
    ended = {**status.read_written(run), "state": "failed", "step": len(steps or []), "attempt": 1, "exit_code": 1}
    write_json(run.status_json, ended)
    return run, ended


def save_checkpoint(run: RunDirectory, step: int) -> Path:
    folder = run.checkpoints / f"step-{step:08d}"
    (folder / "adapter").mkdir(parents=True)
    (folder / "state.pt").write_bytes(b"state")
    (folder / "adapter" / "weights").write_bytes(b"weights")
    return folder


def test_a_run_out_of_gpu_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "here", lambda _folder=None: machines.parse("1xRTX 4090"))
    config = llama(micro_batch_size=4, gradient_accumulation_steps=2)
    run, ended = dead_run(config, "1xRTX 4090")
    save_checkpoint(run, 40)
    found = diagnose_end(run, ended)
    assert found.cause == "cuda_oom"
    patched = [fix for fix in found.fixes if fix.patch]
    assert dict(patched[0].patch).keys() == recovery.SAME_RESULTS
    assert "GiB per GPU" in patched[0].effect
    assert patched[0].effect.endswith("; goes on from step 40")
    assert not any(fix.command == "nvidia-smi" for fix in found.fixes), "nobody else is on it"
    assert "of the rows are cut" not in patched[0].effect


@pytest.mark.parametrize("cause", sorted(BY_ID.keys() - {"none"}))
def test_every_cause_has_something_to_do_and_no_patch_in_vain(cause: str) -> None:
    config = small_config(**{"training.micro_batch_size": 2, "data.num_workers": 1})
    run, ended = dead_run(config)
    general = of_cause(BY_ID[cause], "likely", [])
    found = with_fixes(run, ended, general)
    assert found.fixes
    for fix in found.fixes:
        assert bool(fix.patch) + bool(fix.command) <= 1
        if fix.patch:
            patched = apply_patch(config, fix.patch)
            assert all(get(patched, path) != get(config, path) for path, _ in fix.patch)
    told = [(fix.title, fix.command, fix.patch) for fix in found.fixes]
    assert len(set(map(str, told))) == len(told)


@pytest.mark.parametrize("cause", ["nccl_timeout", "port_in_use", "user_interrupt", "sigsegv", "gpu_lost_xid"])
def test_what_is_not_the_configurations_fault_is_resumed(cause: str) -> None:
    run, ended = dead_run(small_config())
    first, *_ = with_fixes(run, ended, of_cause(BY_ID[cause], "likely", [])).fixes
    assert (first.command, first.patch) == (f"qltui resume {run.id}", ())
    assert first.effect == "from the start: nothing was saved"


def answering(*uuids: str) -> machines.Machine:
    """A machine of which these GPUs answer."""
    devices = tuple(Gpu(number, uuid, "A40", 48 * GIB, (8, 6)) for number, uuid in enumerate(uuids))
    return machines.parse(f"{len(uuids)}xA40")._replace(devices=devices)


def test_other_gpus_are_offered_that_no_run_has_and_none_that_was_lost_before(monkeypatch: pytest.MonkeyPatch) -> None:
    run, ended = dead_run(llama(strategy="ddp"))
    before = {"cause": "gpu_lost_xid", "gpus": ["GPU-a", "GPU-x"]}
    ended = {**ended, "gpus": ["GPU-a", "GPU-b"], "recoveries": [before]}
    live = [{"id": run.id, "gpus": ["GPU-d"]}, {"id": "other", "gpus": ["GPU-c"]}]
    monkeypatch.setattr(fix_rules, "live_runs", lambda: live)

    def offered(*uuids: str) -> list[Any]:
        monkeypatch.setattr(machines, "here", lambda _folder=None: answering(*uuids))
        found = with_fixes(run, ended, of_cause(BY_ID["gpu_lost_xid"], "likely", []))
        return [value for fix in found.fixes for path, value in fix.patch if path == "hardware.gpus"]

    assert offered("GPU-a", "GPU-c", "GPU-d") == [["GPU-a", "GPU-d"]]
    assert offered("GPU-a") == offered("GPU-a", "GPU-b", "GPU-c") == offered("GPU-a", "GPU-c", "GPU-x") == []


def test_a_run_that_lost_a_gpu_goes_on_by_itself_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"model": str(DEMO / "model"), "data": str(DEMO / "data" / "train.jsonl"), "data.eval_path": None}
    spread = {"strategy": "ddp", "hardware.device": "cuda", "hardware.gpus": ["GPU-a", "GPU-b"], "recovery.auto": 2}

    def answer(*uuids: str) -> None:
        monkeypatch.setattr(machines, "here", lambda _folder=None: answering(*uuids))
        monkeypatch.setattr(gpu_facts, "visible_gpus", lambda *_: list(answering(*uuids).devices))

    answer("GPU-a", "GPU-b", "GPU-c")
    run, ended = dead_run(read({**files, **spread}, where="test", base=Path("/")), "2xA40")
    save_checkpoint(run, 1)
    assert ended["gpus"] == ["GPU-a", "GPU-b"]
    answer("GPU-b", "GPU-c")
    monkeypatch.setattr(launching, "start", lambda _run: None)
    found = with_fixes(run, ended, of_cause(BY_ID["gpu_lost_xid"], "likely", []))
    new = recovery.start_changed(run, ended, found)
    assert new is not None
    config = read_file(new.run_yaml)
    assert (config.hardware.gpus, config.parent) == (["GPU-b", "GPU-c"], run.id)
    (record,) = status.read(new)["recoveries"]
    assert (record["gpus"], record["cause"], record["by_itself"]) == (["GPU-a", "GPU-b"], "gpu_lost_xid", True)
    assert record["continues"].startswith("It goes on from step 1 with weights, optimizer and schedule as they were")


@pytest.mark.parametrize(
    ("phase", "text", "timeout", "offered"),
    [
        ("data", "Timed out waiting 1800000ms for recv operation to complete", None, [7200]),
        ("save", "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)", 600, [2400]),
        ("backward", "Timed out waiting 1800000ms for recv operation to complete", None, []),
        ("save", "Connection closed by peer", None, []),
    ],
)
def test_ranks_wait_longer_for_one_that_is_at_work(
    phase: str, text: str, timeout: int | None, offered: list[int]
) -> None:
    run, ended = dead_run(small_config(**{"hardware.timeout_seconds": timeout}))
    evidence = [Evidence("attempts/1/events/rank0.jsonl", 1, text)]
    found = with_fixes(run, ended, of_cause(BY_ID["nccl_timeout"], "likely", evidence, phase=phase))
    patches = [dict(fix.patch) for fix in found.fixes if fix.patch]
    assert [patch["hardware.timeout_seconds"] for patch in patches] == offered
    assert found.fixes[0].patch or not offered


def test_ranks_of_ours_have_their_stack_printed_already() -> None:
    run, ended = dead_run(small_config())
    found = with_fixes(run, ended, of_cause(BY_ID["sigsegv"], "certain", []))
    assert "PYTHONFAULTHANDLER" in str(BY_ID["sigsegv"].fixes) and "PYTHONFAULTHANDLER" not in str(found.fixes)


def test_room_on_a_full_disk_is_where_another_run_has_checkpoints() -> None:
    run, ended = dead_run(small_config(**{"training.keep_checkpoints": 3}))
    other, _ = dead_run(small_config("other"))
    weights = save_checkpoint(other, 5) / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(b"kept")
    (weights.parents[1] / "trained-00000.pt").write_bytes(b"x" * 300_000)
    first, second, *others = with_fixes(run, ended, of_cause(BY_ID["disk_full"], "certain", [])).fixes
    assert first.command == f"qltui delete {other.id} --keep-adapters"
    assert re.fullmatch(r"frees [23]\d\d KiB", first.effect)
    assert second.command == f"qltui resume {run.id}"
    assert (("training.keep_checkpoints", 1),) in [fix.patch for fix in others]


def test_a_run_whose_file_is_torn_has_general_steps() -> None:
    run, ended = dead_run(small_config())
    run.run_yaml.write_text("model: [")
    found = with_fixes(run, ended, of_cause(BY_ID["cuda_oom"], "likely", []))
    assert found.fixes
    assert not any(fix.patch for fix in found.fixes)


@pytest.mark.parametrize(
    ("losses", "bad"),
    [
        ([2.0, 1.9, 1.8], None),
        ([2.0, 1.9, float("nan"), float("nan")], 3),
        ([2.0, 1.9, 3.9, 7.0, float("inf")], 4),
        ([2.0, 9.0, 1.8, 1.7], None),
        ([2.0, 1.0, 0.0, 0.0], 3),
    ],
)
def test_when_a_loss_went_bad(losses: list[float], bad: int | None) -> None:
    run, _ = dead_run(small_config(), steps=losses)
    assert first_bad_step(run) == bad


def test_it_goes_on_from_before_the_bad_loss_without_a_copy() -> None:
    config = small_config()
    run, _ = dead_run(config, steps=[2.0, 1.9, 1.8, float("nan"), float("nan")])
    folders = {step: save_checkpoint(run, step) for step in (1, 2, 3, 4)}
    slower = apply_patch(config, [("training.learning_rate", 1e-5)])
    start = start_of(run, config, slower, "loss_nan_or_zero")
    assert (start.checkpoint, start.is_newest) == (folders[2], False), "step 3's weights made the loss of step 4"
    assert start_of(run, config, slower, "cuda_oom").checkpoint == folders[4]
    new = launching.create(slower)
    recovery._take_over(folders[2], new)
    (taken,) = new.checkpoints.iterdir()
    assert (taken / "adapter" / "weights").samefile(folders[2] / "adapter" / "weights")


@pytest.mark.parametrize(
    ("patch", "anew"),
    [
        ([("training.micro_batch_size", 4)], False),
        ([("strategy.name", "fsdp2")], False),
        ([("method.name", "lora")], False),
        ([("method.name", "full")], True),
        ([("method.lora.rank", 4)], True),
        ([("training.optimizer", "adamw_8bit")], True),
    ],
)  # fmt: skip
def test_what_fits_no_checkpoint_begins_anew(patch: list[tuple[str, object]], anew: bool) -> None:
    config = small_config()
    run, _ = dead_run(config)
    save_checkpoint(run, 7)
    start = start_of(run, config, apply_patch(config, patch), "cuda_oom")
    assert (start.parent is None) == (start.checkpoint is None) == anew
    assert start.where.startswith("begins anew: " if anew else "goes on from step 7")


def test_a_diagnosis_with_patches_is_read_as_it_was_written() -> None:
    from qltui.runs.diagnosis.diagnosis import from_json

    run, ended = dead_run(small_config(**{"training.micro_batch_size": 2}))
    found: Diagnosis = diagnose_end(run, ended)
    assert from_json(found.as_json()) == found
