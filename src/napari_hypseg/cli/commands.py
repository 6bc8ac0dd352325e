"""The commands of `hypseg`: each opens what it is given, runs jobs, and prints what came out."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from napari_hypseg.cli.drive import drive
from napari_hypseg.cli.options import (
    AsJson,
    BoxText,
    Crop,
    Dataset,
    Device,
    Format,
    Ks,
    LabelFormat,
    Level,
    Out,
    Overwrite,
    PresetName,
    SampleKind,
    Seed,
    Smoothing,
    Steps,
    Stride,
    Tree,
    TreeKind,
    VolumePath,
    VoxelSize,
)

if TYPE_CHECKING:
    from napari_hypseg.samples import ToyKind
    from napari_hypseg.session import Session
    from napari_hypseg.volumes import Box, Volume

__all__ = ["app"]

app = typer.Typer(
    name="hypseg",
    help="Discover what is in a tomogram, without labels.",
    epilog="Start with: hypseg run TOMOGRAM.mrc --out RESULT",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _open(path: str, dataset: str | None, level: int, voxel_size: float | None) -> Volume:
    from napari_hypseg.volumes import read_volume

    return read_volume(path, dataset=dataset, level=level, voxel_size=voxel_size)


def _granularities(text: str) -> list[int]:
    """Numbers of clusters that ``6``, ``2,4,8`` or ``2:12`` stand for."""
    ks: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition(":")
            ks += range(int(first), int(last or first) + 1)
    except ValueError:
        ks = []
    if not ks or min(ks) < 1:
        raise typer.BadParameter(f"{text!r}: give 6, 2,4,8 or 2:12", param_hint="-k")
    return sorted(set(ks))


def _finish(result: dict[str, Any], as_json: bool, lines: list[str]) -> None:
    """The last output of a command: for a person, or one JSON object for a program."""
    typer.echo(json.dumps(result, allow_nan=False) if as_json else "\n".join(lines))


@app.command()
def info(
    volume: VolumePath,
    dataset: Dataset = None,
    level: Level = 0,
    voxel_size: VoxelSize = None,
    as_json: AsJson = False,
) -> None:
    """Say what a volume holds: size, voxel size, origin, intensities.

    Example: hypseg info tomogram.mrc
    """
    from napari_hypseg.volumes import fit_normalization

    found = _open(volume, dataset, level, voxel_size)
    fit = fit_normalization(found)
    size_nm = [n * v / 10 for n, v in zip(found.shape, found.voxel_size, strict=True)]
    result = {
        "name": found.name,
        "shape": list(found.shape),
        "type": str(found.data.dtype),
        "voxel_size_angstrom": list(found.voxel_size),
        "origin_angstrom": list(found.origin),
        "size_nm": size_nm,
        "intensity": fit.to_dict(),
    }

    def triple(values: Any, unit: str = "") -> str:
        return " x ".join(f"{v:g}" for v in values) + unit

    _finish(result, as_json, [
        f"{found.name}  (axes are z, y, x)",
        f"  voxels      {triple(found.shape)}, {found.data.dtype}",
        f"  voxel size  {triple(found.voxel_size, ' angstrom')}",
        f"  size        {triple(size_nm, ' nm')}",
        f"  origin      {triple(found.origin, ' angstrom')}",
        f"  intensity   {fit.low:g} to {fit.high:g} (0.1 % and 99.9 %), "
        f"mean {fit.mean:g}, standard deviation {fit.std:g}",
    ])  # fmt: skip


@app.command()
def synth(
    kind: Annotated[SampleKind, typer.Argument(help="Which sample.")],
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    seed: Seed = 0,
    size: Annotated[
        str | None, typer.Option(help="Voxels of a tomogram along z,y,x; 128,256,256 without.")
    ] = None,
    voxel_size: Annotated[
        float | None, typer.Option(help="Its voxel size in angstrom; 10 without.")
    ] = None,
    thickness: Annotated[
        float | None, typer.Option(help="Its slab's, in angstrom; the whole depth without.")
    ] = None,
    snr: Annotated[
        float | None,
        typer.Option(help="Signal to noise of its projections, in variance; 1 without."),
    ] = None,
    defocus: Annotated[
        float | None, typer.Option(help="In micrometres under focus; 4 without.")
    ] = None,
    tilt_limit: Annotated[
        float | None, typer.Option(help="Largest angle of its projections, in degrees; 60 without.")
    ] = None,
    tilt_step: Annotated[
        float | None, typer.Option(help="Between its projections, in degrees; 3 without.")
    ] = None,
    dose: Annotated[
        float | None, typer.Option(help="Electrons per square angstrom in all; 100 without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make sample volumes with their truth at three levels.

    A tomogram of a made cell, or a toy (regular, irregular, texture, cell). Writes KIND_000.mrc
    and KIND_000_level1.mrc to level3.mrc, of a tomogram also KIND_000_picks.csv, and so on.

    Example: hypseg synth tomogram --out samples --snr 0.4
    """
    from napari_hypseg.samples import Tomogram, Toy, make_tomogram, make_toy
    from napari_hypseg.volumes import write_image, write_labels

    asked: dict[str, Any] = {
        "shape": None if size is None else _size(size), "voxel_size": voxel_size,
        "thickness": thickness, "snr": snr, "defocus": defocus, "tilt_limit": tilt_limit,
        "tilt_step": tilt_step, "dose": dose,
    }  # fmt: skip
    asked = {name: value for name, value in asked.items() if value is not None}
    if asked and kind is not SampleKind.tomogram:
        names = ", ".join("--" + name.replace("_", "-") for name in asked)
        raise typer.BadParameter(f"only a tomogram has {names.replace('--shape', '--size')}")
    out.mkdir(parents=True, exist_ok=True)
    files: list[str] = []
    for index in range(count):
        start = out / f"{kind.value}_{index:03d}"
        made: Toy | Tomogram
        if kind is SampleKind.tomogram:
            made = make_tomogram(**asked, seed=seed + index)
        else:
            made = make_toy(cast("ToyKind", kind.value), seed=seed + index)
        files.append(f"{start}.mrc")
        write_image(files[-1], made.volume.read(), made.volume)
        for level, truth in enumerate(made.levels, start=1):
            files.append(f"{start}_level{level}.mrc")
            write_labels(files[-1], truth, made.volume)
        if isinstance(made, Tomogram):
            files.append(f"{start}_picks.csv")
            made.write_picks(files[-1])
    _finish({"files": files}, as_json, files)


