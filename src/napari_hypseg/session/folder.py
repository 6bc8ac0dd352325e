"""The folder of a session: which volume it is of, its record, and what is noted there."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import napari_hypseg
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.session.places import described, keep_volume
from napari_hypseg.session.plan import PlanError
from napari_hypseg.session.record import (
    SESSION_FILE,
    Record,
    Run,
    has_session,
    read_record,
    write_record,
)
from napari_hypseg.volumes import Volume
from napari_hypseg.volumes.atomic import locked, remove

__all__ = ["SMOOTHED", "SessionFolder"]

SMOOTHED = "smoothed.zarr"
# What a session makes for itself, the record first: without it nothing of the rest is taken up.
_OURS = (SESSION_FILE, "models", "latents", "proposals", SMOOTHED, "volume.zarr")
# Seconds that a short write waits for another program's.
_WAIT = 10.0


class SessionFolder:
    """A volume and the folder of its session; the base of `Session`.

    Attributes
    ----------
    volume : Volume
    folder : Path
    record : Record
        What ``session.json`` holds.
    """

    def __init__(self, volume: Volume, folder: Path) -> None:
        self.volume, self.folder = volume, folder
        self.record = Record(described(volume, folder), run=Run(_versions(), _machine()))
        self._fingerprint = ""
        # The record of the work on another volume: replaced once there is something to keep.
        self._replaced: Record | None = None

    def _refuse_other(self, name: str, overwrite: bool) -> None:
        """Refuse the folder of the work on another volume."""
        if not overwrite:
            raise PlanError(
                f"{self.folder}: holds the work on another volume, {name}, whose voxels are not "
                f"those of {self.volume.name}: choose another folder"
            )
        if (self.folder / "classes" / "state.json").exists():
            raise PlanError(
                f"{self.folder}: holds classes that were kept of another volume, {name}: choose "
                "another folder, or remove this one yourself"
            )

    def _fingerprint_job(self) -> Job[str]:
        """Hash of the volume's voxels, computed once."""
        known = self.record.volume
        if not self._fingerprint:
            self._fingerprint = yield from self.volume.fingerprint_job()
        known.fingerprint = self._fingerprint
        return self._fingerprint

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only one that makes models, maps or proposals here; clear away what a kill left.

        Notes and classes have locks of their own, which are held for a moment only.
        """
        with locked(self.folder):
            for name in ("models", "latents", "proposals"):
                if (self.folder / name).is_dir():
                    with locked(self.folder / name):
                        pass
            yield

    def save(self, *parts: str) -> None:
        """Keep how the session stands in its folder.

        Parameters
        ----------
        *parts : str
            Attributes of the `record` that have changed: of the others, what another program has
            written meanwhile stays. All of them without any.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder, SESSION_FILE, wait=_WAIT):
            record = self.record
            if parts and has_session(self.folder):
                record = read_record(self.folder)
                for part in parts:
                    setattr(record, part, getattr(self.record, part))
            write_record(self.folder, record)

    def _keep_volume_job(self) -> Job[None]:
        """Make sure that the session can be opened again."""
        fingerprint = yield from self._fingerprint_job()
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._replaced is not None:
            for name in (*_OURS, *self._replaced.outputs):
                remove(self.folder / name)
            self._replaced = None
        if not has_session(self.folder):
            yield Progress("keeping the volume", 0, 0)
            self.volume = keep_volume(self.volume, self.folder, fingerprint)
            self.record.volume = described(self.volume, self.folder, fingerprint)
            self.save()
        elif (other := read_record(self.folder).volume).fingerprint != fingerprint:
            self._refuse_other(other.name, overwrite=False)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.record.run.seconds[stage] = round(time.monotonic() - began, 2)


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"


def _versions() -> dict[str, str]:
    names = ("torch", "geoopt", "numpy", "scipy", "scikit-image", "zarr", "mrcfile", "numba")
    found = {name: importlib.metadata.version(name) for name in names}
    return {
        "napari-hypseg": napari_hypseg.__version__,
        "python": platform.python_version(),
        **found,
    }
