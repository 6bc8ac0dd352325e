"""The two docks in a napari window, used as a person does: buttons, slider, clicks."""

from __future__ import annotations

import gc
import importlib
import time
import weakref

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.layers import Labels  # noqa: E402
from qtpy.QtCore import Qt  # noqa: E402
from qtpy.QtWidgets import QApplication, QMainWindow  # noqa: E402

from napari_hypseg.figures import Tally, cloud_job, node_colours  # noqa: E402
from napari_hypseg.jobs import Progress, finish  # noqa: E402
from napari_hypseg.latents import open_latents  # noqa: E402
from napari_hypseg.samples import make_toy  # noqa: E402
from napari_hypseg.volumes import read_volume  # noqa: E402
from napari_hypseg.widgets.layers import layer_of  # noqa: E402
from napari_hypseg.widgets.runner import JobRunner  # noqa: E402
from napari_hypseg.widgets.state import Result  # noqa: E402

SIZE, ORIGIN = (10.0, 8.0, 9.0), (50.0, -40.0, 30.0)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    yield viewer
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)


@pytest.fixture
def dock(viewer, qtbot):
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    idle(qtbot, dock)
    return dock


def idle(qtbot, dock):
    ready = lambda: dock.model.is_ready and not dock.runner.title  # noqa: E731
    qtbot.waitUntil(ready)


def click(qtbot, button):
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def fill(dock, field, text):
    dock.volume.form[field].value = text
    dock.volume.form[field].native.editingFinished.emit()


@pytest.fixture
def toy(viewer, dock, tmp_path):
    """A small volume, opened, its results going to a folder of the test."""
    volume = make_toy("regular").volume.crop((slice(10, 34),) * 3)
    data, keywords, _ = layer_of(volume)
    keywords |= {"scale": SIZE, "translate": ORIGIN}
    layer = viewer.add_image(data, **keywords)
    fill(dock, "folder", str(tmp_path / "result"))
    dock.model.form["steps"].value = 3
    return layer


@pytest.fixture
def result(latents_and_tree):
    latents, clustering = latents_and_tree
    cloud, colours = finish(cloud_job(latents)), node_colours(clustering.tree)
    return Result(latents, clustering, cloud, colours, Tally(clustering, cloud), 0.0, 1, 1.0)


@pytest.fixture
def latents_and_tree():
    from napari_hypseg.clustering import cluster

    attributes = {
        "voxel_size": SIZE, "origin": ORIGIN, "name": "lump",
        "geometry": "hyperbolic", "curvature": 1.0,
    }  # fmt: skip
    latents = open_latents(None, (6, 7, 8, 2), attributes)
    points = np.random.default_rng(0).normal(size=(6, 7, 8, 2)) * 0.1
    points[:, :, 4:] += 0.4
    latents.array[:] = points.astype(np.float32)
    return latents, cluster(latents, tree="disk", smoothing=0.0)


# -- the four steps


def test_from_a_tomogram_to_saved_labels(qtbot, viewer, dock, toy, tmp_path):
    click(qtbot, dock.model.train)
    idle(qtbot, dock)
    assert dock.state.session.model is not None, dock.progress.text.text()

    click(qtbot, dock.map.preview)
    idle(qtbot, dock)
    (preview,) = (layer for layer in viewer.layers if isinstance(layer, Labels))
    assert preview.data.shape == (6, 6, 6)
    np.testing.assert_allclose(preview.scale, 4 * np.array(SIZE))
    assert "Preview" in dock.map.status.text()

    click(qtbot, dock.map.all)
    idle(qtbot, dock)
    (labels,) = (layer for layer in viewer.layers if isinstance(layer, Labels))
    assert labels.data.shape == toy.data.shape
    np.testing.assert_allclose(labels.scale, SIZE)
    np.testing.assert_allclose(labels.translate, ORIGIN)

    dock.granularity.slider.setValue(4)
    qtbot.waitSignal(dock.granularity.rest.timeout).wait()
    assert np.unique(labels.data).tolist() == [1, 2, 3, 4]
    assert dock.granularity.table.rowCount() == 4

    dock.exports.save_labels(tmp_path / "out.mrc")
    idle(qtbot, dock)
    saved = read_volume(tmp_path / "out.mrc")
    np.testing.assert_array_equal(saved.read(), labels.data)
    np.testing.assert_allclose(saved.voxel_size, SIZE)
    np.testing.assert_allclose(saved.origin, ORIGIN)


