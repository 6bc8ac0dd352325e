"""Which modules' examples run: those of the plugin's windows need napari and Qt."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_WIDGETS = Path(__file__).parent / "src" / "napari_hypseg" / "widgets"
_WITHOUT_QT = {"__init__", "files", "layers", "samples", "state"}


def _has_qt() -> bool:
    bindings = [name for name in ("PyQt6", "PySide6") if importlib.util.find_spec(name)]
    return bool(bindings) and importlib.util.find_spec("napari") is not None


collect_ignore = (
    []
    if _has_qt()
    else [str(path) for path in _WIDGETS.glob("*.py") if path.stem not in _WITHOUT_QT]
)
