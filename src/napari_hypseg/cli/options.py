"""Arguments and options that the commands of `hypseg` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "BoxText",
    "Crop",
    "Dataset",
    "Device",
    "Format",
    "Ks",
    "LabelFormat",
    "Level",
    "Out",
    "Overwrite",
    "PresetName",
    "SampleKind",
    "Seed",
    "Smoothing",
    "Steps",
    "Stride",
    "Tree",
    "TreeKind",
    "VolumePath",
    "VoxelSize",
]


class SampleKind(StrEnum):
    """Samples that `hypseg synth` makes."""

    regular = "regular"
    irregular = "irregular"
    texture = "texture"
    cell = "cell"
    tomogram = "tomogram"


class TreeKind(StrEnum):
    """Ways to cluster."""

    things = "things"
    kinds = "kinds"


class LabelFormat(StrEnum):
    """Formats of label files."""

    mrc = "mrc"
    tif = "tif"
    zarr = "zarr"


VolumePath = Annotated[
    str,
    typer.Argument(
        metavar="VOLUME",
        help="Tomogram: MRC (.mrc .rec .map .st .ali, .gz, .bz2), TIFF, OME-Zarr (folder or URL), "
        "HDF5, NIfTI.",
    ),
]
Dataset = Annotated[str | None, typer.Option(help="Which volume of a file that holds several.")]
Level = Annotated[int, typer.Option(min=0, help="Resolution level of an OME-Zarr image.")]
VoxelSize = Annotated[
    float | None,
    typer.Option(help="Voxel size in angstrom, where the file's own is missing or wrong."),
]


def _at_home(path: Path) -> Path:
    """What the shell leaves as it is in ``--out=~/result``."""
    return path.expanduser()


Out = Annotated[
    Path,
    typer.Option("--out", "-o", callback=_at_home, help="Folder for everything that is made."),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace what others have written there, and the work on another volume; classes "
        "that a person kept stay.",
    ),
]
PresetName = Annotated[
    str,
    typer.Option(
        help="default, the general model, which comes along and needs no training; cihs (the "
        "published system), or its ablations."
    ),
]
Steps = Annotated[int | None, typer.Option(min=0, help="Training steps; the preset's without.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Ks = Annotated[
    str, typer.Option("-k", help="Granularities to write: 6, 2,4,8 or 2:12 (both included).")
]
Stride = Annotated[int, typer.Option(min=1, help="Map every n-th voxel along each axis.")]
BoxText = Annotated[
    str | None, typer.Option("--box", help="Only this part: z0:z1,y0:y1,x0:x1, in voxels.")
]
Crop = Annotated[
    str | None,
    typer.Option(help="Cut the volume to this part first: what lies beyond is not learnt from."),
]
Format = Annotated[LabelFormat, typer.Option("--format", help="Format of the label files.")]
Tree = Annotated[
    TreeKind,
    typer.Option(
        help="things: which things contain which (what touches merges, and what lies in the same "
        "thing); kinds: what kinds of thing there are."
    ),
]
Smoothing = Annotated[
    float, typer.Option(min=0, help="Weight of the latents' edge-preserving smoothing; 0: none.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]
