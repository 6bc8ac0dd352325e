"""Building blocks of the docks: a step with its state, its options, progress, the loss line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from qtpy.QtCore import QPointF, QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPen, QPolygonF
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_hypseg.jobs import Progress

__all__ = [
    "LossLine",
    "ProgressArea",
    "Step",
    "allow",
    "ask",
    "button",
    "combo",
    "folded",
    "narrow",
]

Mark = Literal["done", "next", "waiting"]
_MARKS = {"done": "✓", "next": "▶", "waiting": "○"}


class Step(QGroupBox):
    """One of the four steps: a title, a line that says how it stands, and what is in it.

    Parameters
    ----------
    title : str
        Such as "1  Volume".

    Attributes
    ----------
    said : Signal of str
        A sentence for the line at the bottom of the dock.
    """

    said = Signal(str)

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(8, 4, 8, 6)
        self.column.setSpacing(4)
        self.column.addWidget(self.status)

    def say(self, mark: Mark, text: str) -> None:
        """Say how the step stands; a step that can't be used yet says why."""
        self.status.setText(f"{_MARKS[mark]}  {text}")

    def row(self, *widgets: QWidget) -> QHBoxLayout:
        """Put widgets side by side below what is there."""
        row = QHBoxLayout()
        row.setSpacing(4)
        for widget in widgets:
            row.addWidget(widget)
        self.column.addLayout(row)
        return row


def ask(parent: QWidget | None, question: str, yes: str, no: str = "Cancel") -> bool:
    """Ask a person before something that can't be taken back or takes long.

    Parameters
    ----------
    parent : QWidget or None
        Above which it is asked.
    question : str
        One sentence.
    yes, no : str
        What the buttons say that do it and that leave all as it is.
    """
    box = QMessageBox(QMessageBox.Icon.Question, "Hyperbolic segmentation", question)
    if parent is not None:
        box.setParent(parent, Qt.WindowType.Dialog)
    agree = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
    leave = box.addButton(no, QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(leave)
    box.setEscapeButton(leave)
    box.exec()
    agreed = box.clickedButton() is agree
    box.deleteLater()
    return agreed


def button(
    text: str, tip: str, on_click: Callable[[], Any], *, checkable: bool = False
) -> QPushButton:
    """A push button with a tooltip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    made.clicked.connect(lambda: on_click())
    return made


def combo(tip: str) -> QComboBox:
    """A combo box that does not grow with its longest entry."""
    made = QComboBox()
    made.setToolTip(tip)
    narrow(made)
    return made


def narrow(box: QComboBox) -> None:
    """Keep a combo box from growing with its longest entry."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)


def allow(widget: QWidget, reason: str) -> None:
    """Let a widget be used, or say in its tooltip why it can't be."""
    own = widget.property("own_tip")
    if own is None:
        own = widget.toolTip()
        widget.setProperty("own_tip", own)
    widget.setEnabled(not reason)
    widget.setToolTip(reason or own)


def folded(form: Any, *below: QWidget) -> QWidget:
    """A form that folds away under the word "Options".

    Parameters
    ----------
    form : magicgui Container
        Fields with names and tooltips.
    *below : QWidget
        What folds away with it.
    """
    whole, inner = QWidget(), QWidget()
    # Not the container's own layout: it measures names before napari's style gives them a font.
    inside = QFormLayout(inner)
    inside.setContentsMargins(12, 0, 0, 0)
    inside.setSpacing(3)
    for field in form:
        name = QLabel(field.label)
        name.setToolTip(field.tooltip)
        field.native.setAccessibleName(field.label)
        inside.addRow(name, field.native)
    for widget in below:
        inside.addRow(widget)
    fold = QToolButton()
    fold.setText("Options")
    fold.setToolTip("Settings that need no thought to begin with")
    fold.setCheckable(True)
    fold.setArrowType(Qt.ArrowType.RightArrow)
    fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)

    def turn(is_open: bool) -> None:
        inner.setVisible(is_open)
        fold.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)

    fold.toggled.connect(turn)
    inner.hide()
    column = QVBoxLayout(whole)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(2)
    column.addWidget(fold)
    column.addWidget(inner)
    return whole


