"""A histogram of intensities, with the range that a network sees."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QRectF, QSize
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_hypseg.volumes import Contrast

__all__ = ["ContrastView"]


class ContrastView(QWidget):
    """The histogram, and a sentence about clipping and noise below it; hidden without one."""

    def __init__(self) -> None:
        super().__init__()
        self.bars = _Bars()
        self.text = QLabel()
        self.text.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.bars)
        column.addWidget(self.text)
        self.hide()

    def show_it(self, contrast: Contrast | None) -> None:
        """Show what a network sees of a volume, or nothing."""
        self.bars.contrast = contrast
        if contrast is not None:
            fit, share = contrast.normalization, contrast.noise
            self.text.setText(
                f"Clipped to {fit.low:.3g} … {fit.high:.3g}, as the layer is shown now; "
                f"about {share:.0%} of the variance is noise"
            )
            self.bars.update()
        self.setVisible(contrast is not None)


class _Bars(QWidget):
    """The histogram: what is clipped is drawn faintly."""

    def __init__(self) -> None:
        super().__init__()
        self.contrast: Contrast | None = None
        self.setToolTip(
            "Intensities of the middle slices; the faint ones are clipped before the network "
            "sees them, the others are brought to mean 0 and variance 1"
        )
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Wide and low."""
        return QSize(200, 40)

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        """Draw the bars."""
        if self.contrast is None:
            return
        counts, edges, fit = self.contrast.counts, self.contrast.edges, self.contrast.normalization
        painter = QPainter(self)
        colour = self.palette().windowText().color()
        most, width = max(int(counts.max()), 1), self.width() / len(counts)
        for index, count in enumerate(counts.tolist()):
            kept = fit.low <= (edges[index] + edges[index + 1]) / 2 <= fit.high
            colour.setAlphaF(0.9 if kept else 0.3)
            # The square root: what is rare can be seen too.
            height = self.height() * (count / most) ** 0.5
            painter.fillRect(
                QRectF(index * width, self.height() - height, max(width - 0.5, 0.5), height), colour
            )
        painter.end()
