"""``compare``, ``note`` and the words of ``runs``, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.runs import Cli, write_run

from engine.events import RunDirectory, write_json


@pytest.fixture
def two(cli: Cli, tmp_path: Path) -> tuple[RunDirectory, RunDirectory]:
    """Two runs that differ in rate, parent, version, and in what came of them."""
    first = make(cli, tmp_path, "first", 0.5, {"training.learning_rate": 0.001}, "2.12.0")
    second = make(cli, tmp_path, "second", 0.25, {"training.learning_rate": 0.002, "parent": "first"}, "2.13.0")
    return first, second


def make(
    cli: Cli, folder: Path, name: str, loss: float, values: dict[str, object], torch: str
) -> RunDirectory:  # fmt: skip
    run = RunDirectory(cli.home / "runs" / name)
    run.path.mkdir(parents=True)
    run.run_yaml.write_text(write_run(folder, name=name, **values).read_text())
    launch = {"world_size": 2, "device": "cpu", "versions": {"torch": torch, "peft": "0.21.2"}, "ranks": []}
    write_json(run.new_attempt().launch_json, launch)
    told = {"id": name, "name": name, "run_dir": str(run.path), "attempt": 1, "state": "finished", "loss": loss}
    write_json(run.status_json, told)
    return run


def test_only_what_differs_is_printed_with_what_it_means(cli: Cli, two: tuple[RunDirectory, RunDirectory]) -> None:
    printed = cli("compare", "first", "second").stdout
    rows = {words[0]: words[1:] for line in printed.splitlines() if (words := line.split())}
    assert rows["training.learning_rate"] == ["0.001", "0.002"]
    assert rows["parent"] == ["null", "first"]
    assert rows["versions.torch"] == ["2.12.0", "2.13.0"]
    assert rows["loss"] == ["0.5000", "0.2500"]
    assert "Highest rate of the schedule." in printed
    assert "versions.peft" not in printed
    assert "method.lora.rank" not in printed


def test_one_document_for_programs(cli: Cli, two: tuple[RunDirectory, RunDirectory]) -> None:
    document = json.loads(cli("compare", "second", "first", "--json").stdout)
    assert [run["id"] for run in document["runs"]] == ["second", "first"]
    assert {field["path"]: field["values"] for field in document["fields"]} == {
        "training.learning_rate": ["0.002", "0.001"], "parent": ["first", "null"],
    }  # fmt: skip
    assert [one["path"] for one in document["circumstances"]] == ["versions.torch"]
    assert document["figures"]["loss"] == [0.25, 0.5]
    assert document["problems"] == []


def test_one_run_is_compared_with_the_one_it_continues(cli: Cli, two: tuple[RunDirectory, RunDirectory]) -> None:
    document = json.loads(cli("compare", "second", "--json").stdout)
    assert [run["id"] for run in document["runs"]] == ["first", "second"]
    refused = cli("compare", "first", check=False)
    assert refused.returncode == 1
    assert "continues no run that is kept here" in refused.stderr
    assert cli("compare", "first", "first", check=False).returncode == 1


def test_a_configuration_that_cannot_be_read_is_told_and_the_rest_compared(
    cli: Cli, two: tuple[RunDirectory, RunDirectory]
) -> None:
    two[0].run_yaml.write_text("model: {path: [}")
    done = cli("compare", "first", "second", check=False)
    assert done.returncode == 1
    assert "The configuration of first can't be read" in done.stderr
    assert "versions.torch" in done.stdout
    assert "none differs" not in done.stdout


def test_of_a_newer_version_the_fields_that_are_there_are_compared(
    cli: Cli, two: tuple[RunDirectory, RunDirectory]
) -> None:
    document = json.loads(two[1].run_yaml.read_text())
    two[1].run_yaml.write_text(json.dumps({**document, "novelty": {"degree": 3}}))
    found = json.loads(cli("compare", "first", "second", "--json").stdout)
    fields = {field["path"]: field["values"] for field in found["fields"]}
    assert fields["training.learning_rate"] == ["0.001", "0.002"]
    assert fields["novelty.degree"] == ["", "3"]


def test_notes_are_written_printed_and_found_by(cli: Cli, two: tuple[RunDirectory, RunDirectory]) -> None:
    assert cli("note", "first").stdout == "tags: (none)\n(no note)\n"
    cli("note", "first", "warm-up helps", "--tag", "paper", "--tag", "base")
    assert cli("note", "first", "--untag", "base").stdout == "tags: paper\nwarm-up helps\n"
    refused = cli("note", "first", "--tag", "two words", check=False)
    assert (refused.returncode, "is no tag" in refused.stderr) == (1, True)
    listed = json.loads(cli("runs", "--tag", "paper", "--json").stdout)
    assert [(run["id"], run["note"], run["tags"]) for run in listed] == [("first", "warm-up helps", ["paper"])]
    assert cli("runs", "--filter", "tag:pap state:finished").stdout.splitlines()[0].endswith("#paper")
    assert cli("runs", "--filter=-tag:paper").stdout.startswith("second")
    assert cli("runs", "--filter", "state:failed").stdout == "None of 2 runs fits.\n"
    assert "warm-up helps" in cli("status", "first").stdout
