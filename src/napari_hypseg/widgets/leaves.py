"""The labels layer of a result: recoloured while k changes, exact labels when it rests."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from napari_hypseg.widgets.layers import place_of
from napari_hypseg.widgets.state import Result, State

__all__ = ["LeafLayer"]


class LeafLayer:
    """One napari Labels layer that shows a result at the granularity chosen.

    While the slider moves, the layer holds the leaves of the tree (one byte a voxel) and only its
    colours change: milliseconds, whatever the size. When the slider rests the layer gets the
    exact labels: then napari's status bar, its tools and its own saving all speak of classes.

    Parameters
    ----------
    viewer : napari.Viewer
    state : State
        With a result.
    """

    def __init__(self, viewer: Any, state: State) -> None:
        assert state.result is not None  # noqa: S101
        self._viewer = viewer
        self._result: Result = state.result
        # From 1 on: napari takes 0 for the background.
        self._leaves = self._result.clustering.leaves + np.uint8(1)
        self._exact = True
        self.layer = viewer.add_labels(
            self._result.clustering.labels(state.k),
            name=f"{self._result.latents.name} classes",
            opacity=0.6,
            **place_of(self._result.latents.as_volume()),
        )
        self._colour(self._result.colours[: state.k])
        self.describe(state)

    @property
    def is_there(self) -> bool:
        """Whether the layer is still in the viewer, or a person has removed it."""
        return self.layer in self._viewer.layers

    def recolour(self, state: State) -> None:
        """Show granularity k by the colours of the leaves."""
        if self._exact:
            self.layer.data = self._leaves
            self._exact = False
        lookup = self._result.clustering.tree.lookup(state.k)
        self._colour(self._result.colours[lookup - 1])

    def settle(self, state: State) -> None:
        """Show granularity k by exact labels, with the names of the classes."""
        self.layer.data = self._result.clustering.labels(state.k)
        self._exact = True
        self._colour(self._result.colours[: state.k])
        self.describe(state)

    def describe(self, state: State) -> None:
        """Put the classes' names where napari's status bar finds them."""
        rows = self._result.rows(state.k)
        labels = [row.label for row in rows]
        names = [state.name(label) for label in labels]
        self.layer.features = {"index": labels, "class": names}

    def remove(self) -> None:
        """Take the layer out of the viewer, if it is still there."""
        if self.is_there:
            self._viewer.layers.remove(self.layer)

    def _colour(self, colours: Any) -> None:
        """Colours of the values from 1 on."""
        table: dict[int | None, Any] = {None: np.zeros(4), 0: np.zeros(4)}
        table.update({value: np.append(rgb, 1.0) for value, rgb in enumerate(colours, start=1)})
        # A new colour map announces a new selected label, which nobody has selected.
        with self.layer.events.selected_label.blocker():
            self.layer.colormap = DirectLabelColormap(color_dict=table)