class ProgressArea(QWidget):
    """What is running, how far it is, how long it will take, Stop; or what went wrong."""

    def __init__(self, on_stop: Callable[[], Any]) -> None:
        super().__init__()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(10)
        self.stop = button("Stop", "Stop this; what has been done so far is kept", on_stop)
        self.details = button("Details…", "What exactly went wrong", self._show_details)
        self._details = ""
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.stop)
        row.addWidget(self.details)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 2, 8, 4)
        column.setSpacing(2)
        column.addWidget(self.text)
        column.addLayout(row)
        self.rest("")

    def rest(self, text: str, details: str = "") -> None:
        """Nothing runs; say how the last job ended."""
        self._details = details
        self.text.setText(text)
        self.bar.setVisible(False)
        self.stop.setVisible(False)
        self.details.setVisible(bool(details))

    def begin(self, title: str) -> None:
        """A job has started."""
        self.details.setVisible(False)
        self.text.setText(f"{title}…")
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)
        self.stop.setVisible(True)
        self.stop.setEnabled(True)

    def stopping(self) -> None:
        """The job has been asked to stop."""
        self.text.setText("stopping…")
        self.stop.setEnabled(False)

    def advance(self, progress: Progress, left: str) -> None:
        """The job has come this far."""
        self.bar.setRange(0, 1000 if progress.total else 0)
        self.bar.setValue(round(1000 * progress.fraction))
        parts = [progress.stage]
        if progress.total > 1:
            parts.append(f"{progress.done:,} of {progress.total:,}")
        if "total" in progress.values:
            parts.append(f"loss {progress.values['total']:.4g}")
        if left:
            parts.append(f"{left} left")
        self.text.setText(" · ".join(parts))

    def _show_details(self) -> None:
        box = QMessageBox(QMessageBox.Icon.Warning, "Hyperbolic segmentation", self.text.text())
        box.setParent(self, Qt.WindowType.Dialog)
        box.setDetailedText(self._details)
        box.show()


class LossLine(QWidget):
    """The loss over the steps of a training, as a line."""

    def __init__(self) -> None:
        super().__init__()
        self._points: list[tuple[float, float]] = []
        self.setToolTip("Loss over the training steps: it should fall and level off")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.hide()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Wide and low."""
        return QSize(120, 72)

    def clear(self) -> None:
        """Begin anew."""
        self._points = []
        self.hide()

    def add(self, step: float, loss: float) -> None:
        """Add the loss at a step, if it is a new one."""
        if not self._points or step > self._points[-1][0]:
            self._points.append((step, loss))
            self.setVisible(len(self._points) > 1)
            self.update()

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        """Draw the line, and its first and last value."""
        if len(self._points) < 2:
            return
        steps, losses = zip(*self._points, strict=True)
        low, high = min(losses), max(losses)
        metrics = self.fontMetrics()
        first, last = f"{losses[0]:.3g}", f"{losses[-1]:.3g}"
        left, right = metrics.horizontalAdvance(first) + 6, metrics.horizontalAdvance(last) + 6
        width, height = self.width() - left - right, self.height() - 8

        def place(step: float, loss: float) -> QPointF:
            x = left + width * (step - steps[0]) / (steps[-1] - steps[0])
            return QPointF(x, 4 + height * (high - loss) / ((high - low) or 1.0))

        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = self.palette().windowText().color()
        painter.setPen(QPen(colour, 1.5))
        painter.drawPolyline(QPolygonF([place(*point) for point in self._points]))
        half = metrics.ascent() / 2
        for x, text, value in ((0, first, losses[0]), (self.width() - right + 4, last, losses[-1])):
            y = min(max(place(0, value).y() + half, metrics.ascent()), self.height() - 2)
            painter.drawText(QPointF(x, y), text)
        painter.end()
