"""The `Desk` of a viewer: the session on show and the job under way, which all docks share."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_hypseg.jobs import Job
from napari_hypseg.volumes import Box, Volume, VolumeError
from napari_hypseg.volumes.atomic import BusyError
from napari_hypseg.widgets import parts
from napari_hypseg.widgets.folders import default_folder, take_up_job
from napari_hypseg.widgets.layers import (
    MADE_KEY,
    SESSION_KEY,
    place_on,
    shown_volume,
    voxels_replaced,
)
from napari_hypseg.widgets.loading import Loader
from napari_hypseg.widgets.looks import camera_of, look_of, show_look
from napari_hypseg.widgets.runner import JobRunner

if TYPE_CHECKING:
    from napari_hypseg.session import Session

__all__ = ["Desk", "desk_of", "is_volume"]

# Milliseconds after which the slider counts as resting, and a person as looking somewhere.
_REST, _LOOKS = 300, 1000
_OPENING = "opening the session"
# What a session announces; a dock connects to the desk's signal of the same name.
_RELAYED = ("model_changed", "proposals_changed", "k_changed", "chosen_changed")
# psygnal finds out how many arguments ``emit`` takes by calling it, unless it is told not to ask.
_AS_IT_IS: Any = {"check_nargs": False, "on_ref_error": "ignore"}
# What a layer announces that puts it elsewhere.
_PLACE = ("scale", "translate", "units", "rotate", "shear", "affine", "name")


class Desk:
    """What the docks of one viewer look at and work on; it holds nothing that the session has.

    It lives as long as the viewer's window, whichever docks are open.

    Attributes
    ----------
    viewer : napari.Viewer
    runner : JobRunner
    loader : Loader
    session : Session or None
        The one on show; `show` replaces it.
    layer : napari.layers.Image or None
        The layer that shows its volume.
    box : tuple of slice or None
        The part of the volume that is mapped next; all of it without.
    device : str
        Where is computed.
    problem : str
        Why there is no session of the layer; empty while it is being opened.
    ended : bool
        Whether the window is gone.
    session_changed : psygnal.Signal
        Another session is on show, or none, or another layer.
    model_changed, proposals_changed, k_changed, chosen_changed, classes_changed, \
