"""What ``session.json`` holds: typed, checked when it is read, written in one step."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json

from napari_hypseg.volumes.atomic import replacing

__all__ = [
    "SESSION_FILE",
    "LatentsRecord",
    "Place",
    "ProposalsRecord",
    "Record",
    "Run",
    "TrainingRecord",
    "Tree",
    "View",
    "VolumeRecord",
    "has_session",
    "read_record",
    "write_record",
]

SESSION_FILE = "session.json"
FORMAT_VERSION = 2
# Larger than any session: a file of this size was made to fill the memory.
_MOST_BYTES = 1 << 24


# Names of the files that a session writes for other programs: what they list may be removed.
Output = Annotated[
    str, Field(pattern=r"^((labels_k\d{2,4}|leaves)\.(mrc|tif|zarr)|tree\.json|report\.html)$")
]
Count = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Span = tuple[Annotated[int, Field(ge=0)], Count]
Spans = tuple[Span, Span, Span]
Tree = Literal["things", "kinds"]


@dataclass
class Place:
    """Where the voxels of a volume are.

    Attributes
    ----------
    path : str
        Absolute path of its file, or a URL.
    from_this_folder : str or None
        The path seen from the session's folder: both may move together.
    dataset, level, box
        Which part of the file.
    """

    path: str
    from_this_folder: str | None = None
    dataset: str | None = None
    level: Annotated[int, Field(ge=0)] = 0
    box: Spans | None = None


@dataclass
class VolumeRecord:
    """Which volume it is; sizes along (z, y, x), lengths in angstrom."""

    name: str
    shape: tuple[Count, Count, Count]
    voxel_size: tuple[Length, Length, Length]
    origin: tuple[Finite, Finite, Finite]
    fingerprint: str = ""
    place: Place | None = None


@dataclass
class TrainingRecord:
    """A training that was begun: what it needs to go on. ``number`` is that of its model."""

    number: Count
    preset: str
    steps: int | None
    seed: int
    device: str
    start: int | None = None
    also: list[VolumeRecord] = field(default_factory=list)


@dataclass
class LatentsRecord:
    """Which latent points are in use: of which model, every how many voxels, of which part."""

    model: Count
    stride: Count
    box: Spans | None = None
    device: str = "auto"


@dataclass
class ProposalsRecord:
    """How the latent points were clustered."""

    tree: Tree
    smoothing: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    seed: int


@dataclass
class View:
    """Where a person looks: the granularity, and what the window shows (see ``widgets``)."""

    k: Count = 6
    window: dict[str, JsonValue] = field(default_factory=dict)


@dataclass
class Run:
    """How it came about, for the report."""

    versions: dict[str, str] = field(default_factory=dict)
    machine: str = ""
    seconds: dict[str, Finite] = field(default_factory=dict)
    command: str = ""
    ks: list[Count] = field(default_factory=list)
    peak_memory_gb: Finite | None = None


@dataclass
class Record:
    """All that a session keeps beside its models, latents, clusters and classes.

    Attributes
    ----------
    model : int or None
        Number of the model in use.
    training : TrainingRecord or None
        The last training, for as long as it is not finished.
    outputs : list of str
        Names of the files in the folder that were written for other programs.
    """

    volume: VolumeRecord
    model: int | None = None
    training: TrainingRecord | None = None
    latents: LatentsRecord | None = None
    proposals: ProposalsRecord | None = None
    view: View = field(default_factory=View)
    outputs: list[Output] = field(default_factory=list)
    run: Run = field(default_factory=Run)


_RECORDS: TypeAdapter[Record] = TypeAdapter(Record)


def has_session(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a session."""
    return (Path(folder) / SESSION_FILE).is_file()


def write_record(folder: Path, record: Record) -> None:
    """Write the file of a session; a crash leaves the old one or the new one."""
    values = {"hypseg_session": FORMAT_VERSION, **_RECORDS.dump_python(record, mode="json")}
    text = TypeAdapter(dict[str, Any]).dump_json(values, indent=1)
    try:
        with replacing(folder / SESSION_FILE) as fresh:
            fresh.write_bytes(text + b"\n")
    except OSError as error:
        # Where a disk is full, the system's own error does not name the file.
        reason = error.strerror or error
        raise type(error)(f"{folder / SESSION_FILE}: can't be written, {reason}") from None


def read_record(folder: str | os.PathLike[str]) -> Record:
    """What `write_record` wrote.

    Raises
    ------
    ValueError
        If there is no session in the folder, or a damaged one, or one of another version.
    """
    path = Path(folder) / SESSION_FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path}: is no session of napari-hypseg, it is too large")
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{folder}: no session is kept here, {SESSION_FILE} is missing") from None
    except OSError as error:
        raise ValueError(f"{path}: can't be read, {error.strerror or error}") from None
    try:
        values = from_json(text)
    except ValueError:
        values = None
    version = values.pop("hypseg_session", None) if isinstance(values, dict) else None
    if not isinstance(version, int):
        raise ValueError(f"{path}: is no session of napari-hypseg, or a damaged one")
    if version != FORMAT_VERSION:
        what = "a newer" if version > FORMAT_VERSION else "an older"
        raise ValueError(
            f"{path}: the session is of {what} version of napari-hypseg, with which it can be "
            "opened"
        )
    try:
        return _RECORDS.validate_json(_json(values), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: is damaged at {where!r}: {first['msg']}") from None


def _json(values: dict[str, Any]) -> bytes:
    return TypeAdapter(dict[str, Any]).dump_json(values)
