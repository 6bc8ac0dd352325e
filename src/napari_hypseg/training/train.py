"""The training loop, as a job that can be stopped, checkpointed and resumed."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.model.config import ModelConfig, Preset, TrainingConfig, get_preset
from napari_hypseg.model.files import GENERAL, Model, ModelError, load_model
from napari_hypseg.model.mismatch import traits
from napari_hypseg.training.devices import select_device
from napari_hypseg.training.features import FeaturePool, pool_features_job
from napari_hypseg.training.patches import Piece, VoxelPool, largest_anchor
from napari_hypseg.training.state import TrainingState
from napari_hypseg.volumes.normalize import Normalization, fit_normalization_job
from napari_hypseg.volumes.volume import Volume, VolumeError, slabs

__all__ = ["is_trained_so", "train", "train_job"]

# Seconds between checkpoints, and between reports.
_CHECKPOINT_EVERY = 15.0
_REPORT_EVERY = 0.1
# Seconds between glimpses of what the network makes of a few patches.
_GLIMPSE_EVERY = 2.0
# Voxels kept on the device (1 GB); larger volumes are trained on a random part, in bricks.
_MOST_VOXELS = 1 << 28
_BRICK = 128
# Voxels read between two reports.
_AT_ONCE = 1 << 22


def train(
    volumes: Volume | Sequence[Volume],
    *,
    preset: str | Preset = "default",
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    start: Model | None = None,
) -> Model:
    """Train a model on one or more volumes, without labels.

    Parameters
    ----------
    volumes : Volume or sequence of Volume
        What to learn from; patches are drawn from each in proportion to its size.
    preset : str or Preset
        What to train and how; see `napari_hypseg.model.PRESETS`.
    steps : int, optional
        Optimiser steps; the preset's number without it.
    seed : int
        The same seed gives the same model on the same machine with as many threads; their number
        is in the model's record.
    device : str
        "auto" (CUDA, else Apple's MPS, else the CPU), or a name that PyTorch knows.
    start : Model, optional
        A trained model to go on from, for ``steps`` more; its architecture and objective count,
        not the preset's.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is no volume or one is too small, or the preset or device is unknown.
    TrainingError
        If the loss stops being finite again and again, at ever lower learning rates.

    Examples
    --------
    >>> import napari_hypseg as hs
    >>> model = hs.train(hs.make_toy("regular").volume, steps=2)
    >>> model.preset
    'default'
    """
    return finish(
        train_job(volumes, preset=preset, steps=steps, seed=seed, device=device, start=start)
    )


def train_job(
    volumes: Volume | Sequence[Volume],
    *,
    preset: str | Preset = "default",
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    checkpoint: Path | None = None,
    start: Model | None = None,
) -> Job[Model]:
    """The generator twin of `train`.

    Parameters
    ----------
    checkpoint : path, optional
        File to keep the state of the training in. If it is there already and belongs to the same
        training, that goes on from it and ends in the same model as without a break. A file of
        another training is replaced, a damaged one too, with a warning. A job that is closed
        before its end leaves its state there: `model_so_far` makes a model of it.

    Yields
    ------
    Progress
        Now and then with a `Glimpse` as ``partial``.
    """
    single = isinstance(volumes, Volume | np.ndarray)
    volumes = [volumes] if single else list(volumes)  # type: ignore[list-item, arg-type]
    name, chosen, config, start = _settle(preset, steps, start)
    if not volumes:
        raise ValueError("training needs at least 1 volume")
    for volume in volumes:
        if not isinstance(volume, Volume):
            raise TypeError(
                f"training needs a Volume, or several, not {type(volume).__name__}: make one of an "
                "array by Volume(array, voxel_size)"
            )
    if chosen.encoder != "scales":
        for volume in volumes:
            try:
                largest_anchor(volume.shape, config)
            except ValueError as error:
                raise VolumeError(f"{volume.name}: {error}") from None
    target = select_device(device)

    normalizations: list[Normalization] = []
    fits: list[dict[str, Any]] = []
    for volume in volumes:
        fit = yield from fit_normalization_job(volume)
        described = {"name": volume.name, "fingerprint": (yield from volume.fingerprint_job())}
        learned = {"shape": list(volume.shape), **traits(volume, fit), **fit.to_dict()}
        fits.append({**described, **learned})
        normalizations.append(fit)
    state = TrainingState(chosen, config, seed, target, start)
    if checkpoint is not None and checkpoint.exists():
        try:
            state.restore(checkpoint, fits)
        except ModelError as error:
            warnings.warn(f"{error}; the training begins anew", stacklevel=2)
            state = TrainingState(chosen, config, seed, target, start)
    pool: VoxelPool | FeaturePool | None = None
    if state.step < config.steps and chosen.encoder == "scales":
        pool = yield from pool_features_job(
            list(zip(volumes, normalizations, strict=True)), target, seed
        )
    elif state.step < config.steps:
        pieces: list[Piece] = []
        for volume, fit in zip(volumes, normalizations, strict=True):
            pieces += yield from _load_job(volume, fit, _MOST_VOXELS // len(volumes), seed)
        pool = VoxelPool(pieces, config, target)
        del pieces
    began = reported = saved = time.monotonic()
    glimpsed = -math.inf
    yield Progress("training", state.step, config.steps)
    try:
        while pool is not None and state.step < config.steps:
            state.advance(pool)
            now = time.monotonic()
            if checkpoint is not None and now - saved >= _CHECKPOINT_EVERY:
                state.save(checkpoint, fits, name)
                saved = now
            if now - reported >= _REPORT_EVERY or state.step == config.steps:
                glimpse = None
                if now - glimpsed >= _GLIMPSE_EVERY:
                    glimpse, glimpsed = state.glimpse(pool), now
                yield Progress("training", state.step, config.steps, state.latest, glimpse)
                reported = time.monotonic()
    except GeneratorExit:
        # Whoever stops a training has seen enough, or goes on later: nothing is lost.
        if checkpoint is not None and state.step:
            state.save(checkpoint, fits, name)
        raise

    summary = {
        "settings": config.to_dict(),
        "seed": seed,
        "start": None if start is None else start.fingerprint(),
        "volumes": fits,
        "device": str(target),
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - began, 3),
        "loss": state.history,
        # As it ended: less than asked for where the device's memory was too small.
        "batch_size": state.batch_size,
        "rollbacks": state.rollbacks,
    }
    return Model(state.network.cpu().eval(), name, summary)


def is_trained_so(
    model: Model,
    volumes: Sequence[Volume],
    *,
    preset: str | Preset = "default",
    steps: int | None = None,
    seed: int = 0,
    start: Model | None = None,
) -> bool:
    """Whether `train` with these arguments would give this model again."""
    _, chosen, config, start = _settle(preset, steps, start)
    return (
        model.config == chosen
        and model.training.get("start") == (None if start is None else start.fingerprint())
        and model.training.get("settings") == config.to_dict()
        and model.training.get("seed") == seed
        and "stopped" not in model.training
        and [v["fingerprint"] for v in model.training.get("volumes", [])]
        == [v.fingerprint() for v in volumes]
    )


def _settle(
    preset: str | Preset, steps: int | None, start: Model | None
) -> tuple[str, ModelConfig, TrainingConfig, Model | None]:
    """Name, architecture, training settings and first weights that arguments stand for."""
    if start is not None:
        name, model = start.preset, start.config
        config = TrainingConfig.from_dict(start.training["settings"])
    else:
        chosen = get_preset(preset) if isinstance(preset, str) else preset
        name = preset if isinstance(preset, str) else "custom"
        model, config = chosen.model, chosen.training
    if steps is not None:
        config = replace(config, steps=steps)
    least = 0 if config.pretrained else 1
    if config.steps < least:
        steps_at_least = "1 step" if least else "0 steps"
        raise ValueError(f"training needs at least {steps_at_least}, not {config.steps}")
    if start is None and config.pretrained:
        start = load_model(GENERAL)
    return name, model, config, start


def _load_job(volume: Volume, fit: Normalization, most: int, seed: int) -> Job[list[Piece]]:
    """What to train on: all of a volume, or random bricks of one beyond ``most`` voxels."""
    if math.prod(volume.shape) <= most:
        voxels, outside = np.empty(volume.shape, np.float32), np.empty(volume.shape, np.bool_)
        for box in slabs(volume.shape, _AT_ONCE):
            yield Progress("reading the volume", box[0].start, volume.shape[0])
            voxels[box], outside[box] = fit.look(volume, box)
        return [(voxels, outside)]
    sides = [min(_BRICK, n) for n in volume.shape]
    starts = (range(0, n - side + 1, side) for n, side in zip(volume.shape, sides, strict=True))
    corners = list(itertools.product(*starts))
    order = np.random.default_rng(seed).permutation(len(corners))
    pieces: list[Piece] = []
    for index in (chosen := sorted(order[: max(1, most // math.prod(sides))])):
        yield Progress("reading the volume", len(pieces), len(chosen))
        z, y, x = (slice(c, c + side) for c, side in zip(corners[index], sides, strict=True))
        pieces.append(fit.look(volume, (z, y, x)))
    # Of padding alone nothing can be learned.
    return [piece for piece in pieces if not piece[1].all()] or pieces
