"""The package as a whole: what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_PROBE = """
import sys, time
start = time.perf_counter()
import napari_hypseg
seconds = time.perf_counter() - start
import json
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.fixture(scope="module")
def imported() -> tuple[float, set[str]]:
    """Seconds of the fastest of three imports in fresh interpreters, and what came along."""
    runs = []
    for _ in range(3):
        out = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True
        )
        seconds, names = json.loads(out.stdout)
        runs.append((seconds, set(names)))
    return min(runs, key=lambda run: run[0])


def test_importing_is_quick(imported):
    assert imported[0] < 0.3


def test_importing_loads_nothing_heavy(imported):
    heavy = {
        *("torch", "geoopt", "numba", "scipy", "sklearn", "skimage", "zarr", "h5py", "tifffile"),
        *("napari", "qtpy", "magicgui", "PyQt6", "PySide6", "PyQt5", "vispy", "superqt"),
        *("mrcfile", "nibabel", "safetensors", "fsspec", "typer", "rich"),
    }
    assert not imported[1] & heavy
