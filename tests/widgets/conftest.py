"""What tests of the windows need: napari, Qt and a display; without them they are skipped."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

# Threads of libraries that serve a whole process: zarr's event loop, dask's and torch's pools.
_SHARED = ("zarr", "asyncio", "ThreadPool", "fsspec", "pytest", "Dummy", "IPython", "tqdm")

# Seconds that a busy machine may take for what takes a moment on a quiet one: more is a fault.
PATIENCE = 120


def need_gui() -> None:
    """Skip the module that calls this where no window can be opened, and say why."""
    for name, what in (("napari", "napari"), ("pytestqt", "pytest-qt")):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{what} is not installed", allow_module_level=True)
    if not any(importlib.util.find_spec(name) for name in ("PyQt6", "PySide6")):
        pytest.skip("neither PyQt6 nor PySide6 is installed", allow_module_level=True)
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        pytest.skip("no display: install xvfb and pytest-xvfb", allow_module_level=True)
    if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        pytest.skip("Qt has no OpenGL offscreen: unset QT_QPA_PLATFORM", allow_module_level=True)


def ball(shape=(16, 24, 24), seed: int = 0):
    """Noise, brighter in an ellipsoid."""
    sizes = np.array(shape).reshape(3, 1, 1, 1)
    inside = (((np.indices(shape) - sizes / 2) / (sizes / 3)) ** 2).sum(0) < 1
    noise = np.random.default_rng(seed).normal(size=shape)
    return (2 * inside + noise).astype(np.float32)


@pytest.fixture
def qtbot(qtbot, monkeypatch: pytest.MonkeyPatch):
    """pytest-qt's, but as patient as a busy machine needs."""
    monkeypatch.setattr(qtbot, "waitUntil", partial(qtbot.waitUntil, timeout=1000 * PATIENCE))
    return qtbot


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """A napari viewer as plugins see it."""
    return make_napari_viewer_proxy()


@pytest.fixture
def asked(monkeypatch):
    """The questions that were asked, and the answer to the next ones: yes."""
    from napari_hypseg.widgets import desk, map_step, model_step, parts, reopen

    class Asked(list):
        answer = True

    questions = Asked()

    def ask(_parent, question, *_):
        questions.append(question)
        return questions.answer

    for module in (parts, map_step, model_step, reopen):
        monkeypatch.setattr(module, "ask", ask)
    assert desk.parts is parts
    return questions


@pytest.fixture
def open_dock(viewer, qtbot, monkeypatch, tmp_path):
    """A function that opens the dock, with a folder for the session, and waits until it rests."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def go(folder=None, steps=2):
        title = "Hyperbolic segmentation"
        _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", title)
        desk = dock.desk

        def rests():
            return dock.model.is_ready and not desk.runner.title and not desk._settle.isActive()

        dock.idle = lambda: qtbot.waitUntil(rests)
        dock.idle()
        if folder is not None:
            dock.volume.form["folder"].value = str(folder)
            dock.volume.form["folder"].native.editingFinished.emit()
            dock.idle()
        dock.model.form["steps"].value = steps
        return dock

    return go


@pytest.fixture
def press(qtbot):
    """A function that clicks a button of a dock, which must be allowed, and waits for its job."""
    from qtpy.QtCore import Qt

    def go(dock, button, *, waits: bool = True):
        assert button.isEnabled(), button.toolTip()
        # One that is folded away, or in a window that no test shows, takes a click all the same.
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        if waits:
            dock.idle()

    return go


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No window, no job and no thread outlives its test."""
    before = set(threading.enumerate())
    yield
    if "qtpy" not in sys.modules:
        return
    from qtpy.QtWidgets import QApplication
    from superqt.utils import WorkerBase

    app = QApplication.instance()
    if app is None:
        return
    patience = time.monotonic() + PATIENCE

    def left() -> list[str]:
        app.processEvents()
        widgets = [repr(w) for w in QApplication.topLevelWidgets() if w.isVisible()]
        threads = [
            t.name for t in set(threading.enumerate()) - before if not t.name.startswith(_SHARED)
        ]
        return [*widgets, *map(repr, WorkerBase._worker_set), *threads]

    while left() and time.monotonic() < patience:
        time.sleep(0.02)
    assert not left(), f"{request.node.name} leaves {left()}"
