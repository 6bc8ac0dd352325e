"""The end of the window, at any moment: the process ends well."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .conftest import ball, need_gui

need_gui()

from napari_hypseg.widgets.desk import _DESKS, desk_of  # noqa: E402

# Milliseconds after which the window is closed; at once, from a script; or never, at its end.
_MOMENTS = ("script", "never", 0, 300, 2000)

_PROGRAM = """
import sys
import napari
from qtpy.QtCore import QTimer
viewer = napari.Viewer(show=True)
for title in ("Hyperbolic segmentation", "Poincaré disk"):
    viewer.window.add_plugin_dock_widget("napari-hypseg", title)
if sys.argv[1] == "script":
    viewer.close()
elif sys.argv[1] != "never":
    QTimer.singleShot(int(sys.argv[1]), viewer.window._qt_window.close)
    napari.run()
"""


@pytest.mark.parametrize("moment", _MOMENTS)
def test_both_docks_opened_and_the_window_closed(tmp_path, moment):
    """The worker that loads libraries is cut off nowhere: no abort, no traceback."""
    environment = {**os.environ, "NAPARI_CONFIG": str(tmp_path / "napari.yaml")}
    command = [sys.executable, "-c", _PROGRAM, str(moment)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Error" not in ended.stderr


_KEPT = """
import gc
import time
import weakref
import napari
import numpy as np
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication
from napari_hypseg.widgets.desk import desk_of

def rest(is_over):
    while not is_over():
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        time.sleep(0.01)

def work():
    viewer = napari.Viewer(show=True)
    viewer.add_image(np.random.default_rng(0).normal(size=(16, 24, 24)), name="a")
    for title in ("Hyperbolic segmentation", "Poincaré disk"):
        viewer.window.add_plugin_dock_widget("napari-hypseg", title)
    desk = desk_of(viewer)
    rest(lambda: desk.session is not None and not desk.runner.title and desk.loader.choices)
    viewer.close()
    return weakref.ref(viewer), weakref.ref(desk)

held = work()

def gone():
    gc.collect()
    return all(each() is None for each in held)

rest(gone)
"""


def test_nothing_keeps_a_viewer_that_is_closed(tmp_path):
    """Nor its desk; in a process of its own, since test fixtures hold their viewers."""
    environment = {
        **os.environ, "NAPARI_CONFIG": str(tmp_path / "napari.yaml"), "TMPDIR": str(tmp_path)
    }  # fmt: skip
    command = [sys.executable, "-c", _KEPT]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def test_the_desk_ends_with_its_window(make_napari_viewer, qtbot, tmp_path):
    viewer = make_napari_viewer()
    viewer.add_image(ball(), name="a")
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    del dock

    def is_open():
        return desk_of(viewer).session is not None and not desk_of(viewer).runner.title

    qtbot.waitUntil(is_open)
    desk = desk_of(viewer)
    viewer.close()
    qtbot.waitUntil(lambda: desk.ended)
    assert viewer not in _DESKS
    assert desk.session is None


@pytest.mark.parametrize("step", ["training", "mapping voxels"])
def test_closing_napari_in_the_middle_ends_the_job(
    viewer, open_dock, press, qtbot, capsys, tmp_path, step
):
    import threading

    viewer.add_image(ball(), name="a")
    dock = open_dock(tmp_path / "o")
    if step == "training":
        dock.model.form["steps"].value = 5000
        press(dock, dock.model.train, waits=False)
    else:
        press(dock, dock.model.train)
        press(dock, dock.map.all, waits=False)
    runner = dock.desk.runner
    qtbot.waitUntil(lambda: runner.latest is not None)
    assert runner.title == step
    viewer.close()
    qtbot.waitUntil(lambda: all(t.name != "hypseg" for t in threading.enumerate()))
    # Exceptions in slots fail the test by themselves (pytest-qt).
    assert "Traceback" not in capsys.readouterr().err
    assert not list((tmp_path / "o").rglob("*.new*"))
