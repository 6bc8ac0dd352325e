"""A session as text that makes its proposals again: a Python script, or a command."""

from __future__ import annotations

import shlex
from typing import Any

from napari_hypseg.session.proposals import Proposals
from napari_hypseg.session.session import Session
from napari_hypseg.volumes import Box, Source

__all__ = ["as_command", "as_python"]


def as_command(session: Session, k: int) -> str:
    """The command that makes the proposals of a session again, at one granularity.

    Classes are not in it: a person made those, and they are in the session's folder.

    Parameters
    ----------
    session : Session
        With proposals.
    k : int
        Number of proposals.

    Raises
    ------
    ValueError
        If nothing is proposed yet.
    """
    source, proposals = _made(session)
    words = ["segment", source.path]
    words += ["--model", str(session.versions.path(proposals.model).absolute())]
    words += ["--out", f"{session.folder.absolute()}_again"]
    if source.dataset is not None:
        words += ["--dataset", source.dataset]
    if source.level:
        words += ["--level", str(source.level)]
    if source.box is not None:
        words += ["--crop", _spans(source.box)]
    sizes = set(session.volume.voxel_size)
    if len(sizes) == 1:
        words += ["--voxel-size", repr(sizes.pop())]
    if _is_part(session, proposals):
        words += ["--box", _spans(proposals.box)]
    words += ["--stride", str(proposals.stride)]
    words += ["--tree", proposals.kind, "--smoothing", repr(proposals.smoothing)]
    words += ["--seed", str(proposals.seed)]
    return shlex.join(["hypseg", *words, "-k", str(k)])


def as_python(session: Session, k: int) -> str:
    """A script that makes the proposals of a session again, and reads its classes.

    Parameters and errors are those of `as_command`.
    """
    source, proposals = _made(session)
    volume = _call(
        "hs.read_volume", source.path, dataset=source.dataset, level=source.level or None,
        voxel_size=session.volume.voxel_size,
    )  # fmt: skip
    if source.box is not None:
        volume += f".crop({_slices(source.box)})"
    box = f"box={_slices(proposals.box)}, " if _is_part(session, proposals) else ""
    model = str(session.versions.path(proposals.model).absolute())
    lines = [
        "import napari_hypseg as hs",
        "",
        f"volume = {volume}",
        f"model = {_call('hs.load_model', model)}",
        f"latents = hs.embed(model, volume, {box}stride={proposals.stride!r})",
        f"clusters = hs.cluster(latents, volume, tree={proposals.kind!r}, "
        f"smoothing={proposals.smoothing!r}, seed={proposals.seed!r})",
        f"name = {f'{session.volume.name}_labels_k{k:02d}.mrc'!r}",
        f"hs.write_labels(name, clusters.labels({k}), latents.as_volume())",
        "",
        "# The classes that were kept, as they are in the session's folder.",
        f"session = hs.Session.open({str(session.folder.absolute())!r})",
        "labels, table = session.classes.labels, session.classes.table",
        "",
    ]
    return "\n".join(lines)


def _made(session: Session) -> tuple[Source, Proposals]:
    """Where the volume is, and what is proposed."""
    if session.proposals is None:
        raise ValueError("map the voxels before asking how the proposals were made")
    source = session.volume.source
    # Every step has kept its volume.
    assert source is not None  # noqa: S101
    return source, session.proposals


def _is_part(session: Session, proposals: Proposals) -> bool:
    spans = [(s.start, s.stop) for s in proposals.box]
    return spans != [(0, n) for n in session.volume.shape]


def _call(function: str, *arguments: Any, **named: Any) -> str:
    given = [repr(a) for a in arguments]
    given += [f"{name}={value!r}" for name, value in named.items() if value is not None]
    return f"{function}({', '.join(given)})"


def _spans(box: Box) -> str:
    return ",".join(f"{s.start}:{s.stop}" for s in box)


def _slices(box: Box) -> str:
    return "(" + ", ".join(f"slice({s.start}, {s.stop})" for s in box) + ")"