def test_a_slice_can_be_looked_at_first(qtbot, viewer, dock, toy):
    click(qtbot, dock.model.train)
    idle(qtbot, dock)
    assert "of disk" in dock.map.status.text()
    viewer.dims.set_current_step(0, 7)
    click(qtbot, dock.map.slice)
    idle(qtbot, dock)
    assert dock.state.result.latents.shape == (1, 24, 24)
    assert dock.state.result.latents.origin == (50.0 + 7 * 10.0, -40.0, 30.0)
    assert "one slice" in dock.map.status.text()
    assert dock.state.session.latents is None


def test_coarse_labels_come_while_all_voxels_are_mapped(qtbot, dock, toy, monkeypatch):
    # The room has a function of this name too.
    monkeypatch.setattr(importlib.import_module("napari_hypseg.latents.embed"), "_FEWEST", 1)
    click(qtbot, dock.model.train)
    idle(qtbot, dock)
    shown = []

    def note():
        if dock.state.result is not None:
            shown.append((dock.state.result.stride, dock.progress.stop.isVisibleTo(dock)))

    dock.state.result_changed.connect(note)
    click(qtbot, dock.map.preview)
    idle(qtbot, dock)
    click(qtbot, dock.map.all)
    idle(qtbot, dock)
    # Nothing coarser than what is on show already; what still runs can be stopped.
    assert shown == [(4, False), (2, True), (1, False)]
    assert dock.map.is_whole
    assert "All voxels are mapped" in dock.map.status.text()


def test_what_a_folder_holds_is_shown_again(qtbot, viewer, dock, toy):
    click(qtbot, dock.model.train)
    idle(qtbot, dock)
    click(qtbot, dock.map.all)
    idle(qtbot, dock)
    labels = dock.state.result.clustering.labels(5)
    folder, before = dock.volume.form["folder"].value, weakref.ref(dock.state.session)
    fill(dock, "folder", folder + "_other")
    assert dock.state.session is None
    gc.collect()
    # Nor does anything else keep it, with all that it has in memory.
    assert before() is None
    fill(dock, "folder", folder)
    qtbot.waitUntil(lambda: dock.state.result is not None)
    idle(qtbot, dock)
    np.testing.assert_array_equal(dock.state.result.clustering.labels(5), labels)
    assert "All voxels are mapped" in dock.map.status.text()
    # The session of the whole volume is none of a part of it: that begins anew, without a word.
    fill(dock, "box", "2:20,:,4:")
    idle(qtbot, dock)
    assert dock.state.session is None
    assert dock.progress.text.text() == ""


def test_stop_while_mapping_keeps_what_is_mapped(qtbot, dock, toy, monkeypatch):
    embed = importlib.import_module("napari_hypseg.latents.embed")
    click(qtbot, dock.model.train)
    idle(qtbot, dock)
    compiled = embed.compile_encoder

    def slow(*arguments):
        encode = compiled(*arguments)
        return lambda block: (time.sleep(0.2), encode(block))[1]

    monkeypatch.setattr(embed, "compile_encoder", slow)
    click(qtbot, dock.map.all)
    qtbot.waitUntil(lambda: " of " in dock.progress.text.text())
    qtbot.mouseClick(dock.progress.stop, Qt.MouseButton.LeftButton)
    idle(qtbot, dock)
    assert "mapping voxels: stopped" in dock.progress.text.text()
    assert dock.map.all.isEnabled()


def test_each_step_says_what_it_waits_for(dock, viewer, tmp_path):
    assert "Open a tomogram" in dock.volume.status.text()
    assert "step 1" in dock.model.status.text()
    assert not dock.model.train.isEnabled()
    assert "step 1" in dock.model.train.toolTip()
    viewer.add_image(np.zeros((20, 20, 20), np.float32), name="empty")
    assert dock.model.train.isEnabled()
    assert "step 1" not in dock.model.train.toolTip()
    assert "unknown" in dock.volume.status.text()
    assert not dock.map.all.isEnabled()
    assert "step 2" in dock.map.all.toolTip()


