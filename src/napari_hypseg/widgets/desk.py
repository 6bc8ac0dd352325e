"""The `Desk` of a viewer: the session on show and the job under way, which all docks share."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_hypseg.jobs import Job
from napari_hypseg.volumes import Volume
from napari_hypseg.volumes.atomic import BusyError
from napari_hypseg.widgets.runner import JobRunner

if TYPE_CHECKING:
    from napari_hypseg.session import Session

__all__ = ["Desk", "desk_of"]

# Milliseconds after which the slider counts as resting.
_REST = 300
# What a session announces; a dock connects to the desk's signal of the same name.
_RELAYED = ("model_changed", "proposals_changed", "k_changed", "chosen_changed")
# psygnal finds out how many arguments ``emit`` takes by calling it, unless it is told not to ask.
_AS_IT_IS: Any = {"check_nargs": False, "on_ref_error": "ignore"}


class Desk:
    """What the docks of one viewer look at and work on; it holds nothing that the session has.

    Attributes
    ----------
    viewer : napari.Viewer
    runner : JobRunner
    session : Session or None
        The one on show; `show` replaces it.
    layer : napari.layers.Image or None
        The layer that shows its volume.
    session_changed : psygnal.Signal
        Another session is on show, or none.
    model_changed, proposals_changed, k_changed, chosen_changed, classes_changed, \
classes_chosen_changed, selection_changed : psygnal.Signal
        Those of the session on show, whichever it is; all of them on the main thread.
    rested : psygnal.Signal
        The slider has not moved for a moment: what takes longer waits for it.
    said : psygnal.Signal of str
        A sentence for a person.
    """

    session_changed = Signal()
    model_changed = Signal()
    proposals_changed = Signal()
    k_changed = Signal()
    chosen_changed = Signal()
    classes_changed = Signal(object)
    classes_chosen_changed = Signal()
    selection_changed = Signal()
    rested = Signal()
    said = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.runner = JobRunner()
        self.session: Session | None = None
        self.layer: Any = None
        self._rest = QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST)
        self._rest.timeout.connect(self._on_rest)
        self.k_changed.connect(lambda: self._rest.start())
        from napari_hypseg.widgets.classes_layer import ClassesLayer
        from napari_hypseg.widgets.proposals_layer import ProposalsLayer

        self.proposals_layer = ProposalsLayer(self)
        self.classes_layer = ClassesLayer(self)

    def _on_rest(self) -> None:
        if self.session is not None:
            self.session.save_view()
            self.rested.emit()

    def show(self, session: Session | None, layer: Any = None) -> None:
        """Put another session on show, or none; what runs for the one before is dropped."""
        self.runner.supersede()
        if self.session is not None:
            for name in _RELAYED:
                getattr(self.session, name).disconnect(getattr(self, name).emit)
            self.session.classes.changed.disconnect(self.classes_changed.emit)
            self.session.classes.chosen_changed.disconnect(self.classes_chosen_changed.emit)
            self.session.selection.changed.disconnect(self.selection_changed.emit)
        self.session, self.layer = session, layer
        if session is not None:
            for name in _RELAYED:
                getattr(session, name).connect(getattr(self, name).emit, **_AS_IT_IS)
            session.classes.changed.connect(self.classes_changed.emit, **_AS_IT_IS)
            session.classes.chosen_changed.connect(self.classes_chosen_changed.emit, **_AS_IT_IS)
            session.selection.changed.connect(self.selection_changed.emit, **_AS_IT_IS)
        self.session_changed.emit()

    def open(self, volume: Volume | None, folder: Path, layer: Any) -> None:
        """Open the session of a folder, or begin one there, and put it on show."""
        from napari_hypseg.session import Session

        self.start(
            "opening the session",
            Session.open_job(folder, volume),
            lambda session: self.show(session, layer),
        )

    def start(self, title: str, job: Job[Any], on_done: Callable[[Any], Any] | None = None) -> None:
        """Run a job in the background; its result is put to use on the main thread.

        Parameters
        ----------
        title : str
            What a person reads.
        job : generator of Progress
        on_done : callable, optional
            Gets the result; without it the session takes it (`Session.take`), and each partial
            result of it too.
        """
        session = self.session
        take = session.take if on_done is None and session is not None else on_done

        def use(result: Any) -> None:
            with self.telling():
                if take is not None:
                    take(result)

        self.runner.start(title, job, use)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell a person, in a sentence, what goes wrong inside."""
        try:
            yield
        except (ValueError, OSError, BusyError) as error:
            self.said.emit(f"✗  {error}")


_DESKS: weakref.WeakKeyDictionary[Any, Desk] = weakref.WeakKeyDictionary()


def desk_of(viewer: Any) -> Desk:
    """The desk of a viewer; made when it is first asked for."""
    # Of what napari hands to plugins in place of itself.
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _DESKS:
        _DESKS[viewer] = Desk(viewer)
    return _DESKS[viewer]
