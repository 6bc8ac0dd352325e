"""From a file to labels in a file as a person goes: mouse and keys only, all four steps."""

from __future__ import annotations

import time

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.layers import Labels  # noqa: E402
from qtpy.QtCore import Qt, QTimer  # noqa: E402
from qtpy.QtWidgets import QApplication, QFileDialog, QSlider, QToolButton  # noqa: E402

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
        monkeypatch.setattr(QFileDialog, name, lambda *_: (str(answers.pop(0)), ""))
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


def test_the_four_steps_by_mouse_and_keys(make_napari_viewer_proxy, qtbot, tmp_path, answer):
    whole = make_toy("regular").volume.crop((slice(8, 36),) * 3)
    path = tmp_path / "cell.mrc"
    write_image(path, whole.read(), whole)
    viewer = make_napari_viewer_proxy()
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")

    def idle():
        qtbot.waitUntil(lambda: dock.model.is_ready and not dock.runner.title)

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

    # 1: a file, what the network sees of it, and a part of it.
    answer(path)
    press(dock.volume.open_file)
    assert "28 × 28 × 28 voxels of 10 Å" in dock.volume.status.text()
    press(dock.volume.look)
    idle()
    assert not dock.volume.contrast.isHidden()
    press(dock.volume.look)
    type_into(dock.volume.form["box"].native, "0:26,2:28,:")
    assert "26 × 26 × 28" in dock.volume.status.text()
    assert dock.volume.draw_box.isChecked()

    # 2: train, stop, go on to the end.
    gaps = Gaps()
    type_into(dock.model.form["steps"].native, "400")
    press(dock.model.train)
    qtbot.waitUntil(lambda: bool(dock.model.loss._points))
    press(dock.progress.stop)
    idle()
    assert dock.state.session.model.training["stopped"] < 400
    type_into(dock.model.form["steps"].native, "20")
    press(dock.model.train)
    idle()
    assert "20 steps" in dock.model.status.text()
    answer(tmp_path / "kept.hypseg")
    press(dock.model.save_file)
    idle()

    # 3: a slice, a preview, all.
    press(dock.map.slice)
    idle()
    assert "one slice" in dock.map.status.text()
    press(dock.map.preview)
    press(dock.progress.stop)
    idle()
    press(dock.map.all)
    idle()
    assert "All voxels are mapped" in dock.map.status.text()

    # 4: as many classes as the arrow keys say.
    (slider,) = dock.granularity.slider.findChildren(QSlider)
    k = dock.state.k
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert dock.state.k == k + 2
    qtbot.waitSignal(dock.granularity.rest.timeout).wait()
    gaps.stop()
    assert gaps.longest < LONGEST_GAP

    answer(tmp_path / "out.mrc")
    (save,) = (a for a in dock.exports.menu.actions() if a.text() == "Save labels…")
    save.trigger()
    idle()
    (labels,) = (layer for layer in viewer.layers if isinstance(layer, Labels))
    saved = read_volume(tmp_path / "out.mrc")
    np.testing.assert_array_equal(saved.read(), labels.data)
    assert np.unique(labels.data).size == k + 2
    assert saved.origin == pytest.approx(
        [o + s * v for o, s, v in zip(whole.origin, (0, 2, 0), whole.voxel_size, strict=True)]
    )
    # And the model that was saved is loaded again.
    answer(tmp_path / "kept.hypseg")
    press(dock.model.load_file)
    idle()
    assert "20 steps" in dock.model.status.text()
    QApplication.processEvents()
