"""Mouse and keys on the Poincaré disk: click, drag, wheel, hover, lasso."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_hypseg.widgets.disk_scene import DiskScene

__all__ = ["DiskMouse"]

# Pixels that the mouse may move between press and release of a click.
_STILL = 4
# What one notch of the wheel or one key enlarges, and how far an arrow key moves, of the radius.
_NOTCH, _NUDGE = 1.2, 0.1
_ARROWS = {"Left": (1, 0), "Right": (-1, 0), "Up": (0, -1), "Down": (0, 1)}


class DiskMouse(QObject):
    """Turns what a person does on the canvas into views of the disk, picks and outlines.

    Attributes
    ----------
    picked : Signal of (float, float)
        The place on the disk that was clicked.
    cleared : Signal
        A click outside the disk, or Escape while nothing is drawn.
    hovered : Signal of (float, float)
        The place under the mouse while no button is pressed.
    drawn : Signal of list of (float, float)
        The outline of a lasso, on what is seen of the disk.
    lasso_changed : Signal of bool
        Whether the next drag draws a lasso.
    looked : Signal
        The person has moved, enlarged or shifted what is seen.
    """

    picked = Signal(object)
    cleared = Signal()
    hovered = Signal(object)
    drawn = Signal(object)
    lasso_changed = Signal(bool)
    looked = Signal()

    def __init__(self, scene: DiskScene, parent: QObject) -> None:
        super().__init__(parent)
        self._scene = scene
        self._is_lasso = False
        self._outline: list[tuple[float, float]] | None = None
        self._pressed: Any = None
        self._last: Any = None
        # Where a drag began: the view then, and the place grabbed as it was seen.
        self._grabbed: Any = None
        events = scene.canvas.events
        events.mouse_press.connect(self._on_press)
        events.mouse_move.connect(self._on_move)
        events.mouse_release.connect(self._on_release)
        events.mouse_double_click.connect(self._on_double_click)
        events.mouse_wheel.connect(self._on_wheel)
        events.key_press.connect(self._on_key)

    def use_lasso(self, is_lasso: bool) -> None:
        """Let the next drag draw a lasso, or move the disk."""
        if is_lasso != self._is_lasso:
            self._is_lasso = is_lasso
            self.lasso_changed.emit(is_lasso)

    def _on_press(self, event: Any) -> None:
        self._pressed = self._last = np.array(event.pos)
        self._grabbed = None
        if event.button != 1:
            return
        control = "Control" in {key.name for key in event.modifiers}
        seen = self._scene.seen_at(event.pos)
        if control or self._is_lasso:
            self._outline = []
        elif seen is not None:
            self._grabbed = self._scene.translation, seen

    def _on_move(self, event: Any) -> None:
        if self._pressed is None or not event.is_dragging:
            place = self._scene.place_at(event.pos)
            if place is not None:
                self.hovered.emit(place)
        else:
            self._follow(event)

    def _follow(self, event: Any) -> None:
        """Do what a drag does, up to where the mouse is."""
        if self._outline is not None:
            self._outline.append(self._scene.any_at(event.pos))
            self._scene.draw_lasso(self._outline)
        elif event.button == 1 and self._grabbed is not None:
            view, start = self._grabbed
            end = self._scene.seen_at(event.pos)
            if end is not None and np.abs(event.pos - self._pressed).max() > _STILL:
                self._scene.translate(view.dragged(start, end))
        else:
            self._scene.pan(self._last, event.pos)
        self._last = np.array(event.pos)

    def _on_release(self, event: Any) -> None:
        if self._pressed is not None:
            # vispy leaves out what comes in quick succession, also the last part of the way.
            self._follow(event)
        self.looked.emit()
        pressed, outline = self._pressed, self._outline
        self._pressed = self._grabbed = self._outline = None
        if outline is not None:
            self.use_lasso(False)
            if len(outline) > 2:
                self.drawn.emit(outline)
            else:
                self._scene.draw_lasso([])
        elif event.button == 1 and pressed is not None:
            place = self._scene.place_at(event.pos)
            if np.abs(event.pos - pressed).max() > _STILL:
                return
            if place is None:
                self.cleared.emit()
            else:
                self.picked.emit(place)

    def _on_double_click(self, _event: Any) -> None:
        self._scene.show_whole()
        self.looked.emit()

    def _on_wheel(self, event: Any) -> None:
        self._scene.zoom(_NOTCH ** float(event.delta[1]), event.pos)
        self.looked.emit()

    def _on_key(self, event: Any) -> None:
        key = "" if event.key is None else event.key.name
        middle = np.array(self._scene.canvas.size) / 2
        if key in _ARROWS:
            x, y = _ARROWS[key]
            step = _NUDGE * self._scene.half_width
            view = self._scene.translation
            self._scene.translate(view.dragged((0.0, 0.0), (x * step, y * step)))
        elif key == "R":
            self._scene.show_whole()
        elif key == "L":
            self.use_lasso(not self._is_lasso)
        elif key == "Escape" and (self._is_lasso or self._outline is not None):
            self._outline = None
            self._scene.draw_lasso([])
            self.use_lasso(False)
        elif key == "Escape":
            self.cleared.emit()
        elif event.text in ("+", "-"):
            self._scene.zoom(_NOTCH if event.text == "+" else 1 / _NOTCH, middle)
        self.looked.emit()
