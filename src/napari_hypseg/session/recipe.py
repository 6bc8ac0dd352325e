"""A session as text that makes its labels again: a Python script, or a command."""

from __future__ import annotations

import shlex
from typing import Any

from napari_hypseg.clustering import TreeClustering
from napari_hypseg.discovery import Partition
from napari_hypseg.session.session import Session
from napari_hypseg.volumes import Source

__all__ = ["as_command", "as_python"]


def as_command(session: Session, k: int) -> str:
    """The command that makes the labels of a session again, at one granularity.

    What a person did to the classes afterwards is not in it.

    Parameters
    ----------
    session : Session
        Which has been clustered.
    k : int
        Number of classes.

    Raises
    ------
    ValueError
        If it has not been clustered yet.
    """
    source, run = _made(session)
    training, mapping, how = run.get("training"), run["mapping"], run["clustering"]
    if training and training["seed"] != how["seed"]:
        # The command has one seed for both: then from the model that there is.
        training = None
    words = ["run" if training else "segment", source.path]
    if not training:
        words += ["--model", str((session.folder / "model.hypseg").absolute())]
    words += ["--out", f"{session.folder.absolute()}_again"]
    if source.dataset is not None:
        words += ["--dataset", source.dataset]
    if source.level:
        words += ["--level", str(source.level)]
    if source.box is not None:
        words += ["--crop", _spans([[s.start, s.stop] for s in source.box])]
    sizes = set(session.volume.voxel_size)
    if len(sizes) == 1:
        words += ["--voxel-size", repr(sizes.pop())]
    if training:
        words += ["--preset", training["preset"], "--steps", str(training["steps"])]
    if mapping["box"] is not None:
        words += ["--box", _spans(mapping["box"])]
    words += ["--stride", str(mapping["stride"])]
    words += ["--tree", how["tree"], "--smoothing", repr(how["smoothing"])]
    words += ["--seed", str(how["seed"]), "--device", mapping["device"]]
    return shlex.join(["hypseg", *words, "-k", str(k)])


def as_python(session: Session, k: int, partition: Partition | None = None) -> str:
    """A script that makes the labels of a session again.

    Parameters
    ----------
    session : Session
        Which has been clustered.
    k : int
        Number of classes.
    partition : Partition, optional
        The classes as a person left them: where they were split, merged or drawn by hand, the
        script takes them from the session's folder.

    Raises
    ------
    ValueError
        If it has not been clustered yet.
    """
    source, run = _made(session)
    training, mapping, how = run.get("training"), run["mapping"], run["clustering"]
    read = _call("hs.read_volume", source.path, dataset=source.dataset, level=source.level or None,
                 voxel_size=session.volume.voxel_size)  # fmt: skip
    if source.box is not None:
        read += f".crop({_slices([[s.start, s.stop] for s in source.box])})"
    model = _call("hs.load_model", str((session.folder / "model.hypseg").absolute()))
    if training:
        settings = {name: training[name] for name in ("preset", "steps", "seed", "device")}
        model = _call("hs.train", **settings).replace("(", "(volume, ", 1)
    box = "" if mapping["box"] is None else f"box={_slices(mapping['box'])}, "
    lines = [
        "import napari_hypseg as hs",
        "",
        f"volume = {read}",
        f"model = {model}",
        f"latents = hs.embed(model, volume, {box}stride={mapping['stride']!r}, "
        f"device={mapping['device']!r})",
        f"clusters = hs.cluster(latents, volume, tree={how['tree']!r}, "
        f"smoothing={how['smoothing']!r}, seed={how['seed']!r})",
        f"labels = clusters.labels({k})",
    ]
    clustering = session.clustering
    if partition is not None and isinstance(clustering, TreeClustering) and _edited(partition, k):
        lines[1:1] = ["from napari_hypseg.session import kept_partition"]
        lines += [
            "# The classes as they were left, with those drawn by hand.",
            f"kept = kept_partition(hs.Session.open({str(session.folder.absolute())!r}))",
            "labels = kept.labels()",
        ]
    name = f"{session.volume.name}_labels_k{k:02d}.mrc"
    lines += [f"hs.write_labels({name!r}, labels, latents.as_volume())", ""]
    return "\n".join(lines)


def _made(session: Session) -> tuple[Source, dict[str, Any]]:
    """Where the volume is, and how the clusters were made."""
    if session.clustering is None:
        raise ValueError("cluster the latents before asking how they were made")
    source = session.volume.source
    # Every step has kept its volume.
    assert source is not None  # noqa: S101
    return source, session.run


def _edited(partition: Partition, k: int) -> bool:
    """Whether the classes are others than those of a granularity."""
    return bool(partition.own) or partition.nodes != tuple(partition.tree.nodes(k).tolist())


def _call(function: str, *arguments: Any, **named: Any) -> str:
    given = [repr(a) for a in arguments]
    given += [f"{name}={value!r}" for name, value in named.items() if value is not None]
    return f"{function}({', '.join(given)})"


def _spans(box: list[list[int]]) -> str:
    return ",".join(f"{start}:{stop}" for start, stop in box)


def _slices(box: list[list[int]]) -> str:
    return "(" + ", ".join(f"slice({start}, {stop})" for start, stop in box) + ")"
