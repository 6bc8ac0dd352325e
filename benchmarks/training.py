"""Training: anchors a second of the default and of CIHS's stack."""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Row, take_turns
from napari_hypseg.jobs import finish
from napari_hypseg.model import get_preset
from napari_hypseg.training import select_device
from napari_hypseg.training.features import FeaturePool, pool_features_job
from napari_hypseg.training.patches import VoxelPool
from napari_hypseg.training.state import TrainingState
from napari_hypseg.volumes import Volume, fit_normalization


def run(quick: bool) -> list[Row]:
    device = select_device("auto")
    voxels = np.random.default_rng(0).normal(size=(100, 100, 100)).astype(np.float32)
    candidates = {}
    for name, steps in (("cihs", 1), ("default", 10)):
        preset = get_preset(name)
        state = TrainingState(preset.model, preset.training, 0, device)
        pool: VoxelPool | FeaturePool
        if name == "default":
            volume = Volume(voxels)
            pool = finish(pool_features_job([(volume, fit_normalization(volume))], device, 0))
        else:
            pool = VoxelPool([(voxels, np.zeros(voxels.shape, bool))], preset.training, device)

        def advance(state=state, pool=pool, steps=steps) -> None:
            for _ in range(steps):
                state.advance(pool)

        label = {"cihs": "CIHS's stack and settings", "default": "default"}[name]
        candidates[label] = (advance, steps * preset.training.batch_size)
    return take_turns("training, anchors", candidates, "a second", 2 if quick else 7)
