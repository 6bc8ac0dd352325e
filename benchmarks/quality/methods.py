"""Who is measured: simple methods without learning, this package, and CIHS."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_tv_chambolle
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

import napari_hypseg as hs
from benchmarks.quality.scale_space import scale_space
from napari_hypseg.volumes import fit_normalization
from papers.methods.hyperbolic import kmeans_of_points, shortened
from papers.methods.intensity import ward
from papers.methods.texture import gabor_amplitudes

__all__ = ["METHODS", "Features", "Labels", "Method", "Run"]

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[Any]

# Clusters are fitted on this many voxels, drawn at random, and all voxels get the nearest.
SAMPLE = 20_000
RESTARTS = 4
# A fifth of the steps in a quick run.
QUICK_SHARE = 5
CIHS_STEPS = 1500


@dataclass(frozen=True)
class Run:
    """One run of a method: its seed, and whether it may learn for a fifth of the steps only."""

    seed: int = 0
    quick: bool = False


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes
    ----------
    name, title : str
        What the command and the tables call it.
    features : callable or None
        ``features(volume, run)``: what it knows of each voxel, shape (z, y, x, c).
    labels : callable or None
        ``labels(volume, features, ks, run)``: labels for each number of classes, without any
        truth. ``features`` are what the callable of that name gave.
    learns : bool
        Whether the seed decides, so that one run says little.
    """

    name: str
    title: str
    features: Callable[[hs.Volume, Run], Features] | None = None
    labels: Callable[[hs.Volume, Features | None, Sequence[int], Run], dict[int, Labels]] | None = (
        None
    )
    learns: bool = False


def normalised(volume: hs.Volume) -> Features:
    """All voxels, clipped and with zero mean and unit variance, shape (z, y, x)."""
    return fit_normalization(volume).apply(volume.read())


def _kmeans(
    _volume: hs.Volume, features: Features | None, ks: Sequence[int], run: Run
) -> dict[int, Labels]:
    assert features is not None
    points = features.reshape(-1, features.shape[-1])
    drawn = points[_drawn(len(points), run.seed)]
    found = {}
    for k in ks:
        means = KMeans(k, n_init=RESTARTS, random_state=run.seed).fit(drawn)
        found[k] = means.predict(points).astype(np.uint8).reshape(features.shape[:-1])
    return found


def _mixture(
    _volume: hs.Volume, features: Features | None, ks: Sequence[int], run: Run
) -> dict[int, Labels]:
    """Ten principal components, then a Gaussian mixture."""
    assert features is not None
    points = features.reshape(-1, features.shape[-1])
    drawn = points[_drawn(len(points), run.seed)]
    components = PCA(10, random_state=run.seed).fit(drawn)
    found, few = {}, components.transform(drawn)
    points = components.transform(points).astype(np.float32)
    for k in ks:
        mixture = GaussianMixture(k, random_state=run.seed, reg_covar=1e-4).fit(few)
        found[k] = mixture.predict(points).astype(np.uint8).reshape(features.shape[:-1])
    return found


def _ward(
    _volume: hs.Volume, features: Features | None, ks: Sequence[int], _run: Run
) -> dict[int, Labels]:
    assert features is not None
    tree = ward(features[..., 0])
    return {k: tree(k) for k in ks}


def _drawn(count: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).choice(count, min(SAMPLE, count), replace=False)


def _intensity(smooth: Callable[[Features], Any] = lambda voxels: voxels) -> Any:
    return lambda volume, _: np.asarray(smooth(normalised(volume)), np.float32)[..., None]


def _gaussian(sigma: float) -> Any:
    return _intensity(lambda voxels: gaussian_filter(voxels, sigma))


def _total_variation(weight: float) -> Any:
    return _intensity(lambda voxels: denoise_tv_chambolle(voxels, weight))  # type: ignore[no-untyped-call]


