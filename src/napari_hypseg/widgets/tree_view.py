"""The tree of the classes as a drawing beside the slider: the whole at the left, parts at right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_hypseg.widgets.state import FINEST, State

if TYPE_CHECKING:
    from napari_hypseg.figures import Partition

__all__ = ["Branch", "TreeView", "branches"]

_MARGIN = 3
# Width of the mark of a class on its branch, and the least room for a name beside it, in pixels.
_BAR, _NAME = 5, 34


@dataclass(frozen=True, slots=True)
class Branch:
    """A node of the tree and where it is drawn.

    Attributes
    ----------
    node : int
    parts : tuple of int
        The nodes that it is split into; empty where the drawing ends.
    first, last : int
        Columns that it goes through, from 1 on: granularities at which it is one class.
    top, bottom : int
        Rows that it takes, the last one exclusive.
    """

    node: int
    parts: tuple[int, ...]
    first: int
    last: int
    top: int
    bottom: int


def branches(partition: Partition) -> dict[int, Branch]:
    """The part of the tree that is drawn: to the slider's end, and to all classes.

    The larger part of a node lies above the smaller one. Every place of the drawing belongs to
    exactly one branch.
    """
    tree = partition.tree
    n = tree.n_leaves
    finest = partition.at(min(FINEST, n)).wholes
    # Higher merges are split first.
    inner = sorted({*finest, *partition.wholes}, reverse=True)
    split_at = {node: level for level, node in enumerate(inner, start=1)}
    found: dict[int, Branch] = {}
    rows = 0

    def place(node: int, first: int) -> None:
        nonlocal rows
        top, last = rows, len(inner) + 1
        parts: tuple[int, ...] = ()
        if node in split_at:
            a, b = tree.merges[node - n].tolist()
            parts = (a, b) if tree.counts[a] >= tree.counts[b] else (b, a)
            last = split_at[node]
            for part in parts:
                place(part, last + 1)
        else:
            rows += 1
        found[node] = Branch(node, parts, first, last, top, rows)

    place(2 * n - 2, 1)
    return found


class TreeView(QWidget):
    """The tree with the classes of now as coloured bars across it.

    A click chooses the classes of a branch, Ctrl adds them. Keys: up and down go through the
    classes, left and right along the branch.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state
        self._branches: dict[int, Branch] = {}
        # Columns and rows of the drawing.
        self._size = (1, 1)
        self._node: int | None = None
        self.setAccessibleName("Tree of the classes")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        state.result_changed.connect(self._on_partition)
        state.partition_changed.connect(self._on_partition)
        state.chosen_changed.connect(self._on_chosen)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Room for 30 branches."""
        return QSize(300, 156)

    def node_at(self, x: float, y: float) -> int | None:
        """The node whose branch goes through a place, given in pixels."""
        if not self._branches:
            return None
        columns, rows = self._size
        column = min(max(int((x - _MARGIN) / self._width() * columns), 0), columns - 1) + 1
        row = min(max(int((y - _MARGIN) / self._height() * rows), 0), rows - 1)
        for branch in self._branches.values():
            if branch.first <= column <= branch.last and branch.top <= row < branch.bottom:
                return branch.node
        return None

    def place_of(self, node: int) -> tuple[float, float]:
        """A place in pixels on the branch of a node."""
        branch = self._branches[node]
        return self._x((branch.first + branch.last - 1) / 2), self._y(branch)

    def pick(self, node: int, *, more: bool = False) -> None:
        """Choose the classes of a branch, besides those chosen already if more are wanted."""
        partition = self._state.partition
        if partition is not None:
            self._node = node
            chosen = self._state.chosen if more else ()
            self._state.highlight({*chosen, *partition.classes_in(node)})
            self.update()

    # -- what Qt calls

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        """Choose the branch; the right button keeps what is chosen if it lies there."""
        node, partition = self.node_at(*_xy(event)), self._state.partition
        if node is None or partition is None:
            return
        right = event.button() == Qt.MouseButton.RightButton
        if not (right and set(partition.classes_in(node)) <= set(self._state.chosen)):
            self.pick(node, more=bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier))

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        """Walk the tree."""
        partition = self._state.partition
        here = self._branches.get(-1 if self._node is None else self._node)
        if partition is None:
            return
        classes = sorted(partition.nodes, key=lambda node: self._branches[node].top)
        key, to = event.key(), None
        if key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            row = -1 if here is None else here.top
            if key == Qt.Key.Key_Up:
                to = next((n for n in classes[::-1] if self._branches[n].top < row), None)
            else:
                to = next((n for n in classes if self._branches[n].top > row), None)
        elif key == Qt.Key.Key_Left and here is not None:
            to = next((b.node for b in self._branches.values() if here.node in b.parts), None)
        elif key == Qt.Key.Key_Right and here is not None:
            to = next(iter(here.parts), None)
        else:
            super().keyPressEvent(event)
        if to is not None:
            self.pick(to)

    def event(self, event: QEvent) -> bool:
        """Say what is under the mouse."""
        if event.type() == QEvent.Type.ToolTip:
            node = self.node_at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), "" if node is None else self.tip(node), self)
            return True
        return bool(super().event(event))

    def tip(self, node: int) -> str:
        """What there is to say about a branch."""
        partition, result = self._state.partition, self._state.result
        assert partition is not None  # noqa: S101
        assert result is not None  # noqa: S101
        voxels, total = (int(partition.tree.counts[i]) for i in (node, -1))
        classes = partition.classes_in(node)
        name = partition.names.get(node, "")
        if node in partition.nodes:
            name = partition.name(node)
        elif len(classes) > 1:
            name = f"{name or 'branch'} of {len(classes)} classes"
        else:
            name = f"{name or 'part'} of {partition.name(classes[0])}"
        hidden = ", hidden" if partition.is_hidden(node) else ""
        return f"{name}{hidden}\n{voxels:,} voxels, {100 * voxels / total:.3g} %"

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        """Draw the tree."""
        partition = self._state.partition
        if partition is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().windowText().color()
        for shown in partition.classes[: partition.k]:
            self._draw_class(painter, partition, shown.key, text)
        above = set(partition.wholes)
        for branch in self._branches.values():
            if branch.node in above:
                colour = _faint(text, 0.75)
            else:
                hidden = partition.is_hidden(branch.node)
                colour = _faint(_colour(partition, branch.node), 0.25 if hidden else 1.0)
            painter.setPen(QPen(colour, 1.6 if branch.node == self._node else 1.2))
            y, end = self._y(branch), self._x(branch.last)
            painter.drawLine(QPointF(self._x(branch.first - 1), y), QPointF(end, y))
            for part in branch.parts:
                painter.drawLine(QPointF(end, y), QPointF(end, self._y(self._branches[part])))
        for shown in partition.classes[: partition.k]:
            self._draw_bar(painter, partition, shown.key, text)
        painter.end()

    # -- where things lie

    def _on_partition(self) -> None:
        partition = self._state.partition
        self._branches = {} if partition is None else branches(partition)
        drawn = self._branches.values()
        self._size = (
            max((branch.last for branch in drawn), default=1),
            max((branch.bottom for branch in drawn), default=1),
        )
        if self._node not in self._branches:
            self._node = None
        self.update()

    def _on_chosen(self) -> None:
        self.update()

    def _width(self) -> float:
        return float(self.width() - 2 * _MARGIN)

    def _height(self) -> float:
        return float(self.height() - 2 * _MARGIN)

    def _x(self, column: float) -> float:
        """Where a column ends."""
        return _MARGIN + self._width() * column / self._size[0]

    def _y(self, branch: Branch) -> float:
        """The middle of a branch."""
        return _MARGIN + self._height() * (branch.top + branch.bottom) / 2 / self._size[1]

    def _room(self, partition: Partition, node: int) -> QRectF:
        """What belongs to a class: from the cut to the right end."""
        branch, rows = self._branches[node], self._size[1]
        cut = min(max(partition.k, branch.first), branch.last) - 0.5
        left, step = self._x(cut), self._height() / rows
        top, bottom = (_MARGIN + step * row for row in (branch.top, branch.bottom))
        gap = min(1.0, step / 6)
        return QRectF(left, top + gap, self.width() - _MARGIN - left, bottom - top - 2 * gap)

    def _draw_class(self, painter: QPainter, partition: Partition, node: int, text: Any) -> None:
        """The ground of a class, and its name where a person gave one and there is room."""
        room, chosen = self._room(partition, node), node in self._state.chosen
        if not partition.is_hidden(node):
            colour = _colour(partition, node)
            painter.fillRect(room, _faint(colour, 0.55 if chosen else 0.22))
        if chosen:
            painter.setPen(QPen(text, 1.0))
            painter.drawRect(room)

    def _draw_bar(self, painter: QPainter, partition: Partition, node: int, text: Any) -> None:
        """The mark of a class, where the tree is cut, and its name."""
        room, colour = self._room(partition, node), _colour(partition, node)
        bar = QRectF(room.left() - _BAR / 2, room.top(), _BAR, room.height())
        if partition.is_hidden(node):
            painter.setPen(QPen(colour, 1.0))
            painter.drawRect(bar)
        else:
            painter.fillRect(bar, colour)
        metrics = self.fontMetrics()
        if (
            node in partition.names
            and room.height() >= 0.8 * metrics.height()
            and room.width() >= _NAME
        ):
            inside = room.adjusted(_BAR, 0, -2, 0)
            name = metrics.elidedText(
                partition.names[node], Qt.TextElideMode.ElideRight, int(inside.width())
            )
            # Behind the name the branches would make it hard to read.
            width = metrics.horizontalAdvance(name) + 6
            ground = QRectF(
                inside.right() - width, inside.center().y() - metrics.height() / 2,
                width, metrics.height(),
            )  # fmt: skip
            painter.fillRect(ground, _faint(self.palette().window().color(), 0.8))
            painter.setPen(text)
            painter.drawText(ground, Qt.AlignmentFlag.AlignCenter, name)


def _xy(event: Any) -> tuple[float, float]:
    return event.position().x(), event.position().y()


def _colour(partition: Partition, node: int) -> QColor:
    return QColor.fromRgbF(*partition.colours[node].tolist())


def _faint(colour: QColor, opacity: float) -> QColor:
    fainter = QColor(colour)
    fainter.setAlphaF(opacity)
    return fainter
