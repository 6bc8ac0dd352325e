"""The Poincare disk as a drawing: latent points, the tree's geodesics, rings of equal distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from napari_hypseg.clustering import MergeTree, TreeClustering
from napari_hypseg.figures.class_rows import ClassRow
from napari_hypseg.figures.slices import png
from napari_hypseg.geometry import geodesic
from napari_hypseg.latents import Latents

__all__ = ["Scatter", "branches", "draw_disk", "hex_colour", "nice", "scatter", "views"]

Array = npt.NDArray[np.float64]

# Points drawn at most; more would not change the picture.
_POINTS = 2_000_000
# Cells along a side of the picture of the points.
_CELLS = 240
# Half a drawing's side, and the part of it that is used, in its own units.
_HALF, _REACH = 230.0, 212.0
# Where the points fill less of the disk than this, it is drawn enlarged, too.
_SMALL = 0.7
# Points along each branch of the tree.
_STEPS = 17


@dataclass(frozen=True)
class Scatter:
    """Latent points in the first two dimensions, and their labels.

    Attributes
    ----------
    points : array, shape (n, 2)
        In units of the ball's radius (as they are, in a Euclidean space).
    labels : dict of int to array of uint8, shape (n,)
        Their labels at each granularity.
    """

    points: npt.NDArray[np.float32]
    labels: dict[int, npt.NDArray[np.uint8]]


def scatter(latents: Latents, clustering: TreeClustering, ks: list[int]) -> Scatter:
    """The latent points of a volume, or a seeded random sample of two million of them."""
    rng = np.random.default_rng(0)
    share = min(1.0, _POINTS / math.prod(latents.shape))
    scale = math.sqrt(latents.curvature) if latents.geometry == "hyperbolic" else 1.0
    points: list[npt.NDArray[np.float32]] = []
    labels: dict[int, list[npt.NDArray[np.uint8]]] = {k: [] for k in ks}
    for box in latents.chunk_boxes():
        part = latents.read(box)[..., :2].reshape(-1, 2)
        kept = rng.permutation(len(part))[: math.ceil(share * len(part))]
        points.append(scale * part[kept])
        for k in ks:
            labels[k].append(clustering.level(k)[box].ravel()[kept])
    return Scatter(
        np.concatenate(points), {k: np.concatenate(parts) for k, parts in labels.items()}
    )


def views(cloud: Scatter | None, centroids: Array, curvature: float | None) -> list[float]:
    """Half widths of the views to draw: the whole disk, and its middle where all points are there.

    In a Euclidean space there is one view, as wide as the points need.
    """
    scale = 1.0 if curvature is None else math.sqrt(curvature)
    reach = scale * float(np.linalg.norm(centroids[:, :2], axis=1).max())
    if cloud is not None:
        # All but a thousandth of the points.
        norms = np.linalg.norm(cloud.points, axis=1)
        reach = max(reach, float(np.quantile(norms, 0.999)))
    reach = max(1.1 * reach, 1e-6)
    if curvature is None:
        return [reach]
    return [1.0, reach] if reach < _SMALL else [1.0]


def draw_disk(
    clustering: TreeClustering,
    rows: list[ClassRow],
    colours: Array,
    cloud: Scatter | None,
    *,
    reach: float,
    curvature: float | None,
    numbered: bool,
) -> str:
    """One view of the latent space at one granularity, as an SVG element.

    Parameters
    ----------
    clustering : TreeClustering
        Its tree is drawn between the classes.
    rows : list of ClassRow
        The classes.
    colours : array, shape (k, 3)
        Colours of their labels.
    cloud : Scatter, optional
        The points.
    reach : float
        Half the side of the view, in units of the ball's radius (as it is, in R^d).
    curvature : float or None
        The ball has curvature ``-curvature``; None for a Euclidean space.
    numbered : bool
        Write the labels into the dots; without, they are small, for views where they crowd.
    """
    k, scale = len(rows), 1.0 if curvature is None else math.sqrt(curvature)
    zoom = _REACH / reach
    # Up to here the view shows the space: the rim, or the edge of what is enlarged.
    parts = [f'<circle class="paper" r="{_REACH}"/>']
    if cloud is not None:
        url = png(_density(cloud, cloud.labels[k], colours, reach))
        parts.append(
            f'<image href="{url}" x="{-_REACH}" y="{-_REACH}" '
            f'width="{2 * _REACH}" height="{2 * _REACH}"/>'
        )
    parts += _rings(reach, curvature, zoom)
    classes = clustering.tree.nodes(k).tolist()
    parts += _tree(clustering.tree, classes, curvature, zoom * scale)
    by_size = sorted(zip(rows, colours, strict=True), key=lambda pair: -pair[0].voxels)
    for row, colour in by_size:
        x, y = (zoom * scale * v for v in row.centroid[:2])
        radius = 7 + 7 * math.sqrt(row.fraction) if numbered else 5
        ink = "#000" if colour @ (0.299, 0.587, 0.114) > 0.5 else "#fff"
        mark = f'<text class="mark" dy="4" fill="{ink}">{row.label}</text>' if numbered else ""
        parts.append(
            f'<g transform="translate({x:.1f} {-y:.1f})"><title>class {row.label}: '
            f"{row.voxels:,} voxels, {100 * row.fraction:.3g} %, "
            f"distance {row.distance:.2f}</title>"
            f'<circle class="dot" r="{radius:.1f}" fill="{hex_colour(colour)}"/>{mark}</g>'
        )
    rim = "edge" if curvature is None or reach < 1 else "rim"
    parts.append(f'<circle class="{rim}" r="{_REACH}"/>')
    box = f"{-_HALF} {-_HALF} {2 * _HALF} {2 * _HALF}"
    return f'<svg class="disk" role="img" viewBox="{box}">{"".join(parts)}</svg>'


def hex_colour(colour: npt.ArrayLike) -> str:
    """An sRGB colour, 0 to 1, as CSS writes it."""
    red, green, blue = (round(255 * v) for v in np.asarray(colour).tolist())
    return f"#{red:02x}{green:02x}{blue:02x}"


def _density(
    cloud: Scatter, labels: npt.NDArray[np.uint8], colours: Array, reach: float
) -> Image.Image:
    """The points as an image: mean colour of a cell's labels, opaque where there are many."""
    x, y = ((cloud.points * np.array([1, -1], np.float32) / reach + 1) / 2 * _CELLS).T
    seen = (x >= 0) & (x < _CELLS) & (y >= 0) & (y < _CELLS)
    cell = y[seen].astype(np.int64) * _CELLS + x[seen].astype(np.int64)
    size = _CELLS * _CELLS
    counts = np.zeros((len(colours), size))
    for index in range(len(colours)):
        counts[index] = np.bincount(cell[labels[seen] == index + 1], minlength=size)
    total = counts.sum(0)
    pixels = np.zeros((size, 4))
    used = total > 0
    pixels[used, :3] = (counts[:, used].T @ colours) / total[used, None]
    pixels[used, 3] = 0.15 + 0.75 * np.log1p(total[used]) / np.log1p(total.max())
    # 16 steps of each: finer ones can't be seen here and make the image twice as large.
    return Image.fromarray((pixels.reshape(_CELLS, _CELLS, 4) * 15).round().astype(np.uint8) * 17)


