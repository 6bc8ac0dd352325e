"""A few patches and, under each, what the network makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QRectF, QSize
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import QSizePolicy, QWidget

__all__ = ["Glimpses"]

# Side of a patch on the screen and the gap between two, in pixels.
_SIDE, _GAP = 36, 3
# Normalised intensities that are black and white.
_BLACK, _WHITE = -2.5, 2.5


class Glimpses(QWidget):
    """Patches above, reconstructions below; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[list[QImage]] = []
        self.setToolTip(
            "Patches of the volume above, what the network makes of them below: noise is left "
            "out, shapes should come back"
        )
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.hide()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Room for two rows of patches."""
        columns = len(self._rows[0]) if self._rows else 4
        return QSize(columns * (_SIDE + _GAP), 2 * (_SIDE + _GAP))

    def show_them(self, patches: Any, reconstructions: Any) -> None:
        """Show planes of shape (n, m, m) in normalised intensity, of both."""
        self._rows = [[_image(plane) for plane in planes] for planes in (patches, reconstructions)]
        self.setVisible(True)
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._rows = []
        self.hide()

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        """Draw the patches."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        for row, images in enumerate(self._rows):
            for column, image in enumerate(images):
                place = QRectF(column * (_SIDE + _GAP), row * (_SIDE + _GAP), _SIDE, _SIDE)
                painter.drawImage(place, image)
        painter.end()


def _image(plane: Any) -> QImage:
    """A grey picture that keeps its own bytes."""
    share = np.clip((np.asarray(plane, float) - _BLACK) / (_WHITE - _BLACK), 0, 1)
    grey = np.ascontiguousarray(np.round(255 * share).astype(np.uint8))
    height, width = grey.shape
    return QImage(grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()
