"""What the doctor finds, on folders made for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.nvml import Nvml, h200

from qltui.facts import doctor, gpus, host, versions


def test_the_tested_versions_are_those_that_are_installed_for_tests() -> None:
    constraints = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    assert {f"{package}=={version}" for package, version in versions.TESTED.items()} <= set(constraints)


def test_another_version_is_a_warning_and_a_missing_package_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "TESTED", {"msgspec": "0.0.1", "no-such-package": "1.0"})
    facts = {fact.name: fact for fact in doctor.examine(Path("/tmp"))}
    assert facts["msgspec"].verdict == "warn"
    assert (facts["no-such-package"].verdict, facts["no-such-package"].value) == ("bad", "not installed")
    assert "pip install no-such-package==1.0" in facts["no-such-package"].remedy


def test_what_was_proven_and_where_is_said() -> None:
    facts = {fact.name: fact for fact in doctor.examine(Path("/tmp"))}
    assert "CPU ranks (torch" in facts["verified on"].value


def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")  # a folder without write permission would not stop root
    facts = {fact.name: fact for fact in doctor.examine(tmp_path / "file" / "runs")}
    assert facts["runs"].verdict == "bad"
    assert "QLTUI_HOME" in facts["runs"].remedy


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({}, False),
        ({"logind.conf": "[Login]\n#KillUserProcesses=yes\n"}, False),
        ({"logind.conf": "[Login]\nKillUserProcesses = yes\n"}, True),
        ({"logind.conf": "KillUserProcesses=yes\n", "d/10-keep.conf": "KillUserProcesses=no\n"}, False),
        ({"logind.conf": "", "d/10-a.conf": "KillUserProcesses=no\n", "d/20-b.conf": "KillUserProcesses=1\n"}, True),
    ],
)
def test_logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], kills: bool) -> None:
    (tmp_path / "d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(host, "LOGIND_FILES", (str(tmp_path / "logind.conf"), str(tmp_path / "d")))
    assert host.kills_user_processes() is kills
    assert (doctor.examine(tmp_path)[-1].verdict == "warn") is kills


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs packages that are found before the real ones: a version, and files with their text."""

    def install(name: str, version: str, **files: str) -> Path:
        folder = tmp_path / "site"
        (folder / f"{name}-{version}.dist-info").mkdir(parents=True)
        (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        for file, text in files.items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / file.replace("__", ".")).write_text(text)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return install


def torch_for(cuda: str | None) -> str:
    return f"__version__ = '2.13.0'\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n"


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Callable[[Nvml], dict[str, doctor.Fact]]:
    """The facts where NVML answers what was recorded: the machines that run the tests have no GPU."""
    for name in ("CUDA_VISIBLE_DEVICES", "BNB_CUDA_VERSION", "NCCL_P2P_DISABLE", "NCCL_IB_DISABLE"):
        monkeypatch.delenv(name, raising=False)

    def examine(nvml: Nvml) -> dict[str, doctor.Fact]:
        monkeypatch.setattr(gpus, "load_nvml", lambda: nvml)
        facts = doctor.examine(Path("/tmp"))
        assert all(bool(fact.remedy) is (fact.verdict != "ok") for fact in facts)
        assert len({fact.name for fact in facts}) == len(facts)
        return {fact.name: fact for fact in facts}

    return examine


def test_a_machine_with_two_gpus_that_is_well(packages: Callable[..., Path], examined: Callable[..., Any]) -> None:
    packages("torch", "2.13.0+cu130", version__py=torch_for("13.0"))
    packages("nvidia_nccl_cu13", "2.28.9")
    facts = examined(Nvml(h200(0), h200(1)))
    said = {name: (fact.value, fact.verdict) for name, fact in facts.items()}
    assert said["driver"] == ("580.159.04, runs CUDA up to 13.0", "ok")
    assert said["gpu 1"] == ("NVIDIA H200, 139.7 GiB", "ok")
    assert said["torch cuda"] == ("built for CUDA 13.0", "ok")
    assert said["bnb library"] == ("for CUDA 13.0", "ok")
    assert said["nccl"] == ("2.28.9", "ok")
    assert said["peer access"] == ("every pair of GPUs, over NVLink", "ok")


