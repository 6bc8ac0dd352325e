"""What tests of the windows need: napari, Qt and a display; without them they are skipped."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest


def need_gui() -> None:
    """Skip the module that calls this where no window can be opened, and say why."""
    for name, what in (("napari", "napari"), ("pytestqt", "pytest-qt")):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{what} is not installed", allow_module_level=True)
    if not any(importlib.util.find_spec(name) for name in ("PyQt6", "PySide6")):
        pytest.skip("neither PyQt6 nor PySide6 is installed", allow_module_level=True)
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        pytest.skip("no display: install xvfb and pytest-xvfb", allow_module_level=True)