def _denoised(voxels: Features) -> Features:
    """What Topaz's pretrained 3D U-Net (Bepler et al. 2020), made for 10 angstrom, gives."""
    from topaz.denoising.models import UDenoiseNet3D

    # By its file: topaz-em 0.3.20 does not find it itself. Nothing but weights is read.
    weights = files("topaz") / "pretrained" / "denoise" / "unet-3d-10a-v0.2.4.sav"
    network = UDenoiseNet3D(base_width=7).eval()
    with weights.open("rb") as file:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    with torch.inference_mode():
        denoised: Features = network(torch.from_numpy(voxels)[None, None])[0, 0].numpy()
    return denoised


# The last map and what it is of: both trees rest on the same one.
_last: list[tuple[hs.Volume, Run, str, hs.Latents]] = []


def _mapped(volume: hs.Volume, run: Run, preset: str) -> hs.Latents:
    if not (_last and _last[0][0] is volume and _last[0][1:3] == (run, preset)):
        if preset != "cihs":
            chosen = hs.get_preset(preset)
            steps = chosen.training.steps
        else:
            # With a quarter of the published widths: these take ten times as long.
            chosen, steps = shortened(preset, 2), CIHS_STEPS
        model = hs.train(
            volume, preset=chosen, steps=steps // QUICK_SHARE if run.quick else steps, seed=run.seed
        )
        _last[:] = [(volume, run, preset, hs.embed(model, volume))]
    return _last[0][3]


def _ours(tree: Literal["things", "kinds"]) -> Method:
    def labels(
        volume: hs.Volume, _features: Features | None, ks: Sequence[int], run: Run
    ) -> dict[int, Labels]:
        found = hs.cluster(_mapped(volume, run, "default"), volume, tree=tree, seed=run.seed)
        return {k: found.labels(k) for k in ks}

    return Method(
        f"tree-of-{tree}", f"this package, tree of {tree}",
        lambda volume, run: _mapped(volume, run, "default").read(), labels,
    )  # fmt: skip


def _cihs(
    volume: hs.Volume, _features: Features | None, ks: Sequence[int], run: Run
) -> dict[int, Labels]:
    """The papers' clustering: k-means of the latent points, for each k anew."""
    predict = kmeans_of_points(lambda held: _mapped(held, run, "cihs"), run.seed)
    return {k: predict(volume, k) for k in ks}


_SIMPLE = (
    Method("kmeans-raw", "k-means, raw", _intensity(), _kmeans),
    Method("kmeans-gaussian-1", "k-means after a Gaussian of 1 voxel", _gaussian(1), _kmeans),
    Method("kmeans-gaussian-2", "k-means after a Gaussian of 2", _gaussian(2), _kmeans),
    Method("kmeans-tv-0.3", "k-means after total variation 0.3", _total_variation(0.3), _kmeans),
    Method("kmeans-tv-2", "k-means after total variation 2", _total_variation(2), _kmeans),
    Method("ward-tv-0.3", "Ward after total variation 0.3", _total_variation(0.3), _ward),
    Method("ward-tv-2", "Ward after total variation 2", _total_variation(2), _ward),
    Method(
        "gabor", "k-means of Gabor amplitudes",
        lambda volume, _: gabor_amplitudes(normalised(volume)), _kmeans,
    ),
    Method(
        "scale-space", "46 scale-space features, Gaussian mixture",
        lambda volume, _: scale_space(normalised(volume)), _mixture,
    ),
)  # fmt: skip
# Only where the package topaz-em is installed.
_DENOISED = (
    Method("topaz-kmeans", "k-means after Topaz's denoiser", _intensity(_denoised), _kmeans),
    Method(
        "topaz-scale-space", "46 scale-space features after Topaz's denoiser",
        lambda volume, _: scale_space(_denoised(normalised(volume))), _mixture,
    ),
)  # fmt: skip
_LEARNED = (
    _ours("things"),
    _ours("kinds"),
    Method(
        "cihs", "CIHS, k-means of its points",
        lambda volume, run: _mapped(volume, run, "cihs").read(), _cihs, learns=True,
    ),
)  # fmt: skip
METHODS: dict[str, Method] = {
    method.name: method
    for method in (*_SIMPLE, *(_DENOISED if importlib.util.find_spec("topaz") else ()), *_LEARNED)
}
