"""The layer of classes as a person paints on it, and what of it is in the session's folder."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.components import ViewerModel  # noqa: E402
from napari.layers import Labels  # noqa: E402
from qtpy.QtCore import QPoint, Qt  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402

from napari_hypseg.session import Session  # noqa: E402
from napari_hypseg.volumes import read_volume  # noqa: E402
from napari_hypseg.widgets.desk import Desk  # noqa: E402
from napari_hypseg.widgets.files import save_labels  # noqa: E402
from napari_hypseg.widgets.layers import place_of  # noqa: E402

from .synthetic import SHAPE, session_of  # noqa: E402

LEFT = Qt.MouseButton.LeftButton
SLICE = SHAPE[0] // 2


@pytest.fixture
def session(tmp_path):
    return session_of(tmp_path / "out")


@pytest.fixture
def window(make_napari_viewer):
    """For what a person does with the mouse; a viewer without one is quicker."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1000, 700)
    return viewer


@pytest.fixture
def viewer(request, qapp):
    return request.getfixturevalue("window") if "window" in request.fixturenames else ViewerModel()


@pytest.fixture
def desk(viewer, session):
    desk = Desk(viewer)
    image = viewer.add_image(session.volume.data, name="lump", **place_of(session.volume))
    desk.show(session, image)
    desk.heard = []
    desk.said.connect(desk.heard.append)
    viewer.dims.set_current_step(0, SLICE)
    QApplication.processEvents()
    return desk


@pytest.fixture
def layer(desk, session):
    """The layer, with an empty class 1 chosen."""
    session.classes.choose([session.classes.add()])
    desk.classes_layer.paint()
    return desk.classes_layer.layer


def canvas_of(viewer):
    return viewer.window._qt_viewer.canvas.native


def pixel_of(viewer, layer, voxel):
    """Where a voxel of the slice on show is on the canvas."""
    world = np.asarray(layer.data_to_world(voxel), float)[list(viewer.dims.displayed)]
    size = np.array([canvas_of(viewer).height(), canvas_of(viewer).width()])
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    y, x = size / 2 + (world - np.asarray(camera.center)[1:]) * camera.zoom
    return QPoint(round(x), round(y))


def drag(viewer, layer, *voxels):
    """Press the left button at the first voxel, move over the others, let it go."""
    QApplication.processEvents()
    canvas, places = canvas_of(viewer), [pixel_of(viewer, layer, v) for v in voxels]
    QTest.mouseMove(canvas, places[0])
    QTest.mousePress(canvas, LEFT, pos=places[0])
    for place in places[1:]:
        for fraction in (0.5, 1.0):
            step = places[0] + (place - places[0]) * fraction
            QTest.mouseMove(canvas, step)
            QApplication.processEvents()
    QTest.mouseRelease(canvas, LEFT, pos=places[-1])
    QApplication.processEvents()


def as_on_disk(session):
    """The classes as another program finds them."""
    return Session.open(session.folder, session.volume).classes


def agree(session):
    """Memory, counts, table and disk say the same; the classes."""
    classes, found = session.classes, as_on_disk(session)
    np.testing.assert_array_equal(found.labels, classes.labels)
    assert found.table == classes.table
    numbers = np.bincount(classes.labels.ravel(), minlength=256)
    assert classes.counts == {row.number: numbers[row.number] for row in classes.table}
    assert set(np.flatnonzero(numbers)) <= {0, *classes.counts}
    return classes


@pytest.fixture(autouse=True)
def is_kept(session):
    session.folder.mkdir(parents=True, exist_ok=True)
    session._fingerprint = "synthetic"
    session.record.volume.fingerprint = "synthetic"


