"""Talking to the model that a run made: `engine.chat`, the conversation, the command and the screen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from support.runs import DEMO
from support.screen import text_of, until
from textual.widgets import Input
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.chat import format_of
from engine.config import DataFormat
from engine.config.conversation import Piece, Said, Turn
from engine.config.reading import read_file
from engine.errors import BadInput
from engine.events import EventWriter, RunDirectory
from engine.tuned_model import find_learnt, load_tuned
from qltui.runs import conversation
from qltui.runs.conversation import Conversation, Settings
from qltui.runs.helper_process import Unanswered
from qltui.ui.app import QltuiApp
from qltui.ui.screens.chat import Chat

QUESTION = "Where does Cora Storm travel?"
FEW = Settings(max_new_tokens=12)


def make_run(folder: Path, **sections: Any) -> RunDirectory:
    """A run that saved an adapter which changes what the demo's model says."""
    run = RunDirectory(folder)
    run.path.mkdir()
    tree = {
        "model": {"path": str(DEMO / "model")}, "data": {"path": str(DEMO / "data" / "train.jsonl")},
        "method": {"name": "lora"}, "hardware": {"device": "cpu"}, "precision": {"compute": "fp32"},
    }  # fmt: skip
    for name, values in sections.items():
        tree[name] = {**tree.get(name, {}), **values}
    run.run_yaml.write_text(yaml.safe_dump(tree))
    if tree["method"]["name"] != "full":
        torch.manual_seed(1)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(DEMO / "model"), LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
        )
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(run.adapter)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("runs") / "tuned")


