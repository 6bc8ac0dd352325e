"""The plugin's settings, of napari's Preferences."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Settings", "read_settings"]

# napari makes the settings of all plugins when they are first asked for, and not all at once.
_ONE = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """What a person has set under Preferences > Hyperbolic segmentation.

    Attributes
    ----------
    device : str
        "auto", or where to compute: "cpu", "cuda", "mps".
    threads : int
        Processors to use; 0 leaves one for the window.
    folder : Path or None
        Where new sessions are kept; None keeps them beside their tomograms.
    """

    device: str = "auto"
    threads: int = 0
    folder: Path | None = None


def read_settings() -> Settings:
    """The settings as they are now; the defaults in a napari before 0.9, which has none."""
    try:
        from napari.settings import get_plugin_settings

        with _ONE:
            found = get_plugin_settings("napari-hypseg")
    # Or the plugin is used as a library, without being installed in this napari.
    except (ImportError, KeyError):
        return Settings()
    folder = found.results.folder.strip()
    return Settings(
        found.computing.device,
        found.computing.threads,
        Path(folder).expanduser() if folder else None,
    )
