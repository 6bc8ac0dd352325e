"""How long a person waits for the first dock of a napari, and how long the window stands still.

Run `python -m benchmarks.dock`; it needs napari and a display, and prints milliseconds as JSON.
Every row can be had only once in a process: run it a few times. Of the package nothing is imported
before the dock is: napari starts so, too.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QApplication

STEPS = 100
# Milliseconds between looks whether the event loop still turns.
LOOK_EVERY = 5


class Gaps(QTimer):
    """Notes how long the event loop stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.setTimerType(Qt.TimerType.PreciseTimer)
        self.longest, self._last = 0.0, time.perf_counter()
        self.timeout.connect(self._note)
        self.start(LOOK_EVERY)

    def _note(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now


def longest_gap(dock: Any, click: Callable[[], object]) -> float:
    """Milliseconds for which the window stood still, from a click to the end of its job."""
    gaps = Gaps()
    click()
    while dock.runner.title or not dock.model.is_ready:
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
    # What the result has changed is drawn after.
    for _ in range(10):
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
    gaps.stop()
    return 1e3 * gaps.longest


def measure(viewer: Any, folder: Path) -> dict[str, float]:
    """All rows, in the order in which a person comes by them."""
    QApplication.processEvents()
    began = time.perf_counter()
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    returned = time.perf_counter()
    QApplication.processEvents()
    found = {
        "dock starts: all steps are there": 1e3 * (returned - began),
        "dock starts: they are drawn": 1e3 * (time.perf_counter() - began),
        "longest gap while PyTorch is loaded": longest_gap(dock, lambda: None),
        "until a training can start": 1e3 * (time.perf_counter() - began),
    }
    (layer, *_) = viewer.open_sample("napari-hypseg", "regular")
    dock.volume.take(layer, folder)
    dock.model.form["steps"].value = STEPS
    QApplication.processEvents()
    found["longest gap of a training"] = longest_gap(dock, dock.model.train.click)
    found["longest gap of a mapping"] = longest_gap(dock, dock.map.all.click)
    if dock.state.result is None:
        raise RuntimeError(f"nothing was mapped: {dock.progress.text.text()}")
    return found


def main() -> None:
    """Measure, and print what was seen."""
    viewer = napari.Viewer()
    viewer.window._qt_window.setFixedSize(1280, 800)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(viewer, Path(folder))))
    viewer.close()


if __name__ == "__main__":
    main()
