"""The helper process as screens use it: real processes, the demo's tokenizer, one event loop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from support.runs import DEMO, Cli, wait_for

from engine.config import RunConfig
from engine.config.inspection import Coverage, Lengths, LengthsProgress, Preview
from engine.config.reading import read
from qltui.configs.writing import run_yaml
from qltui.runs.helper_process import HelperEnded, Unanswered
from qltui.runs.inspection import Inspection, InspectionRefused, Overtaken

ROW = '{"prompt": "the sky is", "completion": "blue"}\n'


def config(path: Path | str = DEMO / "data" / "train.jsonl", **values: Any) -> RunConfig:
    tree = {"model.path": str(DEMO / "model"), "data.path": "org/data", "hardware.device": "cpu", **values}
    made = read(tree, where="test", base=Path("/"))
    return replace(made, data=replace(made.data, path=str(path)))


@pytest.fixture
async def inspection(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inspection]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = Inspection()
    yield made
    await made.close()


def helpers() -> list[int]:
    """Pids of this process's helpers."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"engine.inspect" in words and parent == os.getpid():
            found.append(int(folder.name))
    return found


def the_helper() -> int:
    (pid,) = helpers()
    return pid


def bytes_read(pid: int) -> int:
    """By the process so far, from files and pipes."""
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


async def last(answers: AsyncIterator[LengthsProgress | Lengths]) -> Lengths:
    found = [answer async for answer in answers]
    assert all(isinstance(answer, LengthsProgress) for answer in found[:-1])
    assert isinstance(found[-1], Lengths)
    return found[-1]


# Life


async def test_it_starts_when_needed_stays_and_ends_when_closed() -> None:
    inspection = Inspection()
    assert helpers() == []
    first = await inspection.preview(config())
    pid = the_helper()
    assert first.rows[0].segments[1].text == "Cora Storm sails the Heron to Gullhaven.<|eos|>"
    await inspection.preview(config(), rows=7)
    assert the_helper() == pid
    await inspection.close()
    assert helpers() == []


async def test_requests_that_come_together_share_one_helper(inspection: Inspection) -> None:
    preview, lengths, _ = await asyncio.gather(
        inspection.preview(config()), last(inspection.lengths(config())), inspection.start()
    )
    assert isinstance(preview, Preview)
    assert lengths.rows == 400
    the_helper()


async def test_it_imports_no_torch(inspection: Inspection) -> None:
    await inspection.preview(config())
    await last(inspection.lengths(config()))
    assert "libtorch" not in Path(f"/proc/{the_helper()}/maps").read_text()


async def test_a_folder_called_engine_where_the_user_stands_is_not_imported(
    inspection: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit('the wrong engine')")
    monkeypatch.chdir(tmp_path)
    assert (await inspection.preview(config())).rows


async def test_one_that_is_killed_is_told_and_replaced(inspection: Inspection, tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"text": "sky " * 20_000}) + "\n")
    file.write_text(file.read_text() * 3000)
    with pytest.raises(HelperEnded, match="was killed by SIGKILL"):
        async for answer in inspection.lengths(config(file), seconds=60):
            assert isinstance(answer, LengthsProgress)  # it is at work
            os.kill(the_helper(), signal.SIGKILL)
    assert (await inspection.preview(config())).rows


