"""What the microscope makes of a specimen: a tilt series, and the tomogram computed from it.

The specimen turns about y. Lengths in the plane of a projection are in pixels as large as a voxel;
what lies in the volume at (z, x) from its middle is seen at x cos(angle) + z sin(angle) from the
middle of the projection. A volume is projected, and a series projected back, by one and the same
sparse matrix for each angle, over twice as many positions as there are pixels: so fine, linear
interpolation costs hardly any contrast at the highest frequencies. All of it gives the same
numbers with any number of threads.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

__all__ = [
    "add_noise",
    "back_project",
    "contrast_transfer",
    "exposure",
    "project",
    "tilt_angles",
    "transfer",
]

# Positions of interpolation for each pixel.
FINE = 2
# Microscope: wavelength of electrons of 300 kV and spherical aberration, in angstrom, and the part
# of the contrast that is amplitude contrast.
WAVELENGTH = 0.0196875
ABERRATION = 2.7e7
AMPLITUDE = 0.1
# How far the specimen moves while it is seen and how badly projections fit each other, together:
# root mean square along each axis, in angstrom.
BLUR = 5.0
# Mean free path of such electrons in ice between two losses of energy, in angstrom.
FREE_PATH = 3000.0
# Of the ramp filter: cycles a pixel where it begins to fall off, and how far it falls.
CUT_OFF, FALL_OFF = 0.35, 0.05


def tilt_angles(limit: float, step: float) -> npt.NDArray[np.float64]:
    """Angles in degrees, ``step`` apart, as many on both sides of 0, none beyond ``limit``.

    Examples
    --------
    >>> tilt_angles(50, 20).tolist()
    [-40.0, -20.0, 0.0, 20.0, 40.0]
    """
    count = math.floor(limit / step + 1e-9)
    return np.arange(-count, count + 1, dtype=np.float64) * step


def project(volume: torch.Tensor, angles: npt.ArrayLike) -> torch.Tensor:
    """Project a volume along its z axis, turned about its y axis.

    Parameters
    ----------
    volume : tensor of float32, shape (z, y, x)
        There is nothing beyond it.
    angles : array-like of float, shape (n,)
        In degrees.

    Returns
    -------
    tensor of float32, shape (n, y, x)
        Sums along the beam.
    """
    depth, height, width = volume.shape
    columns = volume.permute(0, 2, 1).reshape(depth * width, height).contiguous()
    seen = [
        torch.sparse.mm(_footprints(angle, depth, width, width), columns).T
        for angle in np.atleast_1d(angles)
    ]
    # Twice as many positions become pixels again without what pixels can't hold.
    waves = torch.fft.rfft(torch.stack(seen))[..., : width // 2 + 1]
    projections: torch.Tensor = torch.fft.irfft(waves, n=width)
    return projections


def back_project(
    series: torch.Tensor, angles: npt.ArrayLike, shape: tuple[int, int]
) -> torch.Tensor:
    """Weighted back-projection: projections, sharpened by a ramp, smeared along their beams.

    The ramp falls off smoothly beyond 0.35 cycles a pixel.

    Parameters
    ----------
    series : tensor of float32, shape (n, y, x)
        The projections.
    angles : array-like of float, shape (n,)
        In degrees, evenly spaced.
    shape : tuple of int
        Voxels along z and x of what is wanted; its middle is the middle of the projections.

    Returns
    -------
    tensor of float32, shape (z, y, x)
        In the units of the volume that was projected, if all angles of a half circle are there.

    References
    ----------
    Radermacher, "Weighted back-projection methods", in Electron Tomography, 2nd ed., 2006.
    """
    depth, width = shape
    degrees = np.atleast_1d(angles)
    step = math.radians(degrees[1] - degrees[0])
    pixels = series.shape[2]
    frequency = torch.fft.rfftfreq(pixels)
    ramp = frequency * torch.exp(-0.5 * ((frequency - CUT_OFF).clamp(min=0) / FALL_OFF) ** 2)
    filtered = torch.fft.irfft(torch.fft.rfft(series) * ramp, n=FINE * pixels) * FINE * step
    volume = torch.zeros(depth * width, series.shape[1])
    for angle, one in zip(degrees, filtered, strict=True):
        spread = _footprints(angle, depth, width, pixels).T
        volume += torch.sparse.mm(spread, one.T.contiguous())
    return volume.reshape(depth, width, -1).permute(0, 2, 1).contiguous()


def _footprints(angle: float, depth: int, width: int, pixels: int) -> torch.Tensor:
    """Where voxels are seen: a sparse matrix, shape (FINE * pixels, depth * width)."""
    z = torch.arange(depth, dtype=torch.float64)[:, None] - (depth - 1) / 2
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    turn = math.radians(angle)
    place = FINE * (x * math.cos(turn) + z * math.sin(turn) + (pixels - 1) / 2)
    place = place.reshape(-1)
    low = place.floor()
    beyond = place - low
    rows = torch.cat([low, low + 1]).long()
    columns = torch.arange(depth * width).repeat(2)
    values = torch.cat([1 - beyond, beyond]).float()
    inside = (rows >= 0) & (rows < FINE * pixels)
    return torch.sparse_coo_tensor(
        torch.stack([rows, columns])[:, inside],
        values[inside],
        (FINE * pixels, depth * width),
        check_invariants=False,
    )


def contrast_transfer(frequency: torch.Tensor, defocus: float) -> torch.Tensor:
    """The contrast transfer function at 300 kV; negative where protein is dark.

    Parameters
    ----------
    frequency : tensor
        In 1 / angstrom.
    defocus : float
        In micrometres under focus.

    References
    ----------
    Rohou and Grigorieff, "CTFFIND4", J. Struct. Biol. 192, 2015, equations 1 to 5.
    """
    square = frequency.double() ** 2
    phase = math.pi * WAVELENGTH * square * (1e4 * defocus)
    phase -= math.pi / 2 * ABERRATION * WAVELENGTH**3 * square**2
    return -torch.sin(phase + math.asin(AMPLITUDE)).to(frequency.dtype)


def exposure(angles: npt.ArrayLike, dose: float) -> npt.NDArray[np.float64]:
    """Electrons that had passed when half of each projection was taken, per square angstrom.

    The series begins untilted and goes on by turns to one side and the other (dose-symmetric).

    Parameters
    ----------
    angles : array-like, shape (n,)
        In degrees.
    dose : float
        Electrons per square angstrom in all projections together, the same in each.

    Examples
    --------
    >>> exposure([-3, 0, 3], 30.0).tolist()
    [25.0, 5.0, 15.0]
    """
    degrees = np.atleast_1d(angles)
    order = np.lexsort((-degrees, np.abs(degrees)))
    passed = np.empty(len(degrees))
    passed[order] = (np.arange(len(degrees)) + 0.5) * dose / len(degrees)
    return passed


def transfer(
    series: torch.Tensor,
    voxel_size: float,
    *,
    defocus: float,
    exposures: npt.ArrayLike,
) -> torch.Tensor:
    """Projections as the microscope shows them without noise, phases flipped and protein bright.

    All of a projection has the same defocus, as if each strip of a tilted one had been corrected
    with its own. What earlier exposures destroyed is missing, the finer the more.

    Parameters
    ----------
    series : tensor of float32, shape (n, y, x)
        Sums along the beam.
    voxel_size : float
        Size of a pixel in angstrom.
    defocus : float
        In micrometres under focus.
    exposures : array-like of float, shape (n,)
        Electrons per square angstrom that each projection's specimen had seen.

    References
    ----------
    Grant and Grigorieff, eLife 4:e06980, 2015, equations 3 and 5: the damage.
    """
    height, width = series.shape[1:]
    y = torch.fft.fftfreq(height, voxel_size)[:, None]
    frequency = torch.hypot(y, torch.fft.rfftfreq(width, voxel_size))
    shown_by = contrast_transfer(frequency, defocus).abs()
    shown_by *= torch.exp(-2 * (math.pi * BLUR * frequency) ** 2)
    critical = 0.24499 * frequency.clamp(min=1e-6) ** -1.6649 + 2.8141
    shown = [
        torch.fft.irfft2(
            torch.fft.rfft2(one) * shown_by * torch.exp(-float(seen) / (2 * critical)),
            s=(height, width),
        )
        for one, seen in zip(series, np.atleast_1d(exposures), strict=True)
    ]
    return torch.stack(shown)


def add_noise(
    series: torch.Tensor,
    angles: npt.ArrayLike,
    snr: float,
    rng: np.random.Generator,
    *,
    signal: float,
    thickness: float,
) -> torch.Tensor:
    """Add the noise of counting electrons, normal and white.

    Each projection gets the same dose, but the thicker the specimen is along the beam, the fewer
    electrons come through without loss.

    Parameters
    ----------
    series : tensor of float32, shape (n, y, x)
        What would be seen without noise.
    angles : array-like of float, shape (n,)
        In degrees.
    snr : float
        Variance of the signal over that of the noise in an untilted projection.
    rng : numpy.random.Generator
        Where chance comes from.
    signal : float
        Variance of the signal.
    thickness : float
        Of the untilted specimen, in angstrom.
    """
    longer = 1 / np.cos(np.radians(np.atleast_1d(angles))) - 1
    deviation = np.sqrt(signal / snr * np.exp(thickness / FREE_PATH * longer))
    noise = rng.standard_normal(tuple(series.shape), dtype=np.float32)
    return series + torch.from_numpy(noise * deviation.astype(np.float32)[:, None, None])
