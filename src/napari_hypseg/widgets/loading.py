"""Loading what takes seconds to load, while the window stays alive."""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_hypseg.widgets.settings import read_settings

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Choices", "find_choices", "load_torch"]

# Seconds that a thread may run while others wait.
_TURN = 0.0005


@dataclass(frozen=True)
class Choices:
    """What can be chosen for a training.

    Attributes
    ----------
    steps : dict of str to int
        Presets, and how many steps each was tried with.
    devices : dict of str to str
        Devices, and what a person reads.
    device : str
        The one that the settings ask for.
    """

    steps: dict[str, int]
    devices: dict[str, str]
    device: str


def load_torch() -> ModuleType:
    """PyTorch, loaded in a thread without holding the others up.

    Python loads a library of compiled code in one go, and no other thread runs meanwhile: of
    PyTorch's that is a fifth of a second. A foreign function leaves the others running, so it is
    loaded by one first, and ``import`` finds it there.
    """
    found = importlib.util.find_spec("torch") if "torch" not in sys.modules else None
    # Without a place of its own nothing is opened: never what lies in the current folder.
    if found is not None and found.origin and os.name == "posix":
        folder = Path(found.origin).parent
        load = ctypes.CDLL(None).dlopen
        load.argtypes, load.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        for path in folder.glob("lib/libtorch_python.*"):
            load(os.fsencode(path), os.RTLD_NOW)
    return importlib.import_module("torch")


def find_choices() -> Choices:
    """Load what the steps need later, and say what can be chosen.

    Python looks for garbage among all that is loaded again and again, a fifth of a second each
    time, and nothing else can run then. So it does not meanwhile; nor later among what is there
    at the end, until somebody calls `gc.unfreeze`. And the window waits for its turn each time
    that Qt has let others run: turns are short meanwhile.
    """
    collects, turn = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(_TURN)
    try:
        return _find_choices()
    finally:
        sys.setswitchinterval(turn)
        gc.freeze()
        if collects:
            gc.enable()


def _find_choices() -> Choices:
    asked = read_settings().device
    torch = load_torch()
    from napari_hypseg.model.gyroplane import load_geoopt

    # The first optimiser brings PyTorch's compiler along.
    load_geoopt().optim.RiemannianAdam([torch.zeros(1)])
    importlib.import_module("napari_hypseg.session")
    # napari's first labels layer needs these: for it the window would stand still.
    for name in ("pandas", "skimage.color"):
        importlib.import_module(name)
    importlib.import_module("vispy.visuals.line.dash_atlas").DashAtlas()

    from napari_hypseg.model.config import PRESETS
    from napari_hypseg.training import select_device

    devices = {"auto": f"best there is ({select_device('auto').type})", "cpu": "processor (cpu)"}
    for index in range(torch.cuda.device_count()):
        free, _ = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        devices[f"cuda:{index}"] = f"{name}, {free / 1e9:.0f} GB free (cuda:{index})"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU (mps)"
    # Of several GPUs the first.
    device = next((name for name in devices if name.split(":")[0] == asked), "auto")
    return Choices({name: p.training.steps for name, p in PRESETS.items()}, devices, device)
