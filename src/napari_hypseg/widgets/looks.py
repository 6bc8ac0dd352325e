"""What a window shows (slice, camera, disk): kept in the session, and shown again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["camera_of", "look_of", "show_look"]

# Beyond these a number is no place that a person has looked at.
_FARTHEST = 1e12


def camera_of(viewer: Any) -> Any:
    """The camera: since napari 0.9 it belongs to the scene."""
    return getattr(viewer, "scene", viewer).camera


def look_of(viewer: Any) -> dict[str, Any]:
    """Where a person looks, as JSON values."""
    camera = camera_of(viewer)
    return {
        "point": [float(v) for v in viewer.dims.point],
        "order": [int(v) for v in viewer.dims.order],
        "displayed": int(viewer.dims.ndisplay),
        "center": [float(v) for v in camera.center],
        "zoom": float(camera.zoom),
        "angles": [float(v) for v in camera.angles],
    }


def show_look(viewer: Any, look: Mapping[str, Any]) -> None:
    """Show again what `look_of` has told; what makes no sense there is passed over.

    Parameters
    ----------
    viewer : napari.Viewer
    look : mapping
        Of a file that anybody may have written.
    """
    dims, camera = viewer.dims, camera_of(viewer)
    if look.get("displayed") in (2, 3) and isinstance(look["displayed"], int):
        dims.ndisplay = look["displayed"]
    order = look.get("order")
    if isinstance(order, list) and sorted(map(repr, order)) == [repr(i) for i in range(dims.ndim)]:
        dims.order = tuple(order)
    point = _numbers(look.get("point"), dims.ndim)
    if point is not None:
        dims.set_point(range(dims.ndim), point)
    center, angles = _numbers(look.get("center"), 3), _numbers(look.get("angles"), 3)
    if center is not None:
        camera.center = center
    if angles is not None:
        camera.angles = angles
    zoom = _numbers([look.get("zoom")], 1)
    if zoom is not None and zoom[0] > 1 / _FARTHEST:
        camera.zoom = zoom[0]


def _numbers(values: Any, count: int) -> list[float] | None:
    """So many finite numbers of a size that makes sense, or None."""
    if not isinstance(values, list) or len(values) != count:
        return None
    return [float(v) for v in values] if all(map(_is_place, values)) else None


def _is_place(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _FARTHEST
