"""The dock of the Poincaré disk, used with mouse and keys, and its link to the viewer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from .conftest import need_gui

need_gui()

from napari.layers import Image, Points  # noqa: E402
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt  # noqa: E402
from qtpy.QtGui import QMouseEvent, QWheelEvent  # noqa: E402
from qtpy.QtTest import QTest  # noqa: E402
from qtpy.QtWidgets import QApplication  # noqa: E402

from napari_hypseg.clustering import cluster  # noqa: E402
from napari_hypseg.jobs import finish  # noqa: E402
from napari_hypseg.latents import near_job, open_latents  # noqa: E402
from napari_hypseg.model import VAE, Model, ModelConfig  # noqa: E402
from napari_hypseg.session import Proposals, Session  # noqa: E402
from napari_hypseg.volumes import Volume  # noqa: E402
from napari_hypseg.widgets.desk import desk_of  # noqa: E402
from napari_hypseg.widgets.layers import MADE_KEY, data_point, place_of  # noqa: E402
from napari_hypseg.widgets.looks import camera_of  # noqa: E402
from napari_hypseg.widgets.map_step import MapStep  # noqa: E402

SHAPE = (6, 7, 8)
SIZE, ORIGIN = (10.0, 8.0, 9.0), (50.0, -40.0, 30.0)
LEFT, RIGHT, NONE = (getattr(Qt.MouseButton, f"{name}Button") for name in ("Left", "Right", "No"))
PLAIN, CONTROL = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier


def make_proposals(dim=2, geometry="hyperbolic", stride=1):
    """Two lumps of points, of the two halves of a volume along x."""
    attributes = {
        "voxel_size": tuple(stride * v for v in SIZE), "origin": ORIGIN, "name": "lump",
        "geometry": geometry, "curvature": 1.0, "stride": stride,
        "box": [[0, stride * n] for n in SHAPE],
    }  # fmt: skip
    latents = open_latents(None, (*SHAPE, dim), attributes)
    points = np.random.default_rng(0).normal(size=(*SHAPE, dim)) * 0.1
    points[:, :, 4:, :2] += 0.4
    latents.array[:] = points.astype(np.float32)
    clustering = cluster(latents, tree="kinds", smoothing=0.0)
    return Proposals(latents, clustering, 0.0, 0, model=1, is_kept=False)


def make_session(folder, **how):
    proposals = make_proposals(**how)
    shape = tuple(proposals.stride * n for n in SHAPE)
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    session = Session(Volume(voxels, SIZE, ORIGIN, "lump"), folder)
    session.take(proposals)
    session.k = 4
    return session


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    yield viewer
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)


@pytest.fixture
def desk(viewer):
    return desk_of(viewer)


@pytest.fixture(params=[{}])
def session(request, tmp_path):
    return make_session(tmp_path / "out", **request.param)


@pytest.fixture
def latents(session):
    return session.proposals.latents


@pytest.fixture
def open_disk(viewer):
    """Open the dock as from the menu, and draw all of it."""

    def go():
        _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
        disk.scene.canvas.native.resize(300, 300)
        # In a hidden window nothing is drawn that would bring the rest along.
        while not disk.scene.is_complete:
            disk.scene._draw_more()
        QTest.qWait(1)
        return disk

    return go


@pytest.fixture
def disk(viewer, desk, session, open_disk):
    layer = viewer.add_image(session.volume.read(), name="lump", **place_of(session.volume))
    desk.show(session, layer)
    return open_disk()


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


def turn_wheel(native, position, notches):
    place = QPointF(*map(float, position))
    event = QWheelEvent(
        place, QPointF(native.mapToGlobal(place.toPoint())), QPoint(), QPoint(0, 120 * notches),
        NONE, PLAIN, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(native, event)


def wheel(disk, position, notches):
    turn_wheel(disk.scene.canvas.native, position, notches)


def key(qtbot, disk, name):
    qtbot.keyClick(disk.scene.canvas.native, getattr(Qt.Key, f"Key_{name}"))


# -- picking, both ways


def proposal_of(session, voxel):
    return session.proposals.node_at(int(session.proposals.clustering.leaves[voxel]), session.k)


def test_a_click_on_the_disk_lights_voxels_and_moves_the_slice(viewer, disk, session, latents):
    changes = []
    session.selection.changed.connect(lambda: changes.append(1))
    disk.scene.zoom(30, disk.scene.position_of(latents.read((4, 5, 6))))
    click(disk, disk.scene.position_of(latents.read((4, 5, 6))))
    assert changes == [1]
    assert session.selection.voxel == (4, 5, 6)
    assert session.chosen == (proposal_of(session, (4, 5, 6)),)
    (points,) = (layer for layer in viewer.layers if isinstance(layer, Points))
    assert points.metadata[MADE_KEY]
    assert points.data[0].tolist() == [4, 5, 6]
    np.testing.assert_allclose(points.data_to_world([0, 0, 0]), ORIGIN)
    assert viewer.dims.point[0] == pytest.approx(ORIGIN[0] + 4 * SIZE[0])
    assert "voxel (4, 5, 6)" in disk.picked.text.text()
    ranges = viewer.dims.range
    disk.scene.show_whole()
    disk.scene.zoom(30, disk.scene.position_of(latents.read((1, 2, 3))))
    click(disk, disk.scene.position_of(latents.read((1, 2, 3))))
    assert points.data[0].tolist() == [1, 2, 3]
    assert viewer.dims.point[0] == pytest.approx(ORIGIN[0] + 1 * SIZE[0])
    assert viewer.dims.range == ranges


@pytest.mark.parametrize("session", [{"dim": 4}], indirect=True)
def test_a_click_picks_in_the_projection_that_is_shown(disk, session, latents):
    assert "hyperbolic PCA of 4 dimensions" in disk.scene._name.text
    for index in (0, 3):
        disk.projection.setCurrentIndex(index)
        disk.projection.activated.emit(index)
        seen = disk.cloud.projection.apply(latents.read((4, 5, 6))[None])[0]
        disk.scene.zoom(8, disk.scene.position_of(seen))
        click(disk, disk.scene.position_of(seen))
        assert session.selection.voxel == (4, 5, 6)
        np.testing.assert_array_equal(session.selection.point, latents.read((4, 5, 6)))
    assert disk.scene._name.text == "coordinates 1 and 4 of 4"


@pytest.mark.parametrize("session", [{}, {"dim": 3}], indirect=True)
def test_a_click_on_a_number_chooses_its_proposal(disk, session):
    disk.scene.show_whole()
    nodes = session.proposals.nodes(session.k)
    places = disk.cloud.projection.apply(session.proposals.tree.centroids[list(nodes)])
    for node, place in zip(nodes, places, strict=True):
        disk.scene.zoom(4, disk.scene.position_of(place))
        click(disk, disk.scene.position_of(place))
        assert session.chosen == (node,)
        disk.scene.show_whole()
    np.testing.assert_allclose(session.selection.point, session.proposals.tree.centroids[node])


def test_what_is_chosen_elsewhere_stands_out(disk, session):
    def edges():
        return np.ravel(disk.scene._centroids._data["a_edgewidth"])

    assert np.ptp(edges()) == 0
    session.choose([session.proposals.nodes(4)[2]])
    assert edges().argmax() == 2
    # A branch above: all that it splits into.
    session.choose([session.proposals.nodes(1)[0]])
    assert np.ptp(edges()) == 0
    assert edges()[0] > 2


@pytest.mark.parametrize("lies", ["straight", "turned", "in nm", "without units"])
@pytest.mark.parametrize("session", [{}, {"stride": 2}], indirect=True)
def test_a_click_on_a_voxel_shows_its_point(
    make_napari_viewer_proxy, qtbot, session, latents, lies
):
    viewer = make_napari_viewer_proxy(show=True)
    desk = desk_of(viewer)
    place = place_of(session.volume)
    if lies == "turned":
        place["rotate"] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    if lies == "in nm":
        place |= {"units": ("nm",) * 3, "scale": np.divide(SIZE, 10)}
        place["translate"] = np.divide(ORIGIN, 10)
    if lies == "without units":
        del place["units"]
    layer = desk.viewer.add_image(session.volume.read(), **place)
    desk.show(session, layer)
    voxel = np.array([4, 4, 6])
    here = layer.data_to_world(voxel)
    viewer.dims.set_point(range(3), here)
    before, camera = tuple(viewer.dims.point), camera_of(desk.viewer)
    native = desk.viewer.window._qt_viewer.canvas.native
    middle, changes = native.rect().center(), []
    session.selection.changed.connect(lambda: changes.append(1))
    # A drag moves the picture.
    qtbot.wait(50)
    qtbot.mousePress(native, LEFT, pos=middle)
    qtbot.mouseMove(native, middle + QPoint(40, 0))
    qtbot.mouseRelease(native, LEFT, pos=middle + QPoint(40, 0))
    assert not changes
    # Seen in the middle of the canvas.
    camera.center = here
    qtbot.wait(50)
    qtbot.mouseClick(native, LEFT, pos=middle)
    assert changes == [1]
    picked = tuple((voxel // session.proposals.stride).tolist())
    assert session.selection.voxel == picked
    np.testing.assert_array_equal(session.selection.point, latents.read(picked))
    assert session.chosen == (proposal_of(session, picked),)
    (points,) = (each for each in viewer.layers if isinstance(each, Points))
    assert picked in map(tuple, points.data.astype(int).tolist())
    np.testing.assert_allclose(points.data_to_world(picked), here, atol=1e-6)
    assert viewer.dims.point == pytest.approx(before)


def test_a_click_on_the_disk_goes_to_its_slice_in_nm(
    viewer, desk, session, latents, open_disk, tmp_path
):
    """And back it is the slice on show that would be mapped."""
    place = {"scale": np.divide(SIZE, 10), "translate": np.divide(ORIGIN, 10)}
    layer = viewer.add_image(session.volume.read(), name="lump", units=["nm"] * 3, **place)
    desk.show(session, layer)
    disk = open_disk()
    for voxel in ((1, 4, 6), (4, 2, 1)):
        disk.scene.show_whole()
        click(disk, disk.scene.position_of(latents.read(voxel)))
        at = session.selection.voxel
        np.testing.assert_allclose(viewer.dims.point, layer.data_to_world(at), atol=1e-6)
        assert round(data_point(viewer, layer)[0]) == at[0]
        step = MapStep(desk)
        assert step.slice_box()[0] == slice(at[0], at[0] + 1)
        step.leave()


@pytest.mark.parametrize("how", ["outside", "on nothing", "Escape"])
def test_nothing_is_picked_any_more(viewer, disk, session, latents, qtbot, how):
    disk.scene.show_whole()
    click(disk, disk.scene.position_of(latents.read((4, 5, 6))))
    # An Escape while a lasso is wanted means the lasso.
    disk.lasso.click()
    key(qtbot, disk, "Escape")
    assert session.selection.point is not None
    assert session.chosen
    if how == "outside":
        click(disk, shifted(disk.scene.position_of((0.0, 0.0)), -149, -149))
    elif how == "on nothing":
        click(disk, disk.scene.position_of((-0.6, -0.6)))
    else:
        key(qtbot, disk, "Escape")
    assert session.selection.point is None
    assert session.chosen == ()
    assert not any(isinstance(layer, Points) for layer in viewer.layers)
    assert "Picked" not in disk.picked.text.text()
    assert not disk.picked.keep.isEnabled()
    assert "first" in disk.picked.keep.toolTip()


def test_the_layer_of_what_is_near_can_be_removed_and_comes_again(viewer, disk, session):
    session.selection.pick_point(0.1, 0.1)
    viewer.layers.remove("near on the disk")
    session.selection.pick_point(0.2, 0.1)
    (points,) = (layer for layer in viewer.layers if isinstance(layer, Points))
    np.testing.assert_array_equal(points.data, session.selection.voxels)
    assert viewer.layers.selection.active.name == "lump"


# -- the radius, and keeping


@pytest.mark.parametrize(
    "session", [{}, {"geometry": "euclidean"}, {"dim": 3, "stride": 2}], indirect=True
)
def test_all_within_the_radius_is_kept(viewer, qtbot, disk, desk, session, latents):
    session.selection.pick_voxel((3, 3, 6), latents.read((3, 3, 6)))
    before = tuple(viewer.dims.point)
    slider = disk.picked.slider
    lit = []
    for step in (500, 650):
        slider.setValue(step)
        lit.append({tuple(v) for v in session.selection.voxels.tolist()})
    assert lit[0] < lit[1]
    assert tuple(viewer.dims.point) == before
    (points,) = (layer for layer in viewer.layers if isinstance(layer, Points))
    assert len(points.data) == len(lit[1])
    assert f"{len(lit[1])} voxels within {session.selection.radius:.3g}" in disk.picked.text.text()
    expected = finish(near_job(latents, session.selection.point, session.selection.radius))
    assert {tuple(v) for v in np.argwhere(expected).tolist()} == lit[1]
    qtbot.mouseClick(disk.picked.keep, LEFT)
    qtbot.waitUntil(lambda: not desk.runner.title)
    (row,) = session.classes.table
    assert row.source.kind == "disk"
    kept = session.classes.labels == row.number
    if session.proposals.stride == 2:
        # Of the voxels between those that were mapped, each goes with the next.
        index = [np.minimum((np.arange(2 * n) + 1) // 2, n - 1) for n in SHAPE]
        expected = expected[np.ix_(*index)]
    np.testing.assert_array_equal(kept, expected)
    assert session.classes.counts[row.number] == kept.sum()
    assert disk.picked.text.text().startswith("Kept as class 1, ")
    assert session.classes.chosen == (row.number,)
    session.classes.rename(row.number, "membrane")
    assert "kept as membrane" in disk.picked.text.text()


def test_the_slider_goes_to_all_of_them(disk, session):
    session.selection.pick_point(0.1, 0.1)
    assert 0 < disk.picked.slider.value() < disk.picked.slider.maximum()
    disk.picked.slider.setValue(disk.picked.slider.maximum())
    assert session.selection.count == np.prod(SHAPE)
    disk.picked.slider.setValue(0)
    assert session.selection.count == 0


def test_while_something_runs_nothing_is_kept_and_it_says_so(qtbot, disk, desk, session):
    from napari_hypseg.jobs import Progress

    def wait():
        while True:
            yield Progress("waiting", 0, 0)

    session.selection.pick_point(0.1, 0.1)
    desk.start("training", wait(), print)
    qtbot.mouseClick(disk.picked.keep, LEFT)
    assert "Wait until this is done, or stop it: training" in disk.picked.text.text()
    desk.runner.stop()
    qtbot.waitUntil(lambda: not desk.runner.title)
    assert session.classes.table == ()


@pytest.mark.parametrize("session", [{"dim": 4}], indirect=True)
def test_the_wheel_over_a_field_changes_nothing(disk, session):
    session.selection.pick_point(0.1, 0.1, 0.1, 0.1)
    radius, projection = session.selection.radius, disk.projection.currentIndex()
    for field in (disk.projection, disk.picked.slider):
        turn_wheel(field, (5, 5), -3)
    assert (session.selection.radius, disk.projection.currentIndex()) == (radius, projection)


# -- where one looks


def test_a_drag_takes_the_point_along(disk, session, latents):
    disk.scene.show_whole()
    start = disk.scene.position_of((0.1, 0.2))
    drag(disk, start, shifted(start, 30, 10), shifted(start, 60, -25))
    np.testing.assert_allclose(disk.scene.position_of((0.1, 0.2)), shifted(start, 60, -25), atol=1)
    assert session.selection.point is None
    # A click now picks what is seen there.
    target = latents.read((4, 5, 6))
    disk.scene.zoom(30, disk.scene.position_of(target))
    click(disk, disk.scene.position_of(target))
    # The mouse knows whole pixels only.
    np.testing.assert_allclose(session.selection.point, target, atol=0.01)


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


def test_one_looks_again_where_one_looked(viewer, qtbot, disk, desk, session, open_disk):
    wheel(disk, (100, 120), 3)
    key(qtbot, disk, "Left")
    view = disk.scene.view
    viewer.window.remove_dock_widget(disk)
    desk.show(None)
    desk.show(session)
    assert open_disk().scene.view == view


def test_a_right_drag_shifts_the_drawing(disk):
    start = disk.scene.position_of((0.1, 0.2))
    drag(disk, start, shifted(start, 20, 0), shifted(start, 40, 30), button=RIGHT)
    np.testing.assert_allclose(disk.scene.position_of((0.1, 0.2)), shifted(start, 40, 30), atol=0.5)
    assert disk.scene.translation.centre == (0.0, 0.0)


@pytest.mark.parametrize("session", [{"geometry": "euclidean"}], indirect=True)
def test_a_euclidean_plane_is_dragged_like_paper(disk):
    start = disk.scene.position_of((0.2, 0.2))
    drag(disk, start, shifted(start, 40, 10))
    np.testing.assert_allclose(disk.scene.position_of((0.2, 0.2)), shifted(start, 40, 10), atol=1)
    (x0, y0), (x1, y1) = (disk.scene.position_of(p) for p in ((0.0, 0.0), (5.0, 0.0)))
    x2, _ = disk.scene.position_of((10.0, 0.0))
    assert x2 - x1 == pytest.approx(x1 - x0)
    assert y0 == pytest.approx(y1)


# -- lasso, layers, glance


@pytest.mark.parametrize("by_button", [True, False])
def test_a_lasso_makes_a_class(qtbot, disk, desk, session, latents, by_button):
    disk.scene.translate(disk.scene.translation.dragged((0.0, 0.0), (-0.2, 0.1)))
    outline = [(0.25, 0.2), (0.65, 0.2), (0.65, 0.65), (0.25, 0.65), (0.25, 0.21)]
    if by_button:
        qtbot.mouseClick(disk.lasso, LEFT)
        assert disk.lasso.isChecked()
    drag(disk, *map(disk.scene.position_of, outline), modifiers=PLAIN if by_button else CONTROL)
    qtbot.waitUntil(lambda: not desk.runner.title)
    assert not disk.lasso.isChecked()
    assert not disk.scene._lasso.visible
    (row,) = session.classes.table
    assert row.source.kind == "lasso"
    from skimage.measure import points_in_poly

    # Straight lines on the screen: as seen from the new centre.
    view = disk.scene.translation
    points = view.apply(latents.read().reshape(-1, 2))
    expected = points_in_poly(points, view.apply(outline)).reshape(SHAPE)
    kept = session.classes.labels == row.number
    assert (kept != expected).sum() <= 2
    assert 50 < kept.sum() < kept.size
    assert disk.scene.translation == view
    assert session.selection.point is None
    session.undo()
    assert not session.classes.labels.any()


def test_a_lasso_without_points_says_so(qtbot, disk, desk, session):
    disk.scene.show_whole()
    outline = [(-0.7, -0.1), (-0.6, -0.1), (-0.6, 0.0), (-0.7, 0.0)]
    drag(disk, *map(disk.scene.position_of, outline), modifiers=CONTROL)
    qtbot.waitUntil(lambda: not desk.runner.title)
    assert session.classes.table == ()
    assert "no points" in disk.picked.text.text()
    assert not disk.scene._lasso.visible


def test_what_the_latents_say_as_layers(qtbot, viewer, disk, desk, latents):
    from napari.utils import progress

    actions = disk.layers.menu().actions()
    assert len(actions) == 3
    # The second time in the place of the first.
    for action in (*actions, *actions):
        action.trigger()
        qtbot.waitUntil(lambda: not desk.runner.title)
    assert not progress._all_instances
    _, uncertain, first, second = (layer for layer in viewer.layers if isinstance(layer, Image))
    points = latents.read()
    assert uncertain.name == "lump uncertainty"
    # 1 / cosh(2 artanh(r)), which is 1 where nothing is certain.
    lengths = np.linalg.norm(points.astype(float), axis=-1)
    np.testing.assert_allclose(uncertain.data, (1 - lengths**2) / (1 + lengths**2), rtol=1e-5)
    np.testing.assert_array_equal(first.data, points[..., 0])
    np.testing.assert_array_equal(second.data, points[..., 1])
    for layer in (uncertain, first, second):
        np.testing.assert_allclose(layer.scale, SIZE)
        np.testing.assert_allclose(layer.translate, ORIGIN)
        assert layer.metadata[MADE_KEY]


def test_a_look_shows_patch_and_reconstruction_of_the_models_that_mapped(
    qtbot, disk, desk, session, latents
):
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(
            Model(
                VAE(
                    ModelConfig(
                        latent_dim=2,
                        encoder="stacked",
                        grid=2,
                        hidden=0,
                        channels=(2, 2, 2, 2),
                        planes=2,
                    )
                ).eval(),
                "custom",
            )
        )
        # The second for the next map: what is on show is of the first.
        session.use(models[-1])
    assert session.model.number == 2
    for voxel in ((1, 2, 3), (4, 5, 6)):
        send(disk, "Move", disk.scene.position_of(latents.read(voxel)), NONE)
        QTest.qWait(50)  # vispy leaves out moves that follow one another more quickly
    # The last of two looks counts, whether or not the first was answered before it.
    qtbot.waitUntil(lambda: disk.glance.text.text().startswith("voxel (4, 5, 6), proposal "))
    qtbot.waitUntil(lambda: disk.glance._worker is None)
    assert all(not picture.pixmap().isNull() for picture in disk.glance.pictures)
    assert session.selection.point is None
    glance = disk.glance._source().at(disk.cloud, (0.1, 0.2))
    point = torch.tensor([[0.1, 0.2]])
    for model, same in zip(models, (True, False), strict=True):
        with torch.inference_mode():
            whole = model.network.decode(point)[0].numpy()
        assert np.allclose(glance.reconstruction, whole, atol=1e-5) == same
    desk.show(None)
    assert not disk.glance.isVisibleTo(disk)


def test_a_look_without_the_model_says_why(qtbot, disk, latents):
    send(disk, "Move", disk.scene.position_of(latents.read((1, 2, 3))), NONE)
    qtbot.waitUntil(lambda: "0001.hypseg" in disk.glance.text.text())
    qtbot.waitUntil(lambda: disk.glance._worker is None)


# -- drawing, theme, closing


def test_the_disk_is_drawn(disk):
    picture = disk.scene.canvas.render(size=(300, 300))[..., :3]
    drawn = (abs(picture.astype(int) - picture[1, 1]).max(-1) > 20).mean()
    assert 0.02 < drawn < 0.9


def test_what_takes_long_to_draw_follows_by_itself(make_napari_viewer_proxy, qtbot, session):
    viewer = make_napari_viewer_proxy(show=True)
    desk_of(viewer).show(session)
    _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    assert not disk.scene.is_complete
    qtbot.waitUntil(lambda: disk.scene.is_complete)
    scene = disk.scene
    for visual in (scene._density, scene._tree, scene._centroids, scene._labels, scene._infinity):
        while visual is not None:
            assert visual.visible
            visual = visual.parent


def _colours(canvas) -> int:
    """Colours of what a canvas shows."""
    shown = canvas.grabFramebuffer()
    pixels = range(shown.width()), range(shown.height())
    return len({shown.pixel(x, y) for x in pixels[0] for y in pixels[1]})


def test_torn_off_and_put_back_the_disk_is_drawn_as_before(
    make_napari_viewer_proxy, qtbot, session, latents, caplog
):
    viewer = make_napari_viewer_proxy(show=True)
    desk_of(viewer).show(session)
    window, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
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
        # The window manager gives the new window its size and first drawing when it likes.
        qtbot.waitUntil(lambda native=native: _colours(native) > 20)
        key(qtbot, disk, "Escape")
        assert session.selection.point is None
        click(disk, disk.scene.position_of(latents.read((1, 2, 3))))
        assert session.selection.point is not None
        assert disk.scene._pick.visible
    assert "Error drawing" not in caplog.text
    # A new context in the same window, as Qt gives where it has no OpenGL: no end of new scenes.
    last = disk.scene
    last.canvas.events.initialize()
    qtbot.wait(50)
    assert disk.scene is last


def test_the_tree_follows_the_slider_when_the_volume_is_drawn(qtbot, disk, session):
    drawn = disk.scene._labels.text
    for k in (3, 5, 6):
        session.k = k
    assert disk.scene._labels.text == drawn
    qtbot.waitUntil(lambda: disk.scene._labels.text == [str(i) for i in range(1, 7)])


def colours_at(disk, latents):
    """Colour in which each voxel's point is drawn as a density, shape (z, y, x, 3)."""
    image = np.asarray(disk.scene._density._data).reshape(-1, 4).astype(float)
    cells = disk.cloud.density.cells(disk.cloud.projection.apply(latents.read().reshape(-1, 2)))
    drawn = image[cells]
    return (drawn[:, :3] / np.maximum(drawn[:, 3:], 1)).reshape(*SHAPE, 3)


