"""The disk on paper: a granularity of a tree as SVG or PNG."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from napari_hypseg.clustering import TreeClustering
from napari_hypseg.figures.class_rows import class_table
from napari_hypseg.figures.cloud import Cloud
from napari_hypseg.figures.colours import node_colours
from napari_hypseg.figures.disk import Scatter, draw_disk
from napari_hypseg.figures.pixels import Look, as_pixels
from napari_hypseg.volumes.atomic import replacing

__all__ = ["disk_svg", "write_disk"]

# The look of the disk on white paper.
_LOOK: Look = {
    "paper": {"fill": "#fff"},
    "rim": {"fill": "none", "stroke": "#222", "stroke-width": 1.5},
    "edge": {"fill": "none", "stroke": "#999", "stroke-width": 0.7},
    "ring": {"fill": "none", "stroke": "#999", "stroke-width": 0.7},
    "centre": {"fill": "#777"},
    "branch": {"fill": "none", "stroke": "#222", "stroke-width": 1.1, "stroke-opacity": 0.7},
    "fork": {"fill": "#222"},
    "dot": {"stroke": "#222", "stroke-width": 1},
    "mark": {"font": "11px sans-serif", "text-anchor": "middle"},
    "scale": {"font": "10px sans-serif", "fill": "#555"},
}
# Pixels along a side of the disk as PNG.
_PIXELS = 1840


def disk_svg(clustering: TreeClustering, k: int, cloud: Cloud) -> str:
    """The disk at one granularity, as the text of an SVG file.

    Of more than two latent dimensions the first two are drawn.

    Parameters
    ----------
    clustering : TreeClustering
    k : int
        Number of classes.
    cloud : Cloud
        The latent points.
    """
    curvature = cloud.curvature
    scale = 1.0 if curvature is None else math.sqrt(curvature)
    labels = clustering.level(k).lookup[clustering.leaves.reshape(-1)[cloud.voxels]]
    points = (scale * cloud.points[:, :2]).astype(np.float32)
    reach = 1.0
    if curvature is None:
        reach = 1.1 * float(np.linalg.norm(points, axis=1).max()) or 1.0
    drawing = draw_disk(
        clustering, class_table(clustering, k, (1.0, 1.0, 1.0), curvature=curvature),
        node_colours(clustering.tree)[clustering.tree.nodes(k)], Scatter(points, {k: labels}),
        reach=reach, curvature=curvature, numbered=True,
    )  # fmt: skip
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'width="920" height="920" '
    )
    start = drawing.index(">") + 1
    opening = head + drawing[len("<svg ") : start]
    # The older name of the attribute is the one that every program knows.
    rest = drawing[start:].replace("<image href=", "<image xlink:href=")
    style = " ".join(
        f".{name} {{ {'; '.join(f'{key}: {value}' for key, value in values.items())} }}"
        for name, values in _LOOK.items()
    )
    return f"{opening}<style>{style}</style>{rest}\n"


def write_disk(path: str | Path, clustering: TreeClustering, k: int, cloud: Cloud) -> None:
    """Write the disk at one granularity, as a picture.

    Parameters
    ----------
    path : path
        ``.svg`` or ``.png``.
    clustering, k, cloud
        As for `disk_svg`.

    Raises
    ------
    ValueError
        If the path ends in something else.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise ValueError(f"{path}: the disk can be written as .svg or .png")
    text = disk_svg(clustering, k, cloud)
    with replacing(path) as fresh:
        if suffix == ".svg":
            fresh.write_text(text, encoding="utf-8")
        else:
            as_pixels(text, _LOOK, _PIXELS).save(fresh, "PNG")
