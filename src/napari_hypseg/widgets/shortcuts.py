"""Keys for the main actions of the dock: napari 0.9 passes over those of a manifest."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QAbstractButton, QShortcut, QWidget

__all__ = ["give_keys"]


def give_keys(parent: QWidget, keys: Mapping[str, QAbstractButton]) -> None:
    """Let keys press buttons, folded away or not, and say so in their tooltips.

    Parameters
    ----------
    parent : QWidget
        The keys work while it is in sight.
    keys : mapping of str to button
        Such as "Ctrl+Shift+L"; napari itself must not use them.
    """
    for key, pushed in keys.items():
        sequence = QKeySequence(key)
        # Not the button's own: one that is folded away has none.
        QShortcut(sequence, parent).activated.connect(pushed.click)
        shown = sequence.toString(QKeySequence.SequenceFormat.NativeText)
        tip = f"{pushed.property('own_tip') or pushed.toolTip()} ({shown})"
        # What `allow` shows again once the button can be pressed.
        pushed.setProperty("own_tip", tip)
        if pushed.isEnabled():
            pushed.setToolTip(tip)