def test_the_colours_are_those_of_the_proposals_at_the_k_on_show(qtbot, disk, session, latents):
    for k in (2, 7):
        session.k = k
        qtbot.waitUntil(lambda k=k: len(disk.scene._labels.text) == k)
        qtbot.wait(400)
        proposals = session.proposals
        expected = proposals.colours[list(proposals.nodes(k))][proposals.labels(k) - 1]
        right = abs(colours_at(disk, latents) - expected).max(-1) < 0.02
        # But for the few cells that hold points of several.
        assert right.mean() > 0.97
        faces = disk.scene._centroids._data["a_bg_color"][:, :3]
        np.testing.assert_allclose(faces, proposals.colours[list(proposals.nodes(k))], atol=1e-6)


@pytest.mark.parametrize("session", [{}, {"stride": 2}], indirect=True)
def test_the_points_in_the_colours_of_their_classes(qtbot, disk, session, latents):
    step = session.proposals.stride
    mask = np.zeros(session.volume.shape, bool)
    mask[: 3 * step] = True
    session.classes.add(mask, name="upper", colour=(1.0, 0.0, 0.0))
    qtbot.mouseClick(disk.by_class, LEFT)
    assert "grey" in disk.key.text()
    expected = np.full((*SHAPE, 3), 0.5)
    expected[:3] = 1.0, 0.0, 0.0
    assert (abs(colours_at(disk, latents) - expected).max(-1) < 0.02).mean() > 0.97
    # Numbers that come and go, and edits while it is on show.
    number = session.classes.add(name="lower", colour=(0.0, 1.0, 0.0))
    session.classes.fill(number, ~mask)
    expected[3:] = 0.0, 1.0, 0.0
    qtbot.wait(200)
    assert (abs(colours_at(disk, latents) - expected).max(-1) < 0.02).mean() > 0.97
    session.classes.hide([number])
    qtbot.wait(200)
    assert (colours_at(disk, latents)[3:].max(-1) < 0.02).mean() > 0.97
    qtbot.mouseClick(disk.by_class, LEFT)
    assert "proposals of step 4" in disk.key.text()


