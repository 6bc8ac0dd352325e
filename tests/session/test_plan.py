"""Nothing is written over an input, or over a file that is not ours."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hypseg.session import PlanError, Session, check, file_name, with_suffix
from napari_hypseg.volumes import Volume, read_volume, write_image


@pytest.fixture
def volume(tmp_path):
    voxels = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    write_image(tmp_path / "leaves.mrc", voxels, Volume(voxels))
    return read_volume(tmp_path / "leaves.mrc")


def test_the_volume_itself_is_never_overwritten(volume, tmp_path):
    for path in (tmp_path / "leaves.mrc", tmp_path / "sub" / ".." / "leaves.mrc"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(PlanError, match="is the volume itself"):
            check([path], inputs=[volume], overwrite=True)
    (tmp_path / "link.mrc").symlink_to(tmp_path / "leaves.mrc")
    with pytest.raises(PlanError, match="is the volume itself"):
        check([tmp_path / "link.mrc"], inputs=[volume], overwrite=True)


def test_a_file_of_somebody_else_is_refused_unless_it_may_be_overwritten(volume, tmp_path):
    (tmp_path / "notes.mrc").write_text("mine")
    with pytest.raises(PlanError, match="is there already"):
        check([tmp_path / "new.mrc", tmp_path / "notes.mrc"], inputs=[volume])
    check([tmp_path / "notes.mrc"], inputs=[volume], overwrite=True)
    check([tmp_path / "notes.mrc"], inputs=[volume], ours=[tmp_path / "notes.mrc"])


def test_a_session_refuses_before_anything_long_begins(volume, tmp_path):
    session = Session(volume, tmp_path)
    with pytest.raises(PlanError, match=r"leaves\.mrc: is the volume itself"):
        session.check_outputs([2, 3])
    session = Session(volume, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels_k03.mrc").write_text("mine")
    with pytest.raises(PlanError, match=r"labels_k03\.mrc: is there already"):
        session.check_outputs([2, 3])


def test_what_the_session_wrote_is_replaced_and_what_it_no_longer_writes_goes(volume, tmp_path):
    session = Session(volume, tmp_path / "out")
    session.train(steps=1, device="cpu")
    session.discover(stride=2, device="cpu")
    session.write([2, 3])
    (session.folder / "notes.mrc").write_text("mine")
    session.write([3, 4], format="tif")
    names = {p.name for p in session.folder.iterdir() if p.suffix in (".mrc", ".tif")}
    assert names == {"labels_k03.tif", "labels_k04.tif", "leaves.tif", "notes.mrc"}


def test_names_are_safe_for_paths():
    assert file_name("S1/T2") == "S1_T2"
    assert file_name("../..") == "_"
    assert file_name("größe 4") == "größe_4"


def test_the_ending_decides_or_is_added(tmp_path):
    assert with_suffix(tmp_path / "a", ".mrc").name == "a.mrc"
    assert with_suffix(tmp_path / "a.5", ".mrc").name == "a.5.mrc"
    assert with_suffix(tmp_path / "a.zarr", ".mrc").name == "a.zarr"
    with pytest.raises(PlanError, match=r"not \.xlsx"):
        with_suffix(tmp_path / "a.xlsx", ".csv", (".csv",))
