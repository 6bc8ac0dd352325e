"""The dock of the Poincaré disk, used with mouse and keys, and its link to the viewer."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.layers import Image, Points  # noqa: E402
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt  # noqa: E402
from qtpy.QtGui import QMouseEvent, QWheelEvent  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402

from napari_hypseg.clustering import cluster  # noqa: E402
from napari_hypseg.figures import Tally, cloud_job, node_colours  # noqa: E402
from napari_hypseg.jobs import finish  # noqa: E402
from napari_hypseg.latents import open_latents  # noqa: E402
from napari_hypseg.model import VAE, Model, ModelConfig  # noqa: E402
from napari_hypseg.volumes import Volume  # noqa: E402
from napari_hypseg.widgets.state import Result  # noqa: E402

SHAPE = (6, 7, 8)
SIZE, ORIGIN = (10.0, 8.0, 9.0), (50.0, -40.0, 30.0)
LEFT, RIGHT, NONE = (getattr(Qt.MouseButton, f"{name}Button") for name in ("Left", "Right", "No"))
PLAIN, CONTROL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier


def make_result(dim=2, geometry="hyperbolic"):
    attributes = {
        "voxel_size": SIZE, "origin": ORIGIN, "name": "lump",
        "geometry": geometry, "curvature": 1.0,
    }  # fmt: skip
    latents = open_latents(None, (*SHAPE, dim), attributes)
    points = np.random.default_rng(0).normal(size=(*SHAPE, dim)) * 0.1
    points[:, :, 4:, :2] += 0.4
    latents.array[:] = points.astype(np.float32)
    clustering = cluster(latents, tree="disk", smoothing=0.0)
    cloud = finish(cloud_job(latents))
    colours = node_colours(clustering.tree)
    return Result(latents, clustering, cloud, colours, Tally(clustering, cloud), 0.0, 1, 1.0)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    yield viewer
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)


@pytest.fixture
def dock(viewer, qtbot):
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    qtbot.waitUntil(lambda: dock.model.is_ready)
    return dock


@pytest.fixture(params=[2])
def result(request):
    return make_result(request.param)


@pytest.fixture
def disk(viewer, dock, result, qtbot):
    viewer.add_image(np.zeros(SHAPE, np.float32), name="lump")
    dock.state.show(result)
    _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    assert disk.state is dock.state
    disk.scene.canvas.native.resize(300, 300)
    # In a hidden window nothing is drawn that would bring the rest along.
    while not disk.scene.is_complete:
        disk.scene._draw_more()
    qtbot.wait(1)
    return disk


def send(disk, kind, position, button=LEFT, held=NONE, modifiers=PLAIN):
    """A mouse event at a position on the canvas, as Qt would send it."""
    native, place = disk.scene.canvas.native, QPointF(*map(float, position))
    event = QMouseEvent(
        getattr(QEvent.Type, f"MouseButton{kind}" if kind != "Move" else "MouseMove"),
        place, QPointF(native.mapToGlobal(place.toPoint())), button, held, modifiers,
    )  # fmt: skip
    QApplication.sendEvent(native, event)


def drag(disk, *way, button=LEFT, modifiers=PLAIN):
    send(disk, "Press", way[0], button, button, modifiers)
    for position in way[1:]:
        # vispy takes no two moves within 10 ms.
        QTest.qWait(12)
        send(disk, "Move", position, NONE, button, modifiers)
    send(disk, "Release", way[-1], button, NONE, modifiers)


def shifted(position, x, y):
    return np.array([position[0] + x, position[1] + y])


def click(disk, position):
    drag(disk, position)


def wheel(disk, position, notches):
    native, place = disk.scene.canvas.native, QPointF(*map(float, position))
    event = QWheelEvent(
        place, QPointF(native.mapToGlobal(place.toPoint())), QPoint(), QPoint(0, 120 * notches),
        NONE, PLAIN, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(native, event)


def key(qtbot, disk, name):
    qtbot.keyClick(disk.scene.canvas.native, getattr(Qt.Key, f"Key_{name}"))


# -- picking, both ways


def test_a_click_on_the_disk_lights_voxels_and_moves_the_slice(viewer, disk, result):
    changes = []
    disk.state.selection.changed.connect(lambda: changes.append(1))
    click(disk, disk.scene.position_of(result.latents.read((4, 5, 6))))
    assert changes == [1]
    assert disk.state.selection.voxel == (4, 5, 6)
    (points,) = (layer for layer in viewer.layers if isinstance(layer, Points))
    assert points.data[0].tolist() == [4, 5, 6]
    np.testing.assert_allclose(points.data_to_world([0, 0, 0]), ORIGIN)
    assert viewer.dims.point[0] == pytest.approx(ORIGIN[0] + 4 * SIZE[0])
    assert "voxel (4, 5, 6)" in disk.text.text()
    ranges = viewer.dims.range
    click(disk, disk.scene.position_of(result.latents.read((1, 2, 3))))
    assert points.data[0].tolist() == [1, 2, 3]
    assert viewer.dims.point[0] == pytest.approx(ORIGIN[0] + 1 * SIZE[0])
    assert viewer.dims.range == ranges


@pytest.mark.parametrize("result", [4], indirect=True)
def test_a_click_picks_in_the_projection_that_is_shown(disk, result):
    assert "hyperbolic PCA of 4 dimensions" in disk.scene._name.text
    for index in (0, 3):
        disk.projection.setCurrentIndex(index)
        disk.projection.activated.emit(index)
        seen = disk.cloud.projection.apply(result.latents.read((4, 5, 6))[None])[0]
        click(disk, disk.scene.position_of(seen))
        assert disk.state.selection.voxel == (4, 5, 6)
        np.testing.assert_array_equal(disk.state.selection.point, result.latents.read((4, 5, 6)))
    assert disk.scene._name.text == "coordinates 1 and 4 of 4"


def test_a_click_on_a_voxel_shows_its_point(viewer, disk, result):
    changes = []
    disk.state.selection.changed.connect(lambda: changes.append(1))
    world = [o + s * i for o, s, i in zip(ORIGIN, SIZE, (3, 2, 6), strict=True)]
    before = tuple(viewer.dims.point)
    for moved in (True, False):
        event = SimpleNamespace(type="mouse_press", button=1, modifiers=(), position=world)
        pressed = disk.picks._on_mouse(viewer, event)
        next(pressed)
        event.type = "mouse_move" if moved else "mouse_release"
        with pytest.raises(StopIteration):
            next(pressed)
    assert changes == [1]
    np.testing.assert_array_equal(disk.state.selection.point, result.latents.read((3, 2, 6)))
    assert disk.state.selection.voxel == (3, 2, 6)
    assert tuple(viewer.dims.point) == before
    assert f"{disk.state.selection.distance:.2f}" in disk.text.text()


@pytest.mark.parametrize("how", ["outside", "on nothing", "Escape"])
def test_nothing_is_picked_any_more(viewer, disk, result, qtbot, how):
    disk.scene.show_whole()
    click(disk, disk.scene.position_of(result.latents.read((4, 5, 6))))
    # An Escape while a lasso is wanted means the lasso.
    disk.lasso.click()
    key(qtbot, disk, "Escape")
    assert disk.state.selection.voxel == (4, 5, 6)
    if how == "outside":
        click(disk, shifted(disk.scene.position_of((0.0, 0.0)), -149, -149))
    elif how == "on nothing":
        click(disk, disk.scene.position_of((-0.6, -0.6)))
    else:
        key(qtbot, disk, "Escape")
    assert disk.state.selection.point is None
    assert not any(isinstance(layer, Points) for layer in viewer.layers)
    assert "Picked" not in disk.text.text()


def test_a_click_on_a_centroid_counts_where_no_points_are(disk, result):
    disk.scene.show_whole()
    centroid = disk.state.partition.tree.centroids[list(disk.state.partition.nodes)][0]
    near = np.hypot(*(disk.cloud.places - centroid).T) < 0.2
    cloud = replace(disk.cloud, points=disk.cloud.points[~near], voxels=disk.cloud.voxels[~near])
    disk.state.show(replace(result, cloud=cloud))
    disk.scene.show_whole()
    click(disk, disk.scene.position_of(centroid))
    np.testing.assert_allclose(disk.state.selection.point, centroid, atol=0.01)


# -- where one looks


def test_a_drag_takes_the_point_along(disk, result):
    disk.scene.show_whole()
    start = disk.scene.position_of((0.1, 0.2))
    drag(disk, start, shifted(start, 30, 10), shifted(start, 60, -25))
    np.testing.assert_allclose(disk.scene.position_of((0.1, 0.2)), shifted(start, 60, -25), atol=1)
    assert disk.state.selection.point is None
    # A click now picks what is seen there.
    target = result.latents.read((4, 5, 6))
    click(disk, disk.scene.position_of(target))
    # The mouse knows whole pixels only.
    np.testing.assert_allclose(disk.state.selection.point, target, atol=0.01)


def test_the_whole_drawing_moves_with_a_drag(disk):
    disk.scene.show_whole()
    before = disk.scene.canvas.render(size=(300, 300))[..., :3].astype(int)
    start = disk.scene.position_of((0.4, 0.4))
    drag(disk, start, shifted(start, -50, 60))
    after = disk.scene.canvas.render(size=(300, 300))[..., :3].astype(int)
    assert (abs(after - before).max(-1) > 20).mean() > 0.05
    # The lump that was at the place grabbed is now where the mouse is.
    x, y = shifted(start, -50, 60).astype(int)
    paper = after[1, 1]
    assert (abs(after[y - 3 : y + 4, x - 3 : x + 4] - paper).max(-1) > 40).mean() > 0.3


def test_wheel_double_click_and_keys(qtbot, disk):
    disk.scene.show_whole()
    start = disk.scene.position_of((0.3, 0.0))
    wheel(disk, start, 2)
    assert disk.scene.half_width < 0.9
    np.testing.assert_allclose(disk.scene.position_of((0.3, 0.0)), start, atol=0.5)
    key(qtbot, disk, "Left")
    assert disk.scene.translation.centre[0] < 0
    send(disk, "DblClick", (150, 150))
    assert disk.scene.translation.centre == (0.0, 0.0)
    assert disk.scene.half_width == pytest.approx(1.04)
    key(qtbot, disk, "Plus")
    key(qtbot, disk, "Up")
    assert disk.scene.translation.centre[1] > 0
    key(qtbot, disk, "R")
    assert disk.scene.translation.centre == (0.0, 0.0)
    for _ in range(100):
        wheel(disk, (150, 150), 1)
    assert disk.scene.half_width >= 1e-3


def test_a_right_drag_shifts_the_drawing(disk):
    start = disk.scene.position_of((0.1, 0.2))
    drag(disk, start, shifted(start, 20, 0), shifted(start, 40, 30), button=RIGHT)
    np.testing.assert_allclose(disk.scene.position_of((0.1, 0.2)), shifted(start, 40, 30), atol=0.5)
    assert disk.scene.translation.centre == (0.0, 0.0)


def test_a_euclidean_plane_is_dragged_like_paper(disk):
    disk.state.show(make_result(geometry="euclidean"))
    start = disk.scene.position_of((0.2, 0.2))
    drag(disk, start, shifted(start, 40, 10))
    np.testing.assert_allclose(disk.scene.position_of((0.2, 0.2)), shifted(start, 40, 10), atol=1)
    (x0, y0), (x1, y1) = (disk.scene.position_of(p) for p in ((0.0, 0.0), (5.0, 0.0)))
    x2, _ = disk.scene.position_of((10.0, 0.0))
    assert x2 - x1 == pytest.approx(x1 - x0)
    assert y0 == pytest.approx(y1)


# -- lasso, layers, glance


@pytest.mark.parametrize("by_button", [True, False])
def test_a_lasso_makes_a_class(qtbot, disk, dock, result, by_button):
    disk.scene.translate(disk.scene.translation.dragged((0.0, 0.0), (-0.2, 0.1)))
    outline = [(0.25, 0.2), (0.65, 0.2), (0.65, 0.65), (0.25, 0.65), (0.25, 0.21)]
    if by_button:
        qtbot.mouseClick(disk.lasso, LEFT)
        assert disk.lasso.isChecked()
    drag(disk, *map(disk.scene.position_of, outline), modifiers=PLAIN if by_button else CONTROL)
    qtbot.waitUntil(lambda: not dock.runner.title)
    assert not disk.lasso.isChecked()
    (own,) = disk.state.partition.own
    # The line stays until the points in it have the new colour.
    assert disk.scene._lasso.visible
    qtbot.waitUntil(lambda: not disk.scene._lasso.visible)
    from skimage.measure import points_in_poly

    # Straight lines on the screen: as seen from the new centre.
    view = disk.scene.translation
    points = view.apply(result.latents.read().reshape(-1, 2))
    expected = points_in_poly(points, view.apply(outline)).reshape(SHAPE)
    assert (own.mask != expected).sum() <= 2
    assert 50 < own.mask.sum() < own.mask.size
    assert disk.scene.translation == view
    assert disk.state.selection.point is None


def test_an_empty_lasso_says_so(qtbot, disk, dock):
    disk.scene.show_whole()
    outline = [(-0.7, -0.1), (-0.6, -0.1), (-0.6, 0.0), (-0.7, 0.0)]
    drag(disk, *map(disk.scene.position_of, outline), modifiers=CONTROL)
    qtbot.waitUntil(lambda: not dock.runner.title)
    assert disk.state.partition.own == ()
    assert "no points" in disk.text.text()
    assert not disk.scene._lasso.visible


def test_a_lasso_too_many_says_so(disk, dock, result, monkeypatch):
    disk.scene.show_whole()
    monkeypatch.setattr("napari_hypseg.figures.partition._VALUES", result.clustering.tree.n_leaves)
    outline = [(0.25, 0.2), (0.65, 0.2), (0.65, 0.65), (0.25, 0.65)]
    drag(disk, *map(disk.scene.position_of, outline), modifiers=CONTROL)
    assert disk.state.partition.own == ()
    assert "remove one first" in disk.text.text()
    assert not disk.scene._lasso.visible


def test_what_the_latents_say_as_layers(qtbot, viewer, disk, dock, result):
    actions = disk.layers.menu().actions()
    assert len(actions) == 3
    for action in actions:
        action.trigger()
        qtbot.waitUntil(lambda: not dock.runner.title)
    _, uncertainty, first, _ = (layer for layer in viewer.layers if isinstance(layer, Image))
    points = result.latents.read()
    expected = 2 * np.arctanh(np.linalg.norm(points.astype(float), axis=-1))
    np.testing.assert_allclose(uncertainty.data, expected, rtol=1e-5)
    np.testing.assert_array_equal(first.data, points[..., 0])
    for layer in (uncertainty, first):
        np.testing.assert_allclose(layer.scale, SIZE)
        np.testing.assert_allclose(layer.translate, ORIGIN)


def test_a_look_at_the_disk_shows_patch_and_reconstruction(qtbot, disk, result):
    assert not disk.glance.isVisibleTo(disk)
    network = VAE(ModelConfig(channels=(2, 2, 2, 2), planes=2)).eval()
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    volume = Volume(voxels, SIZE, ORIGIN, "lump")
    disk.state.session = SimpleNamespace(
        model=Model(network, "custom"),
        volume=volume,
        latents=result.latents,
        clustering=None,
        view={},
    )
    disk.state.result_changed.emit()
    assert disk.glance.isVisibleTo(disk)
    for voxel in ((1, 2, 3), (4, 5, 6)):
        place = disk.scene.position_of(result.latents.read(voxel))
        send(disk, "Move", place, NONE)
    qtbot.waitUntil(lambda: disk.glance.text.text().startswith("voxel"))
    qtbot.waitUntil(lambda: disk.glance._worker is None)
    glance = disk._glances().at(tuple(result.latents.read((4, 5, 6)).tolist()))
    assert glance.voxel == (4, 5, 6)
    assert all(not picture.pixmap().isNull() for picture in disk.glance.pictures)
    assert disk.state.selection.point is None
    disk.state.show(None)
    assert not disk.glance.isVisibleTo(disk)


# -- drawing, theme, closing


def test_the_disk_is_drawn(disk):
    disk.state.settled.emit()
    picture = disk.scene.canvas.render(size=(300, 300))[..., :3]
    drawn = (abs(picture.astype(int) - picture[1, 1]).max(-1) > 20).mean()
    assert 0.02 < drawn < 0.9


def test_what_takes_long_to_draw_follows_by_itself(make_napari_viewer_proxy, qtbot, result):
    viewer = make_napari_viewer_proxy(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    dock.state.show(result)
    _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    assert not disk.scene.is_complete
    qtbot.waitUntil(lambda: disk.scene.is_complete)
    scene = disk.scene
    for visual in (scene._density, scene._tree, scene._centroids, scene._labels, scene._infinity):
        while visual is not None:
            assert visual.visible
            visual = visual.parent
    qtbot.waitUntil(lambda: dock.model.is_ready)


def test_torn_off_and_put_back_the_disk_is_drawn_as_before(
    make_napari_viewer_proxy, qtbot, result, caplog
):
    viewer = make_napari_viewer_proxy(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    dock.state.show(result)
    window, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    qtbot.waitUntil(lambda: dock.model.is_ready)
    disk.scene.zoom(1.5, (100, 100))
    count = disk._box.count()
    for is_floating in (True, False):
        before = disk.scene
        view = before.view
        qtbot.waitUntil(lambda: disk.scene.is_complete)
        # Another window has another OpenGL context, in which nothing of the first can be drawn.
        window.setFloating(is_floating)
        qtbot.waitUntil(lambda before=before: disk.scene is not before)
        qtbot.waitUntil(lambda: disk.scene.is_complete)
        for name, numbers in view.items():
            assert disk.scene.view[name] == pytest.approx(numbers)
        native = disk.scene.canvas.native
        assert native.isVisible()
        assert disk._box.itemAt(0).widget() is native
        assert disk._box.count() == count
        shown = native.grabFramebuffer()
        assert len({shown.pixel(x, shown.height() // 2) for x in range(shown.width())}) > 5
        key(qtbot, disk, "Escape")
        assert disk.state.selection.point is None
        click(disk, disk.scene.position_of(result.latents.read((1, 2, 3))))
        assert disk.state.selection.point is not None
        assert disk.scene._pick.visible
    assert "Error drawing" not in caplog.text
    # A new context in the same window, as Qt gives where it has no OpenGL: no end of new scenes.
    last = disk.scene
    last.canvas.events.initialize()
    qtbot.wait(50)
    assert disk.scene is last


def test_the_tree_follows_the_slider_when_the_volume_is_drawn(qtbot, dock, disk, monkeypatch):
    drawn = []
    monkeypatch.setattr(disk.scene, "draw_tree", drawn.append)
    # Nothing is left of what the fixture asked for.
    disk._follow.stop()
    for k in (3, 4, 5):
        dock.state.choose(k)
    assert not drawn
    qtbot.waitUntil(lambda: bool(drawn))
    assert [partition.k for partition in drawn] == [5]


def test_the_density_has_the_mean_colour_of_its_points(disk, result):
    scene, cloud = disk.scene, result.cloud
    labels = np.random.default_rng(1).integers(1, 4, len(cloud.points)).astype(np.uint8)
    colours = np.array([[0.9, 0.1, 0.2, 1.0], [0.1, 0.8, 0.3, 1.0], [0.3, 0.2, 0.7, 0.0]])
    scene.draw_points(labels, colours)
    image = np.asarray(scene._density._data).reshape(-1, 4)
    cells = cloud.density.cells(cloud.places)
    opacity = dict(zip(scene._used.tolist(), scene._opacity.tolist(), strict=True))
    for cell in np.unique(cells):
        rgb, shown = colours[labels[cells == cell] - 1, :3], colours[labels[cells == cell] - 1, 3]
        strength = 255 * opacity[cell] * shown.mean()
        assert image[cell, 3] == pytest.approx(strength, abs=1)
        if shown.any():
            seen = (rgb * shown[:, None]).sum(0) / shown.sum()
            assert image[cell, :3] == pytest.approx(strength * seen, abs=1)
    assert not np.delete(image, cells, axis=0).any()


def test_hidden_classes_are_not_drawn(disk):
    def coloured():
        disk.state.settled.emit()
        disk.scene._tree.visible = disk.scene._centroids.visible = False
        picture = disk.scene.canvas.render(size=(300, 300))[..., :3].astype(int)
        return int(((picture.max(-1) - picture.min(-1)) > 60).sum())

    before = coloured()
    disk.state.change(disk.state.partition.hide(*disk.state.partition.nodes))
    assert before > 100
    assert coloured() < 0.05 * before


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_disk_follows_the_theme(viewer, disk, theme):
    viewer.theme = theme
    bright = np.mean(disk.scene.canvas.bgcolor.rgb)
    assert bright > 0.7 if theme == "light" else bright < 0.3


def test_a_closed_disk_listens_to_nothing(qtbot, viewer, dock, result):
    callbacks = list(viewer.mouse_drag_callbacks)
    dock.state.show(result)
    for _ in range(2):
        _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
        qtbot.wait(20)
        viewer.window.remove_dock_widget(disk)
        qtbot.wait(20)
        assert viewer.mouse_drag_callbacks == callbacks
        dock.state.selection.pick_point(0.1, 0.1)
        dock.state.choose(7)
        dock.state.settled.emit()
        viewer.theme = "light"


@pytest.mark.parametrize("result", [3], indirect=True)
def test_closing_the_disk_in_the_middle_is_safe(qtbot, viewer, dock, result):
    dock.state.show(result)
    _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    outline = [(0.3, 0.3), (0.6, 0.3), (0.6, 0.6), (0.3, 0.6)]
    disk._on_lasso(outline)
    assert dock.runner.title == "lasso"
    viewer.window.remove_dock_widget(disk)
    qtbot.wait(20)
    qtbot.waitUntil(lambda: not dock.runner.title)
    assert dock.state.partition.own == ()


def test_an_image_layer_does_not_take_the_place_of_a_result(qtbot, viewer, dock, result):
    dock.state.show(result)
    _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    viewer.add_image(np.zeros(SHAPE, np.float32), name="some image")
    assert dock.volume.layer.currentIndex() == -1
    assert dock.state.result is result
    assert dock.volume.layer.count() == 1
    disk.layers.menu().actions()[0].trigger()
    qtbot.waitUntil(lambda: len([a for a in viewer.layers if isinstance(a, Image)]) == 2)
    # Without a result the image is taken, and never what a dock has made.
    dock.state.show(None)
    viewer.layers.remove("some image")
    assert dock.volume.layer.count() == 1
    assert dock.volume.volume() is None
    viewer.add_image(np.zeros(SHAPE, np.float32), name="tomogram")
    assert dock.volume.layer.currentText() == "tomogram"
    viewer.layers.remove("tomogram")
    assert dock.volume.volume() is None


@pytest.mark.parametrize(("result", "words"), [(2, "· clicks"), (3, "· the drawing, clicks")],
                         indirect=["result"])  # fmt: skip
def test_the_disk_says_when_it_looks_at_a_sample(dock, disk, result, words, monkeypatch):
    assert "sample" not in disk.key.text()
    monkeypatch.setattr("napari_hypseg.figures.cloud._MOST", 100)
    cloud = finish(cloud_job(result.latents))
    dock.state.show(replace(result, cloud=cloud))
    assert f"{words} and hovering: a sample of {len(cloud.points)} voxels" in disk.key.text()