def test_the_density_has_the_mean_colour_of_its_points(disk, session):
    scene, cloud = disk.scene, session.proposals.cloud
    labels = np.random.default_rng(1).integers(0, 3, len(cloud.points)).astype(np.uint8)
    colours = np.array([[0.9, 0.1, 0.2, 1.0], [0.1, 0.8, 0.3, 1.0], [0.3, 0.2, 0.7, 0.0]])
    scene.draw_points(labels, colours)
    image = np.asarray(scene._density._data).reshape(-1, 4)
    cells = cloud.density.cells(cloud.places)
    opacity = dict(zip(scene._used.tolist(), scene._opacity.tolist(), strict=True))
    for cell in np.unique(cells):
        rgb, shown = colours[labels[cells == cell], :3], colours[labels[cells == cell], 3]
        strength = 255 * opacity[cell] * shown.mean()
        assert image[cell, 3] == pytest.approx(strength, abs=1)
        if shown.any():
            seen = (rgb * shown[:, None]).sum(0) / shown.sum()
            assert image[cell, :3] == pytest.approx(strength * seen, abs=1)
    assert not np.delete(image, cells, axis=0).any()


@pytest.mark.parametrize("session", [{"dim": 3}], indirect=True)
def test_another_tree_of_the_same_points_is_seen_from_the_same_place(disk, session):
    disk.projection.setCurrentIndex(2)
    disk.projection.activated.emit(2)
    disk.scene.zoom(2, (100, 120))
    name, view = disk.scene._name.text, disk.scene.view
    other = replace(session.proposals, smoothing=2.0)
    finish(other.gather_job(session.proposals))
    session.take(other)
    assert (disk.scene._name.text, disk.scene.view) == (name, view)
    assert disk.projection.currentIndex() == 2


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_disk_follows_the_theme(viewer, disk, theme):
    viewer.theme = theme
    bright = np.mean(disk.scene.canvas.bgcolor.rgb)
    assert bright > 0.7 if theme == "light" else bright < 0.3


