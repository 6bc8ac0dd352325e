"""While PyTorch is loaded: no garbage is looked for, threads take short turns; then all is back."""

from __future__ import annotations

import gc
import sys

import pytest

from napari_hypseg.widgets import loading


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_set_is_set_again(monkeypatch, fails):
    turn, seen = sys.getswitchinterval(), []

    def look() -> str:
        seen.append((gc.isenabled(), sys.getswitchinterval()))
        if fails:
            raise ImportError("no torch")
        return "choices"

    monkeypatch.setattr(loading, "_find_choices", look)
    try:
        if fails:
            with pytest.raises(ImportError, match="no torch"):
                loading.find_choices()
        else:
            assert loading.find_choices() == "choices"
    finally:
        gc.unfreeze()
    assert seen[0][0] is False
    assert seen[0][1] < turn
    assert (gc.isenabled(), sys.getswitchinterval()) == (True, turn)
