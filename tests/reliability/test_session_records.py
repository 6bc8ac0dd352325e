"""The record of a session that a stranger changed: opened, or refused in a sentence; no harm."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from napari_hypseg.jobs import finish
from napari_hypseg.session import Session
from napari_hypseg.volumes import Volume, make_toy

from .mutations import fuzz

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="no limit on memory here"
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A session with all that a folder may hold, and its volume in it."""
    folder = tmp_path_factory.mktemp("records") / "kept"
    toy = make_toy("regular", seed=4).volume
    volume = Volume(toy.read((slice(0, 12), slice(0, 20), slice(0, 20))), toy.voxel_size)
    session = Session(volume, folder)
    finish(session.train_job(steps=1, device="cpu"))
    finish(session.map_job(device="cpu"))
    finish(session.cluster_job())
    finish(session.write_job([2, 3]))
    return folder


@pytest.mark.xfail(reason="the reader of today's sessions trusts them", strict=False)
def test_sessions(kept, tmp_path, count):
    outside, used = tmp_path / "outside", tmp_path / "used"
    outside.mkdir()
    (outside / "precious").write_text("keep")

    def make() -> Path:
        shutil.rmtree(used, ignore_errors=True)
        return Path(shutil.copytree(kept, used))

    def use(folder: Path) -> None:
        session = Session.open(folder)
        session.save()
        finish(session.write_job([2]))

    tally = fuzz(make, use, ["session.json"], outside)
    count("records mutated", sum(tally.values()))
