"""What a person expects of layers: their place, changes by hand, names, and what is offered."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import ball, need_gui

need_gui()

from napari.layers import Labels  # noqa: E402

from napari_hypseg.volumes import Volume, VolumeError, read_volume, write_image  # noqa: E402
from napari_hypseg.widgets import folders  # noqa: E402
from napari_hypseg.widgets.layers import place_on, shown_volume, volume_of  # noqa: E402
from napari_hypseg.widgets.settings import Settings  # noqa: E402

ANGSTROM = ["angstrom"] * 3
TURNED = {
    "rotate": {"rotate": [[1, 0, 0], [0, 0, -1], [0, 1, 0]]},
    "affine": {"affine": np.diag([1, -1, 1, 1.0])},
    "shear": {"shear": [0.5, 0, 0]},
    "negative": {"scale": (10, -10, 10), "translate": (5, 7, -3)},
    "all": {"rotate": 20, "shear": [0.1, 0.2, 0.3], "scale": (8, -9, 10), "translate": (1, 2, 3)},
    "nm": {"units": ["nm"] * 3, "scale": (1, -1, 2), "rotate": 30, "translate": (3, -2, 1)},
}


def file(path, voxels=None):
    voxels = ball() if voxels is None else voxels
    write_image(path, voxels, Volume(voxels, (10.0,) * 3))
    return str(path)


def proposals(viewer):
    return next(e for e in viewer.layers if isinstance(e, Labels))


# -- the place of a layer is more than scale and translate


@pytest.mark.parametrize("how", TURNED.values(), ids=TURNED.keys())
def test_what_is_made_lies_on_its_image(viewer, how):
    """Of a box with a stride, the point (i, j, k) lies on the voxel (start + stride i, ...)."""
    keywords = {"scale": (10,) * 3, "units": ANGSTROM} | how
    image = viewer.add_image(ball(), **keywords)
    part = shown_volume(image).crop((slice(3, 15), slice(4, 20), slice(6, 22)))
    lattice = Volume(np.zeros((3, 4, 4), np.uint8), tuple(4 * v for v in part.voxel_size),
                     part.origin)  # fmt: skip
    made = viewer.add_labels(lattice.data, **place_on(image, lattice))
    assert made.units == image.units
    for index in ((0, 0, 0), (2, 1, 3)):
        voxel = np.array([3, 4, 6]) + 4 * np.array(index)
        np.testing.assert_allclose(made.data_to_world(index), image.data_to_world(voxel), atol=1e-6)


@pytest.mark.parametrize("name", ["rotate", "affine", "shear", "negative", "nm"])
def test_proposals_lie_on_their_image(viewer, open_dock, press, tmp_path, name):
    keywords = {"scale": (10,) * 3, "units": ANGSTROM} | TURNED[name]
    image = viewer.add_image(ball(), name="a", **keywords)
    viewer.dims.set_current_step(0, 5)
    dock = open_dock(tmp_path / "o")
    press(dock, dock.model.train)
    point = viewer.dims.point
    press(dock, dock.map.slice)
    made, at = proposals(viewer), dock.desk.session.proposals.box[0].start
    # And napari stays where it was.
    assert viewer.dims.point == pytest.approx(point)
    assert made.data.shape == (1, 24, 24)
    np.testing.assert_allclose(
        made.data_to_world((0, 4, 5)), image.data_to_world((at, 4, 5)), atol=1e-6
    )


def test_voxels_are_exported_in_the_order_of_the_file(viewer, open_dock, press, tmp_path):
    """A mirrored layer is the same file: labels lie on its voxels."""
    viewer.add_image(ball(), name="a", units=ANGSTROM, scale=(10, -10, 10), translate=(0, 50, 0))
    dock = open_dock(tmp_path / "o")
    press(dock, dock.model.train)
    press(dock, dock.map.preview)
    session = dock.desk.session
    (path,) = session.write([2])
    written = read_volume(path)
    np.testing.assert_array_equal(written.read(), session.proposals.labels(2))
    assert written.voxel_size == (40, 40, 40)
    assert session.volume.origin == (0, 50, 0)


# -- the slice on show


@pytest.mark.parametrize("how", ["nm", "step", "order", "three", "turned"])
def test_this_slice_is_the_one_on_show(viewer, open_dock, press, tmp_path, how):
    layer = viewer.add_image(
        ball(), name="a", scale=(1.5,) * 3, units=["nm"] * 3, translate=(-30, 2, 0),
        rotate=[[1, 0, 0], [0, 0, -1], [0, 1, 0]] if how == "turned" else None,
    )  # fmt: skip
    axis, at = 0, 11
    if how == "step":
        # Others are finer, larger, and count in another unit.
        viewer.add_image(np.zeros((90, 9, 9)), name="b", scale=(3, 3, 3), units=ANGSTROM)
        viewer.add_image(np.zeros((2, 5, 5, 5)), name="c", units=["pixel", *["nm"] * 3])
    if how == "order":
        viewer.dims.order, axis, at = (2, 0, 1), 2, 17
    dock = open_dock(tmp_path / "o")
    dock.desk.choose(viewer.layers["a"])
    dock.idle()
    press(dock, dock.model.train)
    point = np.zeros(3)
    point[axis] = at
    place = layer.data_to_world(point)[axis] * (10 if how == "step" else 1)
    viewer.dims.set_point(viewer.dims.ndim - 3 + axis, place)
    if how == "three":
        viewer.dims.ndisplay = 3
    press(dock, dock.map.slice)
    spans = dock.desk.session.proposals.box
    whole = [slice(0, 16), slice(0, 24), slice(0, 24)]
    whole[axis] = slice(at, at + 1)
    assert spans == tuple(whole)
    assert "One slice" in dock.map.status.text()


def test_a_slice_outside_is_told(viewer, open_dock, press, tmp_path):
    viewer.add_image(ball(), name="a")
    dock = open_dock(tmp_path / "o")
    press(dock, dock.model.train)
    viewer.add_labels(np.zeros((60, 9, 9), np.uint8))
    viewer.dims.set_point(0, 40)
    press(dock, dock.map.slice)
    assert "outside the volume" in dock.progress.text.text()
    assert dock.desk.session.proposals is None


# -- changes of the layer after it was taken


def test_scale_set_by_hand(viewer, open_dock, press, tmp_path):
    viewer.open(file(tmp_path / "t.mrc"), plugin="napari-hypseg")
    dock = open_dock(tmp_path / "o")
    press(dock, dock.model.train)
    press(dock, dock.map.preview)
    before = dock.desk.session
    viewer.layers[0].scale = (20, 20, 20)
    session = dock.desk.session
    assert session is before
    assert session.volume.voxel_size == (20, 20, 20)
    assert session.proposals.latents.voxel_size == (80, 80, 80)
    np.testing.assert_allclose(proposals(viewer).scale, 80)
    (path,) = session.write([2])
    assert read_volume(path).voxel_size[0] == 80
    # A correction survives the folder's being opened again.
    viewer.layers[0].translate = (5, 0, 0)
    assert session.record.volume.origin == (5, 0, 0)


def test_scale_set_while_mapping(viewer, open_dock, press, tmp_path):
    viewer.open(file(tmp_path / "t.mrc"), plugin="napari-hypseg")
    dock = open_dock(tmp_path / "o")
    press(dock, dock.model.train)
    press(dock, dock.map.preview, waits=False)
    viewer.layers[0].scale = (20, 20, 20)
    dock.idle()
    assert dock.desk.session.proposals.latents.voxel_size == (80, 80, 80)
    np.testing.assert_allclose(proposals(viewer).scale, 80)


def test_voxels_replaced(viewer, open_dock, press, tmp_path):
    viewer.open(file(tmp_path / "t.mrc"), plugin="napari-hypseg")
    dock = open_dock()
    press(dock, dock.model.train)
    first = dock.desk.session.folder
    before = (first / "models/0001.hypseg").read_bytes()
    new = ball(seed=9)
    viewer.layers[0].data = new
    dock.idle()
    assert dock.desk.session.volume.data is new
    assert dock.desk.session.model is None
    assert dock.desk.session.folder == first.with_name(first.name + "_2")
    press(dock, dock.model.train)
    assert (first / "models/0001.hypseg").read_bytes() == before
    # Its voxels are nowhere else: the session keeps them.
    np.testing.assert_array_equal(read_volume(dock.desk.session.folder / "volume.zarr").read(), new)


# -- names become paths


def test_slash_in_a_name(viewer, open_dock, tmp_path):
    viewer.open(file(tmp_path / "t.mrc"), plugin="napari-hypseg", name="S1/T2")
    dock = open_dock()
    assert dock.desk.session.folder == tmp_path / "S1_T2_hypseg"


def test_no_two_volumes_in_one_default_folder(viewer, open_dock, press, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "read_settings", lambda: Settings(folder=tmp_path / "all"))
    for name in "ab":
        (tmp_path / name).mkdir()
    viewer.open(file(tmp_path / "a/TS_01.mrc"), plugin="napari-hypseg")
    dock = open_dock()
    press(dock, dock.model.train)
    first = dock.desk.session.folder
    before = (first / "models/0001.hypseg").read_bytes()
    viewer.layers.clear()
    dock.idle()
    assert dock.desk.session is None
    viewer.open(file(tmp_path / "b/TS_01.mrc", ball(seed=3)), plugin="napari-hypseg")
    dock.idle()
    dock.model.form["steps"].value = 2
    press(dock, dock.model.train)
    assert dock.desk.session.folder == tmp_path / "all" / "TS_01_hypseg_2"
    assert (first / "models/0001.hypseg").read_bytes() == before
    # And each finds its own again.
    viewer.open(tmp_path / "a/TS_01.mrc", plugin="napari-hypseg")
    dock.desk.choose(viewer.layers[-1])
    dock.idle()
    assert dock.desk.session.folder == first
    assert dock.desk.session.model is not None


def test_tilde_in_the_form(viewer, open_dock, press, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    viewer.add_image(ball(), name="a")
    dock = open_dock("~/r")
    press(dock, dock.model.train)
    assert not (tmp_path / "~").exists()
    assert (tmp_path / "home/r/models/0001.hypseg").exists()


def test_a_folder_of_another_volume_is_refused(viewer, open_dock, press, tmp_path):
    viewer.add_image(ball(), name="a")
    dock = open_dock(tmp_path / "o")
    press(dock, dock.model.train)
    viewer.add_image(ball(seed=4), name="b")
    dock.idle()
    dock.volume.layer.setCurrentIndex(1)
    dock.volume.layer.activated.emit(1)
    dock.idle()
    before = dock.desk.session
    dock.volume.form["folder"].value = str(tmp_path / "o")
    dock.volume.form["folder"].native.editingFinished.emit()
    dock.idle()
    assert "holds the work on another volume" in dock.progress.text.text()
    assert dock.desk.session is before
    assert dock.volume.form["folder"].value == str(before.folder)


# -- what is offered


def test_axis_of_one_is_offered(viewer, open_dock, press, tmp_path):
    viewer.add_image(ball()[None], name="czyx", scale=(1, 5, 5, 5), translate=(0, 10, 20, 30))
    dock = open_dock(tmp_path / "o")
    assert dock.volume.layer.count() == 1
    assert dock.desk.session.volume.shape == (16, 24, 24)
    press(dock, dock.model.train)
    press(dock, dock.map.preview)
    np.testing.assert_allclose(
        proposals(viewer).data_to_world((1, 2, 3)),
        viewer.layers[0].data_to_world((0, 4, 8, 12))[1:],
    )


def test_what_is_no_volume_is_not_offered(viewer, open_dock):
    viewer.add_image(np.zeros((20, 20), np.float32), name="flat")
    viewer.add_labels(np.ones((20, 20, 20), np.uint8), name="labels")
    viewer.add_image(np.zeros((9, 9, 9, 3), np.uint8), rgb=True, name="colour")
    viewer.add_image(np.zeros((3, 9, 9, 9), np.float32), name="channels")
    dock = open_dock()
    assert dock.volume.layer.count() == 0
    assert "axes" in dock.volume.status.text()
    with pytest.raises(VolumeError, match=r"3 axes .* shape \(3, 9, 9, 9\)"):
        shown_volume(viewer.layers["channels"])


def test_axes_of_one_of_a_lazy_array():
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(zarr.storage.MemoryStore(), data=ball()[None, None])
    volume = volume_of(array, {"name": "a"})
    part = (slice(2, 5), slice(0, 3), slice(7, 9))
    np.testing.assert_array_equal(volume.read(part), ball()[part])
