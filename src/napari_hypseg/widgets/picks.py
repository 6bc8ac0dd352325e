"""What is picked, in the viewer: the nearest voxels light up; a click on a voxel picks it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from napari_hypseg.widgets.layers import place_of
from napari_hypseg.widgets.state import State

__all__ = ["PickLayer"]

# Least and greatest size of a lit voxel on the screen.
_PIXELS = (6, 60)


class PickLayer:
    """A points layer over the voxels nearest to what is picked, and clicks in the viewer.

    Parameters
    ----------
    viewer : napari.Viewer
    state : State
        Whose selection is drawn and, by clicks on voxels, changed.
    """

    def __init__(self, viewer: Any, state: State) -> None:
        self._viewer = viewer
        self._state = state
        self._layer: Any = None
        state.selection.changed.connect(self._draw)
        viewer.mouse_drag_callbacks.append(self._on_mouse)

    def leave(self) -> None:
        """Draw and listen no more."""
        self._state.selection.changed.disconnect(self._draw, missing_ok=True)
        if self._on_mouse in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_mouse)

    def _draw(self) -> None:
        selection, result = self._state.selection, self._state.result
        there = self._layer is not None and self._layer in self._viewer.layers
        if result is None or selection.voxel is None:
            if there:
                self._viewer.layers.remove(self._layer)
            self._layer = None
            return
        place = place_of(result.latents.as_volume())
        if there:
            # napari would look through all its layers for another range of its sliders, twice;
            # these voxels lie inside the volume.
            with self._layer.events.data.blocker():
                self._layer.data = selection.voxels
        else:
            active = self._viewer.layers.selection.active
            self._layer = self._viewer.add_points(
                selection.voxels, name="nearest on the disk", size=1.2, face_color="white",
                border_color="black", border_width=0.2, opacity=0.9,
                canvas_size_limits=_PIXELS, blending="translucent_no_depth", **place,
            )  # fmt: skip
            # The layer that a person works with stays the one.
            self._viewer.layers.selection.active = active
        if selection.picked_in == "disk":
            here = self._layer.data_to_world(selection.voxel)
            self._viewer.dims.set_point(range(3), here)

    def _on_mouse(self, _viewer: Any, event: Any) -> Generator[None, None, None]:
        """Pick the voxel under a click; a drag is the camera's."""
        result, active = self._state.result, self._viewer.layers.selection.active
        # A layer in another mode is being painted or edited.
        editing = active is not None and active.mode != "pan_zoom"
        if event.button != 1 or event.modifiers or editing or self._viewer.dims.ndisplay != 2:
            return
        yield
        if event.type == "mouse_move" or result is None or len(event.position) != 3:
            return
        here = np.asarray(event.position)
        lattice = result.latents
        index = np.rint((here - lattice.origin) / lattice.voxel_size).astype(int)
        if (index >= 0).all() and (index < lattice.shape).all():
            z, y, x = index.tolist()
            self._state.selection.pick_voxel((z, y, x), lattice.read((z, y, x)))
