"""The text that makes a session's proposals again does."""

from __future__ import annotations

import shlex
import shutil

import numpy as np
import pytest

from napari_hypseg.cli import main
from napari_hypseg.session import Session, as_command, as_python
from napari_hypseg.volumes import Volume, read_volume, write_image


@pytest.fixture(scope="module")
def plain(voxels, tmp_path_factory):
    """A session of a part of a file, of equal sides of voxels, mapped in a box of it."""
    folder = tmp_path_factory.mktemp("plain")
    write_image(folder / "toy 'one'; $(x).mrc", voxels, Volume(voxels, (7.5,) * 3))
    part = read_volume(folder / "toy 'one'; $(x).mrc")
    part = part.crop((slice(2, 20), slice(None), slice(1, 20)))
    session = Session(part, folder / "out")
    session.train(steps=2, device="cpu", seed=5)
    session.map(box=(slice(0, 9), slice(4, 20), slice(0, 19)), device="cpu")
    session.propose(tree="kinds", smoothing=0.5, seed=5)
    return session


def test_the_script_makes_the_labels_again(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = Session.open(plain.folder)
    session.keep(session.proposals.nodes(3)[0], name="kept")
    names = {}
    exec(compile(as_python(session, 6), "script", "exec"), names)
    again = read_volume(tmp_path / f"{session.volume.name}_labels_k06.mrc")
    np.testing.assert_array_equal(again.read(), session.proposals.labels(6))
    np.testing.assert_allclose(again.origin, session.latents.origin, rtol=1e-6)
    np.testing.assert_array_equal(names["labels"], session.classes.labels)


def test_the_command_makes_the_labels_again(plain, monkeypatch):
    command = shlex.split(as_command(plain, 6))
    assert command[:2] == ["hypseg", "segment"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    again = read_volume(f"{plain.folder}_again/labels_k06.mrc")
    np.testing.assert_array_equal(again.read(), plain.proposals.labels(6))
    shutil.rmtree(f"{plain.folder}_again")