classes_chosen_changed, selection_changed : psygnal.Signal
        Those of the session on show, whichever it is; all of them on the main thread.
    box_changed : psygnal.Signal
    layers_changed : psygnal.Signal
        The viewer has other layers, or others' names.
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
    box_changed = Signal()
    layers_changed = Signal()
    rested = Signal()
    said = Signal(str)

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.runner = JobRunner()
        self.loader = Loader()
        self.session: Session | None = None
        self.layer: Any = None
        self.box: Box | None = None
        self.device = "auto"
        self.problem = ""
        self.ended = False
        self._chooses = False
        # Whether the layer was put elsewhere while a job ran.
        self._was_moved = False
        # Takes the partial results of the running job.
        self._task: Any = None
        self._told = ""
        self._rest = _timer(_REST, self._on_rest)
        self._write_look = _timer(_LOOKS, self._save_view)
        # Runs while the viewer settles after its layers have changed.
        self._settle = _timer(0, self._on_settled)
        self.k_changed.connect(lambda: self._rest.start())
        self.runner.changed.connect(self._on_runner)
        self._watch_viewer()
        from napari_hypseg.widgets.classes_layer import ClassesLayer
        from napari_hypseg.widgets.picks import PickLayer
        from napari_hypseg.widgets.proposals_layer import ProposalsLayer

        self.proposals_layer = ProposalsLayer(self)
        self.classes_layer = ClassesLayer(self)
        self.pick_layer = PickLayer(self)

    def _watch_viewer(self) -> None:
        viewer, dims = self.viewer, self.viewer.dims.events
        self._links: list[tuple[Any, Callable[..., Any]]] = [
            (viewer.layers.events.inserted, self._on_layers),
            (viewer.layers.events.removing, self._on_layers),
            (viewer.layers.events.removed, self._on_layers),
            (viewer.layers.events.renamed, self._on_renamed),
            (dims.point, self._on_look),
            (dims.ndisplay, self._on_look),
            (dims.order, self._on_look),
            (camera_of(viewer).events, self._on_look),
        ]
        for event, slot in self._links:
            event.connect(slot)
        if self.window is not None:
            self.window.destroyed.connect(self.end)

    @property
    def window(self) -> Any:
        """The window of the viewer; None once it is closed, and of a viewer without one."""
        return getattr(getattr(self.viewer, "window", None), "_qt_window", None)

    def end(self) -> None:
        """The window is gone: nothing is waited for, announced or kept alive any more."""
        if self.ended:
            return
        self.ended = True
        self.runner.leave()
        self.loader.stop()
        if self._write_look.isActive():
            self._save_view()
        for timer in (self._rest, self._write_look, self._settle):
            timer.stop()
        self._watch_layer(None)
        for event, slot in self._links:
            event.disconnect(slot)
        self._relay(None)
        self.session = None
        _DESKS.pop(self.viewer, None)

    # -- the session on show

    def show(self, session: Session | None, layer: Any = None) -> None:
        """Put another session on show, or none; what runs for the one before is dropped."""
        self.runner.supersede()
        if self._write_look.isActive():
            self._write_look.stop()
            self._save_view()
        self._relay(session)
        self._watch_layer(layer)
        self.session, self.problem, self._was_moved = session, "", False
        self.box = None
        self.session_changed.emit()
        self.box_changed.emit()
        if session is not None:
            show_look(self.viewer, session.record.view.window)

    def _relay(self, session: Session | None) -> None:
        """Pass on what a session announces, and no other."""
        for ours, theirs in [] if self.session is None else self._relays(self.session):
            theirs.disconnect(ours.emit)
        for ours, theirs in [] if session is None else self._relays(session):
            theirs.connect(ours.emit, **_AS_IT_IS)

    def _relays(self, session: Session) -> list[tuple[Any, Any]]:
        """Signals of the desk, and which of a session they pass on."""
        return [
            *((getattr(self, name), getattr(session, name)) for name in _RELAYED),
            (self.classes_changed, session.classes.changed),
            (self.classes_chosen_changed, session.classes.chosen_changed),
            (self.selection_changed, session.selection.changed),
        ]

    def open(self, volume: Volume, folder: Path, layer: Any) -> None:
        """Open the session of a folder, or begin one there, and put it on show.

        What is on show stays until then, and if the folder holds the work on another volume.
        """
        self._open(volume, folder, layer, others=False)

    def choose(self, layer: Any) -> None:
        """Put the session of a layer on show, in the folder that is its own; None puts it away."""
        layer = getattr(layer, "__wrapped__", layer)
        self.show(None, layer)
        if layer is None:
            return
        try:
            volume = shown_volume(layer)
        except VolumeError as error:
            self._refuse(str(error))
            return
        self._open(volume, default_folder(layer), layer, others=True)

    def _open(self, volume: Volume, folder: Path, layer: Any, *, others: bool) -> None:
        def take(found: Session | str) -> None:
            if isinstance(found, str):
                self._refuse(found)
            else:
                # Whatever is on show meanwhile, the layer finds its work again.
                layer.metadata[SESSION_KEY] = str(found.folder)
                self.show(found, layer)
                self.said.emit("")

        self.runner.supersede()
        job = take_up_job(volume, folder.expanduser(), others=others)
        self.start(_OPENING, job, take)

    def _refuse(self, sentence: str) -> None:
        self.problem = "" if self.session is not None else sentence
        self.said.emit(f"✗  {sentence}")
        self.session_changed.emit()

    def stops(self, what: str) -> bool:
        """Whether nothing that takes long is running, or a person wants it stopped.

        Parameters
        ----------
        what : str
            What would stop it, to begin the question with.
        """
        title = self.runner.title
        if not title or title == _OPENING:
            return True
        return parts.ask(
            self.window, f"{what}: stop that, too? What is done stays.", "Stop", "Go on"
        )

    @property
    def lacks_session(self) -> str:
        """Why there is nothing to work on; empty if there is."""
        if self.session is not None:
            return ""
        if self.layer is None:
            return "Needs a volume: step 1"
        return self.problem or "The session of this layer is being opened"

    # -- work

    def start(self, title: str, job: Job[Any], on_done: Callable[[Any], Any] | None = None) -> None:
        """Run a job in the background; its result is put to use on the main thread.

        Parameters
        ----------
        title : str
            What a person reads.
        job : generator of Progress
        on_done : callable, optional
            Gets the result; without it the session takes it (`Session.take`).
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

    def _on_runner(self) -> None:
        self._tell_window()
        if self.runner.title:
            return
        if self._was_moved:
            self._on_moved()
        if self.layer is not None and self.session is None and not self.problem:
            self.problem = "Its session was not opened: choose the layer again"

    def _tell_window(self) -> None:
        """Let napari ask before a person closes it while something runs."""
        from napari.utils.task_status import Status

        window, title = getattr(self.viewer, "window", None), self.runner.title
        register = getattr(window, "_register_task_status", None)
        # Not while napari walks through its list to stop what is in it.
        if register is None or title == self._told:
            return
        self._told = title
        if self._task is not None:
            window._update_task_status(self._task, Status.COMPLETED)  # type: ignore[union-attr]
            self._task = None
        if title:
            self._task = register("Hyperbolic segmentation", Status.BUSY, title, self.runner.stop)

    def _on_rest(self) -> None:
        if self.session is not None:
            self._save_view()
            self.rested.emit()

    # -- the layer of the volume

    def choose_by_itself(self) -> None:
        """Choose a tomogram now and whenever there is none, for as long as the window lives."""
        self._chooses = True
        self._on_settled()

    def _watch_layer(self, layer: Any) -> None:
        """Follow a layer's place and voxels, and the one before no more."""
        layer = getattr(layer, "__wrapped__", layer)
        for each, turn in ((self.layer, "disconnect"), (layer, "connect")):
            if each is not None:
                for name in _PLACE:
                    getattr(getattr(each.events, name), turn)(self._on_moved)
                getattr(each.events.data, turn)(self._on_data)
        self.layer = layer

    def _on_moved(self, _event: Any = None) -> None:
        """Another voxel size, place or name: nothing is mapped anew."""
        self._was_moved = bool(self.runner.title)
        if self._was_moved or self.session is None or self.layer is None:
            return
        with self.telling():
            before, now = self.session.volume, shown_volume(self.layer)
            self.session.use_volume(now)
            self._lay_on(before, now)
            self.session_changed.emit()

    def _on_data(self, _event: Any = None) -> None:
        """Other voxels: another volume, with a session of its own."""
        voxels_replaced(self.layer)
        self.said.emit(f"{self.layer.name} has other voxels now: this is another volume")
        self.choose(self.layer)

    def _on_renamed(self, _event: Any = None) -> None:
        self.layers_changed.emit()

    def _on_layers(self, _event: Any = None) -> None:
        if not self.ended:
            self._settle.start()

    def _on_settled(self) -> None:
        """Notice that the layer is gone, or that there is one to begin with."""
        if hasattr(self.viewer, "window") and self.window is None:
            self.end()
            return
        layers = list(self.viewer.layers)
        if self.layer is not None and self.layer not in layers:
            title, name = self.runner.title, self.layer.name
            if self.stops(f"The layer {name} was removed while its {title} goes on"):
                self.show(None)
                if title and title != _OPENING:
                    self.said.emit(f"{title}: stopped; open {name} again to go on with it")
            else:
                # The session has the voxels; its work and what was kept stay.
                self._watch_layer(None)
                self.session_changed.emit()
        if self._chooses and self.layer is None and self.session is None:
            found = [e for e in layers if is_volume(e) and not e.metadata.get(MADE_KEY)]
            if found:
                self.choose(found[-1])
        self.layers_changed.emit()

    def _lay_on(self, before: Volume, now: Volume) -> None:
        """Let images that were made of the map go where the volume goes."""
        ratio = np.divide(now.voxel_size, before.voxel_size)
        for each in self.viewer.layers:
            if each.metadata.get(MADE_KEY) and isinstance(each, Image) and each != self.layer:
                made = shown_volume(each)
                moved = now.origin + ratio * np.subtract(made.origin, before.origin)
                z, y, x = (ratio * made.voxel_size).tolist()
                lattice = replace(made, voxel_size=(z, y, x), origin=tuple(moved.tolist()))
                for key, value in place_on(self.layer, lattice).items():
                    setattr(each, key, value)

    # -- where a person looks

    def keep_look(self, name: str, look: Any) -> None:
        """Keep what a dock shows, as JSON values; it is written a moment later.

        Parameters
        ----------
        name : str
            Of the dock, such as "disk"; `look` gives it back.
        look : JSON value
        """
        if self.session is not None:
            self.session.record.view.window[name] = look
            self._write_look.start()

    def look(self, name: str) -> Any:
        """What `keep_look` was given last in this session, maybe by another program; or None."""
        return None if self.session is None else self.session.record.view.window.get(name)

    def _on_look(self, _event: Any = None) -> None:
        # What the viewer does by itself when layers come and go is nowhere that a person looks.
        if self.session is not None and not self._settle.isActive():
            self.session.record.view.window.update(look_of(self.viewer))
            self._write_look.start()

    def _save_view(self) -> None:
        if self.session is not None:
            with self.telling():
                self.session.save_view()


def is_volume(layer: Any) -> bool:
    """Whether a layer can be segmented: an image of (z, y, x), of one value each."""
    if not isinstance(layer, Image) or layer.rgb:
        return False
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    return len(shape) >= 3 and set(shape[:-3]) <= {1}


def _timer(milliseconds: int, slot: Callable[[], Any]) -> QTimer:
    timer = QTimer()
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer


_DESKS: weakref.WeakKeyDictionary[Any, Desk] = weakref.WeakKeyDictionary()


def desk_of(viewer: Any) -> Desk:
    """The desk of a viewer; made when it is first asked for."""
    # Of what napari hands to plugins in place of itself.
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _DESKS:
        _DESKS[viewer] = Desk(viewer)
    return _DESKS[viewer]


@atexit.register
def _end_all() -> None:
    """Python ends before a window does: end first what Qt takes away in any order."""
    for desk in list(_DESKS.values()):
        desk.end()
