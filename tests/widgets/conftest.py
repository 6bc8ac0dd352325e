"""What tests of the windows need: napari, Qt and a display; without them they are skipped."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

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


@pytest.fixture
def qtbot(qtbot, monkeypatch: pytest.MonkeyPatch):
    """pytest-qt's, but as patient as a busy machine needs."""
    monkeypatch.setattr(qtbot, "waitUntil", partial(qtbot.waitUntil, timeout=1000 * PATIENCE))
    return qtbot


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
