"""Files of the classes for other programs: labels with their names, the table, the disk."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_hypseg.discovery.classes import ClassRow, Figures
from napari_hypseg.discovery.cloud import Cloud
from napari_hypseg.discovery.disk import Scatter, draw_disk, hex_colour
from napari_hypseg.discovery.partition import Partition
from napari_hypseg.discovery.pixels import Look, as_pixels
from napari_hypseg.geometry import frechet_mean
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes import Volume, write_labels
from napari_hypseg.volumes.atomic import replacing

__all__ = ["disk_svg", "write_disk", "write_levels_job", "write_partition", "write_table"]

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


def write_partition(path: str | Path, partition: Partition, like: Volume) -> None:
    """Write the labels of the classes as they are, with names and colours.

    OME-Zarr has a place for those; beside MRC and TIFF goes a JSON file of the same name.

    Parameters
    ----------
    path : path
        ``.mrc``, ``.tif``, ``.tiff`` or ``.zarr``.
    partition : Partition
    like : Volume
        Whose voxel size and origin the labels have: ``latents.as_volume()``.
    """
    classes = [
        {"label": c.label, "name": c.name, "colour": hex_colour(c.colour), "hidden": c.hidden}
        for c in partition.classes
    ]
    write_labels(path, partition.labels(), like, classes=classes)


def write_levels_job(
    folder: str | Path, partition: Partition, like: Volume, ks: Sequence[int], suffix: str = ".mrc"
) -> Job[list[Path]]:
    """Write the labels at several granularities, ``NAME_labels_k02.mrc`` and so on.

    Names go with the branches that have them; what was split or merged by hand is not in it.

    Parameters
    ----------
    folder : path
    partition : Partition
    like : Volume
        As for `write_partition`.
    ks : sequence of int
        Numbers of classes; those that the tree can't give are left out.
    suffix : str
        Of the files, as for `write_partition`.
    """
    paths = []
    wanted = [k for k in ks if 1 <= k <= partition.tree.n_leaves]
    for done, k in enumerate(wanted):
        yield Progress("writing labels", done, len(wanted))
        paths.append(Path(folder) / f"{like.name}_labels_k{k:02d}{suffix}")
        write_partition(paths[-1], partition.at(k), like)
    return paths


def write_table(path: str | Path, partition: Partition, figures: Sequence[Figures]) -> None:
    """Write the table of classes as CSV.

    Parameters
    ----------
    path : path
        ``.csv`` by custom.
    partition : Partition
    figures : sequence of Figures
        Of its classes, as `Tally.figures` gives them.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ["label", "name", "colour", "hidden", "voxels", "volume_nm3", "distance_to_centre"]
    )
    for c, f in zip(partition.classes, figures, strict=True):
        distance = f"{f.distance:.6g}" if math.isfinite(f.distance) else ""
        rows.writerow(
            [c.label, c.name, hex_colour(c.colour), "yes" if c.hidden else "no", f.voxels,
             f"{f.volume_nm3:.6g}", distance]
        )  # fmt: skip
    with replacing(Path(path)) as fresh:
        fresh.write_text(text.getvalue(), encoding="utf-8")


def disk_svg(partition: Partition, cloud: Cloud, figures: Sequence[Figures]) -> str:
    """The disk with the classes that are shown, as the text of an SVG file.

    Of more than two latent dimensions the first two are drawn.

    Parameters
    ----------
    partition : Partition
    cloud : Cloud
        The latent points.
    figures : sequence of Figures
        Of the classes, as `Tally.figures` gives them.
    """
    classes = partition.classes
    labels = partition.labels().reshape(-1)[cloud.voxels]
    total = sum(f.voxels for f in figures) or 1
    rows, colours = [], []
    scale = 1.0 if cloud.curvature is None else math.sqrt(cloud.curvature)
    for c, f in zip(classes, figures, strict=True):
        centroid = _centroid(partition, c.key, cloud.points[labels == c.label], cloud.curvature)
        if not c.hidden and centroid is not None:
            share = f.voxels / total
            rows.append(
                ClassRow(c.label, f.voxels, share, f.volume_nm3, centroid, f.distance, None)
            )
            colours.append(c.colour)
    shown = np.zeros(256, np.uint8)
    shown[[row.label for row in rows]] = np.arange(1, len(rows) + 1)
    kept = shown[labels] > 0
    points = (scale * cloud.points[kept, :2]).astype(np.float32)
    picture = Scatter(points, {len(rows): shown[labels[kept]]})
    reach = 1.0
    if cloud.curvature is None:
        reach = 1.1 * float(np.linalg.norm(cloud.points[:, :2], axis=1).max()) or 1.0
    drawing = draw_disk(
        partition.clustering, rows, np.array(colours).reshape(-1, 3), picture, reach=reach,
        curvature=cloud.curvature, numbered=True, nodes=partition.nodes,
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


def write_disk(
    path: str | Path, partition: Partition, cloud: Cloud, figures: Sequence[Figures]
) -> None:
    """Write the disk with the classes that are shown, as a picture.

    Parameters
    ----------
    path : path
        ``.svg`` or ``.png``.
    partition, cloud, figures
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
    text = disk_svg(partition, cloud, figures)
    with replacing(path) as fresh:
        if suffix == ".svg":
            fresh.write_text(text, encoding="utf-8")
        else:
            as_pixels(text, _LOOK, _PIXELS).save(fresh, "PNG")


def _centroid(partition: Partition, key: int, points: Any, curvature: float | None) -> Any:
    """Frechet mean of a class; None for a class of a person's own without a point here."""
    if key >= 0:
        return tuple(partition.tree.centroids[key].tolist())
    if not len(points):
        return None
    if curvature is None:
        return tuple(points.mean(0).tolist())
    mean = frechet_mean(torch.from_numpy(points.astype(np.float64)), c=curvature)
    return tuple(mean.tolist())
