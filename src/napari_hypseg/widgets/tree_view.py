"""The tree of the proposals as a drawing: the whole at the left, parts at the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

if TYPE_CHECKING:
    from napari_hypseg.session import Proposals
    from napari_hypseg.widgets.desk import Desk

__all__ = ["Branch", "TreeView", "branches"]

_MARGIN = 3
# Width of the mark of a proposal on its branch, in pixels.
_BAR = 5


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


def branches(proposals: Proposals) -> dict[int, Branch]:
    """The part of the tree that is drawn: as fine as the slider goes.

    The larger part of a node lies above the smaller one. Every place of the drawing belongs to
    exactly one branch; column k cuts the branches of granularity k.
    """
    tree, most = proposals.tree, proposals.most
    n = tree.n_leaves
    found: dict[int, Branch] = {}
    rows = 0

    def place(node: int, first: int) -> None:
        nonlocal rows
        # Higher merges are split first.
        top, last = rows, 2 * n - 1 - node
        parts: tuple[int, ...] = ()
        if last < most:
            a, b = tree.merges[node - n].tolist()
            parts = (a, b) if tree.counts[a] >= tree.counts[b] else (b, a)
            for part in parts:
                place(part, last + 1)
        else:
            last = most
            rows += 1
        found[node] = Branch(node, parts, first, last, top, rows)

    place(2 * n - 2, 1)
    return found


class TreeView(QWidget):
    """The tree with the proposals of now as coloured bars across it.

    A click chooses a branch, coarser or finer than the slider too; Ctrl adds it; a double click
    keeps it. Keys: up and down go through the proposals, left and right along the branch.

    Parameters
    ----------
    desk : Desk

    Attributes
    ----------
    kept : Signal of int
        A branch that a person wants to keep.
    """

    kept = Signal(int)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._branches: dict[int, Branch] = {}
        # Columns and rows of the drawing.
        self._size = (1, 1)
        # Where keys go on from.
        self._node = -1
        self.setAccessibleName("Tree of the proposals")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        desk.session_changed.connect(self._on_proposals)
        desk.proposals_changed.connect(self._on_proposals)
        desk.k_changed.connect(self._redraw)
        desk.chosen_changed.connect(self._redraw)
        self._on_proposals()

    def _redraw(self) -> None:
        self.update()

    @property
    def _proposals(self) -> Proposals | None:
        return None if self._desk.session is None else self._desk.session.proposals

    @property
    def _k(self) -> int:
        return 1 if self._desk.session is None else self._desk.session.k

    @property
    def _chosen(self) -> tuple[int, ...]:
        return () if self._desk.session is None else self._desk.session.chosen

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
        """Choose a branch, besides those chosen already if more are wanted."""
        self._node = node
        if self._desk.session is not None:
            self._desk.session.choose({*self._chosen} ^ {node} if more else {node})

    # -- what Qt calls

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802
        """Choose the branch; the right button keeps what is chosen if it lies there."""
        node = self.node_at(*_xy(event))
        right = event.button() == Qt.MouseButton.RightButton
        if node is not None and not (right and node in self._chosen):
            self.pick(node, more=bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier))

    def mouseDoubleClickEvent(self, event: Any) -> None:  # noqa: N802
        """Keep the branch."""
        node = self.node_at(*_xy(event))
        if node is not None and event.button() == Qt.MouseButton.LeftButton:
            self.kept.emit(node)

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802
        """Walk the tree."""
        proposals, here = self._proposals, self._branches.get(self._node)
        if proposals is None:
            return
        cut = sorted(proposals.nodes(self._k), key=lambda node: self._branches[node].top)
        key, to = event.key(), None
        if key == Qt.Key.Key_Up:
            row = -1 if here is None else here.top
            to = next((n for n in cut[::-1] if self._branches[n].top < row), None)
        elif key == Qt.Key.Key_Down:
            row = -1 if here is None else here.top
            to = next((n for n in cut if self._branches[n].top > row), None)
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
        proposals, branch = self._proposals, self._branches[node]
        assert proposals is not None  # noqa: S101
        voxels, total = (int(proposals.tree.counts[i]) for i in (node, -1))
        cut = proposals.nodes(self._k)
        if node in cut:
            what = f"proposal {cut.index(node) + 1}"
        elif branch.last < self._k:
            inside = [n for n in cut if branch.top <= self._branches[n].top < branch.bottom]
            what = f"branch of {len(inside)} proposals"
        else:
            leaf = proposals.leaves_below(node)[0]
            what = f"part of proposal {cut.index(proposals.node_at(leaf, self._k)) + 1}"
        return f"{what}\n{voxels:,} voxels, {100 * voxels / total:.3g} %"

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        """Draw the tree."""
        proposals = self._proposals
        if proposals is None or not self._branches:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().windowText().color()
        cut = proposals.nodes(self._k)
        for node in cut:
            faint = 0.12 if self._chosen else 0.22
            painter.fillRect(self._room(node, self._k), _faint(_colour(proposals, node), faint))
        for node in self._chosen:
            if node in self._branches:
                room = self._room(node, self._branches[node].first)
                painter.fillRect(room, _faint(_colour(proposals, node), 0.5))
                painter.setPen(QPen(text, 1.0))
                painter.drawRect(room)
        for branch in self._branches.values():
            colour = _colour(proposals, branch.node)
            if branch.last < self._k:
                colour = _faint(text, 0.75)
            painter.setPen(QPen(colour, 1.2))
            y, end = self._y(branch), self._x(branch.last)
            painter.drawLine(QPointF(self._x(branch.first - 1), y), QPointF(end, y))
            for part in branch.parts:
                painter.drawLine(QPointF(end, y), QPointF(end, self._y(self._branches[part])))
        for label, node in enumerate(cut, start=1):
            self._draw_bar(painter, label, node, _colour(proposals, node))
        painter.end()

    # -- where things lie

    def _on_proposals(self) -> None:
        proposals = self._proposals
        self._branches = {} if proposals is None else branches(proposals)
        drawn = self._branches.values()
        self._size = (
            max((branch.last for branch in drawn), default=1),
            max((branch.bottom for branch in drawn), default=1),
        )
        self._node = -1
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

    def _room(self, node: int, column: int) -> QRectF:
        """What belongs to a branch: from a column to the right end."""
        branch, rows = self._branches[node], self._size[1]
        left, step = self._x(max(column, branch.first) - 0.5), self._height() / rows
        top, bottom = (_MARGIN + step * row for row in (branch.top, branch.bottom))
        gap = min(1.0, step / 6)
        return QRectF(left, top + gap, self.width() - _MARGIN - left, bottom - top - 2 * gap)

    def _draw_bar(self, painter: QPainter, label: int, node: int, colour: QColor) -> None:
        """The mark of a proposal, where the tree is cut, and its label where there is room."""
        room, metrics = self._room(node, self._k), self.fontMetrics()
        painter.fillRect(QRectF(room.left() - _BAR / 2, room.top(), _BAR, room.height()), colour)
        if room.height() >= 0.8 * metrics.height():
            # Behind the label the branches would make it hard to read.
            width = metrics.horizontalAdvance(str(label)) + 6
            ground = QRectF(
                self.width() - _MARGIN - width, room.center().y() - metrics.height() / 2,
                width, metrics.height(),
            )  # fmt: skip
            painter.fillRect(ground, _faint(self.palette().window().color(), 0.8))
            painter.setPen(self.palette().windowText().color())
            painter.drawText(ground, Qt.AlignmentFlag.AlignCenter, str(label))


def _xy(event: Any) -> tuple[float, float]:
    return event.position().x(), event.position().y()


def _colour(proposals: Proposals, node: int) -> QColor:
    return QColor.fromRgbF(*proposals.colour(node))


def _faint(colour: QColor, opacity: float) -> QColor:
    fainter = QColor(colour)
    fainter.setAlphaF(opacity)
    return fainter
