"""What is picked, in the viewer: the nearest voxels light up; a click on a voxel picks it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.volumes.units import angstroms
from napari_hypseg.widgets.layers import MADE_KEY, place_on

if TYPE_CHECKING:
    from napari_hypseg.session import Proposals
    from napari_hypseg.widgets.desk import Desk

__all__ = ["PickLayer"]

# Least and greatest size of a lit voxel on the screen.
_PIXELS = (6, 60)


class PickLayer:
    """A points layer over the voxels near what is picked, and clicks in the viewer.

    Parameters
    ----------
    desk : Desk
        Whose session's selection is drawn and, by clicks on voxels, changed.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # Of the map on show; in the viewer while something is picked.
        self._layer: Any = None
        desk.session_changed.connect(self._on_map)
        desk.proposals_changed.connect(self._on_map)
        desk.selection_changed.connect(self._on_pick)
        desk.viewer.mouse_drag_callbacks.append(self._on_mouse)
        self._on_map()

    def _on_map(self) -> None:
        """Lie where the map does."""
        self._remove()
        self._layer = None
        session = self._desk.session
        if session is not None and session.proposals is not None:
            # Brings much along: not before there is a map.
            from napari.layers import Points

            self._layer = Points(
                ndim=3, name="near on the disk", size=0.6, face_color="white",
                border_color="black", border_width=0.2, opacity=0.9, canvas_size_limits=_PIXELS,
                blending="translucent_no_depth", metadata={MADE_KEY: True},
                **place_on(self._desk.layer, session.proposals.latents.as_volume()),
            )  # fmt: skip
            self._draw()

    def _remove(self) -> None:
        if self._layer in self._desk.viewer.layers:
            self._desk.viewer.layers.remove(self._layer)

    def _on_pick(self) -> None:
        """Light up what is picked; the slice moves there only from the disk."""
        self._draw()
        session, dims = self._desk.session, self._desk.viewer.dims
        if session is not None and session.selection.changed_by == "disk":
            here = self._layer.data_to_world(session.selection.voxel) / self._units(self._layer)
            dims.set_point(range(dims.ndim - 3, dims.ndim), here)

    def _draw(self) -> None:
        session, viewer = self._desk.session, self._desk.viewer
        selection = None if session is None else session.selection
        if self._layer is None or selection is None or selection.voxel is None:
            self._remove()
            return
        # napari would look through all its layers for another range of its sliders, twice;
        # these voxels lie inside the volume.
        with self._layer.events.data.blocker():
            self._layer.data = selection.voxels
        if self._layer not in viewer.layers:
            active = viewer.layers.selection.active
            viewer.add_layer(self._layer)
            # The layer that a person works with stays the one.
            viewer.layers.selection.active = active

    def _units(self, layer: Any) -> npt.NDArray[np.float64]:
        """The viewer's units of length in those of a layer: napari leaves that to us here."""
        shown = self._desk.viewer.layers.units or layer.units
        pairs = zip(shown[-3:], layer.units[-3:], strict=True)
        return np.array([_angstroms(seen) / _angstroms(own) for seen, own in pairs])

    def _on_mouse(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Pick the voxel under a click; a drag is the camera's."""
        active = viewer.layers.selection.active
        # A layer in another mode is being painted or edited.
        editing = active is not None and active.mode != "pan_zoom"
        if event.button != 1 or event.modifiers or editing or viewer.dims.ndisplay != 2:
            return
        yield
        session = self._desk.session
        if session is None or event.type == "mouse_move" or len(event.position) < 3:
            return
        proposals = session.proposals
        if proposals is None:
            return
        index = self._index_at(proposals, np.array(event.position)[-3:])
        if (index >= 0).all() and (index < proposals.latents.shape).all():
            z, y, x = index.tolist()
            session.selection.pick_voxel((z, y, x), proposals.latents.read((z, y, x)))

    def _index_at(
        self, proposals: Proposals, position: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """The point of the map's lattice nearest to a place in the world, maybe outside."""
        layer = self._desk.layer
        if layer is None:
            found = self._layer.world_to_data(position * self._units(self._layer))
        else:
            # Whichever way it is turned; ours is not before it is in the viewer.
            voxel = layer.world_to_data(position * self._units(layer))[-3:]
            found = (voxel - proposals.in_volume((0, 0, 0))) / proposals.stride
        index: npt.NDArray[np.int64] = np.rint(found).astype(np.int64)
        return index


def _angstroms(unit: Any) -> float:
    """Pixels count as angstrom."""
    return angstroms(str(unit)) or 1.0
