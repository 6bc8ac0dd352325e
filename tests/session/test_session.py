"""A session's folder: everything that was done is there when it is opened again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from napari_hypseg.jobs import finish
from napari_hypseg.session import PlanError, Session, read_record
from napari_hypseg.volumes import Volume, read_volume, write_image
from napari_hypseg.volumes.limits import peak_memory

PLACE = {"voxel_size": (7.5, 7.5, 8.0), "origin": (-30.0, 15.0, 60.0)}


def same(one, other):
    assert one.volume.fingerprint() == other.volume.fingerprint()
    for name in ("voxel_size", "origin", "name", "shape"):
        assert getattr(one.volume, name) == getattr(other.volume, name)
    assert one.model.number == other.model.number
    assert one.model.model.fingerprint() == other.model.model.fingerprint()
    np.testing.assert_array_equal(one.latents.read(), other.latents.read())
    assert one.latents.voxel_size == other.latents.voxel_size
    assert one.proposals.kind == other.proposals.kind
    np.testing.assert_array_equal(one.proposals.labels(5), other.proposals.labels(5))
    assert one.record.run == other.record.run
    assert one.k == other.k
    np.testing.assert_array_equal(one.classes.labels, other.classes.labels)
    assert one.classes.table == other.classes.table


@pytest.mark.parametrize("tree", ["things", "kinds"])
def test_a_session_opens_as_it_was_left(discover, voxels, tmp_path, tree):
    write_image(tmp_path / "a.mrc", voxels, Volume(voxels, **PLACE))
    session = discover(read_volume(tmp_path / "a.mrc"), tmp_path / "out", tree)
    session.keep(session.proposals.nodes(4)[1], name="membrane")
    session.k = 9
    session.save_view()
    same(session, Session.open(tmp_path / "out"))


def test_a_part_of_a_volume_opens_again(kept):
    session = Session.open(kept / "toy_hypseg")
    assert session.volume.shape == (16, 24, 19)
    assert session.volume.origin == pytest.approx((-30 + 2 * 8.0 - 1, 15, 60 + 8.0), abs=2)
    assert session.k == 4


def test_a_volume_without_a_file_is_copied(discover, voxels, tmp_path):
    session = discover(Volume(voxels, **PLACE, name="array"), tmp_path / "out")
    assert (tmp_path / "out" / "volume.zarr").is_dir()
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    again = Session.open(tmp_path / "elsewhere")
    np.testing.assert_array_equal(again.volume.read(), voxels)
    assert again.volume.voxel_size == PLACE["voxel_size"]
    assert again.volume.name == "array"
    assert again.proposals.most == session.proposals.most


def test_nothing_is_on_disk_before_there_is_something_to_keep(voxels, tmp_path):
    session = Session(Volume(voxels), tmp_path / "out")
    session.k = 4
    session.save_view()
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"no session is kept here, session\.json is missing"):
        Session.open(tmp_path / "out")


def test_every_step_is_kept_at_its_end(voxels, tmp_path):
    session = Session(Volume(voxels, **PLACE), tmp_path)
    session.train(steps=2, device="cpu")
    opened = Session.open(tmp_path)
    assert opened.model.model.fingerprint() == session.model.model.fingerprint()
    assert opened.latents is None
    session.map(stride=2, device="cpu")
    # A step that was stopped changes nothing.
    job = session.map_job(stride=1, device="cpu")
    next(job)
    job.close()
    opened = Session.open(tmp_path)
    assert opened.latents.shape == session.latents.shape == (10, 12, 11)
    assert opened.proposals is None
    session.propose()
    assert Session.open(tmp_path).proposals is not None


def test_a_job_changes_nothing_before_its_result_is_taken(discover, voxels, tmp_path):
    session = discover(Volume(voxels), tmp_path)
    model, proposals = session.model, session.proposals
    heard = []
    session.proposals_changed.connect(lambda: heard.append("proposals"))
    session.model_changed.connect(lambda: heard.append("model"))
    trained = finish(session.train_job(steps=3, device="cpu"))
    made = finish(session.discover_job(stride=4, device="cpu"))
    assert session.model is model
    assert session.proposals is proposals
    assert heard == []
    assert Session.open(tmp_path).model.number == model.number
    session.take(trained)
    session.take(made)
    assert heard == ["model", "proposals"]
    assert session.model.number == model.number + 1
    # The map is of the model that was in use when it was made.
    assert session.proposals.model == model.number


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell")
def test_peak_memory_is_not_that_of_the_process_before():
    held = np.ones(1 << 26)
    asked = "import napari_hypseg.session.session as s; print(s.peak_memory())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    # PyTorch and the like take 0.4 GB.
    limit = held.nbytes / 1e9 + 0.1
    assert 0.01 < float(done.stdout) < limit < peak_memory()


def stages(job):
    seen = []
    finish(job, lambda progress: seen.append(progress.stage))
    return set(seen)


def test_nothing_is_made_twice(moved):
    session = Session.open(moved / "toy_hypseg")
    assert stages(session.propose_job()) == {"looking for clusters"}
    assert "training" not in stages(session.train_job(steps=2, device="cpu"))


@pytest.mark.filterwarnings("ignore:.*the model learned from")
def test_a_new_name_or_voxel_size_maps_nothing_anew(moved):
    (moved / "toy.mrc").rename(moved / "renamed.mrc")
    box = read_record(moved / "toy_hypseg").volume.place.box
    volume = read_volume(moved / "renamed.mrc").crop(tuple(slice(*s) for s in box))
    session = Session.open(moved / "toy_hypseg", replace(volume, voxel_size=(20.0,) * 3))
    before = {p: p.stat().st_mtime_ns for p in moved.rglob("c/*") if p.is_file()}
    session.map(stride=2, device="cpu")
    assert "clustering" not in stages(session.propose_job())
    assert session.latents.voxel_size == (40.0,) * 3
    assert before == {p: p.stat().st_mtime_ns for p in moved.rglob("c/*") if p.is_file()}
    session.use_volume(replace(session.volume, voxel_size=(5.0,) * 3))
    assert session.proposals.latents.voxel_size == (10.0,) * 3
    (path, *_) = session.write([3])
    assert read_volume(path).voxel_size == (10.0,) * 3


def test_folder_and_tomogram_may_move_together(kept, moved):
    same(Session.open(kept / "toy_hypseg"), Session.open(moved / "toy_hypseg"))


def test_a_copy_takes_the_volume_beside_it(kept, tmp_path, voxels):
    """Though the first one is still there."""
    shutil.copytree(kept, tmp_path / "copy")
    session = Session.open(tmp_path / "copy" / "toy_hypseg")
    assert session.volume.source.path == str(tmp_path / "copy" / "toy.mrc")


def test_a_volume_that_has_moved_can_be_given(kept, moved):
    volume = Session.open(moved / "toy_hypseg").volume
    (moved / "toy.mrc").unlink()
    with pytest.raises(ValueError, match=r"toy\.mrc is not there any more: put it back"):
        Session.open(moved / "toy_hypseg")
    (moved / "else").mkdir()
    shutil.copy(kept / "toy.mrc", moved / "else")
    volume = read_volume(moved / "else" / "toy.mrc").crop(volume.source.box)
    session = Session.open(moved / "toy_hypseg", volume)
    session.save()
    assert "else" in Session.open(moved / "toy_hypseg").volume.source.path


def test_a_url_is_not_contacted_unasked(moved):
    file = moved / "toy_hypseg" / "session.json"
    text = file.read_text()
    file.write_text(text.replace(str(moved.parent / "copy" / "toy.mrc"), "http://127.0.0.1:9/t"))
    record = read_record(moved / "toy_hypseg")
    record.volume.place.path = "http://127.0.0.1:9/evil.zarr"
    from napari_hypseg.session.record import write_record

    write_record(moved / "toy_hypseg", record)
    with pytest.raises(ValueError, match="which nothing has contacted yet"):
        Session.open(moved / "toy_hypseg")


def test_the_work_on_another_volume_is_refused(moved, voxels):
    other = Volume(voxels[::-1].copy(), name="other")
    with pytest.raises(PlanError, match="holds the work on another volume, toy"):
        Session(other, moved / "toy_hypseg")
    with pytest.raises(PlanError, match="holds the work on another volume"):
        Session.open(moved / "toy_hypseg", other)
    session = Session(other, moved / "toy_hypseg", overwrite=True)
    session.train(steps=1, device="cpu")
    assert Session.open(moved / "toy_hypseg").volume.name == "other"


def test_classes_of_another_volume_are_never_overwritten(moved, voxels):
    Session.open(moved / "toy_hypseg").keep_all()
    other = Volume(voxels[::-1].copy(), name="other")
    with pytest.raises(PlanError, match="holds classes that were kept of another volume"):
        Session(other, moved / "toy_hypseg", overwrite=True)


def test_two_programs_may_note_different_things(moved):
    """What another one has written meanwhile stays."""
    ours, other = (Session.open(moved / "toy_hypseg") for _ in range(2))
    other.train(steps=3, device="cpu")
    ours.k = 7
    ours.save_view()
    again = Session.open(moved / "toy_hypseg")
    assert again.k == 7
    assert again.model.number == other.model.number == 2


def test_a_volume_that_is_not_its_files_is_copied(kept, voxels, tmp_path):
    """Such as a layer that was read from a file and then filtered."""
    read = read_volume(kept / "toy.mrc")
    changed = replace(read, data=read.read() + 1)
    Session(changed, tmp_path / "out").train(steps=1, device="cpu")
    again = Session.open(tmp_path / "out").volume
    assert again.source.path == str(tmp_path / "out" / "volume.zarr")
    np.testing.assert_array_equal(again.read(), changed.data)


def test_what_was_deleted_is_made_anew(moved):
    folder = moved / "toy_hypseg"
    shutil.rmtree(folder / "proposals")
    session = Session.open(folder)
    assert session.proposals is None
    assert session.latents is not None
    shutil.rmtree(folder / "latents")
    assert Session.open(folder).latents is None


def test_maps_of_models_before_go_once_a_new_one_is_whole(moved):
    session = Session.open(moved / "toy_hypseg")
    session.train(steps=3, device="cpu")
    session.discover(stride=2, device="cpu")
    stores = session.folder / "latents"
    assert {p.name[:4] for p in stores.iterdir()} == {"0001", "0002"}
    session.discover(device="cpu")
    assert {p.name[:4] for p in stores.iterdir()} == {"0002"}
