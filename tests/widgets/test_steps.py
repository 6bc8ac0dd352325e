"""The steps of the dock: models are versions, maps lose nothing, each says how it stands."""

from __future__ import annotations

import gc
import importlib
import time
import weakref

import numpy as np
import pytest

from .conftest import ball, need_gui

need_gui()

from qtpy.QtCore import QPoint, QPointF, Qt  # noqa: E402
from qtpy.QtGui import QWheelEvent  # noqa: E402
from qtpy.QtWidgets import QApplication, QFileDialog, QScrollArea, QToolButton  # noqa: E402

from napari_hypseg.classes import Source  # noqa: E402
from napari_hypseg.model import load_model  # noqa: E402
from napari_hypseg.session import Session  # noqa: E402
from napari_hypseg.volumes import Volume  # noqa: E402
from napari_hypseg.widgets.map_step import pace_job  # noqa: E402


@pytest.fixture
def dock(viewer, open_dock, tmp_path):
    viewer.add_image(ball(), name="a", scale=(10,) * 3, units=["angstrom"] * 3)
    return open_dock(tmp_path / "o")


@pytest.fixture
def session(dock):
    return dock.desk.session


def begin_long_training(dock, qtbot, press):
    dock.model.form["steps"].value = 100_000
    press(dock, dock.model.train, waits=False)
    qtbot.waitUntil(lambda: bool(dock.model.loss._points))


def stop(dock, qtbot):
    qtbot.mouseClick(dock.progress.stop, Qt.MouseButton.LeftButton)
    dock.idle()


def keep_something(session):
    session.classes.add(ball() > 1, name="mine", source=Source("brush"))
    return session.classes.labels.copy()


def wheel(widget):
    place = QPointF(widget.rect().center())
    event = QWheelEvent(
        place, widget.mapToGlobal(place), QPoint(0, -120), QPoint(0, -120),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase,
        False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


# -- the model


def test_each_training_makes_the_next_version(dock, session, press):
    press(dock, dock.model.train)
    assert session.model.number == 1
    first = session.versions.path(1).read_bytes()
    press(dock, dock.map.preview)
    labels = session.proposals.labels(3)
    dock.model.form["seed"].value = 1
    press(dock, dock.model.train)
    assert session.model.number == 2
    assert session.versions.path(1).read_bytes() == first
    # What is on show is of the model that made it, and says so.
    assert session.proposals.model == 1
    np.testing.assert_array_equal(session.proposals.labels(3), labels)
    assert "on show is model 1" in dock.model.status.text()
    # Any version can be taken again.
    assert [dock.model.versions.itemText(i) for i in range(2)] == ["Model 1", "Model 2"]
    dock.model.versions.setCurrentIndex(0)
    dock.model.versions.activated.emit(0)
    assert session.model.number == 1
    assert "on show" not in dock.model.status.text()


def test_continue_adds_steps_to_a_finished_model(dock, session, press):
    press(dock, dock.model.train)
    dock.model.form["steps"].value = 3
    press(dock, dock.model.more)
    assert session.model.number == 2
    first = load_model(session.versions.path(1))
    assert session.model.model.training["start"] == first.fingerprint()
    assert session.model.model.training["settings"]["steps"] == 3


def test_the_same_training_again_gives_the_model_there_is(dock, session, press):
    press(dock, dock.model.train)
    press(dock, dock.model.train)
    assert session.versions.numbers == [1]
    assert "Model 1 was trained so already" in dock.progress.text.text()


def test_stop_leaves_the_good_model_and_offers_resume(dock, session, press, qtbot, tmp_path):
    press(dock, dock.model.train)
    first = session.versions.path(1).read_bytes()
    begin_long_training(dock, qtbot, press)
    assert not dock.model.train.isEnabled()
    assert "training" in dock.model.train.toolTip()
    stop(dock, qtbot)
    assert "stopped" in dock.progress.text.text()
    assert session.model.number == 1
    assert session.versions.path(1).read_bytes() == first
    assert dock.map.preview.isEnabled()
    assert dock.model.resume.isVisibleTo(dock.model.body)
    # After a restart, too.
    again = Session.open(tmp_path / "o", session.volume)
    assert again.stopped.steps == 100_000
    dock.desk.show(again, dock.desk.layer)
    assert dock.model.form["steps"].value == 100_000
    press(dock, dock.model.resume, waits=False)
    qtbot.waitUntil(lambda: bool(dock.model.loss._points))
    stop(dock, qtbot)
    assert again.model.number == 1


def test_mapping_keeps_the_first_training_that_was_stopped(dock, session, press, qtbot):
    begin_long_training(dock, qtbot, press)
    stop(dock, qtbot)
    checkpoint = session.versions.checkpoint(1).read_bytes()
    # There is no model yet: the general one is taken.
    press(dock, dock.map.preview)
    assert session.proposals is not None
    assert session.stopped.steps == 100_000
    assert session.versions.checkpoint(1).read_bytes() == checkpoint
    general = session.model.model.fingerprint()
    press(dock, dock.model.use_stopped)
    assert session.versions.numbers == [1, 2]
    assert session.versions.load(2).fingerprint() == general
    assert session.model.number == 1


def test_a_stopped_training_is_used_as_it_is(dock, session, press, qtbot):
    begin_long_training(dock, qtbot, press)
    stop(dock, qtbot)
    assert session.model is None
    assert "resume it, or use it as it is" in dock.model.status.text()
    press(dock, dock.model.use_stopped)
    assert session.model.number == 1
    assert session.model.model.training["stopped"] > 0
    assert session.stopped is None
    assert not dock.model.resume.isVisibleTo(dock.model.body)
    assert "stopped before its end" in dock.model.status.text()


def test_another_training_asks_before_it_gives_up_the_stopped_one(
    dock, session, press, qtbot, asked
):
    begin_long_training(dock, qtbot, press)
    stop(dock, qtbot)
    dock.model.form["steps"].value = 2
    asked.answer = False
    press(dock, dock.model.train)
    assert len(asked) == 1
    assert session.stopped is not None
    asked.answer = True
    press(dock, dock.model.train)
    assert session.stopped is None
    assert session.model is not None


def test_a_model_is_saved_and_loaded(dock, session, press, monkeypatch, tmp_path):
    press(dock, dock.model.train)
    model = session.model.model
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "kept.v2"), ""))
    press(dock, dock.model.save_file)
    assert "hypseg" in dock.progress.text.text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "kept"), ""))
    press(dock, dock.model.save_file)
    kept = tmp_path / "kept.hypseg"
    assert load_model(kept).fingerprint() == model.fingerprint()
    dock.model.form["seed"].value = 5
    press(dock, dock.model.train)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(kept), ""))
    press(dock, dock.model.load_file)
    assert session.model.number == 1
    kept.write_bytes(b"nothing of the kind")
    press(dock, dock.model.load_file)
    assert "kept.hypseg: this is not a napari-hypseg model file" in dock.progress.text.text()
    assert not dock.progress.details.isHidden()
    assert session.model.number == 1


