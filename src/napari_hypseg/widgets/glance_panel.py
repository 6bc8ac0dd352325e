"""What lies under the mouse on the disk: a patch and its reconstruction, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget
from superqt.utils import create_worker

from napari_hypseg.figures import Cloud, Glance, Glances

__all__ = ["GlancePanel"]

Source = Callable[[], Glances]

# Milliseconds between two looks, pixels of a picture.
_PAUSE, _SIDE = 30, 72
# Normalised intensities from black to white.
_WINDOW = 2.5
_HINT = "Hover over the disk: the patch of the nearest voxel, and its reconstruction"


class GlancePanel(QWidget):
    """Two pictures and a line, looked up in a thread while the mouse moves on.

    Parameters
    ----------
    describe : callable
        Says in words what a glance shows.
    """

    def __init__(self, describe: Callable[[Glance], str]) -> None:
        super().__init__()
        self._describe = describe
        self._source: Source | None = None
        self._place: tuple[Cloud, tuple[float, float]] | None = None
        self._worker: Any = None
        self.text = QLabel(_HINT)
        self.text.setWordWrap(True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.pictures = (QLabel(), QLabel())
        tips = ("the patch around the voxel", "what the decoder makes of the point")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for column, (picture, name, tip) in enumerate(
            zip(self.pictures, ("patch", "decoded"), tips, strict=True)
        ):
            picture.setFixedSize(_SIDE, _SIDE)
            picture.setToolTip(f"Central slice through {tip}; both in the same grey levels")
            picture.setAccessibleName(name)
            grid.addWidget(picture, 0, column)
            grid.addWidget(QLabel(name), 1, column)
        grid.addWidget(self.text, 0, 2, 2, 1)
        grid.setColumnStretch(2, 1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE)
        self._timer.timeout.connect(self._start)
        self.use(None)

    def use(self, source: Source | None) -> None:
        """Look into another map; None shows nothing.

        Parameters
        ----------
        source : callable, optional
            Gives its glances, each time the same ones. It is called in a thread when something is
            looked at: the model has to be read for it.
        """
        self._source, self._place = source, None
        self._timer.stop()
        self.setVisible(source is not None)
        self.text.setText(_HINT)
        for picture in self.pictures:
            picture.clear()

    def leave(self) -> None:
        """Show nothing more: the widgets may be gone already."""
        self._source = self._place = None

    def look(self, cloud: Cloud, place: tuple[float, float]) -> None:
        """Show soon what a cloud has at a place on its disk; the last of many places counts."""
        self._place = cloud, place
        if self._source is not None and self._worker is None and not self._timer.isActive():
            self._timer.start()

    def _start(self) -> None:
        source, place = self._source, self._place
        if source is None or place is None:
            return
        self._place = None
        self._worker = create_worker(
            lambda: source().at(*place), _start_thread=False, _ignore_errors=True
        )
        self._worker.returned.connect(lambda glance: self._show(source, glance))
        self._worker.errored.connect(lambda error: self._say(source, error))
        self._worker.finished.connect(self._on_finished)
        self._worker.start()

    def _on_finished(self) -> None:
        self._worker = None
        if self._place is not None:
            self._timer.start()

    def _say(self, source: Source, error: Exception) -> None:
        if source is self._source:
            self.text.setText(str(error))

    def _show(self, source: Source, glance: Glance) -> None:
        if source is not self._source:
            return
        self.text.setText(self._describe(glance))
        for picture, grey in zip(self.pictures, (glance.patch, glance.reconstruction), strict=True):
            picture.setPixmap(_pixmap(grey, picture.devicePixelRatioF()))


def _pixmap(values: npt.NDArray[np.float32], ratio: float) -> QPixmap:
    """Normalised intensities in grey, as large as a picture is on its screen."""
    grey = ((values / _WINDOW + 1) / 2 * 255).clip(0, 255).astype(np.uint8)
    height, width = grey.shape
    image = QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
    pixmap = QPixmap.fromImage(image).scaled(round(_SIDE * ratio), round(_SIDE * ratio))
    pixmap.setDevicePixelRatio(ratio)
    return pixmap
