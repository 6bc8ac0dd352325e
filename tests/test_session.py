"""A session's folder: everything that was done is there when it is opened again."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from napari_hypseg.cli import main
from napari_hypseg.discovery import Partition
from napari_hypseg.jobs import finish
from napari_hypseg.samples import make_toy
from napari_hypseg.session import (
    Session,
    as_command,
    as_python,
    keep_partition,
    kept_partition,
)
from napari_hypseg.volumes import Volume, VolumeError, read_volume, write_image
from napari_hypseg.volumes.limits import peak_memory

PLACE = {"voxel_size": (7.5, 7.5, 8.0), "origin": (-30.0, 15.0, 60.0)}


@pytest.fixture(scope="module")
def voxels():
    return make_toy("regular", seed=4).volume.read()[10:30, 10:34, 10:32]


def discover(volume, folder, tree="volume", stride=2):
    session = Session(volume, folder)
    finish(session.train_job(steps=2, device="cpu"))
    finish(session.map_job(stride=stride, device="cpu"))
    finish(session.cluster_job(tree=tree))
    return session


@pytest.fixture(scope="module")
def kept(voxels, tmp_path_factory):
    """A folder with a tomogram and, beside it, the session of a part of it."""
    folder = tmp_path_factory.mktemp("kept")
    write_image(folder / "toy.mrc", voxels, Volume(voxels, **PLACE))
    part = read_volume(folder / "toy.mrc").crop((slice(2, 18), slice(None), slice(1, 20)))
    session = discover(part, folder / "toy_hypseg")
    session.view = {"k": 4}
    session.save()
    return folder


@pytest.fixture
def moved(kept, tmp_path):
    """The folders above, copied elsewhere; the first ones are out of reach."""
    shutil.copytree(kept, tmp_path / "copy")
    file = tmp_path / "copy" / "toy_hypseg" / "session.json"
    file.write_text(file.read_text().replace(str(kept), str(tmp_path / "gone")))
    return tmp_path / "copy"


def same(one, other):
    assert one.volume.fingerprint() == other.volume.fingerprint()
    for name in ("voxel_size", "origin", "name", "shape"):
        assert getattr(one.volume, name) == getattr(other.volume, name)
    assert one.model.fingerprint() == other.model.fingerprint()
    np.testing.assert_array_equal(one.latents.read(), other.latents.read())
    assert one.latents.voxel_size == other.latents.voxel_size
    assert one.clustering.kind == other.clustering.kind
    assert one.clustering.most == other.clustering.most
    np.testing.assert_array_equal(one.clustering.labels(5), other.clustering.labels(5))
    assert json.loads(json.dumps(one.run)) == other.run
    assert one.view == other.view


@pytest.mark.parametrize("tree", ["volume", "disk", "flat"])
def test_a_session_opens_as_it_was_left(voxels, tmp_path, tree):
    write_image(tmp_path / "a.mrc", voxels, Volume(voxels, **PLACE))
    session = discover(read_volume(tmp_path / "a.mrc"), tmp_path / "out", tree)
    again = Session.open(tmp_path / "out")
    same(session, again)


def test_a_part_of_a_volume_opens_again(kept):
    session = Session.open(kept / "toy_hypseg")
    assert session.volume.shape == (16, 24, 19)
    assert session.volume.origin == pytest.approx((-30 + 2 * 8.0 - 1, 15, 60 + 8.0), abs=2)
    assert session.view == {"k": 4}


def test_a_volume_without_a_file_is_copied(voxels, tmp_path):
    session = discover(Volume(voxels, **PLACE, name="array"), tmp_path / "out")
    assert (tmp_path / "out" / "volume.zarr").is_dir()
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    again = Session.open(tmp_path / "elsewhere")
    np.testing.assert_array_equal(again.volume.read(), voxels)
    assert again.volume.voxel_size == PLACE["voxel_size"]
    assert again.volume.name == "array"
    assert again.clustering.most == session.clustering.most


def test_every_step_is_kept_at_its_end(voxels, tmp_path):
    volume = Volume(voxels, **PLACE)
    session = Session(volume, tmp_path)
    with pytest.raises(ValueError, match=r"no session is kept here, session\.json is missing"):
        Session.open(tmp_path)
    finish(session.train_job(steps=2, device="cpu"))
    opened = Session.open(tmp_path)
    assert opened.model.fingerprint() == session.model.fingerprint()
    assert opened.latents is None
    finish(session.map_job(stride=2, device="cpu"))
    # A step that was stopped changes nothing.
    job = session.map_job(stride=1, device="cpu")
    next(job)
    job.close()
    session.save()
    opened = Session.open(tmp_path)
    assert opened.latents.shape == session.latents.shape == (10, 12, 11)
    assert opened.clustering is None
    finish(session.cluster_job())
    assert Session.open(tmp_path).clustering is not None
    finish(session.map_job(stride=4, device="cpu"))
    assert Session.open(tmp_path).clustering is None


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell")
def test_peak_memory_is_not_that_of_the_process_before():
    held = np.ones(1 << 26)
    asked = "import napari_hypseg.session.session as s; print(s.peak_memory())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    # PyTorch and the like take 0.4 GB.
    limit = held.nbytes / 1e9 + 0.1
    assert 0.01 < float(done.stdout) < limit < peak_memory()


def test_clusters_are_not_made_twice(kept, monkeypatch):
    session = Session.open(kept / "toy_hypseg")
    clusters, how = session.clustering, session.run["clustering"]
    stages = []
    finish(session.cluster_job(**how), lambda progress: stages.append(progress.stage))
    assert set(stages) == {"looking for clusters"}
    np.testing.assert_array_equal(session.clustering.leaves, clusters.leaves)


def test_labels_of_a_tree_are_looked_up_as_they_are_written(moved, monkeypatch):
    session, written = Session.open(moved / "toy_hypseg"), {}
    leaves = session.clustering.leaves

    def write(path, labels, like):
        written[path.name] = labels

    monkeypatch.setattr("napari_hypseg.session.session.write_labels", write)
    finish(session.write_job(range(2, 6)))
    assert written.pop("leaves.mrc") is leaves
    assert len(written) == 4
    # None takes memory of its own.
    assert all(labels.leaves is leaves for labels in written.values())


def test_folder_and_tomogram_may_move_together(kept, moved):
    same(Session.open(kept / "toy_hypseg"), Session.open(moved / "toy_hypseg"))


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


def test_a_volume_that_has_changed_is_told(moved, voxels):
    write_image(moved / "toy.mrc", voxels[::-1], Volume(voxels, **PLACE))
    with pytest.raises(ValueError, match=r"toy\.mrc is not the one that it was made with"):
        Session.open(moved / "toy_hypseg")


def damage(file, kind):
    if kind == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif kind == "noise":
        file.write_bytes(np.random.default_rng(0).bytes(file.stat().st_size))
    elif kind == "other":
        file.write_text("[1, 2, 3]")
    else:
        place = whole = json.loads(file.read_text())
        *way, last = kind.split("/")
        for key in way:
            place = place[key]
        del place[last]
        file.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("session.json", k) for k in (
            "cut", "noise", "other", "run", "volume", "volume/path", "volume/box", "run/volume",
            "run/volume/fingerprint", "run/volume/name", "run/model/fingerprint",
            "run/mapping/stride", "run/clustering/smoothing", "run/clustering/tree",
        )),
        ("model.hypseg", "cut"),
        ("latents_stride2.zarr/zarr.json", "noise"),
        ("clusters_volume.zarr/zarr.json", "noise"),
        ("clusters_volume.zarr/zarr.json", "attributes/merges"),
        ("clusters_volume.zarr/leaves/c/0/0/0", "noise"),
        ("clusters_volume.zarr/leaves/c/0/0/0", "cut"),
    ],
)  # fmt: skip
def test_damaged_files_are_told_in_a_sentence(moved, name, kind):
    damage(moved / "toy_hypseg" / name, kind)
    with pytest.raises(ValueError, match="toy_hypseg") as caught:
        Session.open(moved / "toy_hypseg")
    assert "\n" not in str(caught.value)
    assert "damaged" in str(caught.value) or "no session" in str(caught.value)


def test_leaves_that_are_not_the_trees_are_damaged(moved):
    import zarr

    group = zarr.open_group(moved / "toy_hypseg" / "clusters_volume.zarr")
    group["leaves"][0, 0, 0] = (int(group["leaves"][0, 0, 0]) + 1) % 200
    with pytest.raises(VolumeError, match="its leaves don't fit its tree"):
        Session.open(moved / "toy_hypseg")


def test_leaves_of_other_points_are_damaged(moved):
    import zarr

    group = zarr.open_group(moved / "toy_hypseg" / "clusters_volume.zarr")
    leaves = group["leaves"][:-1]
    group.create_array("leaves", data=leaves, overwrite=True)
    with pytest.raises(VolumeError, match="its leaves don't fit its points"):
        Session.open(moved / "toy_hypseg")


def test_a_newer_session_is_told(moved):
    file = moved / "toy_hypseg" / "session.json"
    file.write_text(file.read_text().replace('"hypseg_session": 1', '"hypseg_session": 2'))
    with pytest.raises(ValueError, match=r"format 2.*update napari-hypseg"):
        Session.open(moved / "toy_hypseg")


def test_a_model_that_was_replaced_is_told(moved, voxels, tmp_path):
    finish(Session(Volume(voxels), tmp_path / "b").train_job(steps=1, seed=5, device="cpu"))
    shutil.copy(tmp_path / "b" / "model.hypseg", moved / "toy_hypseg")
    with pytest.raises(ValueError, match="is not the model of this session"):
        Session.open(moved / "toy_hypseg")


@pytest.fixture
def drawn(moved):
    """A session whose classes were split, named, hidden and drawn."""
    session = Session.open(moved / "toy_hypseg")
    partition = Partition.of(session.clustering, 5)
    partition = partition.split(next(n for n in partition.nodes if partition.can_split(n)))
    partition = partition.rename(partition.nodes[2], "membrane").hide(partition.nodes[1])
    mask = session.clustering.leaves < 9
    partition = partition.add_own(mask).add_own(mask[::-1], "spike", (0.1, 0.5, 1.0))
    partition = partition.remove_own(-1).hide(-2)
    keep_partition(session, partition)
    return session, partition


def test_classes_open_as_they_were_left(drawn):
    session, partition = drawn
    again = Session.open(session.folder)
    kept = kept_partition(again)
    assert kept.classes == partition.classes
    assert kept.nodes == partition.nodes
    assert kept.name(-2) == "spike"
    np.testing.assert_array_equal(kept.labels(), partition.labels())
    assert [p.name for p in session.folder.glob("own*")] == ["own_class_2.npz"]
    # Masks that the folder holds are not written again.
    (file,) = session.folder.glob("own*")
    before = file.stat().st_mtime_ns
    keep_partition(again, kept.rename(-2, "spikes"))
    assert file.stat().st_mtime_ns == before
    keep_partition(again, kept.remove_own(-2))
    assert not file.exists()
    assert kept_partition(Session.open(session.folder)).own == ()


def test_other_clusters_have_no_classes_yet(drawn):
    session, _ = drawn
    assert kept_partition(Session.open(session.folder)) is not None
    finish(session.cluster_job(tree="disk"))
    assert kept_partition(Session.open(session.folder)) is None


@pytest.mark.parametrize(
    "classes",
    [
        {"nodes": [1, 2]}, {"nodes": []}, {"nodes": [-1]}, {"nodes": [10**6]}, {"nodes": "all"},
        {"hidden": [10**6]}, {"names": {"a": "b"}}, {"names": {"100000": "b"}}, {"own": [{}]},
        {"own": [{"key": -7, "colour": [0, 0, 0]}]}, {"own": [{"key": -2, "colour": [0, 0, 9]}]},
        {"own": [{"key": 3, "colour": [0, 0, 0]}]},
    ],
)  # fmt: skip
def test_damaged_classes_are_told(drawn, classes):
    session, _ = drawn
    session.view["classes"] |= classes
    session.save()
    with pytest.raises(ValueError, match="classes kept there are damaged"):
        kept_partition(Session.open(session.folder))


@pytest.mark.parametrize("kind", ["cut", "noise"])
def test_damaged_masks_are_told(drawn, kind):
    session, _ = drawn
    damage(session.folder / "own_class_2.npz", kind)
    with pytest.raises(ValueError, match="classes kept there are damaged"):
        kept_partition(Session.open(session.folder))


def test_a_volume_that_is_not_its_files_is_copied(kept, voxels, tmp_path):
    """Such as a layer that was read from a file and then filtered."""
    read = read_volume(kept / "toy.mrc")
    changed = replace(read, data=read.read() + 1)
    finish(Session(changed, tmp_path / "out").train_job(steps=1, device="cpu"))
    again = Session.open(tmp_path / "out").volume
    assert again.source.path == str(tmp_path / "out" / "volume.zarr")
    np.testing.assert_array_equal(again.read(), changed.data)


def test_what_was_deleted_is_made_anew(moved):
    folder = moved / "toy_hypseg"
    shutil.rmtree(folder / "clusters_volume.zarr")
    session = Session.open(folder)
    assert session.clustering is None
    assert session.latents is not None
    shutil.rmtree(folder / "latents_stride2.zarr")
    assert Session.open(folder).latents is None
    (folder / "model.hypseg").unlink()
    assert Session.open(folder).model is None


@pytest.fixture(scope="module")
def plain(voxels, tmp_path_factory):
    """A session of a part of a file, of equal sides of voxels, mapped in a box of it."""
    folder = tmp_path_factory.mktemp("plain")
    write_image(folder / "toy one.mrc", voxels, Volume(voxels, (7.5,) * 3))
    part = read_volume(folder / "toy one.mrc").crop((slice(2, 20), slice(None), slice(1, 20)))
    session = Session(part, folder / "out")
    finish(session.train_job(steps=2, device="cpu", seed=5))
    finish(session.map_job(box=(slice(0, 9), slice(4, 20), slice(0, 19)), device="cpu"))
    finish(session.cluster_job(tree="disk", smoothing=0.5, seed=5))
    return session


@pytest.mark.parametrize("trained", [True, False])
def test_the_script_makes_the_labels_again(plain, tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    session = Session.open(plain.folder)
    if not trained:
        del session.run["training"]
    script = as_python(session, 6)
    assert ("hs.train" in script) == trained
    exec(compile(script, "script", "exec"), {})
    again = read_volume(tmp_path / f"{session.volume.name}_labels_k06.mrc")
    np.testing.assert_array_equal(again.read(), session.clustering.labels(6))
    np.testing.assert_allclose(again.origin, session.latents.origin, rtol=1e-6)


def test_the_script_takes_classes_from_the_folder(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    partition = Partition.of(plain.clustering, 6).add_own(plain.clustering.leaves < 5)
    keep_partition(plain, partition)
    exec(compile(as_python(plain, 6, partition), "script", "exec"), {})
    again = read_volume(tmp_path / f"{plain.volume.name}_labels_k06.mrc")
    np.testing.assert_array_equal(again.read(), partition.labels())


def test_a_command_has_one_seed(plain):
    session = Session.open(plain.folder)
    session.run["training"]["seed"] = 6
    assert as_command(session, 6).startswith("hypseg segment")


@pytest.mark.parametrize("trained", [True, False])
def test_the_command_makes_the_labels_again(plain, monkeypatch, trained):
    session = Session.open(plain.folder)
    if not trained:
        del session.run["training"]
    command = shlex.split(as_command(session, 6))
    assert command[:2] == ["hypseg", "run" if trained else "segment"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    again = read_volume(f"{session.folder}_again/labels_k06.mrc")
    np.testing.assert_array_equal(again.read(), session.clustering.labels(6))
    shutil.rmtree(f"{session.folder}_again")