def _size(text: str) -> tuple[int, int, int]:
    """The three numbers of voxels that ``128,256,256`` stands for."""
    try:
        z, y, x = map(int, text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: give z,y,x as 128,256,256", param_hint="--size"
        ) from None
    return z, y, x


@app.command()
def train(
    volumes: Annotated[list[str], typer.Argument(metavar="VOLUME...", help="What to learn from.")],
    model: Annotated[Path, typer.Option(help="File of the trained model, .hypseg by custom.")],
    preset: PresetName = "default",
    steps: Steps = None,
    seed: Seed = 0,
    device: Device = "auto",
    dataset: Dataset = None,
    level: Level = 0,
    voxel_size: VoxelSize = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on one or more volumes, for use on others.

    Stopped in the middle, the same command goes on where it was.

    Example: hypseg train tomo1.mrc tomo2.mrc --model cells.hypseg
    """
    from napari_hypseg.model import load_model
    from napari_hypseg.session import check
    from napari_hypseg.training import is_trained_so, train_job
    from napari_hypseg.volumes.atomic import locked

    model = model.expanduser()
    read = [_open(path, dataset, level, voxel_size) for path in volumes]
    checkpoint = model.with_name(f".{model.name}.training")
    how: dict[str, Any] = {"preset": preset, "steps": steps, "seed": seed}
    with locked(model.parent, model.name):
        trained = None
        with suppress(ValueError):
            trained = load_model(model)
        if trained is None or not is_trained_so(trained, read, **how):
            check([model], inputs=read, overwrite=overwrite)
            trained = drive(train_job(read, device=device, checkpoint=checkpoint, **how))
            trained.save(model)
        checkpoint.unlink(missing_ok=True)
    summary = trained.training
    loss = next(reversed(summary["loss"]), None)
    said = (
        f"{loss['step']} steps in {summary['seconds']:.0f} s, loss {loss['total']:.1f}"
        if loss
        else "the general model as it comes, not trained further"
    )
    result = {"model": str(model), "preset": preset, "seconds": summary["seconds"], "loss": loss}
    _finish(result, as_json, [f"{model}: {said}"])


@app.command()
def segment(
    volume: VolumePath,
    model: Annotated[Path, typer.Option(help="File of a trained model.")],
    out: Out,
    ks: Ks = "2:12",
    tree: Tree = TreeKind.things,
    smoothing: Smoothing = 1.0,
    stride: Stride = 1,
    box: BoxText = None,
    label_format: Format = LabelFormat.mrc,
    seed: Seed = 0,
    device: Device = "auto",
    dataset: Dataset = None,
    level: Level = 0,
    crop: Crop = None,
    voxel_size: VoxelSize = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Segment a volume with a trained model, at every granularity.

    Stopped in the middle, the same command goes on where it was.

    Example: hypseg segment tomogram.mrc --model cells.hypseg --out result
    """
    from napari_hypseg.model import load_model
    from napari_hypseg.session import Session

    wanted = _granularities(ks)
    trained = load_model(model)
    read = _open(volume, dataset, level, voxel_size)
    read = _cut(read, crop)
    part = _part(box, read)
    session = Session(read, out, overwrite=overwrite)
    session.check_outputs(wanted, label_format.value, overwrite=overwrite)
    _warn_of_shortage(session, part, stride)
    session.use(trained)
    _segment(
        session, wanted, tree, smoothing, stride, part, label_format, seed, device, overwrite,
        as_json,
    )  # fmt: skip


@app.command()
def run(
    volume: VolumePath,
    out: Out,
    preset: PresetName = "default",
    steps: Steps = None,
    ks: Ks = "2:12",
    tree: Tree = TreeKind.things,
    smoothing: Smoothing = 1.0,
    stride: Stride = 1,
    box: BoxText = None,
    label_format: Format = LabelFormat.mrc,
    seed: Seed = 0,
    device: Device = "auto",
    dataset: Dataset = None,
    level: Level = 0,
    crop: Crop = None,
    voxel_size: VoxelSize = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train on a volume and segment it: the main job.

    Stopped in the middle, the same command goes on where it was.

    For example

      hypseg run tomogram.mrc --out result

      hypseg run tomogram.mrc --out kinds --tree kinds -k 2:30 --format zarr
    """
    from napari_hypseg.session import Session

    wanted = _granularities(ks)
    read = _open(volume, dataset, level, voxel_size)
    read = _cut(read, crop)
    part = _part(box, read)
    session = Session(read, out, overwrite=overwrite)
    session.check_outputs(wanted, label_format.value, overwrite=overwrite)
    _warn_of_shortage(session, part, stride)
    session.take(drive(session.train_job(preset=preset, steps=steps, seed=seed, device=device)))
    _segment(
        session, wanted, tree, smoothing, stride, part, label_format, seed, device, overwrite,
        as_json,
    )  # fmt: skip


def _cut(volume: Volume, text: str | None) -> Volume:
    """The part of a volume that a text asks for, as a volume of its own."""
    box = _part(text, volume)
    return volume if box is None else volume.crop(box)


def _warn_of_shortage(session: Session, box: Box | None, stride: int) -> None:
    """Say what this machine has too little of, before anything long begins."""
    shortage = session.needs(box=box, stride=stride).shortage
    if shortage:
        advice = "take a part or a larger stride"
        warnings.warn(f"{session.volume.name}: {shortage}: {advice}", stacklevel=2)


def _part(text: str | None, volume: Volume) -> Box | None:
    """The box that a text asks for, before anything long begins."""
    from napari_hypseg.volumes import parse_box

    return None if text is None else parse_box(text, volume.shape)


def _segment(
    session: Session,
    ks: list[int],
    tree: TreeKind,
    smoothing: float,
    stride: int,
    box: Box | None,
    label_format: LabelFormat,
    seed: int,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """The part that `segment` and `run` share."""
    run = session.record.run
    run.command = shlex.join(["hypseg", *sys.argv[1:]])
    session.take(drive(session.map_job(box=box, stride=stride, device=device)))
    session.take(drive(session.propose_job(tree=tree.value, smoothing=smoothing, seed=seed)))
    paths = drive(session.write_job(ks, format=label_format.value, overwrite=overwrite))
    spent = ", ".join(f"{stage} {time:.0f} s" for stage, time in run.seconds.items())
    _finish(session.summary(), as_json, [
        f"{len(paths)} label volumes, {paths[0].name} to {paths[-1].name}, in {session.folder}",
        f"{spent}; peak memory {run.peak_memory_gb} GB",
        f"Look at {session.folder / 'report.html'}",
    ])  # fmt: skip


@app.command()
def view(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a session, or of hypseg run.")
    ],
) -> None:
    """Open a session in napari as it was left.

    Example: hypseg view result
    """
    from napari_hypseg.session import read_record

    read_record(folder)
    bindings = ("PyQt6", "PySide6")
    if find_spec("napari") is None or not any(map(find_spec, bindings)):
        raise RuntimeError(
            "napari is not installed here, or no Qt binding: pip install 'napari-hypseg[all]'"
        )
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}:
        raise RuntimeError("there is no display here to open a window on")
    # In a process of its own: this one stays free of windows.
    napari = [sys.executable, "-m", "napari", "--plugin", "napari-hypseg", str(folder.absolute())]
    raise typer.Exit(subprocess.call(napari))  # noqa: S603


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a session.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Label file to write: .mrc, "
                      ".tif or .zarr.")],
    only: Annotated[
        list[str] | None,
        typer.Option(help="A class by its name or number, alone; may be given several times."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:  # fmt: skip
    """Write the classes that a person kept as a label volume, and their table beside it.

    Example: hypseg export result membrane.mrc --only membrane
    """
    from napari_hypseg.session import Session

    session = Session.open(folder)
    for path in session.write_classes(labels, only=only, overwrite=overwrite):
        typer.echo(path)


@app.command()
def evaluate(
    labels: Annotated[
        list[str], typer.Argument(metavar="LABELS...", help="Label volumes to score, or CSV picks.")
    ],
    truth: Annotated[str, typer.Argument(metavar="TRUTH", help="What to score against, the last.")],
    radius: Annotated[
        float, typer.Option(min=0, help="How far a pick may be off, in the unit of the picks.")
    ] = 10.0,
    dataset: Dataset = None,
    voxel_size: VoxelSize = None,
    as_json: AsJson = False,
) -> None:
    """Score label volumes or picks against a truth: the last file is the truth.

    For each class of the truth: the label that the best matching of all classes gives it, and the
    label that fits it best, with boundary F1 within 1 and 2 voxels, surface Dice within 1 voxel and
    Hausdorff distances. Picks are CSV files with the columns z, y, x and class.

    For example

      hypseg evaluate result/labels_k*.mrc truth.mrc

      hypseg evaluate picks.csv true_picks.csv --radius 10
    """
    from napari_hypseg.cli.scores import score_labels, score_picks

    files = [*labels, truth]
    if all(name.lower().endswith(".csv") for name in files):
        results, lines = score_picks(labels, truth, radius)
    else:
        results, lines = score_labels(labels, truth, dataset, voxel_size)
    _finish(results[0] if len(results) == 1 else {"files": results}, as_json, lines)
