"""A box of a volume as a layer: dragged in slices, seen as a frame in 3D."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.volumes import Box, Volume
from napari_hypseg.widgets.layers import MADE_KEY, data_point, place_on, through

__all__ = ["BoxLayer", "visible_box"]


class BoxLayer:
    """A Shapes layer that holds one box.

    In 2D it is a rectangle in every slice that the box meets: dragging it, or its corners, sets
    the box along the two axes on show. In 3D it is a frame.

    Parameters
    ----------
    viewer : napari.Viewer
    image : napari Image layer or None
        On which the box lies.
    volume : Volume
        Which it shows.
    box : Box
    on_change : callable
        Gets the box that a person has dragged, or None if the layer has been removed.
    """

    def __init__(
        self,
        viewer: Any,
        image: Any,
        volume: Volume,
        box: Box,
        on_change: Callable[[Box | None], Any],
    ) -> None:
        self._viewer, self._shape, self._on_change = viewer, volume.shape, on_change
        self.box = box
        # Whether a change of the layer is our own.
        self._own = True
        self.layer = viewer.add_shapes(
            ndim=3,
            name=f"box of {volume.name}",
            edge_color="yellow",
            face_color="transparent",
            edge_width=max(1.0, max(volume.shape[1:]) / 200),
            metadata={MADE_KEY: True},
            **place_on(image, volume),
        )
        self.layer.events.data.connect(self._on_data)
        viewer.layers.events.removed.connect(self._on_removed)
        dims = viewer.dims.events
        self._moves = (dims.current_step, dims.ndisplay, dims.order)
        for event in self._moves:
            event.connect(self._on_moved)
        self._place: Any = None
        self._own = False
        self._draw()
        self.layer.mode = "select"
        self.layer.selected_data = set(range(len(self.layer.data)))

    def move(self, box: Box) -> None:
        """Show another box."""
        self.box = box
        self._draw()

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        self._leave()
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)

    def _leave(self) -> None:
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for event in self._moves:
            event.disconnect(self._on_moved)

    def _slice(self) -> tuple[int, int] | None:
        """Axis through the slices and the slice on show; None in 3D."""
        if self._viewer.dims.ndisplay == 3:
            return None
        across = through(self._viewer)
        return across, round(float(data_point(self._viewer, self.layer)[across]))

    def _on_moved(self, _event: Any = None) -> None:
        # A box that is dragged beyond the volume makes napari count its slices anew: not a move.
        if self._viewer.dims.ndim >= 3 and self._slice() != self._place:
            self._draw()

    def _draw(self) -> None:
        low = np.array([s.start for s in self.box]) - 0.5
        high = np.array([s.stop for s in self.box]) - 0.5
        self._place = self._slice()
        if self._place is None:
            shapes, kind = _frame(low, high), "line"
        else:
            (across, at), kind = self._place, "rectangle"
            meets = low[across] <= at <= high[across]
            shapes = [_rectangle(low, high, across, at)] if meets else []
        self._own = True
        # A change of the shapes puts them out of the selection.
        chosen = bool(self.layer.selected_data)
        self.layer.data = []
        if shapes:
            self.layer.add(shapes, shape_type=kind)
        self.layer.selected_data = {0} if chosen and kind == "rectangle" and shapes else set()
        self._own = False

    def _on_data(self, event: Any) -> None:
        if self._own or self._viewer.dims.ndisplay == 3:
            return
        # While a corner is dragged it says "changing"; once it is let go, "changed".
        if str(getattr(event, "action", "changed")).rsplit(".", 1)[-1].lower() != "changed":
            return
        if len(self.layer.data) != 1:
            return
        corners, across = np.asarray(self.layer.data[0]), through(self._viewer)
        spans = list(self.box)
        for axis in set(range(3)) - {across}:
            size = self._shape[axis]
            first, last = (
                np.round(corners[:, axis].min() + 0.5),
                np.round(corners[:, axis].max() + 0.5),
            )
            start = int(np.clip(first, 0, size - 1))
            spans[axis] = slice(start, int(np.clip(last, start + 1, size)))
        z, y, x = spans
        self.box = (z, y, x)
        self._draw()
        self._on_change(self.box)

    def _on_removed(self, event: Any) -> None:
        # napari hands out its layers in wrappers, so they are alike and not the same.
        if event.value == self.layer:
            self._leave()
            self._on_change(None)


def visible_box(viewer: Any, layer: Any) -> Box:
    """The middle of what is seen of a volume's slice, through all slices.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari Image layer
    """
    shape = (layer.data[0] if layer.multiscale else layer.data).shape[-3:]
    spans = [slice(0, n) for n in shape]
    if viewer.dims.ndisplay == 2:
        # In voxels of the level on show.
        scale = np.asarray(layer.downsample_factors[layer.data_level]) if layer.multiscale else 1.0
        low, high = (np.asarray(layer.corner_pixels) * scale)[:, -3:]
    else:
        low, high = np.zeros(3), np.array(shape)
    for axis in set(range(3)) - {through(viewer)}:
        start, stop = max(0.0, low[axis]), min(float(shape[axis]), high[axis] + 1)
        margin = (stop - start) / 5
        first, last = int(start + margin), int(np.ceil(stop - margin))
        if last > first:
            spans[axis] = slice(first, last)
    z, y, x = spans
    return z, y, x


def _rectangle(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], across: int, at: float
) -> npt.NDArray[np.float64]:
    """Corners of the cut through a box, in turn."""
    first, second = (axis for axis in range(3) if axis != across)
    corners = np.full((4, 3), float(at))
    corners[:, first] = low[first], low[first], high[first], high[first]
    corners[:, second] = low[second], high[second], high[second], low[second]
    return corners


def _frame(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> list[Any]:
    """The twelve edges of a box."""
    corners = [np.where(which, high, low) for which in itertools.product((False, True), repeat=3)]
    return [
        np.stack([a, b])
        for a, b in itertools.combinations(corners, 2)
        if np.count_nonzero(a != b) == 1
    ]