def test_a_stroke_of_the_mouse_is_one_edit(window, viewer, desk, session, layer):
    layer.brush_size = 3
    drag(window, layer, (SLICE, 10, 10), (SLICE, 10, 30))
    painted = np.argwhere(session.classes.labels)
    assert (painted[:, 0] == SLICE).all()
    assert set(painted[:, 2]) >= set(range(10, 31))
    assert np.abs(painted[:, 1] - 10).max() == 1
    assert agree(session).history == ["keep class 1", "paint class 1"]
    QTest.keyClick(canvas_of(viewer), Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not agree(session).labels.any()
    shift = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    QTest.keyClick(canvas_of(viewer), Qt.Key.Key_Z, shift)
    np.testing.assert_array_equal(np.argwhere(agree(session).labels), painted)


def test_the_brush_reaches_as_far_as_napari_says(window, session, layer):
    for dimensions, size in itertools.product((2, 3), (1, 4, 7)):
        alone = Labels(np.zeros(SHAPE, np.uint8), scale=layer.scale)
        for each in (layer, alone):
            each.brush_size, each.n_edit_dimensions = size, dimensions
        alone.paint((SLICE, 20, 20), 1)
        drag(window, layer, (SLICE, 20, 20))
        np.testing.assert_array_equal(session.classes.labels, alone.data)
        assert (np.ptp(np.argwhere(alone.data)[:, 0]) > 0) == (dimensions == 3 and size > 1)
        layer.undo()
        assert not session.classes.labels.any()
    agree(session)


def test_eraser_fill_and_polygon_are_edits(window, viewer, session, layer):
    layer.paint_polygon([[SLICE, 5, 5], [SLICE, 5, 25], [SLICE, 25, 25], [SLICE, 25, 5]], 1)
    count = agree(session).counts[1]
    assert count >= 19**2
    layer.mode, layer.brush_size = "erase", 1
    drag(window, layer, (SLICE, 15, 4), (SLICE, 15, 28))
    assert count - agree(session).counts[1] >= 19
    session.classes.choose([session.classes.add()])
    layer.mode, layer.n_edit_dimensions = "fill", 2
    assert layer.selected_label == 2
    drag(window, layer, (SLICE, 8, 10))
    classes = agree(session)
    assert classes.counts[2] > 100
    assert classes.labels[SLICE, 20, 10] == 1
    for _ in range(5):
        session.undo()
    assert not agree(session).labels.any()
    assert not classes.can_undo


def test_scripts_paint_too(session, layer):
    layer.data_setitem(tuple(np.array([[1, 2], [3, 4], [5, 6]])), 1)
    layer.paint((0, 0, 0), 1)
    layer.fill((SLICE, 30, 30), 3)
    classes = agree(session)
    assert classes.labels[1, 3, 5] == classes.labels[2, 4, 6] == classes.labels[0, 0, 0] == 1
    assert [row.number for row in classes.table] == [1, 3]
    layer.undo()
    assert agree(session).counts == {1: classes.counts[1]}
    layer.redo()
    assert agree(session).counts[3] > 0


def test_a_number_without_a_row_becomes_a_class(window, viewer, desk, session, layer):
    layer.selected_label = 9
    drag(window, layer, (SLICE, 10, 10))
    row = agree(session).row(9)
    assert session.classes.chosen == (1,)
    np.testing.assert_allclose(layer.get_color(9)[:3], row.colour, atol=0.01)


def test_a_locked_class_is_not_painted_over(window, viewer, desk, session, layer):
    layer.brush_size = 5
    drag(window, layer, (SLICE, 20, 20))
    before = session.classes.labels.copy()
    session.classes.lock(1)
    session.classes.choose([session.classes.add()])
    drag(window, layer, (SLICE, 20, 23))
    classes = agree(session)
    assert (classes.labels[before == 1] == 1).all()
    assert classes.counts[2] > 0
    assert "locked: class 1" in desk.heard[-1]
    # With the number of a locked class nothing is painted.
    classes.choose([1])
    drag(window, layer, (SLICE, 5, 5))
    assert classes.labels[SLICE, 5, 5] == 0
    agree(session)


def test_undo_with_the_button_down_takes_the_stroke_back(window, viewer, session, layer):
    QApplication.processEvents()
    place = pixel_of(viewer, layer, (SLICE, 20, 20))
    QTest.mousePress(canvas_of(window), LEFT, pos=place)
    assert session.classes.labels.any()
    layer.undo()
    assert not agree(session).labels.any()
    QTest.mouseRelease(canvas_of(window), LEFT, pos=place)
    assert not agree(session).labels.any()


def test_other_voxels_given_by_a_script_are_an_edit(desk, session, layer):
    other = np.zeros(SHAPE, np.int64)
    other[2] = 4
    layer.data = other
    assert layer.data is session.classes.labels
    assert agree(session).counts == {1: 0, 4: other[2].size}
    layer.data = np.zeros((3, 4, 5), np.uint8)
    assert layer.data is session.classes.labels
    assert desk.heard[-1].startswith("✗")
    session.undo()
    assert not agree(session).labels.any()


def test_a_layer_that_is_removed_takes_no_class_along(window, viewer, desk, session, layer):
    drag(window, layer, (SLICE, 20, 20))
    before = session.classes.labels.copy()
    viewer.layers.remove(layer)
    np.testing.assert_array_equal(agree(session).labels, before)
    session.classes.choose([])
    session.classes.choose([1])
    again = desk.classes_layer.layer
    assert again.data is session.classes.labels
    desk.classes_layer.paint()
    drag(window, again, (SLICE, 10, 10))
    assert agree(session).counts[1] > (before == 1).sum()


def test_there_are_never_more_than_two(viewer, desk, session, layer, tmp_path):
    for folder in ("one", "two", "one"):
        other = session_of(tmp_path / folder)
        other.classes.add(other.volume.data > 0)
        desk.show(other, viewer.layers[0])
        names = [each.name for each in viewer.layers]
        assert names == ["lump", "lump proposals", "lump classes"]
        assert viewer.layers[2].data is other.classes.labels
    desk.show(None)
    assert [each.name for each in viewer.layers] == ["lump"]


@pytest.mark.parametrize("stride", [1, 3])
def test_layers_lie_on_the_volume(viewer, desk, session, tmp_path, stride):
    box = (slice(2, 11), slice(4, 34), slice(6, 42))
    other = session_of(tmp_path / "part", stride=stride, box=box)
    other.classes.add(other.volume.data > 0)
    desk.show(other, viewer.layers[0])
    image, proposals, classes = viewer.layers
    np.testing.assert_allclose(
        proposals.data_to_world((1, 2, 3)),
        image.data_to_world((2 + stride, 4 + 2 * stride, 6 + 3 * stride)),
    )
    np.testing.assert_allclose(classes.data_to_world((1, 2, 3)), image.data_to_world((1, 2, 3)))
    for each in (proposals, classes):
        assert (each.units, each.axis_labels) == (image.units, image.axis_labels)
    assert not proposals.editable


def test_hidden_and_coloured(desk, session, layer):
    session.classes.recolour(1, (0.2, 0.4, 0.6))
    np.testing.assert_allclose(layer.get_color(1), (0.2, 0.4, 0.6, 1), atol=0.01)
    session.classes.hide([1])
    assert layer.get_color(1) is None or layer.get_color(1)[3] == 0
    session.classes.show([1])
    assert layer.get_color(1)[3] == 1


def test_a_click_chooses_what_is_there(window, viewer, desk, session):
    proposals = session.proposals
    labels = proposals.labels(session.k)
    session.keep(proposals.nodes(session.k)[0], name="first")
    here, other = (np.argwhere(labels[SLICE] == label)[5] for label in (1, 3))
    image = viewer.layers[0]
    viewer.layers.selection.active = image
    drag(window, image, (SLICE, *here))
    assert (session.classes.chosen, session.chosen) == ((1,), ())
    drag(window, image, (SLICE, *other))
    assert session.chosen == (proposals.nodes(session.k)[2],)
    drag(window, image, (SLICE, *other))
    assert session.chosen == ()
    session.classes.hide([1])
    drag(window, image, (SLICE, *here))
    assert session.chosen == (proposals.nodes(session.k)[0],)


def test_napari_saves_numbers_with_their_names(desk, session, layer, tmp_path):
    session.classes.rename(1, "membrane")
    layer.paint((SLICE, 20, 20), 1)
    save_labels(str(tmp_path / "a.mrc"), *layer.as_layer_data_tuple()[:2])
    found = read_volume(tmp_path / "a.mrc")
    np.testing.assert_array_equal(found.read(), session.classes.labels)
    assert found.voxel_size == pytest.approx(session.volume.voxel_size)
    (row,) = json.loads((tmp_path / "a.json").read_text())["classes"]
    assert (row["label"], row["name"]) == (1, "membrane")