def plainly(run: RunDirectory | None, messages: list[dict[str, str]], tokens: int) -> str:
    """What plain PEFT and Transformers answer."""
    tokenizer = AutoTokenizer.from_pretrained(DEMO / "model")
    model = AutoModelForCausalLM.from_pretrained(DEMO / "model", dtype=torch.float32)
    if run is not None:
        model = PeftModel.from_pretrained(model, run.adapter)
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.eval().generate(**inputs, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


async def answer(talk: Conversation, *turns: str, **options: Any) -> tuple[str, Said]:
    """All of an answer."""
    roles = ("user", "assistant") * len(turns)
    said = [Turn(role, text) for role, text in zip(roles, turns, strict=False)]
    parts = [part async for part in talk.answer(said, **options)]
    assert isinstance(parts[-1], Said)
    return "".join(part.text for part in parts if isinstance(part, Piece)), parts[-1]


async def test_it_answers_as_the_adapter_and_as_the_base_do(run: RunDirectory) -> None:
    talk = await conversation.begin(run)
    try:
        loaded = talk.loaded
        assert (loaded.learnt, loaded.device, loaded.dtype) == ("adapter", "cpu", "float32")
        assert loaded.has_base
        assert loaded.remembers
        tuned, said = await answer(talk, QUESTION, settings=FEW)
        base, _ = await answer(talk, QUESTION, tuned=False, settings=FEW)
        asked = [{"role": "user", "content": QUESTION}]
        assert tuned == plainly(run, asked, 12)
        assert base == plainly(None, asked, 12)
        assert tuned != base
        assert said.seconds > 0
        assert said.tokens <= 12
        assert said.reason == ("length" if said.tokens == 12 else "end")
        further, _ = await answer(talk, QUESTION, base, "And then?", tuned=False, settings=FEW)
        more = [{"role": "assistant", "content": base}, {"role": "user", "content": "And then?"}]
        assert further == plainly(None, asked + more, 12)
        drawn = [await answer(talk, QUESTION, settings=Settings(temperature=1.5, seed=seed)) for seed in (1, 1, 2)]
        assert drawn[0][0] == drawn[1][0] != drawn[2][0]
        with pytest.raises(Unanswered, match=r"has [\d,]+ tokens and the model takes 512.*begin a new"):
            await answer(talk, QUESTION * 200)
        assert (await answer(talk, QUESTION, settings=FEW))[0] == tuned, "a refusal ends nothing"
    finally:
        await talk.close()


async def test_an_answer_ends_where_it_is_stopped_or_no_longer_listened_to(run: RunDirectory) -> None:
    talk = await conversation.begin(run)
    endless = Settings(max_new_tokens=480, temperature=50.0)
    try:
        parts = []
        async for part in talk.answer([Turn("user", QUESTION)], settings=endless):
            parts.append(part)
            await talk.stop()
        assert isinstance(parts[-1], Said)
        assert parts[-1].reason == "stopped"
        assert parts[-1].tokens < 400
        answers = talk.answer([Turn("user", QUESTION)], settings=endless)
        await anext(answers)
        await answers.aclose()
        _, said = await answer(talk, QUESTION, settings=FEW)
        assert said.reason != "stopped"
    finally:
        await talk.close()
    with pytest.raises(Unanswered, match="was ended"):
        await answer(talk, QUESTION)


def test_what_cannot_be_talked_to_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    def refusal(folder: str, step: int | None = None, **sections: Any) -> str:
        other = RunDirectory(tmp_path / folder)
        if not other.path.exists():
            other.path.mkdir()
            (other.path / "run.yaml").write_text(run.run_yaml.read_text())
        config = read_file(other.run_yaml, sections)
        with pytest.raises(BadInput) as refused:
            load_tuned(other, config, step)
        return str(refused.value)

    assert "saved no adapter yet" in refusal("none")
    (tmp_path / "none/checkpoints/step-00000007/adapter").mkdir(parents=True)
    assert "no checkpoint of step 8; there are those of 7" in refusal("none", 8)
    assert "no whole model in model/ yet" in refusal("none", **{"method.name": "full"})
    assert "chooses a class and writes no text (model.task)" in refusal(
        "none", **{"model.task": "sequence_classification"}
    )
    config = read_file(run.run_yaml)
    assert find_learnt(RunDirectory(tmp_path / "none"), config).parent.name == "step-00000007"
    assert find_learnt(run, config) == run.adapter


async def test_a_whole_model_has_no_base_and_quantised_ones_are_asked_as_trained(tmp_path: Path) -> None:
    full = make_run(tmp_path / "full", method={"name": "full"})
    model = AutoModelForCausalLM.from_pretrained(DEMO / "model")
    model.save_pretrained(full.model)
    loaded = load_tuned(full, read_file(full.run_yaml))
    assert not loaded.has_base
    assert loaded.learnt == full.model
    quantised = make_run(tmp_path / "qlora", method={"name": "qlora"})
    tuned = load_tuned(quantised, read_file(quantised.run_yaml))
    kinds = {type(module).__name__ for module in tuned.model.modules()}
    assert "Linear4bit" in kinds


def test_gpus_of_live_runs_are_left_alone() -> None:
    live = [{"gpus": []}, {"gpus": ["GPU-a", "GPU-b"]}]
    assert conversation.free_of(["GPU-a", "GPU-c"], live) == ["GPU-c"]
    assert conversation.free_of(["GPU-a"], live) == [], "so it is the CPU's"
    assert conversation.free_of(["GPU-c"], live) is None
    assert conversation.free_of([], live) is None


def test_rows_tell_how_a_question_is_put(run: RunDirectory, tmp_path: Path) -> None:
    assert format_of(run, DataFormat.ALPACA) is DataFormat.ALPACA
    assert format_of(run, DataFormat.AUTO) is DataFormat.MESSAGES, "where nothing tells"
    other = RunDirectory(tmp_path / "other")
    other.path.mkdir()
    attempt = other.new_attempt()
    EventWriter(attempt.events(0), attempt=1, node=0, rank=0, local_rank=0).emit("data", format="prompt_completion")
    assert format_of(other, DataFormat.AUTO) is DataFormat.PROMPT_COMPLETION


def test_one_question_from_a_shell(run: RunDirectory) -> None:
    def ask(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qltui", "chat", str(run.path), *words],
            input=typed, capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip

    done = ask("--prompt", "-", "--both", "--max-new-tokens", "12", "--json", typed=f"{QUESTION}\n")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    asked = [{"role": "user", "content": QUESTION}]
    assert [one["tuned"] for one in told["answers"]] == [True, False]
    assert told["answers"][1]["text"] == plainly(None, asked, 12)
    for words, message in (
        (["--prompt", " "], "--prompt is empty"),
        ([], "no terminal to talk in: ask with --prompt"),
        (["--prompt", "x", "--step", "3"], "has saved no adapter yet"),
    ):
        refused = ask(*words)
        assert refused.returncode == 1
        assert message in refused.stderr
        assert len(refused.stderr.strip().splitlines()) <= 2


async def test_the_screen_shows_both_sides_and_remembers(run: RunDirectory) -> None:
    async with QltuiApp(lambda: Chat(run.path, settings=FEW, both=True)).run_test(size=(100, 30)) as pilot:
        await pilot.press(*"Where?", "enter")  # before there is a model: it is asked when there is
        await until(pilot, lambda: text_of(pilot).count("a second") == 2, "both answers", 120)
        seen = text_of(pilot)
        base = plainly(None, [{"role": "user", "content": "Where?"}], 12)
        assert "both answer · adapter on model · cpu, float32" in seen
        assert base.split(maxsplit=1)[0] in seen
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "base answers" in text_of(pilot), "the base alone")
        pilot.app.screen.query_one(Input).value = "And then?"
        await pilot.press("enter")
        await until(pilot, lambda: text_of(pilot).count("a second") == 3, "the next answer", 60)
        turns = [("user", "Where?"), ("assistant", base), ("user", "And then?")]
        wanted = plainly(None, [{"role": role, "content": text} for role, text in turns], 12)
        assert pilot.app.screen.query("AnswerText").last().text == wanted  # type: ignore[attr-defined]
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "Type below" in text_of(pilot), "a new conversation")


async def test_why_there_is_nothing_to_talk_to_stands_on_the_screen(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(run.run_yaml.read_text())
    async with QltuiApp(lambda: Chat(tmp_path)).run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "has saved no adapter yet" in text_of(pilot), "the refusal", 60)
        await pilot.press("escape")
        await asyncio.sleep(0)
    assert pilot.app.return_code == 0
