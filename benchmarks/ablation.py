"""What each part of the tree of the volume brings, on toy cells that no other table uses.

Run `python -m benchmarks.ablation`; add `--quick` for 4 cells of each kind rather than 16.
"""

from __future__ import annotations

import sys

import numpy as np

from napari_hypseg.clustering import cluster
from napari_hypseg.evaluation import evaluate
from napari_hypseg.latents import embed
from napari_hypseg.samples import make_toy
from napari_hypseg.training import train

# A fifth of the default's training; seeds of validation cells.
STEPS, LEARNED, SCORED = 240, range(4), range(80, 96)
# Name, whether the intensities take part, smoothing.
ROWS = (
    ("points alone, not smoothed", False, 0.0),
    ("points alone", False, 1.0),
    ("points and intensities, not smoothed", True, 0.0),
    ("points and intensities, and texture: the default", True, 1.0),
)


def main() -> None:
    """Print a Markdown table for each kind of cell."""
    seeds = SCORED[:4] if "--quick" in sys.argv else SCORED
    for kind in ("regular", "irregular", "texture"):
        model = train([make_toy(kind, seed=s).volume for s in LEARNED], steps=STEPS)
        cells = [make_toy(kind, seed=s) for s in seeds]
        mapped = [(cell, embed(model, cell.volume)) for cell in cells]
        print(
            f"\n{kind}, {len(cells)} cells\n\n| tree of the volume | level 1 | level 2 | level 3 |"
        )
        print("|---|---|---|---|")
        for name, beside, smoothing in ROWS:
            scores = []
            for cell, latents in mapped:
                found = cluster(latents, cell.volume if beside else None, smoothing=smoothing)
                pairs = zip((2, 4, 8), cell.levels, strict=True)
                scores.append([evaluate(found.labels(k), t).mean_dice for k, t in pairs])
            mean, error = np.mean(scores, 0), np.std(scores, 0, ddof=1) / np.sqrt(len(scores))
            levels = " | ".join(f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True))
            print(f"| {name} | {levels} |", flush=True)


if __name__ == "__main__":
    main()
