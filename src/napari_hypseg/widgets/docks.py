"""The plugin's docks in a window: each once, whoever opens it."""

from __future__ import annotations

from typing import Any, TypeVar

from qtpy.QtWidgets import QWidget

__all__ = ["open_dock"]

T = TypeVar("T", bound=QWidget)


def open_dock(viewer: Any, kind: type[T], title: str) -> T:
    """The dock of a kind that is in the window, opened if there is none.

    napari knows a dock by one name when it is opened from the menu and by another when
    `Window.add_plugin_dock_widget` opens it, and would open it twice.

    Parameters
    ----------
    viewer : napari.Viewer
    kind : type
        Class of the dock; it takes the viewer.
    title : str
        Its name in the manifest.
    """
    for dock in viewer.window.dock_widgets.values():
        if isinstance(dock, kind):
            return dock
    made: T = kind(viewer)
    # The menu's name: it then shows and hides this one.
    viewer.window.add_dock_widget(made, name=f"{title} (Hyperbolic segmentation)")
    return made