def test_it_says_what_to_do_first(disk, desk, session, tmp_path):
    model = Model(
        VAE(
            ModelConfig(
                latent_dim=2, encoder="stacked", grid=2, hidden=0, channels=(2, 2, 2, 2), planes=2
            )
        ).eval(),
        "custom",
    )
    desk.show(None)
    assert "step 1" in disk.picked.text.text()
    assert "step 1" in disk.lasso.toolTip()
    other = Session(session.volume, tmp_path / "other")
    desk.show(other)
    assert "step 3" in disk.picked.text.text()
    other.use(model)
    assert "step 3" in disk.picked.text.text()
    for widget in (disk.lasso, disk.layers, disk.by_class, disk.picked.keep):
        assert not widget.isEnabled()
        assert "step 3" in widget.toolTip()
    desk.show(session)
    assert disk.picked.text.text().startswith("Click a point")
    assert disk.lasso.isEnabled()
    assert "Ctrl+drag" in disk.lasso.toolTip()


def test_a_closed_disk_listens_to_nothing(qtbot, viewer, desk, session, open_disk):
    desk.show(session)
    for theme in ("light", "dark"):
        disk = open_disk()
        viewer.window.remove_dock_widget(disk)
        qtbot.wait(20)
        session.selection.pick_point(0.1, 0.1)
        session.k = 3 + session.k
        session.choose([0])
        desk.rested.emit()
        session.classes.add(name="another")
        desk.show(None)
        desk.show(session)
        viewer.theme = theme