def test_layers_that_are_no_volume_are_not_offered(dock, viewer):
    viewer.add_image(np.zeros((20, 20), np.float32), name="flat")
    viewer.add_labels(np.ones((20, 20, 20), np.uint8), name="labels")
    assert dock.volume.layer.count() == 0


# -- stop, failure, removal


def test_stop_keeps_the_model_so_far_and_resume_goes_on(qtbot, dock, toy):
    dock.model.form["steps"].value = 100_000
    click(qtbot, dock.model.train)
    qtbot.waitUntil(lambda: bool(dock.model.loss._points))
    qtbot.waitUntil(lambda: not dock.model.glimpses.isHidden())
    assert not dock.model.train.isEnabled()
    assert "training" in dock.model.train.toolTip()
    qtbot.mouseClick(dock.progress.stop, Qt.MouseButton.LeftButton)
    idle(qtbot, dock)
    assert "stopped" in dock.progress.text.text()
    done = dock.state.session.model.training["stopped"]
    assert done > 0
    assert dock.map.preview.isEnabled()
    assert "Resume" in dock.model.status.text()
    assert dock.model.train.text() == "Resume"

    points = len(dock.model.loss._points)
    click(qtbot, dock.model.train)
    qtbot.waitUntil(lambda: len(dock.model.loss._points) > points)
    qtbot.mouseClick(dock.progress.stop, Qt.MouseButton.LeftButton)
    idle(qtbot, dock)
    assert dock.state.session.model.training["stopped"] > done
    dock.model.form["seed"].value = 1
    assert dock.model.train.text() == "Train"


def test_only_a_training_on_the_same_volumes_is_resumed(qtbot, viewer, dock, toy):
    viewer.add_image(toy.data[:20], name="other")
    viewer.add_image(toy.data[2:], name="third")
    dock.volume.layer.setCurrentIndex(0)
    dock.volume.layer.activated.emit(0)
    others = dock.volume.others()
    also = dock.model.form["also"]
    dock.model.form["steps"].value = 100_000
    also.value = others[:1]
    click(qtbot, dock.model.train)
    qtbot.waitUntil(lambda: bool(dock.model.loss._points))
    qtbot.mouseClick(dock.progress.stop, Qt.MouseButton.LeftButton)
    idle(qtbot, dock)
    assert dock.model.train.text() == "Resume"
    for volumes, text in (
        ([], "Train"), (others[1:], "Train"), (others, "Train"), (others[:1], "Resume")
    ):  # fmt: skip
        also.value = volumes
        assert dock.model.train.text() == text


def test_cancelling_in_the_window_of_activities_stops(qtbot, viewer, dock, toy):
    from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar

    dock.model.form["steps"].value = 100_000
    click(qtbot, dock.model.train)
    window = dock.window()
    qtbot.waitUntil(lambda: bool(window.findChildren(QtLabeledProgressBar)))
    (bar,) = window.findChildren(QtLabeledProgressBar)
    assert "training" in bar.description_label.text()
    qtbot.waitUntil(lambda: bool(dock.model.loss._points))
    qtbot.mouseClick(bar.cancel_button, Qt.MouseButton.LeftButton)
    idle(qtbot, dock)
    assert dock.state.session.model.training["stopped"] > 0


def test_several_layers_train_one_model_that_can_be_saved(qtbot, viewer, dock, toy, tmp_path):
    from napari_hypseg.model import load_model

    assert dock.model.form["also"].choices == ()
    other = viewer.add_image(toy.data[:, ::-1].copy(), name="other")
    dock.volume.layer.setCurrentIndex(0)
    dock.volume.layer.activated.emit(0)
    assert dock.model.form["also"].choices == (other,)
    dock.model.form["also"].value = [other]
    click(qtbot, dock.model.train)
    idle(qtbot, dock)
    model = dock.state.session.model
    assert [v["name"] for v in model.training["volumes"]] == [toy.name, "other"]
    dock.model.save(tmp_path / "kept.hypseg")
    idle(qtbot, dock)
    assert load_model(tmp_path / "kept.hypseg").fingerprint() == model.fingerprint()


