"""This machine, found through NVML and the host."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pynvml
import pytest
from support.nvml import MIB, Nvml, h200

from qltui.facts import gpus, host, machine
from qltui.facts.machine import as_text, parse

GIB = 2**30
A40 = {"uuid": "GPU-a", "name": "NVIDIA A40", "total": 46068, "reserved": 665, "capability": (8, 6), "pcie": 4}


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts recorded answers in NVML's place."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def put(nvml: Nvml) -> Nvml:
        monkeypatch.setattr(gpus, "load_nvml", lambda: nvml)
        return nvml

    return put


def test_this_machine_without_gpus_is_its_host(tmp_path: Path) -> None:
    found = machine.here(tmp_path / "not" / "there")
    total, _ = host.memory()
    assert (found.nodes, found.host_memory) == (1, total)
    assert found.host_available is not None
    assert found.disk_free is not None
    assert 0 < found.host_available <= total
    assert found.disk_free > 0
    assert machine.here().disk_free is None
    if not any(Path(file).exists() for file in gpus.DRIVER_FILES):
        assert found.cards == ()
        assert "There is no NVIDIA driver: no GPU can be seen." in found.notes


def test_gpus_on_nvlink(on: Any) -> None:
    on(Nvml(h200(0), h200(1)))
    found = machine.here()
    assert [card.name for card in found.cards] == ["NVIDIA H200"] * 2
    assert found.cards[0].memory_bytes == (143771 - 700) * MIB
    assert found.cards[0][2:] == parse("H200").cards[0][2:]
    assert (found.peer_access, found.mig, found.notes) == (True, False, ())
    assert as_text(found) == "2xH200"
    survey = gpus.survey()
    assert (survey.driver, survey.cuda, survey.lost) == ("580.159.04", (13, 0), {})


def test_a_lost_gpu_hides_no_other_and_is_said(on: Any) -> None:
    on(Nvml(h200(0), {"lost": True}, h200(2)))
    found = machine.here()
    assert found.gpus == 2
    assert found.notes == ("GPU 1 does not answer: GPU is lost.",)
    assert [gpu.number for gpu in gpus.all_gpus()] == [0, 2]


def test_a_driver_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real NVML, where there is no driver's library: the machine only looks as if it had a driver."""
    monkeypatch.setattr(gpus, "DRIVER_FILES", ("/dev/null",))
    if gpus.survey().driver:
        pytest.skip("this machine has a driver")
    assert machine.here().notes == ("The NVIDIA driver does not answer: NVML Shared Library Not Found.",)


def test_an_old_driver_tells_the_usable_memory_as_the_total(on: Any) -> None:
    on(Nvml({**A40, "total": 45634} | {"reserved": 0}))
    new = machine.here().cards[0].memory_bytes
    old = {key: value for key, value in A40.items() if key != "reserved"} | {"total": 45634}
    on(Nvml(old))
    assert machine.here().cards[0].memory_bytes == new == 45634 * MIB


@pytest.mark.parametrize(
    ("reach", "nvlink", "lanes", "access", "link"),
    [
        (0, 5, 16, True, 16 * 1.969e9),
        (0, 5, 4, True, 4 * 1.969e9),
        (0, 0, 16, True, 56.25e9),
        (3, 5, 16, False, 16 * 1.969e9),
        (6, 6, 16, None, 31.5e9),
    ],
)
def test_how_gpus_are_linked(on: Any, reach: int, nvlink: int, lanes: int, access: bool | None, link: float) -> None:
    nvml = on(Nvml(A40 | {"lanes": lanes}, A40 | {"uuid": "GPU-b"}))
    nvml.peers = {gpus.READ: reach, gpus.NVLINK: nvlink}
    found = machine.here()
    assert found.peer_access is access
    assert found.cards[0].link == link
    assert bool(found.notes) is (access is None)


