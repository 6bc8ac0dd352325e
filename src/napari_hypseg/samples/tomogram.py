"""A made tomogram of a cell: drawn, seen at many angles through a microscope, and reconstructed."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.samples.canvas import Canvas
from napari_hypseg.samples.cell import CLASSES, paint
from napari_hypseg.samples.tilt_series import (
    add_noise,
    back_project,
    exposure,
    project,
    tilt_angles,
    transfer,
)
from napari_hypseg.volumes import Volume
from napari_hypseg.volumes.atomic import replacing

__all__ = ["Tomogram", "make_tomogram"]

Labels = npt.NDArray[np.uint8]

# Class at level 3 to class at level 2: outside, cytosol, membrane, lumen, matrix, filament,
# complex.
LEVEL_2 = np.array([0, 1, 2, 2, 3, 2, 4, 5, 5, 6, 6, 6], np.uint8)
# Pixels beyond the field of view along y, so that what the microscope spreads has somewhere to go.
MARGIN = 16


@dataclass(frozen=True, eq=False)
class Tomogram:
    """A made tomogram and its truth.

    Attributes
    ----------
    volume : Volume
        The voxels, float32, mean 0 and standard deviation 1; protein is bright.
    levels : tuple of three ndarray of uint8, shape (z, y, x)
        The truth, coarse to fine. Level 1: 0 outside, 1 cell. Level 2: 0 outside, 1 cytosol,
        2 membrane, 3 lumen, 4 matrix, 5 filament, 6 complex. Level 3: 0 outside, 1 cytosol,
        2 cell membrane, 3 vesicle membrane, 4 vesicle lumen, 5 mitochondrial membranes with what
        lies between them, 6 mitochondrial matrix, 7 microtubule with its lumen, 8 actin,
        9 ribosome, 10 26S proteasome, 11 TRiC. The crowd of small proteins is cytosol or matrix.
    picks : dict of str to ndarray of int, shape (n, 3)
        For each class of complexes, by name, the voxels (z, y, x) in which their centres lie.
    """

    volume: Volume
    levels: tuple[Labels, Labels, Labels]
    picks: dict[str, npt.NDArray[np.int64]]

    def write_picks(self, path: str | Path) -> None:
        """Write the centres as CSV, a line for each: class, z, y, x, in voxels."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["class", "z", "y", "x"])
        for name, centres in self.picks.items():
            rows.writerows([name, *centre] for centre in centres.tolist())
        with replacing(Path(path)) as fresh:
            fresh.write_text(text.getvalue(), encoding="utf-8")


def make_tomogram(
    shape: tuple[int, int, int] = (128, 256, 256),
    *,
    voxel_size: float = 10.0,
    thickness: float | None = None,
    snr: float = 1.0,
    defocus: float = 4.0,
    tilt_limit: float = 60.0,
    tilt_step: float = 3.0,
    dose: float = 100.0,
    seed: int = 0,
) -> Tomogram:
    """Make a tomogram of a slab through a cell; the same arguments make the same one.

    Membranes of two leaflets, a mitochondrion with cristae, vesicles, microtubules of 13
    protofilaments, actin, ribosomes, proteasomes, TRiC and a crowd of small proteins are drawn in
    the sizes of life; projected at each angle; shown through the contrast transfer function of a
    microscope at 300 kV, phases flipped; made noisy; and put together by weighted back-projection.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x), at least 16 each. Mitochondria need 140 along y and x at 10
        angstrom.
    voxel_size : float
        In angstrom.
    thickness : float, optional
        Of the slab about the middle of the z axis, in angstrom; the whole depth without.
    snr : float
        Variance of the signal over that of the noise in the untilted projection.
    defocus : float
        In micrometres under focus.
    tilt_limit, tilt_step : float
        Projections from -limit to +limit about the y axis, a step apart, in degrees.
    dose : float
        Electrons per square angstrom in the whole series, on which depends how much of the finest
        the later projections have lost.
    seed : int
        Which cell, and which noise.

    Raises
    ------
    ValueError
        If an argument makes no sense.

    Examples
    --------
    >>> tomogram = make_tomogram((32, 48, 64), seed=3)
    >>> tomogram.volume.shape, [int(level.max()) for level in tomogram.levels]
    ((32, 48, 64), [1, 6, 11])
    """
    if len(shape) != 3 or min(shape) < 16:
        raise ValueError(f"a tomogram needs 16 voxels along z, y and x at least, not {shape}")
    depth = shape[0] * voxel_size
    thickness = depth if thickness is None else thickness
    positive = {
        "voxel size": voxel_size, "thickness": thickness, "signal to noise": snr,
        "defocus": defocus, "tilt limit": tilt_limit, "tilt step": tilt_step, "dose": dose,
    }  # fmt: skip
    for name, value in positive.items():
        if not 0 < value < np.inf:
            raise ValueError(f"the {name} of a tomogram must be a positive number, not {value}")
    if tilt_limit >= 90 or tilt_step > tilt_limit:
        raise ValueError(
            "the tilts of a tomogram need a limit below 90 degrees and a step up to it, "
            f"not {tilt_limit} and {tilt_step}"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = Canvas(shape, voxel_size)
    picks = paint(canvas, rng, thickness)

    # A cell has no edges at those of the field of view: it goes on, mirrored. Sums over all voxels
    # are NumPy's: PyTorch's depend on the number of threads.
    density = torch.from_numpy(canvas.density)
    width = shape[2] // 2
    padding = (width, width, MARGIN - 1, MARGIN - 1)
    mean = float(canvas.density.mean(dtype=np.float64))
    specimen = torch.nn.functional.pad(density - mean, padding, mode="reflect")
    angles = tilt_angles(tilt_limit, tilt_step)
    seen = transfer(
        project(specimen, angles), voxel_size, defocus=defocus, exposures=exposure(angles, dose)
    )
    inner = seen[:, MARGIN - 1 : 1 - MARGIN, width:-width]
    signal = float(inner[len(angles) // 2].numpy().var(dtype=np.float64))
    noisy = add_noise(seen, angles, snr, rng, signal=signal, thickness=min(thickness, depth))
    found = back_project(noisy, angles, (shape[0], shape[2]))[:, MARGIN - 1 : 1 - MARGIN]
    voxels = found.numpy().astype(np.float64)
    voxels = ((voxels - voxels.mean()) / voxels.std()).astype(np.float32)

    truth = canvas.truth
    size = float(voxel_size)
    volume = Volume(voxels, (size, size, size), name=f"tomogram-{seed}")
    return Tomogram(
        volume,
        ((truth > 0).astype(np.uint8), LEVEL_2[truth], truth),
        {CLASSES[label]: places for label, places in picks.items()},
    )
