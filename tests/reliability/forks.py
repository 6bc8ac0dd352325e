"""Runs `hypseg` commands, each in a fork of this process: with all imported, a run starts at once.

A program of its own, started by `conftest.py`. It reads one JSON object a line from standard input:
``argv``, and optionally the fault: ``seconds`` or ``touch`` (kill -9 after so many, or before the
n-th change in the folder ``inside``) or ``file_size`` (no file may grow beyond so many bytes). It
answers with the exit code (minus the signal's number for a killed run), the seconds taken, what was
said, and the changes counted.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from typing import Any

import geoopt.optim  # noqa: F401
import mrcfile.dtypes  # noqa: F401
import rich.progress  # noqa: F401
import torch._dynamo  # noqa: F401
import zarr.codecs  # noqa: F401

import napari_hypseg.cli
import napari_hypseg.latents.total_variation
import napari_hypseg.session.session
import napari_hypseg.training.train
import napari_hypseg.volumes.tiff
from napari_hypseg.model.config import PRESETS, ModelConfig, Preset, TrainingConfig

_CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def _watch(inside: str, kill_at: int, counted: int) -> None:
    """Count the changes in a folder, and be killed just before one of them."""
    count = 0

    def changes(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _CHANGES or not str(arguments[0]).startswith(inside):
            return
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        count += 1
        os.write(counted, b".")
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(changes)


def _run(order: dict[str, Any], said: int, counted: int) -> int:
    os.dup2(said, 1)
    os.dup2(said, 2)
    if "file_size" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"],) * 2)
    if "inside" in order:
        _watch(order["inside"], order.get("touch", 0), counted)
    sys.argv = ["hypseg", *order["argv"]]
    warnings.simplefilter("always")
    try:
        napari_hypseg.cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def main() -> None:
    # Small enough for a run to be all writing; a checkpoint at every step.
    PRESETS["tiny"] = Preset(
        ModelConfig(
            latent_dim=2,
            encoder="stacked",
            grid=2,
            hidden=0,
            channels=(4, 4, 8, 8),
            planes=8,
            patch_size=5,
        ),
        TrainingConfig(batch_size=8, samples=8, min_size=5, max_size=12, learning_rate=3e-3),
    )
    # The room gives its function the module's name.
    sys.modules["napari_hypseg.training.train"]._CHECKPOINT_EVERY = 0.0  # type: ignore[attr-defined]
    for line in sys.stdin:
        order = json.loads(line)
        began = time.monotonic()
        # What is said goes through pipes (their 64 kB are enough): files may have no room.
        (said, into), (counted, counting) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = _run(order, into, counting)
            except BaseException:
                traceback.print_exc()
            else:
                sys.stdout.flush()
            finally:
                os._exit(code)
        os.close(into)
        os.close(counting)
        if "seconds" in order:
            time.sleep(order["seconds"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        taken = time.monotonic() - began
        with os.fdopen(said) as words, os.fdopen(counted) as changes:
            answer = [os.waitstatus_to_exitcode(status), taken, words.read(), len(changes.read())]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