def _rings(reach: float, curvature: float | None, zoom: float) -> list[str]:
    """Circles at equal steps of distance from the centre, with their distances."""
    root = 0.0 if curvature is None else math.sqrt(curvature)
    farthest = reach if curvature is None else 2 * math.atanh(min(reach, 0.9999)) / root
    step = 1.0 if reach >= 1 and curvature is not None else nice(farthest / 3.5)
    parts = ['<circle class="centre" r="2.5"/>']
    for index in range(1, 6):
        distance = index * step
        radius = zoom * (distance if curvature is None else math.tanh(root * distance / 2))
        if radius > 0.985 * _REACH:
            break
        parts.append(f'<circle class="ring" r="{radius:.1f}"/>')
        parts.append(
            f'<text class="scale" x="{-radius * 0.7071:.1f}" y="{radius * 0.7071:.1f}">'
            f"{distance:g}</text>"
        )
    return parts


def nice(step: float) -> float:
    """The next lower of 1, 2 and 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(step))
    return float(max(m for m in (1, 2, 5) if m * power <= step * (1 + 1e-9)) * power)


def branches(tree: MergeTree, wholes: Sequence[int], curvature: float | None) -> Array:
    """The way from each whole to each of its two parts: a geodesic, or a straight line.

    Parameters
    ----------
    wholes : sequence of int
        Merges of the tree.
    curvature : float or None
        Minus the curvature; None in a Euclidean space.

    Returns
    -------
    array, shape (2 n, 17, d)
        Points along the ways, those of a whole's two parts one after the other.
    """
    nodes = np.asarray(wholes, np.intp)
    whole = torch.from_numpy(tree.centroids[nodes.repeat(2)])[:, None]
    part = torch.from_numpy(tree.centroids[tree.merges[nodes - tree.n_leaves].ravel()])[:, None]
    t = torch.linspace(0, 1, _STEPS, dtype=torch.float64)
    if curvature is None:
        return (whole + t[:, None] * (part - whole)).numpy()
    return geodesic(whole, part, t, curvature).numpy()


def _tree(
    tree: MergeTree, classes: Sequence[int], curvature: float | None, zoom: float
) -> list[str]:
    """The merges above the classes: a geodesic from each whole to each of its two parts."""
    n, parts = tree.n_leaves, []
    above, left = [], [2 * n - 2]
    while left:
        node = left.pop()
        if node not in classes:
            above.append(node)
            left += tree.merges[node - n].tolist()
    for way in branches(tree, sorted(above), curvature):
        steps = " ".join(f"{zoom * x:.1f},{-zoom * y:.1f}" for x, y in way[:, :2].tolist())
        parts.append(f'<polyline class="branch" points="{steps}"/>')
    for node in sorted(above):
        x, y = (zoom * tree.centroids[node, :2]).tolist()
        parts.append(f'<circle class="fork" cx="{x:.1f}" cy="{-y:.1f}" r="3"/>')
    return parts