def test_several_layers_train_one_model(viewer, dock, session, press):
    other = viewer.add_image(ball(seed=1), name="other")
    dock.idle()
    assert dock.model.form["also"].choices == (other,)
    dock.model.form["also"].value = [other]
    press(dock, dock.model.train)
    assert [v["name"] for v in session.model.model.training["volumes"]] == ["a", "other"]


def test_cancelling_in_the_window_of_activities_stops(dock, session, press, qtbot):
    from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar

    dock.model.form["steps"].value = 100_000
    press(dock, dock.model.train, waits=False)
    window = dock.window()
    qtbot.waitUntil(lambda: bool(window.findChildren(QtLabeledProgressBar)))
    (bar,) = window.findChildren(QtLabeledProgressBar)
    assert "training" in bar.description_label.text()
    qtbot.waitUntil(lambda: bool(dock.model.loss._points))
    qtbot.mouseClick(bar.cancel_button, Qt.MouseButton.LeftButton)
    dock.idle()
    assert session.stopped is not None


# -- the map


def test_no_button_of_the_map_loses_anything(viewer, dock, session, press, asked):
    press(dock, dock.model.train)
    press(dock, dock.map.all)
    assert "All voxels of the volume are mapped with model 1" in dock.map.status.text()
    mine = keep_something(session)
    for pushed in (dock.map.preview, dock.map.slice, dock.map.all, dock.model.train):
        press(dock, pushed)
        np.testing.assert_array_equal(session.classes.labels, mine)
        assert [row.name for row in session.classes.table] == ["mine"]
    dock.model.form["seed"].value = 3
    press(dock, dock.model.train)
    press(dock, dock.map.preview)
    assert session.proposals.model == 2
    np.testing.assert_array_equal(session.classes.labels, mine)
    assert asked == []


