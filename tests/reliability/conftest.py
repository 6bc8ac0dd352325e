"""Faults on order: runs of `hypseg` that are killed, starved or locked out, and their count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from napari_hypseg.samples import make_toy
from napari_hypseg.volumes import write_image

#: How many times the usual number of faults: 1 in CI, more at night.
SCALE = float(os.environ.get("HYPSEG_FAULTS", "1"))


@dataclass
class Ended:
    """A run that has ended: its exit code (below 0: killed by that signal), seconds and words."""

    code: int
    seconds: float
    said: str
    changes: int


class Hypseg:
    """Runs `hypseg` in forks of one process that has everything imported."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).with_name("forks.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def __call__(self, *arguments: object, **fault: Any) -> Ended:
        order = {"argv": [str(a) for a in arguments], **fault}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return Ended(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture(scope="session")
def hypseg() -> Iterator[Hypseg]:
    """`hypseg`, to be called with its arguments and a fault."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    runs = Hypseg()
    yield runs
    runs.close()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy volume, which every user of the machine may read."""
    path = tmp_path_factory.mktemp("toy") / "toy.mrc"
    volume = make_toy("regular", seed=4).volume
    write_image(path, volume.read(), volume)
    return path


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Tell how many faults of a kind a test has injected; the summary adds them up."""

    def tell(what: str, number: int = 1) -> None:
        record_property(f"faults: {what}", number)

    return tell
