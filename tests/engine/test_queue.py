"""Two real runs, one queued behind the other, through the commands; then both deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.runs import Cli, wait_for


def test_a_run_starts_by_itself_after_another(cli: Cli, small_run: Callable[..., Path]) -> None:
    file = str(
        small_run(
            **{"training.max_steps": 2, "strategy.name": "single", "hardware.ranks_per_node": 1, "data.eval_path": None}
        )
    )
    first = cli("launch", file, "--name", "first").stdout.strip()
    queued = cli("launch", file, "--name", "second", "--after", "first")
    second = queued.stdout.strip()
    assert f"Queued. It starts when {first} has ended.\n" in queued.stderr
    stopped = cli("launch", file, "--name", "third", "--after", "second").stdout.strip()
    assert f"  waits for {first}\n" in cli("runs").stdout
    assert f"waits for    {second}: It starts when {second} has ended.\n" in cli("status", "third").stdout
    assert f"{stopped} is taken out of the queue.\n" in cli("stop", "third").stderr
    refused = cli("delete", first, second, "--yes", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")

    final = cli.wait("second")
    assert (final["state"], final["step"], final["waiting_for"]) == ("finished", 2, None)
    assert cli.status("first")["state"] == "finished"
    assert cli.status("first")["updated"] < cli.directory("second").attempts()[0].launch_json.stat().st_mtime
    assert wait_for(lambda: cli.status("third")["state"] == "stopped", what="the third one's end")

    told = cli("delete", "first", "second", "--keep-adapters", check=False)
    assert told.returncode == 1
    assert f"{first}: It frees " in told.stderr and "Pass --yes" in told.stderr
    kept = cli("delete", "first", "--keep-adapters", "--yes").stdout
    assert kept.startswith(f"{first}: all but adapter, checkpoints/step-00000002/adapter deleted, ")
    assert (Path(cli.status("first")["adapter_dir"]) / "adapter_model.safetensors").is_file()
    assert cli("resume", "first", check=False).returncode == 1
    assert cli("delete", "second", "third", "--yes").stdout.count(" freed.\n") == 2
    assert [line.split()[0] for line in cli("runs").stdout.splitlines()] == [first]