@pytest.mark.parametrize(
    ("built", "driver", "capability", "verdict", "said"),
    [
        ("13.0", 13000, (9, 0), "ok", "built for CUDA 13.0"),
        ("12.9", 12040, (9, 0), "ok", "built for CUDA 12.9"),
        ("12.6", 13000, (9, 0), "ok", "built for CUDA 12.6"),
        ("13.0", 12080, (9, 0), "bad", "the driver runs up to 12.8"),
        ("13.0", 13000, (7, 0), "bad", "no kernels for GPU 0 (NVIDIA H200)"),
        ("12.6", 13000, (12, 0), "bad", "no kernels for GPU 0 (NVIDIA H200)"),
        (None, 12080, (9, 0), "bad", "built without CUDA"),
    ],
)
def test_torch_must_fit_driver_and_gpus(
    built: str | None,
    driver: int,
    capability: tuple[int, int],
    verdict: str,
    said: str,
    packages: Callable[..., Path],
    examined: Callable[..., Any],
) -> None:
    packages("torch", "2.13.0", version__py=torch_for(built))
    facts = examined(Nvml(h200(0, capability=capability), cuda=driver))
    assert facts["torch cuda"].verdict == verdict
    assert said in facts["torch cuda"].value
    assert "nccl" not in facts  # one GPU talks to nobody
    assert ("bnb library" in facts) is (built is not None)


def test_what_to_do_about_an_old_driver(packages: Callable[..., Path], examined: Callable[..., Any]) -> None:
    packages("torch", "2.13.0", version__py=torch_for("13.0"))
    remedy = examined(Nvml(h200(0), cuda=12080))["torch cuda"].remedy
    assert remedy == "Update the driver to 580 or newer, or install torch for CUDA 12.8 or older."


