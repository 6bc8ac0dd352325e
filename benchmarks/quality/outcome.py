"""The outcome that CI holds: small volumes mapped, clustered and scored in a minute.

`python -m benchmarks.quality.outcome --seeds 8` prints mean and spread over seeds, as
`tests/outcome.json` records them. A recorded figure is changed by a commit that says why.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import napari_hypseg as hs
from napari_hypseg.evaluation import contingency, dice_matrix, evaluate

__all__ = ["figures", "volumes"]

Levels = tuple[npt.NDArray[Any], ...]

# Machines round differently, and the tree of things has no seed.
LEAST = 0.03
# As in a denoised tomogram; a clean toy forgives everything.
NOISE = 0.5
KS = range(2, 9)
TREES = ("things", "kinds")
MICROTUBULE = (slice(0, 36), slice(60, 124), slice(0, 94))


def volumes(data: Path) -> Iterator[tuple[str, hs.Volume, Levels]]:
    """Name, volume and truths; real ones only where their folder is."""
    toy = hs.make_toy("regular", seed=300)
    clean = toy.volume.read()
    noise = np.random.default_rng(0).normal(0, NOISE * clean.std(), clean.shape)
    noisy = hs.Volume((clean + noise).astype(np.float32), (10.0,) * 3, (0.0,) * 3, "noisy toy")
    yield "toy", noisy, tuple(toy.levels)
    made = hs.make_tomogram(shape=(32, 96, 96), seed=0)
    yield "tomogram", made.volume, tuple(made.levels)
    folder = data / "microtubule_cryoet"
    if folder.is_dir():
        whole = hs.read_volume(folder / "13pf_MT.mrc")
        truth = hs.read_volume(folder / "13pf_MT_derived_labels.tif").read()
        part = hs.Volume(
            whole.read()[MICROTUBULE], whole.voxel_size, whole.origin, "part of a microtubule"
        )
        yield "microtubule", part, (truth[MICROTUBULE].astype(np.uint8),)


def figures(data: Path, seed: int = 0) -> dict[str, float]:
    """Mean matched Dice of each level at its number of classes; of one target, the best label."""
    found = {}
    for name, volume, levels in volumes(data):
        latents = hs.embed(hs.train(volume, seed=seed), volume)
        for tree in TREES:
            clusters = hs.cluster(latents, volume, tree=tree, seed=seed)  # type: ignore[arg-type]
            found |= {f"{name}, {what}, tree of {tree}": f for what, f in _scores(clusters, levels)}
    return found


def _scores(clusters: hs.TreeClustering, levels: Levels) -> Iterator[tuple[str, float]]:
    if len(levels) == 1:
        tables = [contingency(clusters.labels(k), levels[0]) for k in KS]
        yield "wall", max(float(dice_matrix(table)[:, 1].max()) for table in tables)
        return
    for number, truth in enumerate(levels, 1):
        labels = clusters.labels(len(np.unique(truth)))
        yield f"level {number}", evaluate(labels, truth).mean_dice


def main() -> None:
    """Print mean and spread over seeds."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.outcome", description=__doc__
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=Path(os.pardir, "shared", "data"))
    given = parser.parse_args()
    rows = [figures(given.folder, seed) for seed in range(given.seeds)]
    values = {name: [row[name] for row in rows] for name in rows[0]}
    recorded = {
        name: {
            "mean": round(float(np.mean(found)), 3),
            "spread": round(max(LEAST, 2 * float(np.std(found, ddof=1))), 3),
            "seeds": len(found),
        }
        for name, found in values.items()
    }
    print(json.dumps(recorded, indent=1))


if __name__ == "__main__":
    main()
