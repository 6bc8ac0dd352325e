"""The two label layers of a session: found again in the viewer, laid on its image, coloured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import CyclicLabelColormap

from napari_hypseg.widgets.layers import MADE_KEY, place_on

if TYPE_CHECKING:
    from napari_hypseg.volumes import Volume
    from napari_hypseg.widgets.desk import Desk

__all__ = ["Kind", "colour", "find_layer", "is_made", "put_layer", "remove_layer", "value_under"]

Kind = Literal["proposals", "classes"]
# In the metadata of such a layer: which one it is, and the folder of its session.
_KIND, _FOLDER = "napari_hypseg.labels", "napari_hypseg.folder"


def find_layer(viewer: Any, kind: Kind) -> Any:
    """The layer of a kind, of which a viewer has one at most; None if there is none."""
    return next((each for each in viewer.layers if each.metadata.get(_KIND) == kind), None)


def is_made(layer: Any) -> bool:
    """Whether a layer is one of the two."""
    return _KIND in layer.metadata


def remove_layer(viewer: Any, kind: Kind) -> None:
    """Take the layer of a kind away, if there is one."""
    layer = find_layer(viewer, kind)
    if layer is not None:
        viewer.layers.remove(layer)


def put_layer(desk: Desk, kind: Kind, data: npt.NDArray[np.uint8], lattice: Volume) -> Any:
    """The layer of a kind with these voxels, where a lattice lies; made if there is none."""
    viewer, session = desk.viewer, desk.session
    assert session is not None  # noqa: S101
    place, name = place_on(desk.layer, lattice), f"{session.volume.name} {kind}"
    layer, folder = find_layer(viewer, kind), str(session.folder)
    if layer is None:
        active, other = viewer.layers.selection.active, find_layer(viewer, "classes")
        made = {MADE_KEY: True, _KIND: kind, _FOLDER: folder}
        layer = viewer.add_labels(data, name=name, opacity=0.6, metadata=made, **place)
        if other is not None:
            # A person's own work lies on top.
            viewer.layers.move(viewer.layers.index(layer), viewer.layers.index(other))
        if active is not None:
            # The layer that a person works with stays the one.
            viewer.layers.selection.active = active
        return layer
    if layer.data is not data:
        layer.data = data
    for key, value in place.items():
        setattr(layer, key, value)
    if layer.metadata[_FOLDER] != folder:
        layer.name, layer.metadata[_FOLDER] = name, folder
    return layer


def colour(layer: Any, table: npt.NDArray[np.float32]) -> None:
    """Colour the values of a layer.

    Parameters
    ----------
    layer : napari.layers.Labels
    table : array, shape (256, 4)
        RGBA of each value, 0 to 1.
    """
    # A new colour map announces a new selected label, which nobody has selected. One colour
    # for each byte: a DirectLabelColormap takes napari 30 ms each time, and seconds at first.
    with layer.events.selected_label.blocker():
        layer.colormap = CyclicLabelColormap(
            colors=table, use_selection=layer.show_selected_label, selection=layer.selected_label
        )


def value_under(layer: Any, event: Any) -> int:
    """The value that a mouse event is over, in two dimensions or three; 0 if there is none."""
    if layer is None or not layer.visible:
        return 0
    value = layer.get_value(
        event.position, view_direction=event.view_direction,
        dims_displayed=event.dims_displayed, world=True,
    )  # fmt: skip
    return int(value or 0)
