"""Little memory and Ctrl-C at once: limits are seen, and whatever ends a run says so in a line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_hypseg.volumes import limits

from .conftest import SCALE

GB = 1 << 30
CODE = "from napari_hypseg.cli import main; main()"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 100 GB free, whose control groups lie in a folder."""
    for name in list(os.environ):
        if name.startswith("SLURM"):
            monkeypatch.delenv(name)
    memory = type("memory", (), {"available": 100 * GB})
    monkeypatch.setattr(limits.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(limits, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "_OWN_GROUPS", tmp_path / "own")
    return tmp_path


def group(folder: Path, names: tuple[str, str], most: object, taken: int, stat: str) -> None:
    folder.mkdir(parents=True)
    for name, value in zip(names, (most, taken), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(stat)


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
V2 = ("memory.max", "memory.current")


def test_without_limits(machine):
    assert limits.free_memory() == 100 * GB


def test_control_groups_of_version_2(machine):
    """As systemd makes them (MemoryMax=): the group's own limit, or that of one around it."""
    (machine / "own").write_text("0::/user.slice/run.scope\n")
    outer = machine / "cgroup" / "user.slice"
    stat = f"active_file 5\ninactive_file {GB}\n"
    group(outer / "run.scope", V2, "max", 3 * GB, stat)
    assert limits.free_memory() == 100 * GB
    (outer / "memory.max").write_text(f"{8 * GB}\n")
    (outer / "memory.current").write_text(f"{4 * GB}\n")
    (outer / "memory.stat").write_text(stat)
    # Files that were read are let go of when memory is wanted.
    assert limits.free_memory() == 5 * GB
    (outer / "run.scope" / "memory.max").write_text(f"{5 * GB}\n")
    assert limits.free_memory() == 3 * GB


def test_control_groups_of_version_1(machine):
    """As in a container that sees its group at the top, and in one that sees all groups."""
    (machine / "own").write_text("5:cpu,memory:/docker/abc\n1:name=systemd:/\n0::/\n")
    top = machine / "cgroup" / "memory"
    group(top, V1, 6 * GB, 2 * GB, f"total_inactive_file {GB}\n")
    assert limits.free_memory() == 5 * GB
    group(top / "docker" / "abc", V1, 3 * GB, 2 * GB, "total_inactive_file 0\n")
    assert limits.free_memory() == GB
    (top / "docker" / "abc" / V1[1]).write_text(f"{4 * GB}\n")
    assert limits.free_memory() == 0


@pytest.mark.parametrize(
    ("job", "most"),
    [
        ({"SLURM_MEM_PER_NODE": "4096"}, 4 * GB),
        ({"SLURM_MEM_PER_CPU": "1024", "SLURM_CPUS_ON_NODE": "6"}, 6 * GB),
        ({"SLURM_MEM_PER_NODE": "0"}, 100 * GB),
        ({"SLURM_MEM_PER_NODE": "much"}, 100 * GB),
        ({"SLURM_JOB_ID": "7"}, 100 * GB),
    ],
)
def test_slurm(machine, monkeypatch, job, most):
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    found = limits.free_memory()
    # What this process holds already, some hundred MB, counts.
    assert found == most if most == 100 * GB else most - 3 * GB < found < most


def run(*words: object, **more) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CODE, *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}, **more,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no limit on memory here")
@pytest.mark.parametrize("gigabytes", [0.3, 0.9, 1.5])
def test_too_little_memory_is_said(toy, tmp_path, gigabytes, count):
    """While libraries load, while the network is made, and in the compiler, which would abort."""
    import resource

    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 1e9),) * 2)

    ended = run("run", toy, "--out", tmp_path / "out", "--steps", 2, "-k", 2,
                "--box", ":20,:30,:30", preexec_fn=starve)  # fmt: skip
    said, _ = ended.communicate(timeout=100)
    assert ended.returncode == 1, said
    assert said.splitlines()[-1].startswith("hypseg: there is too little memory ("), said
    assert "Traceback" not in said
    count("too little memory")


@pytest.mark.skipif(os.name == "nt", reason="no such signal here")
@pytest.mark.parametrize("seconds", [0.5 + 0.7 * i / SCALE for i in range(round(4 * SCALE))])
def test_ctrl_c_while_libraries_load(toy, tmp_path, seconds, count):
    def listen() -> None:
        # A shell's background jobs ignore it, as may whoever runs this test.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    started = run("run", toy, "--out", tmp_path, "--steps", 100_000, preexec_fn=listen)
    time.sleep(seconds)
    started.send_signal(signal.SIGINT)
    said, _ = started.communicate(timeout=60)
    assert started.returncode in (1, 130), said
    assert said.splitlines()[-1].startswith("hypseg: stopped"), said
    assert "Traceback" not in said
    count("Ctrl-C")
