"""The report of a discovery: one page that a person looks at, with nothing to load or to run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.clustering import TreeClustering
from napari_hypseg.figures.class_rows import ClassRow, class_table
from napari_hypseg.figures.colours import label_colours
from napari_hypseg.figures.curves import draw_curve
from napari_hypseg.figures.disk import Scatter, draw_disk, hex_colour, nice, scatter, views
from napari_hypseg.figures.record import record
from napari_hypseg.figures.slices import Picture, Plane, planes
from napari_hypseg.latents import Latents
from napari_hypseg.model import Model
from napari_hypseg.volumes.atomic import replacing
from napari_hypseg.volumes.volume import Volume

__all__ = ["write_report"]

# Granularities that are shown, of those that there are.
_SHOWN = (2, 3, 4, 6, 8, 12)
# Most pixels along a side of a slice; the next is tried while the page is larger than this.
_SIDES = (600, 450, 320, 220, 150)
_MOST_BYTES = 2_900_000

_KINDS = {
    "things": "The tree of things: regions that touch, or that lie in the same one, were "
    "merged, the most alike first. Each class is a thing, or several alike in the same one.",
    "kinds": "The tree of kinds: voxels alike in their points, and in the intensities and "
    "textures beside them, were merged, wherever they lie. Each class is a kind of voxel.",
}
_TERMS = {
    "reconstruction": (
        "Reconstruction error",
        "Half the squared error of a patch, summed over its voxels. It should fall and level off; "
        "if it still falls at the end, train longer.",
    ),
    "kl": (
        "Use of the latent space (KL divergence)",
        "Information about a patch in its latent point, in nats. Near 0 the points say nothing: "
        "then the classes mean nothing either.",
    ),
    "triplet": (
        "Part-whole loss (triplet)",
        "How much a patch fails to lie nearer to a part of itself than to a stranger; 0 is best.",
    ),
}


def write_report(
    path: str | os.PathLike[str],
    *,
    volume: Volume,
    clustering: TreeClustering,
    model: Model,
    ks: Sequence[int],
    run: Mapping[str, Any],
    latents: Latents | None = None,
) -> None:
    """Write one self-contained HTML page about a discovery.

    It shows slices of the volume under the labels, the latent points on the disk, the classes,
    the course of the training, and how to do it again. It needs no network and no scripts, and
    stays under 3 MB.

    Parameters
    ----------
    path : path
        The page; an existing file is replaced in one step.
    volume : Volume
        The volume; only three slices of it are read.
    clustering : TreeClustering
        Its clusters.
    model : Model
        The model that mapped it.
    ks : sequence of int
        Granularities of interest; 2, 3, 4, 6, 8 and 12 of them are shown (where none of these is
        among them, up to six others).
    run : mapping
        How it came about, in JSON values: all of it is shown. ``command`` is the command line.
    latents : Latents, optional
        The latent points. They say where the labels lie, which is needed where these don't cover
        the volume voxel by voxel, and are drawn on the disk.

    Raises
    ------
    ValueError
        If ``ks`` is empty or asks for more classes than there are, or the labels don't fit the
        volume.
    OSError
        If the file can't be written.
    """
    levels = _levels(ks)
    lattice = volume if latents is None else latents.as_volume()
    if clustering.leaves.shape != lattice.shape:
        raise ValueError(
            f"{volume.name}: the labels have shape {clustering.leaves.shape}, "
            f"the {'volume' if latents is None else 'latents'} {lattice.shape}"
        )
    hyperbolic = model.config.geometry == "hyperbolic"
    curvature = model.config.curvature if hyperbolic else None
    colours = {k: label_colours(clustering, k) for k in levels}
    tables = {
        k: class_table(clustering, k, lattice.voxel_size, curvature=curvature) for k in levels
    }
    cloud = None if latents is None else scatter(latents, clustering, levels)
    chosen = levels[len(levels) // 2]

    after = [
        _space(clustering, tables, colours, cloud, curvature, model.config.latent_dim),
        _course(model),
        _next_steps(run, clustering),
        record(model, run),
    ]
    keys = {k: _table(rows, colours[k], curvature) for k, rows in tables.items()}
    page = ""
    for side in _SIDES:
        cuts = planes(volume, lattice, clustering, colours, chosen=chosen, side=side)
        body = [_heading(volume, lattice, clustering), _slices(cuts, keys), *after]
        page = _page(volume.name, levels, chosen, _store(cuts), body)
        if len(page.encode()) <= _MOST_BYTES:
            break
    with replacing(Path(path)) as fresh:
        fresh.write_text(page, encoding="utf-8")


def _levels(ks: Sequence[int]) -> list[int]:
    """Granularities to show."""
    given = sorted(set(ks))
    if not given:
        raise ValueError("a report needs at least one number of classes")
    return [k for k in given if k in _SHOWN] or given[: len(_SHOWN)]


def _page(name: str, levels: list[int], chosen: int, store: str, body: list[str]) -> str:
    """The whole page. Radio buttons at its top choose the level, by style sheet alone."""
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    style += "".join(
        f"#k{k}:checked ~ main .k{k} {{ display: revert; }}\n"
        f"#k{k}:checked ~ main label[for=k{k}] {{ border-color: var(--accent); }}\n"
        f"#k{k}:focus-visible ~ main label[for=k{k}] {{ outline: 2px solid var(--accent); }}\n"
        for k in levels
    )
    picks = "".join(
        f'<input class="pick" type="radio" name="level" id="k{k}" aria-label="{k} classes"'
        f"{' checked' if k == chosen else ''}>"
        for k in levels
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: classes found without labels</title><style>{style}</style></head>"
        f"\n<body>{picks}{store}\n<main>\n{chr(10).join(body)}\n</main></body></html>\n"
    )


def _heading(volume: Volume, lattice: Volume, clustering: TreeClustering) -> str:
    size = " × ".join(str(n) for n in volume.shape)
    voxel = " × ".join(f"{v:.4g}" for v in volume.voxel_size)
    extent = " × ".join(
        f"{n * v / 10:.4g}" for n, v in zip(volume.shape, volume.voxel_size, strict=True)
    )
    facts = f"{size} voxels of {voxel} Å, {extent} nm (z, y, x)"
    if lattice.shape != volume.shape or lattice.voxel_size != volume.voxel_size:
        points = " × ".join(str(n) for n in lattice.shape)
        apart = " × ".join(f"{v:.4g}" for v in lattice.voxel_size)
        start = ", ".join(f"{v:.4g}" for v in lattice.origin)
        facts += f".<br>Labelled: {points} points {apart} Å apart, the first at ({start}) Å"
    return (
        f'<h1>{escape(volume.name)}</h1><p class="facts">{facts}.</p>'
        "<p>A network was trained on this volume without any labels. It gives every voxel a point "
        "in a space where voxels whose surroundings look alike lie close together; the points were "
        "then gathered into classes. A class has a number and a colour, the same in all pictures "
        "and tables here. What it is in the biology is for you to say.</p>"
        f"<p>{_KINDS[clustering.kind]}</p>"
    )


def _slices(cuts: list[Plane], tables: dict[int, str]) -> str:
    first, levels = cuts[0], list(tables)
    small = min(150 / first.width, 130 / first.height)
    thumbs = "".join(
        f'<label for="k{k}">{_pane(first, small, f"k{k}-{first.name}")}{k}</label>' for k in levels
    )
    # One scale for all three planes, so that they can be compared.
    scale = min(350 / max(cut.width for cut in cuts), 400 / max(cut.height for cut in cuts))
    figures = "".join(
        f'<figure><div class="pair">{_pane(cut, scale, cut.name, bar=True)}'
        + "".join(
            f'<div class="level k{k}">{_pane(cut, scale, cut.name, over=f"k{k}-{cut.name}")}</div>'
            for k in levels
        )
        + f"</div><figcaption>{_caption(cut)}</figcaption></figure>"
        for cut in cuts
    )
    changes = _only(levels, "at {} classes")
    keys = "".join(f'<div class="level k{k}">{table}</div>' for k, table in tables.items())
    return (
        "<h2>How many classes?</h2>"
        "<p>Each step splits one class in two. Pick a number: what is below follows it.</p>"
        f'<div class="thumbs">{thumbs}</div>'
        f"<h2>The volume and its labels {changes}</h2>"
        f'<div class="split"><div class="row">{figures}</div><div>{keys}</div></div>'
        '<p class="note">The slices are those in which the labels are the most mixed. Greys run '
        "from the 0.5th to the 99.5th percentile of the three slices.</p>"
    )


def _caption(cut: Plane) -> str:
    third = ({"x", "y", "z"} - set(cut.name)).pop()
    return f"{cut.name} at {third} = {cut.index} ({cut.name[0]} to the right, {cut.name[1]} down)"


def _only(levels: list[int], text: str) -> str:
    """A few words that change with the level."""
    return "".join(f'<span class="level k{k}">{text.format(k)}</span>' for k in levels)


def _store(cuts: list[Plane]) -> str:
    """Every picture once, for all the places that show it."""
    images = []
    for cut in cuts:
        pictures = {cut.name: cut.image}
        pictures |= {f"k{k}-{cut.name}": picture for k, picture in cut.labels.items()}
        images += [_image(name, picture) for name, picture in pictures.items()]
    return (
        '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
        f"{''.join(images)}</defs></svg>"
    )


def _image(name: str, picture: Picture) -> str:
    coarse = "" if picture.fine else ' class="coarse"'
    return (
        f'<image id="{name}"{coarse} x="{picture.x:.6g}" y="{picture.y:.6g}" '
        f'width="{picture.width:.6g}" height="{picture.height:.6g}" '
        f'preserveAspectRatio="none" href="{picture.url}"/>'
    )


def _pane(cut: Plane, scale: float, name: str, *, over: str = "", bar: bool = False) -> str:
    """One picture, with another over it, at so many pixels a nanometre."""
    width, height = cut.width, cut.height
    parts = [f'<use href="#{name}"/>']
    if over:
        parts.append(f'<use class="veil" href="#{over}"/>')
    if bar:
        long = nice(0.4 * width)
        x, y, thick = 0.04 * width, height - 10 / scale, 4 / scale
        words = f"{long:g} nm" if long < 1000 else f"{long / 1000:g} µm"
        parts.append(f'<rect class="bar" x="{x:.6g}" y="{y:.6g}" width="{long:.6g}" '
                     f'height="{thick:.6g}"/>')  # fmt: skip
        parts.append(
            f'<text class="barnote" x="{x:.6g}" y="{y - 4 / scale:.6g}" '
            f'font-size="{12 / scale:.6g}" stroke-width="{3 / scale:.6g}">{words}</text>'
        )
    return (
        f'<svg class="slice" role="img" width="{width * scale:.0f}" height="{height * scale:.0f}" '
        f'viewBox="0 0 {width:.6g} {height:.6g}">{"".join(parts)}</svg>'
    )


def _space(
    clustering: TreeClustering,
    tables: dict[int, list[ClassRow]],
    colours: dict[int, npt.NDArray[np.float64]],
    cloud: Scatter | None,
    curvature: float | None,
    dim: int,
) -> str:
    """The disk at every level."""
    parts = []
    for k, rows in tables.items():
        centroids = np.array([row.centroid for row in rows])
        drawings = ""
        reaches = views(cloud, centroids, curvature)
        for reach in reaches:
            drawing = draw_disk(
                clustering, rows, colours[k], cloud,
                reach=reach, curvature=curvature, numbered=reach == reaches[-1],
            )  # fmt: skip
            if curvature is None:
                words = "The latent plane (Euclidean); rings: distance from the origin"
            elif reach < 1:
                words = f"The middle of the same disk, enlarged {1 / reach:.2g} times"
            else:
                words = "The whole Poincaré disk; its rim is infinitely far away"
            drawings += f"<figure>{drawing}<figcaption>{words}</figcaption></figure>"
        parts.append(f'<div class="level k{k}"><div class="row">{drawings}</div></div>')
    shown = "" if dim == 2 else f" Of the {dim} latent dimensions the first two are shown."
    cloudy = "" if cloud is None else "The coloured mist is the voxels, dense where many lie. "
    tree = (
        "Lines are the tree: from each small ring, a class as it was before its split, "
        "to its two parts. "
    )
    if curvature is None:
        title = "The latent space"
        place = "The space is flat (Euclidean): there is no rim, and no room gained outwards."
    else:
        title = "The disk"
        place = (
            "The disk is a map of a hyperbolic space: room grows outwards as in a tree, so the "
            "general (and the uncertain) lies near the centre, the specific farther out. Grey "
            "rings are labelled with their distance from the centre."
        )
    return (
        f"<h2>{title} {_only(list(tables), 'at {} classes')}</h2>"
        f"<p>Every voxel is a point here. {cloudy}Numbered dots are the classes, each at the mean "
        f"of its points, coloured by its direction from the centre: as a rule, similar colours "
        f"mean similar voxels. {tree}{place}{shown}</p>{''.join(parts)}"
    )


def _table(rows: list[ClassRow], colours: npt.NDArray[np.float64], curvature: float | None) -> str:
    middle = "origin" if curvature is None else "centre"
    heads = ["class", "voxels", "%", "nm³", f"distance<br>to {middle}", "split<br>from"]
    lines = []
    for row, colour in zip(rows, colours, strict=True):
        cells = [
            f'<span class="chip" style="background:{hex_colour(colour)}"></span>{row.label}',
            f"{row.voxels:,}",
            f"{100 * row.fraction:.2f}",
            f"{row.volume_nm3:,.0f}" if row.volume_nm3 >= 100 else f"{row.volume_nm3:.3g}",
            f"{row.distance:.3f}",
            "" if row.split_from is None else f"{row.split_from}",
        ]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{head}</th>" for head in heads)
    return f'<table class="classes"><tr>{head}</tr>{"".join(lines)}</table>'


def _course(model: Model) -> str:
    history = model.training.get("loss", [])
    if not history:
        return "<h2>Training</h2><p>The model file holds no record of its training.</p>"
    figures = "".join(
        f"<figure><h3>{title}</h3>{draw_curve(history, name)}"
        f"<figcaption>{words}</figcaption></figure>"
        for name, (title, words) in _TERMS.items()
    )
    return f'<h2>Training</h2><div class="row course">{figures}</div>'


def _next_steps(run: Mapping[str, Any], clustering: TreeClustering) -> str:
    ks = run.get("ks", [])
    where = f" (beside this page, <code>labels_k{ks[0]:02d}</code> and so on)" if ks else ""
    other = "kinds" if clustering.kind == "things" else "things"
    return (
        "<h2>What next?</h2><ul>"
        "<li>Step through the numbers of classes above and find the first at which what you look "
        f"for has a colour of its own. Open the volume and the labels of that number{where} in "
        "napari to see them in all slices.</li>"
        "<li>Two things share a colour: take more classes, or the other tree "
        f"(<code>--tree {other}</code>).</li>"
        "<li>The labels look like noise: smooth more (<code>--smoothing</code>), or train longer "
        "(<code>--steps</code>) if the reconstruction error was still falling.</li>"
        "<li>The labels are too blunt for small things: label every voxel "
        "(<code>--stride 1</code>), and smooth less.</li></ul>"
    )