def test_a_box_restricts_the_map_alone(dock, session, press):
    press(dock, dock.model.train)
    dock.volume.form["box"].value = "2:10,:,4:"
    dock.volume.form["box"].native.editingFinished.emit()
    assert dock.desk.session is session
    assert "only 2:10,0:24,4:24 is mapped" in dock.volume.status.text()
    press(dock, dock.map.all)
    assert session.proposals.latents.shape == (8, 24, 20)
    assert "All voxels of the box are mapped" in dock.map.status.text()
    assert session.versions.numbers == [1]
    # To train on it alone is said, and made, where a person would look for it.
    assert "a session" in dock.volume.cut.toolTip()
    assert "another folder" in dock.volume.draw_box.toolTip()
    before = session.folder
    press(dock, dock.volume.cut)
    assert dock.desk.session.volume.shape == (8, 24, 20)
    assert dock.desk.session.volume.origin == (20, 0, 40)
    assert dock.desk.session.folder != before
    assert dock.desk.box is None


def test_stop_while_mapping_keeps_what_is_mapped(dock, session, press, qtbot, monkeypatch):
    embed = importlib.import_module("napari_hypseg.latents.embed")
    press(dock, dock.model.train)
    press(dock, dock.map.preview)
    encode = embed.encode

    def slow(*arguments):
        time.sleep(0.2)
        return encode(*arguments)

    monkeypatch.setattr(embed, "encode", slow)
    press(dock, dock.map.all, waits=False)
    qtbot.waitUntil(lambda: " of " in dock.progress.text.text())
    stop(dock, qtbot)
    assert "mapping voxels: stopped" in dock.progress.text.text()
    assert session.proposals is not None
    assert dock.map.all.isEnabled()


def test_what_takes_long_is_asked_first(dock, session, press, asked, monkeypatch):
    step = importlib.import_module("napari_hypseg.widgets.map_step")
    monkeypatch.setattr(step, "_FEW", 100)
    monkeypatch.setattr(step, "_LONG", 1e-9)
    press(dock, dock.model.train)
    asked.answer = False
    press(dock, dock.map.all)
    assert len(asked) == 1
    assert "9,216 points" in asked[0]
    assert session.proposals is None
    asked.answer = True
    press(dock, dock.map.all)
    assert session.proposals.stride == 1


def test_the_estimate_is_right_within_a_factor_of_two(tmp_path):
    session = Session(Volume(ball((40, 50, 50)), (10.0,) * 3, name="a"), tmp_path / "o")
    session.train(steps=2, device="cpu")
    from napari_hypseg.jobs import finish

    pace = finish(pace_job(session, "cpu"))
    session.map(device="cpu", stride=2)
    began = time.monotonic()
    session.map(device="cpu")
    took = time.monotonic() - began
    assert took / 2 < pace * 100_000 < took * 2


# -- the dock


def test_each_step_says_what_it_waits_for(viewer, open_dock):
    dock = open_dock()
    assert "Open a tomogram" in dock.volume.status.text()
    assert "step 1" in dock.model.status.text()
    assert not dock.model.train.isEnabled()
    assert "step 1" in dock.model.train.toolTip()
    viewer.add_image(np.zeros((20, 20, 20), np.float32), name="empty")
    dock.idle()
    assert dock.model.train.isEnabled()
    assert "step 1" not in dock.model.train.toolTip()
    assert "unknown" in dock.volume.status.text()
    # The general model is there.
    assert dock.map.all.isEnabled()


def test_done_steps_fold_and_open_by_a_click(dock, press, qtbot):
    assert [step.is_open for step in dock.steps[:3]] == [False, False, True]
    assert "16 × 24 × 24" in dock.volume.head.text()
    press(dock, dock.model.train)
    assert [step.is_open for step in dock.steps[:3]] == [False, False, True]
    qtbot.mouseClick(dock.model.head, Qt.MouseButton.LeftButton)
    assert dock.model.is_open
    # As long as nothing else has become of it.
    press(dock, dock.map.preview)
    assert dock.model.is_open


def test_keys_press_buttons_that_are_folded_away(dock, press):
    press(dock, dock.model.train)
    assert not dock.model.is_open
    assert "Ctrl+Shift+L" in dock.model.train.toolTip()


def test_the_wheel_scrolls_and_changes_nothing(dock, qtbot):
    for step in dock.steps:
        step.open()
    for fold in dock.findChildren(QToolButton):
        if fold.text() == "Options":
            fold.click()
    window = dock.window()
    window.resize(1280, 500)
    with qtbot.waitExposed(window):
        window.show()
    scroll = dock.findChildren(QScrollArea)[0]
    bar = scroll.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 200)
    form = dock.model.form
    fields = [form["seed"].native, form["preset"].native, form["steps"].native, dock.volume.layer,
              dock.volume.form["voxel_size"].native]  # fmt: skip
    for field in fields:
        bar.setValue(0)
        before = dock.model.settings(), dock.volume.layer.currentIndex()
        wheel(field)
        assert (dock.model.settings(), dock.volume.layer.currentIndex()) == before
        assert not field.hasFocus()
        assert bar.value() > 0


