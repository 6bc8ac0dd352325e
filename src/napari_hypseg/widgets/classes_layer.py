"""The classes in the viewer: napari's brush, eraser, fill and polygon are edits of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.classes.palette import next_colour
from napari_hypseg.widgets.labels_layer import (
    colour,
    find_layer,
    put_layer,
    remove_layer,
    value_under,
)

if TYPE_CHECKING:
    from napari_hypseg.classes import Classes
    from napari_hypseg.widgets.desk import Desk

__all__ = ["ClassesLayer", "strokes"]


class ClassesLayer:
    """One napari Labels layer whose data are the session's classes themselves.

    What napari's tools paint on it is an edit of the classes: saved, counted, undone. napari's own
    history of the layer is not used: its undo and redo are those of the classes. The layer is
    there as soon as there is a class; removing it removes no class.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # The napari layer whose events come here.
        self._heard: Any = None
        # While a stroke is taken up: the canvas shows it already.
        self._painting = False
        desk.session_changed.connect(self._on_session)
        desk.classes_changed.connect(self._on_edit, max_args=0)
        desk.classes_chosen_changed.connect(self._on_chosen)
        desk.viewer.mouse_drag_callbacks.append(self._on_mouse)

    @property
    def layer(self) -> Any:
        """The napari layer; None while there is none."""
        return find_layer(self._desk.viewer, "classes")

    def show(self) -> Any:
        """The napari layer; made anew where a person has removed it."""
        session = self._desk.session
        assert session is not None  # noqa: S101
        layer = put_layer(self._desk, "classes", session.classes.labels, session.volume)
        if layer is not self._heard:
            self._heard = layer
            layer.undo, layer.redo = self.undo, self.redo
            for name in ("paint", "fill", "paint_polygon", "data_setitem"):
                setattr(layer, name, _grouped(layer, getattr(layer, name)))
            layer.events.paint.connect(self._on_paint)
            layer.events.data.connect(self._on_data)
            layer.events.selected_label.connect(self._on_label)
        self._describe(layer)
        self._on_chosen()
        return layer

    def paint(self) -> None:
        """Make the layer the active one, with the brush in hand."""
        layer = self.show()
        layer.visible = True
        self._desk.viewer.layers.selection.active = layer
        layer.mode = "paint"

    def undo(self) -> None:
        """Take the last edit of the classes back."""
        self.end_stroke()
        with self._desk.telling():
            self._classes.undo()

    def redo(self) -> None:
        """Make the edit again that was taken back last."""
        self.end_stroke()
        with self._desk.telling():
            self._classes.redo()

    def end_stroke(self) -> None:
        """Take up what has been painted with the button still down: nothing else knows of it."""
        layer = self.layer
        if layer is not None:
            with layer.block_history():
                pass

    def number_under(self, event: Any) -> int | None:
        """The class that a mouse event is over; None if there is none, or it is hidden."""
        value = value_under(self.layer, event)
        rows = [row for row in self._classes.table if row.number == value and not row.hidden]
        return value if rows else None

    @property
    def _classes(self) -> Classes:
        assert self._desk.session is not None  # noqa: S101
        return self._desk.session.classes

    # -- the session's changes

    def _on_session(self) -> None:
        session = self._desk.session
        if session is None or not session.classes.table:
            # Nothing that is painted on it would be kept.
            remove_layer(self._desk.viewer, "classes")
        else:
            self.show()

    def _on_edit(self) -> None:
        layer = self.layer
        if layer is None:
            if self._classes.table:
                self.show()
            return
        if not self._painting:
            layer.refresh(extent=False)
        self._describe(layer)

    def _describe(self, layer: Any) -> None:
        """Colours of the classes, and their names where napari's status bar and saving look."""
        table = self._classes.table
        rgba = np.zeros((256, 4), np.float32)
        # What is painted with a number that is no class yet looks as it will when it is one.
        rgba[1:, :3], rgba[1:, 3] = next_colour(row.colour for row in table), 1.0
        for row in table:
            rgba[row.number] = (*row.colour, 0.0 if row.hidden else 1.0)
        if not np.array_equal(rgba, layer.colormap.colors):
            colour(layer, rgba)
        layer.features = {
            "index": [row.number for row in table], "class": [row.name for row in table],
        }  # fmt: skip

    def _on_chosen(self) -> None:
        """The class that is chosen is the one to paint with."""
        chosen = self._classes.chosen
        if len(chosen) == 1:
            layer = self.layer or self.show()
            layer.selected_label = chosen[0]

    # -- what a person does to the layer

    def _on_label(self) -> None:
        label = self.layer.selected_label
        if any(row.number == label for row in self._classes.table):
            self._classes.choose([label])

    def _on_paint(self, event: Any) -> None:
        layer, classes = self.layer, self._classes
        # The classes have their own history, on disk.
        layer._undo_history.clear()
        indices, before = strokes(event.value, classes.labels.shape)
        refused = -1
        self._painting = True
        with self._desk.telling():
            refused = classes.painted(indices, before)
        self._painting = False
        if refused:
            # Some voxels were put back: all of them if it could not be kept.
            layer.refresh(extent=False)
        if refused > 0:
            names = ", ".join(row.name for row in classes.table if row.locked)
            self._desk.said.emit(f"{refused:,} voxels stay as they are, locked: {names}")

    def _on_data(self) -> None:
        """Other voxels that a script has given to the layer are an edit."""
        layer, session = self.layer, self._desk.session
        if layer is None or session is None or layer.data is session.classes.labels:
            return
        given, layer.data = layer.data, session.classes.labels
        with self._desk.telling():
            session.classes.replace(np.asarray(given))

    def _on_mouse(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Choose the class or, where there is none, the proposal under a click."""
        active, session = viewer.layers.selection.active, self._desk.session
        # A layer in another mode is being painted or edited; a drag is the camera's.
        editing = active is not None and active.mode != "pan_zoom"
        modifiers = set(event.modifiers)
        if event.button != 1 or editing or session is None or modifiers - {"Control"}:
            return
        yield
        if event.type == "mouse_move" or session is not self._desk.session:
            return
        proposals = self._desk.proposals_layer
        number = (
            None if active is not None and active is proposals.layer else (self.number_under(event))
        )
        if number is not None:
            session.classes.choose(_toggled(session.classes.chosen, number, "Control" in modifiers))
        elif active is None or active is not self.layer:
            node = proposals.node_under(event)
            if node is not None:
                session.choose(_toggled(session.chosen, node, "Control" in modifiers))


def strokes(
    atoms: Sequence[Any], shape: tuple[int, int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Voxels that napari's tools have painted, and what was there before each.

    Parameters
    ----------
    atoms : sequence
        Of one edit, as the event ``paint`` of a Labels layer has them: of the tools boxes with
        the mask of what has changed in each (None for all of it) and the old values, of
        ``data_setitem`` the indices and the old values.
    shape : tuple of int
        Of the layer's data.

    Returns
    -------
    indices : array of int64, shape (n,)
        Flat; a voxel that was painted several times comes several times, in that order.
    before : array of uint8, shape (n,)
    """
    indices, before = [], []
    for atom in atoms:
        if len(atom) == 3:
            where, old, _new = atom
        else:
            spans, mask, old, _new = atom
            if mask is None:
                mask = np.ones(old.shape, np.bool_)
            found = np.nonzero(mask)
            where = tuple(i + s.start for i, s in zip(found, spans, strict=True))
        indices.append(np.ravel_multi_index(where, shape).ravel())
        before.append(np.asarray(old, np.uint8).ravel())
    return np.concatenate(indices), np.concatenate(before)


def _grouped(layer: Any, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of napari that announces what it paints once it has painted it.

    By themselves they do so before, unless they are part of a stroke of the mouse.
    """

    def paint(*arguments: Any, **named: Any) -> Any:
        if layer._block_history:
            return method(*arguments, **named)
        with layer.block_history():
            return method(*arguments, **named)

    return paint


def _toggled(chosen: tuple[int, ...], one: int, more: bool) -> set[int]:
    """What is chosen after a click: that one alone, or (with Ctrl) the others too; off again."""
    if more:
        return {*chosen} ^ {one}
    return set() if chosen == (one,) else {one}