def test_only_visible_gpus_count(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on(Nvml(A40, h200(1)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [card.name for card in machine.here().cards] == ["NVIDIA H200"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.here().notes == ("CUDA_VISIBLE_DEVICES hides every GPU of this machine.",)


def test_a_gpu_without_memory_of_its_own_uses_the_hosts(on: Any) -> None:
    on(Nvml({"uuid": "GPU-s", "name": "NVIDIA GB10", "capability": (12, 1)}))
    (card,) = machine.here().cards
    assert (card.memory_bytes, card.bandwidth) == (host.memory()[0], 273e9)


def sliced() -> dict[str, Any]:
    part = {"name": "NVIDIA H200 MIG 1g.18gb", "total": 16384, "reserved": 0}
    return h200(0) | {"slices": [part | {"uuid": "MIG-1"}, part | {"uuid": "MIG-2", "total": 33280}]}


def test_of_a_sliced_gpu_one_slice_counts(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    on(Nvml(sliced()))
    found = machine.here()
    assert found.mig
    assert found.cards[0].memory_bytes == 16 * GIB
    assert found.cards[0].capability == (9, 0)
    assert found.cards[0].flops == pytest.approx(989e12 * 16384 / (143771 - 700))
    assert "one slice is used, with 11% of its memory" in found.notes[0]
    assert as_text(found) == "1x16G"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2")
    assert machine.here().cards[0].memory_bytes == 33280 * MIB
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    on(Nvml(sliced() | {"slices": []}))
    assert machine.here().notes == ("GPU 0 is in MIG mode and has no slices: nothing can use it.",)
    on(Nvml(sliced(), h200(1)))
    assert machine.here().peer_access is False


def test_an_unknown_card_is_estimated_from_one_like_it(on: Any) -> None:
    laptop = {"uuid": "GPU-l", "name": "NVIDIA GeForce RTX 4090 Laptop GPU", "total": 16376, "reserved": 355}
    on(Nvml(laptop | {"capability": (8, 9)}))
    found = machine.here()
    assert found.cards[0].memory_bytes == (16376 - 355) * MIB
    assert found.cards[0].flops < parse("4090").cards[0].flops
    assert as_text(found) == "1x16G"
    assert "NVIDIA GeForce RTX 4090 Laptop GPU is not in the table" in found.notes[0]
    on(Nvml(laptop | {"name": "NVIDIA X900", "capability": (13, 0), "total": 400000}))
    found = machine.here()
    assert (found.cards[0].capability, found.cards[0].memory_bytes) == ((13, 0), (400000 - 355) * MIB)
    assert "NVIDIA X900 is not in the table" in found.notes[0]
    on(Nvml(laptop | {"name": "NVIDIA Orin", "capability": (8, 7)}))
    assert machine.here().notes[0].endswith("that of RTX A4000.")


def test_of_cards_that_share_a_name_the_memory_decides(on: Any) -> None:
    card = {"uuid": "GPU-3", "name": "NVIDIA GeForce RTX 3080", "capability": (8, 6), "reserved": 300}
    on(Nvml(card | {"total": 12288}))
    assert machine.here().cards[0].flops == 61.3e12
    on(Nvml(card | {"total": 10240}))
    assert machine.here().cards[0].flops == 59.5e12


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        (  # a batch system's job, with no namespace of its own: the limit lies above the process's own folder
            {
                "/proc/self/cgroup": "0::/system.slice/job_7/step_0",
                "/sys/fs/cgroup/system.slice/job_7/memory.max": "600000",
                "/sys/fs/cgroup/system.slice/job_7/memory.current": "100000",
                "/sys/fs/cgroup/system.slice/job_7/step_0/memory.max": "max",
            },
            (600_000, 500_000),
        ),
        (  # the first version of cgroups
            {
                "/proc/self/cgroup": "4:memory:/job\n2:cpu,cpuacct:/other",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes": "999999999",
                "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "800000",
                "/sys/fs/cgroup/memory/job/memory.usage_in_bytes": "700000",
                "/sys/fs/cgroup/memory/job/memory.stat": "active_file 1\ntotal_active_file 50000",
            },
            (800_000, 150_000),
        ),
    ],
)
def test_limits_of_batch_jobs_count(
    files: dict[str, str], memory: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaced are the system's files: the machine that runs the tests need not be in a batch job."""
    files = {"/proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 900 kB", **files}
    monkeypatch.setattr(host, "_text", lambda path: files.get(path, ""))
    assert host.memory() == memory


@pytest.mark.parametrize(
    "files",
    [
        {"/proc/self/cgroup": "0::/job/step", "/sys/fs/cgroup/job/cpu.max": "25000 100000"},
        {
            "/proc/self/cgroup": "2:cpu,cpuacct:/job",
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "25000",
            "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
        },
    ],
)
def test_a_jobs_share_of_the_cores_counts(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_text", lambda path: files.get(path, ""))
    assert host.cpu_cores() == 0.25


def test_the_fastest_network_port_that_is_up_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "NETWORK", tmp_path)
    assert host.network_speed() is None
    for card, state, speed in (("eth0", "up", "10000"), ("eth1", "down", "100000"), ("eth2", "up", "-1")):
        (tmp_path / "net" / card / "device").mkdir(parents=True)
        (tmp_path / "net" / card / "operstate").write_text(f"{state}\n")
        (tmp_path / "net" / card / "speed").write_text(f"{speed}\n")
    assert host.network_speed() == 1.25e9
    assert not host.has_infiniband()
    for port, state, rate in (("1", "4: ACTIVE", 400), ("2", "1: DOWN", 800)):
        (tmp_path / "infiniband" / "mlx5_0" / "ports" / port).mkdir(parents=True)
        (tmp_path / "infiniband" / "mlx5_0" / "ports" / port / "state").write_text(f"{state}\n")
        (tmp_path / "infiniband" / "mlx5_0" / "ports" / port / "rate").write_text(f"{rate} Gb/sec (4X NDR)\n")
    assert host.has_infiniband()
    assert host.network_speed() == machine.here().network == 50e9


def test_the_recorded_nvml_has_the_shape_of_the_real_one() -> None:
    for name, answer in inspect.getmembers(Nvml, inspect.isfunction):
        if name.startswith("nvml"):
            ours = list(inspect.signature(answer).parameters.values())[1:]
            real = list(inspect.signature(getattr(pynvml, name)).parameters.values())
            assert [one.default is one.empty for one in ours] == [one.default is one.empty for one in real], name
    assert pynvml.NVML_P2P_CAPS_INDEX_NVLINK == gpus.NVLINK
    assert pynvml.NVML_P2P_CAPS_INDEX_READ in (gpus.READ, (gpus.READ,))