def test_a_failure_is_one_sentence_with_details(qtbot, dock, toy, tmp_path):
    path = tmp_path / "bad.hypseg"
    path.write_bytes(b"nothing of the kind")
    dock.model.load(path)
    idle(qtbot, dock)
    assert "bad.hypseg: this is not a napari-hypseg model file" in dock.progress.text.text()
    assert not dock.progress.details.isHidden()
    assert dock.model.train.isEnabled()


def test_removing_the_layer_drops_what_is_under_way(qtbot, viewer, dock, toy):
    dock.model.form["steps"].value = 100_000
    click(qtbot, dock.model.train)
    viewer.layers.remove(toy)
    idle(qtbot, dock)
    assert dock.state.session is None
    assert "Open a tomogram" in dock.volume.status.text()


def test_closing_the_dock_stops_its_job(qtbot, viewer, dock, toy):
    from superqt.utils import WorkerBase

    dock.model.form["steps"].value = 100_000
    click(qtbot, dock.model.train)
    listeners = len(viewer.layers.events.inserted.callbacks)
    viewer.window.remove_dock_widget(dock)
    assert len(viewer.layers.events.inserted.callbacks) == listeners - 1
    qtbot.waitUntil(lambda: not WorkerBase._worker_set)
    _, again = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    idle(qtbot, again)
    assert again is not dock
    assert again.model.train.isEnabled()


def test_closing_the_disk_leaves_the_rest(qtbot, viewer, shown):
    callbacks = list(viewer.mouse_drag_callbacks)
    _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    assert len(viewer.mouse_drag_callbacks) == len(callbacks) + 1
    viewer.window.remove_dock_widget(disk)
    assert viewer.mouse_drag_callbacks == callbacks
    shown.state.selection.pick_point(0.1, 0.1)
    shown.granularity.slider.setValue(7)
    assert shown.state.k == 7


def test_a_part_of_the_volume(qtbot, dock, toy):
    fill(dock, "box", "2:20,:,4:")
    assert "18 × 24 × 20 voxels" in dock.volume.status.text()
    click(qtbot, dock.model.train)
    idle(qtbot, dock)
    click(qtbot, dock.map.preview)
    idle(qtbot, dock)
    assert dock.state.result.latents.shape == (5, 6, 5)
    assert dock.state.result.latents.origin == (50.0 + 2 * 10.0, -40.0, 30.0 + 4 * 9.0)
    fill(dock, "box", "")
    assert dock.state.result is None
    assert "step 2" in dock.map.status.text()
    fill(dock, "box", "2:99,:,:")
    assert "doesn't lie in the volume" in dock.volume.status.text()
    assert not dock.model.train.isEnabled()


def test_a_damaged_file_is_told_in_the_dock(dock, tmp_path):
    path = tmp_path / "cut.mrc"
    path.write_bytes(b"short")
    dock.volume.open(str(path))
    assert "cut.mrc" in dock.progress.text.text()


# -- the runner


def steps(n, seconds=0.01, error=None):
    for i in range(n):
        time.sleep(seconds)
        yield Progress("counting", i, n)
    if error is not None:
        raise error
    return n


def test_results_come_on_the_main_thread_and_in_order(qtbot):
    import threading

    runner, got = JobRunner(), []
    runner.start("counting", steps(3), lambda n: got.append((n, threading.current_thread())))
    with pytest.raises(RuntimeError, match="counting is still running"):
        runner.start("more", steps(3), got.append)
    qtbot.waitUntil(lambda: not runner.title)
    assert got == [(3, threading.main_thread())]


def test_a_flood_of_reports_drowns_nothing(qtbot, viewer):
    """napari handles waiting events while it moves its bar: reports must not pile up there."""

    def flood():
        for i in range(20_000):
            yield Progress("counting", i, 20_000)
        return "done"

    runner, got, told = JobRunner(), [], []
    runner.progressed.connect(lambda progress, _: told.append(progress.done))
    runner.start("counting", flood(), got.append)
    qtbot.waitUntil(lambda: not runner.title)
    assert got == ["done"]
    assert told == sorted(told)
    assert len(told) < 1000