async def test_its_last_words_are_told(inspection: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.exit('no memory left \\x1b[31mfor this')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(HelperEnded, match=r"ended with exit code 1: .*no memory left for this$"):
        await inspection.preview(config())
    monkeypatch.delenv("PYTHONPATH")
    assert (await inspection.preview(config())).rows


async def test_what_writes_no_answers_is_ended(
    inspection: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello', flush=True)\nimport time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(HelperEnded, match="its answer cannot be read"):
        await inspection.preview(config())
    assert helpers() == []


async def test_who_waits_when_it_is_closed_is_told(tmp_path: Path) -> None:
    inspection = Inspection()
    await inspection.start()
    waiting = asyncio.create_task(inspection.preview(config()))
    await asyncio.sleep(0)
    await inspection.close()
    (found,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(found, (Preview, HelperEnded))
    assert helpers() == []


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal, sys\n"
        "from qltui.runs.inspection import Inspection\n"
        "async def main():\n"
        "    inspection = Inspection()\n"
        "    await inspection.start()\n"
        "    print(inspection._helper._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/cmdline").read_bytes() == b"", 10)


# Order


async def test_the_newest_preview_is_the_one_that_is_answered(inspection: Inspection) -> None:
    await inspection.start()
    found = await asyncio.gather(
        *(inspection.preview(config(), rows=rows) for rows in range(1, 8)), return_exceptions=True
    )
    assert isinstance(found[-1], Preview)
    assert len(found[-1].rows) == 7
    # Of the others each was answered before the next came, or is told so; none is left without a word.
    assert all(isinstance(answer, (Overtaken, Preview)) for answer in found)


async def test_lengths_give_way_to_previews_and_to_newer_lengths(inspection: Inspection, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text((json.dumps({"text": "sky " * 1000}) + "\n") * 5000)
    told: list[str] = []

    async def measure(max_length: int) -> None:
        try:
            async for answer in inspection.lengths(
                config(file, **{"data.max_length": max_length}), seconds=3, rows=5000
            ):
                told.append(type(answer).__name__)
        except Overtaken:
            told.append("Overtaken")

    first = asyncio.create_task(measure(64))
    while not told:
        await asyncio.sleep(0.01)
    assert (await inspection.preview(config())).rows
    assert "Lengths" not in told
    second = asyncio.create_task(measure(128))
    await first
    assert told[-1] == "Overtaken"
    await second
    assert told[-1] == "Lengths"


async def test_the_loop_is_never_blocked(inspection: Inspection, tmp_path: Path) -> None:
    """While the helper starts, tokenises and dies, a clock on the same loop goes on ticking."""
    gaps: list[float] = []

    async def tick() -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - before)
            before = time.monotonic()

    clock = asyncio.create_task(tick())
    await inspection.preview(config())
    await last(inspection.lengths(config()))
    clock.cancel()
    ticks = len(gaps)
    assert ticks > 50
    assert sorted(gaps)[int(ticks * 0.95)] < 0.25  # nothing near the seconds that the helper took


# Bad input


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.jsonl", None, "there is no such file. Give data.path the path of a file"),
        ("empty.jsonl", b"", "is empty. Give a file with at least one row."),
        ("blank.jsonl", b"\n\n", "is empty. Give a file with at least one row."),
        ("latin.jsonl", '{"prompt": "é"}'.encode("latin-1"), "line 1 is not UTF-8 text"),
        ("binary.jsonl", bytes(range(128)) * 9, "is not text, it holds zero bytes"),
        ("binary.csv", b"a,b\n\x00\x01", "is not text, it holds zero bytes"),
        ("notes.txt", b"text", "files of this kind are not read. Give one ending in .jsonl"),
        ("cut.jsonl", b'{"prompt": "a", ', "line 1 is not valid JSON"),
        ("cut.json", b'[{"prompt": "a"}, {"pro', "is not valid JSON (Unterminated string"),
        ("deep.jsonl", b'{"a":' * 100_000, "line 1 is not valid JSON (maximum recursion depth"),
        ("cut.parquet", b"PAR1 and no more", "is no readable Parquet file"),
        ("x" * 300 + ".jsonl", None, "cannot be read (File name too long)"),
    ],
)
async def test_a_file_that_cannot_be_read_gets_one_line(
    inspection: Inspection, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    for ask in (inspection.preview, lambda made: last(inspection.lengths(made))):
        with pytest.raises(InspectionRefused) as caught:
            await ask(config(file))
        said = str(caught.value)
        assert said.startswith(f"{file}: {message}")
        assert "\n" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_folder_that_may_not_be_entered(inspection: Inspection, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(InspectionRefused, match=r"cannot be read \(Permission denied\)"):
        await inspection.preview(config(tmp_path / "closed" / "a.jsonl"))


async def test_what_is_neither_here_nor_to_be_fetched(inspection: Inspection) -> None:
    for made in (config("org/data"), config(**{"model.path": "org/model"})):
        try:
            said = (await inspection.preview(made)).problem
        except Unanswered as error:
            said = str(error)
        assert said is not None
        assert "hub cannot be reached" in said
        assert "\n" not in said


async def test_without_network_it_is_said_within_seconds(
    inspection: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    await inspection.start()
    begin = time.monotonic()
    with pytest.raises(InspectionRefused, match=r"org/data: is nothing local, and the hub cannot be reached"):
        await inspection.preview(config("org/data"))
    found = await inspection.preview(config(**{"model.path": "org/model"}))
    problem = found.problem
    assert found.rows and found.rows[0].is_raw and found.rows[0].segments[0].text.startswith("{"), "rows as in the file"
    assert problem is not None and problem.startswith("org/model: is nothing local, and the hub cannot be reached")
    assert time.monotonic() - begin < 20  # the hub's libraries try for 23 and 47 s


async def test_a_file_that_vanishes_between_two_looks(inspection: Inspection, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(ROW)
    assert (await inspection.preview(config(file))).rows
    file.unlink()
    with pytest.raises(InspectionRefused, match="there is no such file"):
        await inspection.preview(config(file))


async def test_of_a_big_file_little_is_read(inspection: Inspection, tmp_path: Path) -> None:
    file = tmp_path / "big.jsonl"
    rows = (json.dumps({"prompt": "the sky", "completion": "blue " * 60}) + "\n") * 3000
    with file.open("w") as target:
        while target.tell() < 200_000_000:
            target.write(rows)
    await inspection.preview(config())  # imports and tokenizer
    pid = the_helper()
    before = bytes_read(pid)
    assert len((await inspection.preview(config(file), rows=5)).rows) == 5
    assert bytes_read(pid) - before < 100_000
    found = await last(inspection.lengths(config(file), rows=500, seconds=60))
    assert (found.coverage, found.rows) == (Coverage.SPREAD, 500)
    assert found.total_rows == pytest.approx(200_000_000 / (len(rows) / 3000), rel=0.25)
    assert bytes_read(pid) - before < 8_000_000


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("a.jsonl", '{"text": "'), ("a.json", '[{"text": "'), ("a.csv", 'prompt,completion\n"')],
)
async def test_a_big_file_of_one_line_is_given_up(
    inspection: Inspection, tmp_path: Path, name: str, beginning: str
) -> None:
    file = tmp_path / name
    with file.open("w") as target:
        target.write(
            '[{"text": "' if name == "a.json" else '{"text": "' if name == "a.jsonl" else 'prompt,completion\n"'
        )
        for _ in range(200):
            target.write("the sky is blue" * 66_666)
    await inspection.preview(config())
    pid = the_helper()
    before = bytes_read(pid)
    with pytest.raises(InspectionRefused, match=r"longer than 33,554,432|field larger than field limit"):
        await inspection.preview(config(file))
    assert bytes_read(pid) - before < 100_000_000


# The command


def test_the_command_shows_what_is_learnt(cli: Cli) -> None:
    shown = cli("preview", "demo-cpu", "--rows", "2", "--set", "max_length=24").stdout
    assert "Row 1: 19 tokens, 10 learnt\n" in shown
    assert "<|bos|><|user|>Where does Cora Storm travel?<|assistant|>«Cora Storm sails the Heron to Gull" in shown
    assert "Row 2: 27 tokens, cut to 24 (data.max_length=24), 7 learnt\n" in shown
    assert "Longer than data.max_length=24: 221 (55 %)" in shown


def test_the_command_as_json(cli: Cli) -> None:
    document = json.loads(cli("preview", "demo-cpu", "--json").stdout)
    assert document["preview"]["format"] == "messages"
    assert document["preview"]["rows"][0]["segments"][1] == {
        "text": "Cora Storm sails the Heron to Gullhaven.<|eos|>", "trained": True,
    }  # fmt: skip
    assert document["lengths"]["rows"] == 400


def test_the_command_says_no(cli: Cli, tmp_path: Path) -> None:
    gone = cli("preview", "demo-cpu", "--set", f"data={tmp_path}/a.jsonl", check=False)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "there is no such file" in gone.stderr
    assert cli("preview", "demo-cpu", "--rows", "0", check=False).returncode == 2
    file = tmp_path / "run.yaml"
    (tmp_path / "rows.jsonl").write_text(ROW + '{"prompt": "the sky \\u001b[31mis"}\n')
    file.write_text(run_yaml(config(tmp_path / "rows.jsonl")))
    flawed = cli("preview", str(file), check=False)
    assert flawed.returncode == 1
    assert "Row 2 has no 'completion'" in flawed.stdout
    assert "\x1b" not in flawed.stdout


# The protocol


def test_lines_that_are_no_requests_are_answered_and_change_nothing() -> None:
    helper = subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.inspect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert helper.stdin is not None and helper.stdout is not None
    for line in (b"hello\n", b'{"kind": "dance", "id": 3}\n', b'{"kind": "preview", "id": 4}\n', b"\xff\n",
                 b'{"kind": "ping", "id": 5}\n'):  # fmt: skip
        helper.stdin.write(line)
        helper.stdin.flush()
    told = [msgspec.json.decode(helper.stdout.readline()) for _ in range(5)]
    assert [(one["kind"], one["id"]) for one in told] == [
        ("refusal", None), ("refusal", 3), ("refusal", 4), ("refusal", None), ("pong", 5),
    ]  # fmt: skip
    helper.stdin.close()
    assert helper.wait(10) == 0
