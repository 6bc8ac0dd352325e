"""The record of a session that a stranger changed: opened, or refused in a sentence; no harm."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from napari_hypseg.samples import make_toy
from napari_hypseg.session import Session
from napari_hypseg.volumes import Volume

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
    session.train(steps=1, device="cpu")
    session.map(device="cpu")
    session.propose()
    session.write([2, 3])
    session.keep_all()
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")
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
        session.use_stopped() if session.stopped else None
        if session.model and session.proposals:
            session.write([2])

    tally = fuzz(make, use, ["session.json"], outside)
    count("records mutated", sum(tally.values()))
