"""Step 1: the box as a person drags it, the voxel size, the view of the network."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from .conftest import ball, need_gui

need_gui()

from napari.layers import Shapes  # noqa: E402
from qtpy.QtCore import Qt  # noqa: E402
from qtpy.QtWidgets import QFileDialog, QInputDialog  # noqa: E402

from napari_hypseg.volumes import Volume, write_image  # noqa: E402
from napari_hypseg.widgets.box_layer import visible_box  # noqa: E402

SHAPE = (20, 40, 60)


@pytest.fixture
def step(viewer, open_dock, tmp_path):
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    viewer.add_image(voxels, name="lump", scale=(10, 8, 8), units=["angstrom"] * 3)
    dock = open_dock(tmp_path / "o")
    dock.volume.desk = dock.desk
    return dock.volume


def press(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def frame(viewer):
    (layer,) = (layer for layer in viewer.layers if isinstance(layer, Shapes))
    return layer


def drag(layer, corners):
    """What napari does when a person drags corners and lets go."""
    layer.data = [corners]


def test_the_box_is_drawn_dragged_and_taken_away(qtbot, viewer, step):
    press(qtbot, step.draw_box)
    assert step.form["box"].value.startswith("0:20,")
    layer = frame(viewer)
    np.testing.assert_allclose(layer.scale, (10, 8, 8))
    assert len(layer.data) == 1

    at = layer.data[0][0, 0]
    drag(layer, np.array([[at, 4.6, 9.4], [at, 4.6, 30.2], [at, 21.3, 30.2], [at, 21.3, 9.4]]))
    assert step.form["box"].value == "0:20,5:22,10:31"
    assert step.desk.box == (slice(0, 20), slice(5, 22), slice(10, 31))

    step.slices.setValue((3, 12))
    qtbot.waitUntil(lambda: step.desk.box[0] == slice(3, 13))
    press(qtbot, step.draw_box)
    assert not [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    assert step.desk.box is None


def test_a_box_that_is_typed_is_drawn(viewer, step):
    step.form["box"].value = "2:9,5:20,30:50"
    step.form["box"].native.editingFinished.emit()
    assert step.draw_box.isChecked()
    assert step.slices.value() == (2, 8)
    layer = frame(viewer)
    viewer.dims.set_current_step(0, 5)
    np.testing.assert_allclose(layer.data[0].min(0), (5, 4.5, 29.5))
    np.testing.assert_allclose(layer.data[0].max(0), (5, 19.5, 49.5))
    # Slices that it does not meet do not show it.
    viewer.dims.set_current_step(0, 15)
    assert len(layer.data) == 0
    viewer.dims.ndisplay = 3
    assert len(layer.data) == 12
    corners = np.concatenate(layer.data)
    np.testing.assert_allclose(corners.min(0), (1.5, 4.5, 29.5))
    np.testing.assert_allclose(corners.max(0), (8.5, 19.5, 49.5))
    assert step.form["box"].value == "2:9,5:20,30:50"


def test_a_box_is_dragged_in_slices_along_another_axis(viewer, step):
    step.form["box"].value = "2:9,5:20,30:50"
    step.form["box"].native.editingFinished.emit()
    layer = frame(viewer)
    viewer.dims.order = (2, 0, 1)
    viewer.dims.set_current_step(2, 40)
    np.testing.assert_allclose(layer.data[0].max(0), (8.5, 19.5, 40))
    drag(layer, np.array([[-3, 1, 40], [-3, 11, 40], [50, 11, 40], [50, 1, 40.0]]))
    assert step.form["box"].value == "0:20,2:12,30:50"


def test_removing_the_box_layer_is_working_on_all(viewer, step):
    step.form["box"].value = "2:9,5:20,30:50"
    step.form["box"].native.editingFinished.emit()
    viewer.layers.remove(frame(viewer))
    assert step.form["box"].value == ""
    assert not step.draw_box.isChecked()
    assert step.desk.box is None


def test_a_box_of_what_is_seen_lies_in_view(viewer, step):
    layer = viewer.layers["lump"]
    layer.corner_pixels = np.array([[7, 10, 20], [7, 29, 49]])
    z, y, x = visible_box(viewer, layer)
    assert z == slice(0, 20)
    assert 10 < y.start < y.stop < 30
    assert 20 < x.start < x.stop < 50


def test_a_wrong_voxel_size_is_put_right(viewer, step):
    assert step.form["voxel_size"].value == 10
    step.form["voxel_size"].value = 13.68
    step.form["voxel_size"].native.editingFinished.emit()
    np.testing.assert_allclose(viewer.layers["lump"].scale, 13.68)
    assert step.desk.session.volume.voxel_size == (13.68,) * 3


def test_leaving_the_voxel_size_alone_changes_nothing(viewer, step):
    step.form["voxel_size"].native.editingFinished.emit()
    np.testing.assert_allclose(viewer.layers["lump"].scale, (10, 8, 8))


def test_the_layer_is_shown_as_the_network_sees_it(qtbot, viewer, step):
    layer = viewer.layers["lump"]
    before = layer.contrast_limits
    press(qtbot, step.look)
    qtbot.waitUntil(lambda: not step.contrast.isHidden())
    low, high = np.percentile(layer.data, (0.1, 99.9))
    np.testing.assert_allclose(layer.contrast_limits, (low, high), rtol=1e-4)
    assert "99 % of the variance is noise" in step.contrast.text.text() or "100" in (
        step.contrast.text.text()
    )
    press(qtbot, step.look)
    assert step.contrast.isHidden()
    assert layer.contrast_limits == before


def test_a_box_that_is_none_is_told(step):
    step.form["box"].value = "2:99,:,:"
    step.form["box"].native.editingFinished.emit()
    assert "doesn't lie in the volume" in step.status.text()
    assert step.desk.box is None


def test_a_box_lies_on_a_turned_volume(viewer, step):
    layer = viewer.layers["lump"]
    layer.affine = np.diag([1, -1, 1, 1.0])
    step.form["box"].value = "2:9,5:20,30:50"
    step.form["box"].native.editingFinished.emit()
    np.testing.assert_allclose(
        frame(viewer).data_to_world((3, 5, 30)), layer.data_to_world((3, 5, 30))
    )


def test_a_box_stays_when_the_dock_is_opened_again(viewer, step):
    step.form["box"].value = "2:9,5:20,30:50"
    step.form["box"].native.editingFinished.emit()
    viewer.window.remove_dock_widget(viewer.window.dock_widgets[_name(viewer)])
    assert not [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    _, again = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    assert again.volume.form["box"].value == "2:9,5:20,30:50"
    viewer.dims.set_current_step(0, 5)
    assert len(frame(viewer).data) == 1


@pytest.mark.parametrize("answer", ["b", None])
def test_of_a_file_with_several_volumes_one_is_chosen(
    viewer, open_dock, monkeypatch, tmp_path, answer
):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        for number, name in enumerate("ab"):
            file[name] = np.full(SHAPE, number, np.float32) + ball(SHAPE)
    asked = []

    def choose(_parent, _title, question, among, *_, **_options):
        asked.append((question, list(among)))
        return answer or among[0], answer is not None

    monkeypatch.setattr(QInputDialog, "getItem", choose)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "two.h5"), ""))
    dock = open_dock()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no valid voxel size")
        dock.volume.open_file.click()
    dock.idle()
    assert asked == [("two.h5 holds several volumes: which one?", ["a", "b"])]
    if answer is None:
        assert not viewer.layers
        assert dock.desk.session is None
    else:
        np.testing.assert_array_equal(viewer.layers[0].data, 1 + ball(SHAPE))
        assert dock.desk.session.volume.source.dataset == "b"


@pytest.mark.parametrize("how", ["right", "wrong"])
def test_a_doubtful_voxel_size_is_asked_for(viewer, open_dock, press, tmp_path, how):
    path = tmp_path / "flat.mrc"
    write_image(path, ball(SHAPE), Volume(ball(SHAPE), (90.0, 10.0, 10.0)))
    with pytest.warns(UserWarning, match="doubtful voxel size"):
        viewer.open(str(path), plugin="napari-hypseg")
    dock = open_dock(tmp_path / "o")
    step = dock.volume
    assert step.is_open
    assert "doubtful voxel size of 90 x 10 x 10" in step.status.text()
    assert "?" in step.status.text()
    if how == "right":
        press(dock, step.right)
    else:
        step.form["voxel_size"].value = 13.68
        step.form["voxel_size"].native.editingFinished.emit()
    assert "doubtful" not in step.status.text()
    assert step.right.isHidden()
    size = (90, 10, 10) if how == "right" else (13.68,) * 3
    assert dock.desk.session.volume.voxel_size == pytest.approx(size)


def _name(viewer):
    (name,) = viewer.window.dock_widgets
    return name