def test_a_job_goes_on_while_the_dock_is_closed(viewer, dock, session, press, qtbot, open_dock):
    begin_long_training(dock, qtbot, press)
    listeners = [len(s) for s in (dock.desk.session_changed, dock.desk.proposals_changed)]
    viewer.window.remove_dock_widget(dock)
    assert dock.desk.runner.title == "training"
    assert listeners > [len(s) for s in (dock.desk.session_changed, dock.desk.proposals_changed)]
    _, again = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    assert again is not dock
    assert again.desk is dock.desk
    assert again.progress.stop.isVisibleTo(again)
    assert "Training" in again.model.status.text()
    qtbot.waitUntil(lambda: bool(again.model.loss._points))
    again.idle = dock.idle
    qtbot.mouseClick(again.progress.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not again.desk.runner.title)
    assert session.stopped is not None
    assert again.model.resume.isVisibleTo(again.model.body)


@pytest.mark.parametrize("stops", [True, False])
def test_removing_the_layer_in_training_asks(viewer, dock, session, press, qtbot, asked, stops):
    begin_long_training(dock, qtbot, press)
    asked.answer = stops
    viewer.layers.clear()
    qtbot.waitUntil(lambda: bool(asked))
    assert "training goes on" in asked[0]
    if stops:
        dock.idle()
        assert dock.desk.session is None
        assert "go on with it" in dock.progress.text.text()
        # Nothing is lost: the volume opened again, it is resumed.
        viewer.add_image(ball(), name="a")
        dock.idle()
        dock.volume.form["folder"].value = str(session.folder)
        dock.volume.form["folder"].native.editingFinished.emit()
        dock.idle()
        assert dock.desk.session.stopped is not None
    else:
        assert dock.desk.session is session
        assert dock.desk.runner.title == "training"
        assert "its layer was removed" in dock.volume.status.text()
        stop(dock, qtbot)
        assert dock.desk.session is session


def test_choosing_another_volume_in_training_asks(viewer, dock, session, press, qtbot, asked):
    viewer.add_image(ball(seed=2), name="b")
    dock.idle()
    begin_long_training(dock, qtbot, press)
    asked.answer = False
    dock.volume.layer.setCurrentIndex(1)
    dock.volume.layer.activated.emit(1)
    assert len(asked) == 1
    assert dock.desk.session is session
    assert dock.volume.layer.currentText() == "a"
    asked.answer = True
    dock.volume.layer.setCurrentIndex(1)
    dock.volume.layer.activated.emit(1)
    dock.idle()
    assert dock.desk.session.volume.name == "b"
    assert Session.open(session.folder, session.volume).stopped is not None


def test_what_a_folder_holds_is_shown_again(dock, session, press, viewer):
    press(dock, dock.model.train)
    press(dock, dock.map.all)
    mine, labels = keep_something(session), session.proposals.labels(5)
    folder, before = session.folder, weakref.ref(session)
    layer = dock.desk.layer

    def go(name):
        dock.volume.form["folder"].value = name
        dock.volume.form["folder"].native.editingFinished.emit()
        dock.idle()

    go(f"{folder}_other")
    assert dock.desk.session.folder != folder
    assert dock.desk.session.model is None
    go(str(folder))
    assert dock.desk.layer is layer
    assert dock.desk.session is not before()
    np.testing.assert_array_equal(dock.desk.session.proposals.labels(5), labels)
    np.testing.assert_array_equal(dock.desk.session.classes.labels, mine)
    assert "All voxels of the volume are mapped" in dock.map.status.text()


def test_a_session_that_is_put_away_is_freed(viewer, open_dock, tmp_path):
    viewer.add_image(ball(), name="a")
    dock = open_dock(tmp_path / "o")
    before = weakref.ref(dock.desk.session)
    dock.volume.form["folder"].value = str(tmp_path / "p")
    dock.volume.form["folder"].native.editingFinished.emit()
    dock.idle()
    gc.collect()
    assert before() is None


def test_a_damaged_file_is_told_in_the_dock(dock, tmp_path):
    path = tmp_path / "cut.mrc"
    path.write_bytes(b"short")
    dock.volume.open_path(str(path))
    assert "cut.mrc" in dock.progress.text.text()


def test_messages_name_no_flags(dock, session, press):
    press(dock, dock.model.train)
    texts = [step.status.text() for step in dock.steps]
    texts += [w.toolTip() for w in dock.findChildren(object) if hasattr(w, "toolTip")]
    assert not [text for text in texts if "--" in text]
