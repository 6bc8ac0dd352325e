"""Which folder the session of a layer is kept in, and opening it there."""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_hypseg.jobs import Job
from napari_hypseg.session.plan import PlanError, file_name
from napari_hypseg.volumes import Volume
from napari_hypseg.widgets.layers import SESSION_KEY
from napari_hypseg.widgets.settings import read_settings

if TYPE_CHECKING:
    from napari_hypseg.session import Session

__all__ = ["default_folder", "is_temporary", "take_up_job"]


def default_folder(layer: Any) -> Path:
    """Where its session was opened last; where the settings say; beside its file; or temporary."""
    opened = layer.metadata.get(SESSION_KEY)
    if opened is not None:
        return Path(opened)
    # Without the number by which napari tells layers of one name from each other.
    name = file_name(re.sub(r" \[\d+\]$", "", layer.name))
    path, results = layer.source.path, read_settings().folder
    if results is not None:
        return results / f"{name}_hypseg"
    if path and os.access(Path(path).parent, os.W_OK):
        return Path(path).with_name(f"{name}_hypseg")
    return _temporary() / name


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"hypseg_{file_name(getpass.getuser())}"


def is_temporary(folder: Path) -> bool:
    """Whether what is kept there may be gone after the next start of the machine."""
    return _temporary() in folder.parents


def take_up_job(volume: Volume, folder: Path, *, others: bool) -> Job[Session | str]:
    """Open the session of a folder, or begin one there.

    Parameters
    ----------
    volume : Volume
    folder : Path
    others : bool
        Whether another folder may be taken (``_2`` and so on behind its name) where this one
        holds the work on another volume.

    Returns
    -------
    Session or str
        A sentence says why there is none.
    """
    from napari_hypseg.session import Session

    number, each = 1, folder
    while True:
        try:
            session = yield from Session.open_job(each, volume)
            if session.proposals is not None:
                # Here and not on the main thread, where the table and the disk ask for it.
                yield from session.proposals.gather_job()
            return session
        except PlanError as error:
            if not others:
                return str(error)
        except (ValueError, OSError) as error:
            return str(error)
        number += 1
        each = folder.with_name(f"{folder.name}_{number}")
