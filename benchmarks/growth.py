"""Peak memory and time of `segment` by the size of the volume, each in a process of its own.

`python -m benchmarks.growth 250 512 512` does one size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.measure import Row
from napari_hypseg.model import GENERAL
from napari_hypseg.samples import make_toy
from napari_hypseg.volumes.volume import Volume
from napari_hypseg.volumes.write import write_image

SIDES = (64, 128, 256, 512)


def made_up(path: Path, shape: tuple[int, ...]) -> None:
    """A toy cell over and over, with noise, written slice by slice."""
    cell = make_toy("cell").volume.read().astype(np.float32)
    rng = np.random.default_rng(0)
    voxels = np.lib.format.open_memmap(
        path.with_suffix(".npy"), mode="w+", dtype=np.float32, shape=shape
    )
    y, x = (np.arange(n) % m for n, m in zip(shape[1:], cell.shape[1:], strict=True))
    for z in range(shape[0]):
        clean = cell[z % len(cell)][np.ix_(y, x)]
        voxels[z] = clean + 0.3 * clean.std() * rng.standard_normal(shape[1:], np.float32)
    write_image(path, voxels, Volume(voxels, (10.0, 10.0, 10.0), name="made up"))
    path.with_suffix(".npy").unlink()


def segment(folder: Path, shape: tuple[int, ...]) -> dict:
    """Run `hypseg segment` on a made up volume with the general model."""
    volume = folder / "made_up.mrc"
    made_up(volume, shape)
    command = [
        sys.executable, "-c", "from napari_hypseg.cli import main; main()",
        "segment", str(volume), "--model", str(GENERAL),
        "--out", str(folder / "out"), "-k", "2:8", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(quick: bool) -> list[Row]:
    rows, sizes, times = [], [], []
    for side in SIDES[: 2 if quick else None]:
        with tempfile.TemporaryDirectory() as folder:
            result = segment(Path(folder), (side,) * 3)
        seconds = result["seconds"]
        sizes.append(float(side**3))
        times.append(sum(seconds.values()))
        table = f"segment, {side} x {side} x {side} voxels"
        rows += [Row(table, stage, spent, "s") for stage, spent in seconds.items()]
        rows.append(Row(table, "peak memory", result["peak_memory_gb"], "GB"))
        # The largest takes an hour or two.
        print(f"{table}: {times[-1]:.0f} s", flush=True)
    power = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    rows.append(Row("growth", "time grows with voxels to the power of", float(power), ""))
    return rows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        found = segment(Path(place), tuple(map(int, sys.argv[1:4])))
        print({**found["seconds"], "peak memory, GB": found["peak_memory_gb"]}, flush=True)
