"""A session's folder opened in napari: everything is as it was left."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.layers import Image, Labels  # noqa: E402

from napari_hypseg.figures import Translation  # noqa: E402
from napari_hypseg.jobs import finish  # noqa: E402
from napari_hypseg.samples import make_toy  # noqa: E402
from napari_hypseg.session import Session, read_session  # noqa: E402
from napari_hypseg.volumes import Volume, read_volume, write_image  # noqa: E402
from napari_hypseg.widgets.files import get_reader  # noqa: E402

SIZE, ORIGIN = (10.0, 8.0, 9.0), (50.0, -40.0, 30.0)


@pytest.fixture
def folder(tmp_path):
    """What a run leaves behind."""
    voxels = make_toy("regular").volume.read()[10:30, 10:34, 12:34]
    write_image(tmp_path / "toy.mrc", voxels, Volume(voxels, SIZE, ORIGIN))
    session = Session(read_volume(tmp_path / "toy.mrc"), tmp_path / "out")
    finish(session.train_job(steps=2, device="cpu", seed=3))
    finish(session.map_job(device="cpu"))
    finish(session.cluster_job(tree="disk", smoothing=0.5))
    return tmp_path / "out"


@pytest.fixture
def opened(make_napari_viewer_proxy, qtbot):
    """A function that drops a folder onto a new napari and gives viewer and dock."""
    from superqt.utils import WorkerBase

    def open_folder(folder):
        viewer = make_napari_viewer_proxy()
        viewer.open(str(folder), plugin="napari-hypseg")
        name = "Hyperbolic segmentation (Hyperbolic segmentation)"
        qtbot.waitUntil(lambda: name in viewer.window.dock_widgets)
        dock = viewer.window.dock_widgets[name]
        settle(qtbot, dock)
        return viewer, dock

    yield open_folder
    WorkerBase.await_workers(10_000)


def settle(qtbot, dock):
    def is_open():
        return dock.model.is_ready and dock.state.result is not None and not dock.runner.title

    qtbot.waitUntil(is_open)


def layer_of_type(viewer, kind):
    (layer,) = (layer for layer in viewer.layers if isinstance(layer, kind))
    return layer


def test_a_folder_opens_as_it_was_left(qtbot, opened, folder):
    viewer, dock = opened(folder)
    assert layer_of_type(viewer, Image).name == "toy"
    assert dock.volume.folder() == folder
    assert dock.granularity.kind.currentData() == "disk"
    assert dock.granularity.form["smoothing"].value == 0.5
    assert dock.model.form["seed"].value == 3
    assert dock.model.form["steps"].value == 2
    assert "cihs" in dock.model.form["preset"].choices
    assert "All voxels are mapped" in dock.map.status.text()

    dock.granularity.slider.setValue(7)
    partition = dock.state.partition
    node = partition.nodes[2]
    dock.state.change(partition.rename(node, "membrane").hide(partition.nodes[0]))
    dock.state.add_own(dock.state.result.clustering.leaves == 3, "spike")
    viewer.dims.set_point(range(3), (ORIGIN[0] + 5 * SIZE[0], 0, 60))
    view = Translation((0.3, -0.2))
    dock.show_disk().scene.translate(view)
    dock.state.settle()
    left = dock.state.partition
    labels = layer_of_type(viewer, Labels)
    before = labels.data.copy(), labels.colormap.colors.copy(), labels.features, viewer.dims.point
    viewer.close()

    viewer, dock = opened(folder)
    assert dock.state.partition.classes == left.classes
    assert dock.granularity.slider.value() == 7
    labels = layer_of_type(viewer, Labels)
    np.testing.assert_array_equal(labels.data, before[0])
    np.testing.assert_array_equal(labels.colormap.colors, before[1])
    assert labels.features.equals(before[2])
    np.testing.assert_allclose(labels.scale, SIZE)
    np.testing.assert_allclose(labels.translate, ORIGIN)
    assert viewer.dims.point == before[3]
    assert dock.show_disk().scene.translation == view
    # Where one looks is kept without anything else being done.
    camera = getattr(viewer, "scene", viewer).camera
    camera.zoom, camera.center = 3.5, (10, 20, 30)
    dock.show_disk().scene.zoom(2.0, (50, 50))
    half = dock.show_disk().scene.half_width
    window = lambda: read_session(folder)["view"]["window"]  # noqa: E731
    qtbot.waitUntil(lambda: window()["camera"]["zoom"] == 3.5)
    viewer.close()

    viewer, dock = opened(folder)
    camera = getattr(viewer, "scene", viewer).camera
    assert (camera.zoom, camera.center) == (3.5, (10, 20, 30))
    assert dock.show_disk().scene.half_width == pytest.approx(half)


def test_the_other_tree_keeps_its_classes(qtbot, opened, folder):
    def cluster(kind):
        dock.granularity.kind.setCurrentIndex(dock.granularity.kind.findData(kind))
        dock.granularity.cluster.click()
        settle(qtbot, dock)
        assert dock.state.result.clustering.kind == kind

    def name(what):
        node = dock.state.partition.nodes[1]
        dock.state.change(dock.state.partition.rename(node, what).hide(node))
        dock.state.settle()

    viewer, dock = opened(folder)
    name("kind")
    mask = dock.state.result.clustering.leaves == 3
    dock.state.add_own(mask, "spike")
    dock.state.settle()
    cluster("volume")
    name("thing")
    viewer.close()

    viewer, dock = opened(folder)
    for kind, named in (("volume", "thing"), ("disk", "kind"), ("volume", "thing")):
        cluster(kind)
        classes = dock.state.partition.classes
        assert [(c.name, c.hidden) for c in classes if " " not in c.name] == [
            (named, True), ("spike", False)
        ]  # fmt: skip
        (own,) = dock.state.partition.own
        np.testing.assert_array_equal(own.mask, mask)
        dock.state.settle()


def test_a_folder_dropped_beside_other_work(qtbot, opened, folder):
    viewer, dock = opened(folder)
    first = dock.state.session
    viewer.add_image(np.zeros((9, 9, 9)), name="other")
    viewer.open(str(folder), plugin="napari-hypseg")
    qtbot.waitUntil(lambda: dock.state.session not in (None, first))
    settle(qtbot, dock)
    assert dock.state.session.clustering.kind == "disk"


def test_a_damaged_folder_is_told(qtbot, make_napari_viewer_proxy, folder):
    (folder / "model.hypseg").write_bytes(b"cut")
    viewer = make_napari_viewer_proxy()
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    viewer.open(str(folder), plugin="napari-hypseg")
    qtbot.waitUntil(lambda: "model.hypseg" in dock.progress.text.text())
    assert layer_of_type(viewer, Image).name == "toy"
    assert dock.model.train.isEnabled()


def test_only_folders_of_ours_are_claimed(folder, tmp_path):
    assert get_reader(str(folder)) is not None
    (tmp_path / "other").mkdir()
    assert get_reader(str(tmp_path / "other")) is None
    assert get_reader([str(folder), str(folder)]) is None
