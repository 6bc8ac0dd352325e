"""Building blocks of the docks: a step with its state, its options, progress, the loss line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from qtpy.QtCore import QEvent, QObject, QPointF, QSize, Qt
from qtpy.QtGui import QPainter, QPen, QPolygonF
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QScrollBar,
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
    "calm_wheel",
    "choose",
    "combo",
    "folded",
    "narrow",
]

Mark = Literal["done", "next", "waiting"]
_MARKS = {"done": "✓", "next": "▶", "waiting": "○"}
# Pixels of a step's head beside its text.
_HEAD = 40


class Step(QWidget):
    """One of the steps: a head that says how it stands, and below it what folds away.

    Parameters
    ----------
    title : str
        Such as "1  Volume".

    Attributes
    ----------
    status : QLabel
        The line that says how it stands.
    column : QVBoxLayout
        Of what folds away.
    """

    #: Whether it folds by itself once it is done; not where one goes to and fro.
    folds = True

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self._mark: Mark | None = None
        self._links: list[tuple[Any, Callable[..., Any]]] = []
        self.head = QToolButton()
        self.head.setCheckable(True)
        self.head.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.head.setToolTip("Open or fold this step")
        self.head.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.head.toggled.connect(self._turn)
        self.body = QWidget()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.column = QVBoxLayout(self.body)
        self.column.setContentsMargins(8, 0, 8, 6)
        self.column.setSpacing(4)
        self.column.addWidget(self.status)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(2)
        whole.addWidget(self.head)
        whole.addWidget(self.body, 1)
        self._turn(False)

    @property
    def is_open(self) -> bool:
        """Whether it is unfolded."""
        return bool(self.head.isChecked())

    def open(self, is_open: bool = True) -> None:
        """Unfold it, or fold it."""
        self.head.setChecked(is_open)

    def say(self, mark: Mark, text: str) -> None:
        """Say how the step stands; a step that can't be used yet says why.

        When that changes, what is next to do unfolds and what is done or can't be done yet folds.
        """
        self.status.setText(f"{_MARKS[mark]}  {text}")
        if mark != self._mark:
            self._mark = mark
            self.open(mark == "next" or (mark == "done" and not self.folds))
        self._write_head()

    def follow(self, *links: tuple[Any, Callable[..., Any]]) -> None:
        """Connect signals of the desk, which outlives the dock, to slots, until `leave`."""
        for signal, slot in links:
            signal.connect(slot)
        self._links += links

    def leave(self) -> None:
        """The dock is gone: listen to nothing any more."""
        links, self._links = self._links, []
        for signal, slot in links:
            signal.disconnect(slot)

    def row(self, *widgets: QWidget) -> QHBoxLayout:
        """Put widgets side by side below what is there."""
        row = QHBoxLayout()
        row.setSpacing(4)
        for widget in widgets:
            row.addWidget(widget)
        self.column.addLayout(row)
        return row

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Cut the head's text anew."""
        super().resizeEvent(event)
        self._write_head()

    def _turn(self, is_open: bool) -> None:
        self.body.setVisible(is_open)
        arrow = Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow
        self.head.setArrowType(arrow)
        self._write_head()

    def _write_head(self) -> None:
        """The title; of a folded step with how it stands, as far as there is room."""
        text = self.title if self.is_open else f"{self.title}   {self.status.text()}"
        room = max(40, self.width() - _HEAD)
        metrics = self.head.fontMetrics()
        self.head.setText(metrics.elidedText(text, Qt.TextElideMode.ElideRight, room))


class _CalmWheel(QObject):
    """Lets the wheel pass over fields that a person has not clicked."""

    def eventFilter(self, watched: Any, event: QEvent) -> bool:  # noqa: N802
        """Hand the wheel to what lies below, which scrolls."""
        if event.type() != QEvent.Type.Wheel or watched.hasFocus():
            return False
        above = watched.parentWidget()
        while above is not None and not isinstance(above, QScrollArea):
            above = above.parentWidget()
        if above is not None:
            QApplication.sendEvent(above.verticalScrollBar(), event)
        return True


def calm_wheel(whole: QWidget) -> None:
    """Let the wheel change a field only where a person has clicked before.

    Parameters
    ----------
    whole : QWidget
        All fields in it: numbers, choices, sliders. Elsewhere the wheel scrolls as usual.
    """
    calm = _CalmWheel(whole)
    for kind in (QAbstractSpinBox, QComboBox, QAbstractSlider):
        for found in whole.findChildren(kind):
            if isinstance(found, QScrollBar):
                continue
            # Else the wheel itself gives the focus.
            if found.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                found.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            found.installEventFilter(calm)


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


def choose(question: str, among: Sequence[str]) -> str | None:
    """Let a person choose one of some names; None if they would rather not."""
    window = QApplication.activeWindow()
    title = "Hyperbolic segmentation"
    chosen, agreed = QInputDialog.getItem(window, title, question, among, 0, editable=False)
    return chosen if agreed else None


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
        self._details, self._said, self._runs = details, "", False
        self.text.setText(text)
        self.bar.setVisible(False)
        self.stop.setVisible(False)
        self.details.setVisible(bool(details))

    def say(self, text: str) -> None:
        """Say a sentence; while a job runs its bar and Stop stay, and it is said again at the end.

        Parameters
        ----------
        text : str
            Without it what was said goes.
        """
        if not self._runs:
            self.rest(text)
        elif text:
            self._said = text
            self.text.setText(text)

    def end(self) -> None:
        """Nothing runs any more; what was said meanwhile stays, and how it ended."""
        if self._runs:
            self.rest(self._said)

    def begin(self, title: str) -> None:
        """A job has started."""
        self._said, self._runs = "", True
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
