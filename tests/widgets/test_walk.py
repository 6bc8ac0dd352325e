"""From a file to classes in a file as a person goes: mouse and keys only, all five steps."""

from __future__ import annotations

import time

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.layers import Labels  # noqa: E402
from qtpy.QtCore import Qt, QTimer  # noqa: E402
from qtpy.QtWidgets import QFileDialog, QSlider, QToolButton  # noqa: E402

from napari_hypseg.samples import make_toy  # noqa: E402
from napari_hypseg.volumes import read_volume, write_image  # noqa: E402

# The event loop must never stand still for longer (s): a job on the main thread would. Here other
# programs may run beside; `benchmarks/interface.py` measures how long it really is.
LONGEST_GAP = 5.0


@pytest.fixture
def answer(monkeypatch):
    """Answer the next file dialogs, which are the system's own and can't be clicked."""
    answers = []
    for name in ("getOpenFileName", "getSaveFileName"):
        monkeypatch.setattr(QFileDialog, name, lambda *_, **_options: (str(answers.pop(0)), ""))
    return answers.append


class Gaps(QTimer):
    """Notes how long the event loop stands still."""

    def __init__(self):
        super().__init__()
        self.longest, self._last = 0.0, time.monotonic()
        self.timeout.connect(self._note)
        self.start(5)

    def _note(self):
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now


def test_the_five_steps_by_mouse_and_keys(make_napari_viewer_proxy, qtbot, tmp_path, answer):
    whole = make_toy("regular").volume.crop((slice(8, 36),) * 3)
    path = tmp_path / "cell.mrc"
    write_image(path, whole.read(), whole)
    viewer = make_napari_viewer_proxy()
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    desk = dock.desk

    def idle():
        qtbot.waitUntil(lambda: dock.model.is_ready and not desk.runner.title)

    def press(button):
        assert button.isEnabled(), button.toolTip()
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def type_into(field, text):
        field.setFocus()
        field.selectAll()
        qtbot.keyClicks(field, text)
        qtbot.keyClick(field, Qt.Key.Key_Return)

    idle()
    for fold in dock.findChildren(QToolButton):
        if fold.text() == "Options":
            press(fold)

    # 1: a file, what the network sees of it.
    answer(path)
    press(dock.volume.open_file)
    idle()
    assert "28 × 28 × 28 voxels of 10 Å" in dock.volume.status.text()
    press(dock.volume.look)
    idle()
    assert not dock.volume.contrast.isHidden()
    press(dock.volume.look)
    session = desk.session

    # 2: train, stop, train another one to the end.
    gaps = Gaps()
    type_into(dock.model.form["steps"].native, "400")
    press(dock.model.train)
    qtbot.waitUntil(lambda: bool(dock.model.loss._points))
    press(dock.progress.stop)
    idle()
    press(dock.model.use_stopped)
    assert session.model.model.training["stopped"] < 400
    type_into(dock.model.form["steps"].native, "20")
    press(dock.model.train)
    idle()
    assert "Model 2: default, 20 steps" in dock.model.status.text()
    answer(tmp_path / "kept.hypseg")
    press(dock.model.save_file)
    idle()

    # 3: a slice, a preview, all of a part.
    press(dock.map.slice)
    idle()
    assert "One slice" in dock.map.status.text()
    press(dock.map.preview)
    press(dock.progress.stop)
    idle()
    type_into(dock.volume.form["box"].native, "0:26,2:28,:")
    assert dock.volume.draw_box.isChecked()
    press(dock.map.all)
    idle()
    assert "All voxels of the box are mapped" in dock.map.status.text()

    # 4: as many proposals as the arrow keys say.
    (slider,) = dock.propose.slider.findChildren(QSlider)
    k = session.k
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert session.k == k + 2
    qtbot.wait(600)
    gaps.stop()
    assert gaps.longest < LONGEST_GAP

    # 5: all of them kept, written, and read again.
    dock.propose.keep_all.trigger()
    assert len(session.classes.table) == k + 2
    answer(tmp_path / "out.mrc")
    (save,) = (a for a in dock.classes.exports.actions() if a.text() == "Classes…")
    dock.classes.exports.refresh()
    save.trigger()
    idle()
    saved = read_volume(tmp_path / "out.mrc")
    np.testing.assert_array_equal(saved.read(), session.classes.labels)
    assert np.unique(saved.read()).size == k + 3
    assert saved.origin == pytest.approx(whole.origin)
    (layer,) = (e for e in viewer.layers if isinstance(e, Labels) and "classes" in e.name)
    np.testing.assert_array_equal(layer.data, session.classes.labels)
    # And the model that was saved is loaded again: it is the one there is.
    answer(tmp_path / "kept.hypseg")
    press(dock.model.load_file)
    idle()
    assert "Model 2: default, 20 steps" in dock.model.status.text()
