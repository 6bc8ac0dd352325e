"""Too little memory or disk is said before the work; numba and PyTorch keep to their threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_hypseg.session import Session, needs
from napari_hypseg.volumes import Volume


class Vast:
    """A volume of 8,000 million voxels that nobody reads."""

    shape, dtype = (2000, 2000, 2000), np.dtype(np.float32)


@pytest.fixture
def vast(tmp_path, monkeypatch) -> Session:
    monkeypatch.setattr(Volume, "fingerprint", lambda self: "0" * 16)
    monkeypatch.setattr(needs, "free_memory", lambda: 16e9)
    monkeypatch.setattr(needs, "free_disk", lambda folder: 200e9)
    return Session(Volume(Vast(), name="vast"), tmp_path / "out")


def test_shortage_is_told_with_both_numbers(vast, count):
    said = vast.needs().shortage
    assert "too little memory: up to 98.9 GB needed, 16 GB free" in said
    assert "too little disk space: up to 1.12 TB needed, 200 GB free" in said
    assert "\n" not in said
    # An eighth of the points along each axis, or a part, is little enough.
    assert vast.needs(stride=8).shortage == ""
    assert vast.needs(box=(slice(0, 100), slice(None), slice(None))).shortage == ""
    large = vast.needs(box=(slice(0, 1500), slice(None), slice(None)), stride=1).shortage
    assert "memory" in large
    assert "disk" in large
    assert vast.needs(stride=2).shortage == ""
    count("shortage", 2)


def test_what_the_folder_holds_is_not_needed_again(vast, monkeypatch):
    monkeypatch.setattr(needs, "free_memory", lambda: float("inf"))
    monkeypatch.setattr(needs, "free_disk", lambda folder: 0.0)
    box = (slice(0, 10), slice(0, 10), slice(0, 10))
    assert "disk" in vast.needs(box=box).shortage
    (vast.folder / "latents" / "a.zarr").mkdir(parents=True)
    (vast.folder / "latents" / "a.zarr" / "chunk").write_bytes(bytes(140_000))
    assert vast.needs(box=box).shortage == ""


def test_a_run_says_so_first(hypseg, toy, tmp_path, count):
    """A disk of 300 kB, for latents of a million voxels and more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only the superuser can make a file system")
    try:
        ended = hypseg("run", toy, "--out", disk / "out", "--preset", "tiny", "--steps", 2)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    first = ended.said.splitlines()[0]
    warned = "hypseg: warning: toy: there may be too little disk space: up to 17.5 MB needed, 0."
    assert first.startswith(warned)
    assert ended.code == 1
    count("shortage")


@pytest.mark.parametrize("asked", ["environment", "torch"])
def test_threads_follow_the_setting(asked):
    """After training, mapping and smoothing, PyTorch and numba still have the threads asked for."""
    code = """
import sys, numba, torch
if sys.argv[1] == "torch": torch.set_num_threads(1)
import napari_hypseg as hs
toy = hs.make_toy("regular").volume.crop((slice(0, 14),) * 3)
hs.cluster(hs.embed(hs.train(toy, steps=1, device="cpu"), toy, device="cpu"))
print(torch.get_num_threads(), numba.get_num_threads())
"""
    environment = dict(os.environ)
    if asked == "torch":
        environment.pop("OMP_NUM_THREADS", None)
    else:
        environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, asked],
        capture_output=True, text=True, check=True, env=environment, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "1"]