@pytest.mark.parametrize("error", [ValueError("too\nsmall"), RuntimeError("too small")])
def test_an_error_becomes_a_sentence(qtbot, error):
    runner, got, failures = JobRunner(), [], []
    runner.failed.connect(lambda sentence, details: failures.append((sentence, details)))
    runner.start("counting", steps(1, error=error), got.append)
    qtbot.waitUntil(lambda: not runner.title)
    assert got == []
    assert failures[0][0] == "too small"
    assert "Traceback" in failures[0][1]


def test_a_superseded_job_gives_nothing(qtbot):
    runner, got = JobRunner(), []
    runner.stopped.connect(got.append)
    runner.progressed.connect(lambda *_: got.append("progress") if runner.stopping else None)
    runner.start("counting", steps(20), got.append)
    runner.supersede()
    qtbot.waitUntil(lambda: not runner.title)
    assert got == []


# -- slider, table, disk


@pytest.fixture
def shown(dock, result):
    dock.state.show(result)
    return dock


def test_the_slider_recolours_and_then_relabels(qtbot, viewer, shown, result):
    (layer,) = (layer for layer in viewer.layers if isinstance(layer, Labels))
    shown.granularity.slider.setValue(9)
    assert layer.data.max() == result.clustering.leaves.max() + 1
    lookup = result.clustering.tree.lookup(9)
    for leaf in range(len(lookup)):
        expected = np.append(result.colours[result.clustering.tree.nodes(9)[lookup[leaf] - 1]], 1)
        np.testing.assert_allclose(layer.get_color(leaf + 1), expected, atol=1e-6)
    qtbot.waitSignal(shown.granularity.rest.timeout).wait()
    np.testing.assert_array_equal(layer.data, result.clustering.labels(9))
    node = result.clustering.tree.nodes(9)[8]
    np.testing.assert_allclose(layer.get_color(9)[:3], result.colours[node], atol=1e-6)


def test_a_name_stays_with_its_branch(shown, result):
    state, table = shown.state, shown.granularity.table
    state.choose(5)
    table.item(4, 1).setText("membrane")
    node = state.partition.nodes[4]
    assert state.partition.name(node) == "membrane"
    for k in range(2, result.most + 1):
        state.choose(k)
        named = [c.key for c in state.partition.classes if c.name == "membrane"]
        assert named == [n for n in state.partition.nodes if n == node]


def test_docks_from_the_menu_and_from_a_button_are_the_same(viewer):
    def trigger(title):
        (window,) = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow))
        plugins = next(a for a in window.menuBar().actions() if a.text() == "&Plugins").menu()
        ours = next(a for a in plugins.actions() if a.text() == "Hyperbolic segmentation").menu()
        next(a for a in ours.actions() if a.text().startswith(title)).trigger()

    trigger("Hyperbolic segmentation")
    (dock,) = viewer.window.dock_widgets.values()
    dock.show_disk()
    dock.show_disk()
    assert len(viewer.window.dock_widgets) == 2
    disk = list(viewer.window.dock_widgets.values())[1]
    assert disk.state is dock.state
    # The menu now hides the disk, and opens no second one.
    trigger("Poincaré disk")
    assert len(viewer.window.dock_widgets) == 2


@pytest.mark.parametrize("step", ["training", "mapping voxels"])
def test_closing_napari_in_the_middle_ends_the_job(qtbot, viewer, dock, toy, capsys, step):
    from superqt.utils import WorkerBase

    if step == "training":
        dock.model.form["steps"].value = 5000
        click(qtbot, dock.model.train)
    else:
        click(qtbot, dock.model.train)
        idle(qtbot, dock)
        click(qtbot, dock.map.all)
    runner, seen = dock.runner, []
    runner.progressed.connect(lambda progress, _left: seen.append(progress.stage))
    qtbot.waitUntil(lambda: bool(seen))
    assert runner.title == step
    viewer.close()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set)
    # Exceptions in slots fail the test by themselves (pytest-qt).
    assert "Traceback" not in capsys.readouterr().err
