"""Loading what takes seconds to load, while the window stays alive."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass

from qtpy.QtCore import QObject, Signal

from napari_hypseg.widgets.settings import read_settings
from napari_hypseg.widgets.threads import run_in_thread

__all__ = ["LOADING", "Choices", "Loader"]

#: What a person reads meanwhile.
LOADING = "Loading PyTorch: it takes a few seconds"

# What the steps, and napari's first labels layer, need.
_NEEDED = ("torch", "napari_hypseg.session", "pandas", "skimage.color")


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


class Loader(QObject):
    """Loads PyTorch and the rest in a thread.

    Attributes
    ----------
    choices : Choices or None
        None until all is loaded.
    problem : str
        Why it can't be; empty as long as it may.
    changed : Signal
        Either of them has.
    """

    changed = Signal()
    _done = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.choices: Choices | None = None
        self.problem = ""
        self._has_begun = self._is_wanted = False
        self._done.connect(self._on_done)

    def begin(self) -> None:
        """Begin to load, once."""
        if not self._has_begun:
            self._has_begun = self._is_wanted = True
            self._thread = run_in_thread(self._load, self.stop)

    def stop(self) -> None:
        """Load no further library; what is being loaded is loaded to its end."""
        self._is_wanted = False

    def _load(self) -> None:
        found: Choices | Exception | None = None
        try:
            for name in _NEEDED:
                if not self._is_wanted:
                    return
                importlib.import_module(name)
            if self._is_wanted:
                found = _find_choices()
        # Of any kind: a library that doesn't fit this machine raises what it likes.
        except Exception as error:
            found = error
        if self._is_wanted:
            self._done.emit(found)

    def _on_done(self, found: Choices | Exception) -> None:
        self._thread.join()
        if isinstance(found, Choices):
            self.choices = found
        else:
            self.problem = f"PyTorch can't be loaded: {found}"
        if self._is_wanted:
            self.changed.emit()


def _find_choices() -> Choices:
    torch = sys.modules["torch"]
    from napari_hypseg.model.config import PRESETS
    from napari_hypseg.model.gyroplane import load_geoopt
    from napari_hypseg.training import select_device

    # The first optimiser brings PyTorch's compiler along.
    load_geoopt().optim.RiemannianAdam([torch.zeros(1)])
    devices = {"auto": f"best there is ({select_device('auto').type})", "cpu": "processor (cpu)"}
    for index in range(torch.cuda.device_count()):
        free, _ = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        devices[f"cuda:{index}"] = f"{name}, {free / 1e9:.0f} GB free (cuda:{index})"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU (mps)"
    asked = read_settings().device
    # Of several GPUs the first.
    device = next((name for name in devices if name.split(":")[0] == asked), "auto")
    return Choices({name: p.training.steps for name, p in PRESETS.items()}, devices, device)