@pytest.mark.parametrize("session", [{"dim": 3}], indirect=True)
def test_a_lasso_is_kept_though_the_disk_is_closed_meanwhile(qtbot, viewer, desk, session, disk):
    drag(disk, *map(disk.scene.position_of, [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
         modifiers=CONTROL)  # fmt: skip
    assert desk.runner.title == "lasso"
    viewer.window.remove_dock_widget(disk)
    qtbot.wait(20)
    qtbot.waitUntil(lambda: not desk.runner.title)
    (row,) = session.classes.table
    assert session.classes.counts[row.number] > 0


@pytest.mark.parametrize(("session", "words"), [({}, "· clicks"), ({"dim": 3}, "· the drawing, c")],
                         indirect=["session"])  # fmt: skip
def test_the_disk_says_when_it_looks_at_a_sample(disk, session, words, monkeypatch):
    assert "sample" not in disk.key.text()
    monkeypatch.setattr("napari_hypseg.figures.cloud._MOST", 100)
    session.take(replace(session.proposals, latents=replace(session.proposals.latents)))
    count = len(session.proposals.cloud.points)
    assert count <= 100
    assert words in disk.key.text()
    assert f"licks and hovering: a sample of {count} voxels" in disk.key.text()
    session.selection.pick_point(*[0.1] * session.proposals.latents.dim)
    assert "about 336 voxels within" in disk.picked.text.text()
