"""Sessions of a small volume."""

from __future__ import annotations

import shutil

import pytest

import napari_hypseg as hs
from napari_hypseg.session import Session
from napari_hypseg.volumes import Volume, read_volume, write_image

PLACE = {"voxel_size": (7.5, 7.5, 8.0), "origin": (-30.0, 15.0, 60.0)}


def _discover(volume, folder, tree="things", stride=2):
    session = Session(volume, folder)
    session.train(steps=2, device="cpu")
    session.map(stride=stride, device="cpu")
    session.propose(tree=tree)
    return session


@pytest.fixture(scope="session")
def discover():
    """A function that makes a session of a volume in a folder: trained, mapped, clustered."""
    return _discover


@pytest.fixture(scope="session")
def voxels():
    return hs.make_toy("regular", seed=4).volume.read()[10:30, 10:34, 10:32]


@pytest.fixture(scope="session")
def kept(voxels, tmp_path_factory):
    """A folder with a tomogram and, beside it, the session of a part of it."""
    folder = tmp_path_factory.mktemp("kept")
    write_image(folder / "toy.mrc", voxels, Volume(voxels, **PLACE))
    part = read_volume(folder / "toy.mrc").crop((slice(2, 18), slice(None), slice(1, 20)))
    session = _discover(part, folder / "toy_hypseg")
    session.k = 4
    session.save_view()
    return folder


@pytest.fixture
def moved(kept, tmp_path):
    """The folders above, copied elsewhere; the first ones are out of reach."""
    shutil.copytree(kept, tmp_path / "copy")
    file = tmp_path / "copy" / "toy_hypseg" / "session.json"
    file.write_text(file.read_text().replace(str(kept), str(tmp_path / "gone")))
    return tmp_path / "copy"