@pytest.mark.parametrize(
    ("there", "forced", "value"),
    [
        (["118", "130"], None, "for CUDA 13.0"),
        (["128", "129"], None, None),
        (["126", "132"], None, "for CUDA 13.2"),
        (["126", "130"], "126", "for CUDA 12.6"),
        (["126", "130"], "131", None),
        ([], None, None),
    ],
)
def test_bitsandbytes_needs_a_library_of_torchs_cuda(
    there: list[str],
    forced: str | None,
    value: str | None,
    packages: Callable[..., Path],
    examined: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages("torch", "2.13.0", version__py=torch_for("13.0"))
    libraries = {f"libbitsandbytes_cuda{one}__so": "" for one in there}
    packages("bitsandbytes", "0.50.2", **libraries, libbitsandbytes_cpu__so="")
    if forced:
        monkeypatch.setenv("BNB_CUDA_VERSION", forced)
    fact = examined(Nvml(h200(0)))["bnb library"]
    assert fact.verdict == ("ok" if value else "bad")
    assert value is None or fact.value == value


def test_the_real_bitsandbytes_has_libraries_of_today() -> None:
    for build, library in (("12.6", "12.6"), ("13.0", "13.0"), ("12.7", "12.6"), ("12.9", "12.8"), ("12.0", "12.1")):
        major, minor = map(int, build.split("."))
        assert doctor._bitsandbytes((major, minor)).value == f"for CUDA {library}"


@pytest.mark.parametrize(
    ("version", "tools", "said"),
    [
        ('{"cuda": {"name": "CUDA SDK", "version": "13.0.1"}}', ["ninja", "c++"], "can be compiled with CUDA 13.0"),
        ("", ["ninja", "c++"], "can be compiled"),
        ('{"cuda": {"version": "12.8.0"}}', ["ninja", "c++"], "a toolkit for CUDA 13.0 (there is 12.8)"),
        ('{"cuda": {"version": "13.0.1"}}', ["c++"], "cannot be compiled without ninja;"),
        (None, ["ninja", "c++"], "nvcc (CUDA_HOME)"),
    ],
)
def test_whether_deepspeed_can_compile(
    version: str | None, tools: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "cuda"
    (home / "bin").mkdir(parents=True)
    if version is not None:
        (home / "bin" / "nvcc").touch(0o755)
        (home / "version.json").write_text(version)
    monkeypatch.setenv("CUDA_HOME", str(home))
    monkeypatch.setenv("PATH", str(tmp_path))
    for tool in tools:
        (tmp_path / tool).touch(0o755)
    fact = doctor._deepspeed_ops((13, 0))
    assert said in fact.value
    assert fact.verdict == "ok"


def test_a_lost_and_a_sliced_gpu(packages: Callable[..., Path], examined: Callable[..., Any]) -> None:
    packages("torch", "2.13.0", version__py=torch_for("13.0"))
    part = {"uuid": "MIG-1", "name": "NVIDIA H200 MIG 1g.18gb", "total": 16384, "reserved": 0}
    facts = examined(Nvml(h200(0, slices=[part]), {"lost": True}, h200(2, slices=[])))
    assert (facts["gpu 0"].value, facts["gpu 0"].verdict) == ("NVIDIA H200, cut into 1 slice (MIG)", "warn")
    assert (facts["gpu 1"].value, facts["gpu 1"].verdict) == ("does not answer: GPU is lost", "bad")
    assert facts["gpu 2"].verdict == "bad"
    assert "peer access" not in facts


@pytest.mark.parametrize(
    ("name", "driver", "reach", "verdict", "said"),
    [
        ("NVIDIA A40", "580.1", 0, "ok", "over PCIe"),
        ("NVIDIA A40", "580.1", 4, "warn", "not between all GPUs"),
        ("NVIDIA A40", "580.1", 6, "ok", "not told"),
        ("NVIDIA GeForce RTX 4090", "580.1", 3, "ok", "as GeForce cards have none"),
        ("NVIDIA GeForce RTX 4090", "550.40.06", 0, "bad", "Accelerate refuses to start"),
        ("NVIDIA GeForce RTX 4090", "550.40.07", 0, "ok", "over PCIe"),
        ("NVIDIA GeForce RTX 3090", "535.0", 0, "ok", "over PCIe"),
    ],
)
def test_how_gpus_reach_each_other(
    name: str,
    driver: str,
    reach: int,
    verdict: str,
    said: str,
    examined: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvml = Nvml(h200(0, name=name), h200(1, name=name))
    nvml.peers = {gpus.READ: reach, gpus.NVLINK: 5}
    monkeypatch.setattr(nvml, "nvmlSystemGetDriverVersion", lambda: driver)
    fact = examined(nvml)["peer access"]
    assert fact.verdict == verdict
    assert said in fact.value
    monkeypatch.setenv("NCCL_P2P_DISABLE", "1")
    monkeypatch.setenv("NCCL_IB_DISABLE", "1")
    assert _named("peer access").verdict != "bad"


def _named(name: str) -> doctor.Fact:
    return next(fact for fact in doctor.examine(Path("/tmp")) if fact.name == name)


def test_versions_outside_of_the_programs_own_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._wanted()["textual"] == "==8.2.8"
    assert "pytest" not in doctor._wanted()
    monkeypatch.setattr(versions, "installed", lambda package: "1.0")
    fact = _named("transformers")
    assert (fact.verdict, fact.value) == ("bad", "1.0, outside of what this program works with (<6,>=5.17)")
    for version, bounds, fits in (
        ("5.17", "<6,>=5.17", True),
        ("5.17.0rc1", ">=5.17", True),
        ("6.0.0", "<6", False),
        ("8.2.8", "==8.2.8", True),
        ("8.2.9", "==8.2.8", False),
        ("0.19.10", ">=0.19.3", True),
        ("1.0", "", True),
    ):
        assert doctor._within(version, bounds) is fits


@pytest.mark.parametrize(
    ("files", "most", "verdict", "said"),
    [
        (1024, 1048576, "warn", "ulimit -n 65535"),
        (1024, 16384, "warn", "ulimit -n 16384"),
        (1024, 1024, "warn", "limits.conf"),
        (65535, 65535, "ok", ""),
        (None, None, "ok", ""),
    ],
)
def test_open_files(
    files: int | None, most: int | None, verdict: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "limits", lambda: host.Limits(files, most, 8192))
    fact = _named("open files")
    assert fact.verdict == verdict
    assert said in fact.remedy


def test_locked_memory_matters_to_infiniband_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for adapter, locked, told in ((True, 8 << 20, True), (True, None, False), (False, 8 << 20, False)):
        monkeypatch.setattr(host, "has_infiniband", lambda adapter=adapter: adapter)
        monkeypatch.setattr(host, "limits", lambda locked=locked: host.Limits(65535, 65535, locked))
        facts = {fact.name: fact for fact in doctor.examine(Path("/tmp"))}
        assert ("locked memory" in facts) is told
        assert not told or "8 MiB" in facts["locked memory"].value


def test_doctor_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from qltui.facts import doctor, machine; doctor.examine(Path('/tmp'));"
    )
    code += "machine.here(); print([name for name in ('torch', 'msgspec', 'engine', 'textual') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
