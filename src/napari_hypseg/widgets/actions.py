"""Actions that buttons, context menus and keys share, each with the reason why it can't be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QKeySequence
from qtpy.QtWidgets import QPushButton, QSizePolicy, QWidget

from napari_hypseg.widgets.parts import Step

__all__ = ["action", "action_buttons", "allow_action"]


def action(
    home: QWidget, text: str, key: str, do: Callable[[], Any], *, anywhere: bool = False
) -> QAction:
    """An action of a widget.

    Parameters
    ----------
    home : QWidget
        While the focus is in it, the key counts.
    text, key : str
        What a button says; such as "K", or none.
    do : callable
    anywhere : bool
        Whether the key counts in the whole window: where a person looks at the voxels, too.
    """
    made = QAction(text, home)
    made.setShortcut(QKeySequence(key))
    context = Qt.ShortcutContext
    made.setShortcutContext(
        context.WindowShortcut if anywhere else context.WidgetWithChildrenShortcut
    )
    made.triggered.connect(lambda: do())
    home.addAction(made)
    return made


def allow_action(made: QAction, tip: str, reason: str = "") -> None:
    """Let an action be done, or say in its tooltip why it can't be."""
    made.setEnabled(not reason)
    key = made.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    made.setToolTip(reason or (f"{tip} ({key})" if key else tip))


def action_buttons(step: Step, actions: Sequence[QAction]) -> None:
    """A row of buttons for actions: a longer word gets a wider one, and each some space."""
    buttons = [_button(made) for made in actions]
    row = step.row(*buttons)
    for index, each in enumerate(buttons):
        row.setStretch(index, step.fontMetrics().horizontalAdvance(each.text()) + 14)


def _button(made: QAction) -> QPushButton:
    pushed = QPushButton()
    pushed.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    pushed.setCheckable(made.isCheckable())
    pushed.clicked.connect(made.trigger)

    def follow() -> None:
        pushed.setText(made.text())
        pushed.setEnabled(made.isEnabled())
        pushed.setToolTip(made.toolTip())
        pushed.setChecked(made.isChecked())

    made.changed.connect(follow)
    follow()
    return pushed
