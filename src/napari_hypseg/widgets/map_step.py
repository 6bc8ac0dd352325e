"""Step 3 of the dock: map the voxels to latent points, a preview first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_hypseg.jobs import Job
from napari_hypseg.volumes import Box, Volume
from napari_hypseg.volumes.limits import in_words
from napari_hypseg.widgets.desk import Desk
from napari_hypseg.widgets.layers import data_point, through, warp_of
from napari_hypseg.widgets.loading import LOADING
from napari_hypseg.widgets.model_step import load_job
from napari_hypseg.widgets.parts import Step, allow, ask, button
from napari_hypseg.widgets.runner import time_left

if TYPE_CHECKING:
    from napari_hypseg.session import Proposals, Session, Trained

__all__ = ["MapStep", "pace_job"]

_MAPPING = "mapping voxels"
_PREVIEW = 4
# Seconds of work from which on a person is asked, and points below which nothing takes so long.
_LONG, _FEW = 600.0, 100_000
# Side of the cube that tells the pace, and seconds that it may take.
_SIDE, _MEASURED = 32, 1.5
# Seconds for each point, for all that follows the mapping, as two processors took.
_CLUSTERING = 1.5e-5


class MapStep(Step):
    """Map the voxels: a preview or the slice on show first, then all.

    Nothing that a person has kept depends on it, and what was mapped before is found again.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__("3  Map voxels")
        self._desk = desk
        # Seconds for each point, of a model on a device.
        self._paces: dict[tuple[str, str], float] = {}
        self.preview = button(
            "Preview", "Map every 4th voxel along each axis: proposals in seconds",
            lambda: self._map(_PREVIEW),
        )  # fmt: skip
        self.slice = button(
            "This slice", "Map every voxel of the slice on show: quick, and as fine as it gets",
            self._map_slice,
        )  # fmt: skip
        self.all = button(
            "Map all voxels", "Map every voxel; stopped, it goes on later where it was",
            lambda: self._map(1),
        )  # fmt: skip
        self.row(self.preview, self.slice, self.all)
        self.follow(
            (desk.session_changed, self.refresh), (desk.model_changed, self.refresh),
            (desk.proposals_changed, self.refresh), (desk.box_changed, self.refresh),
            (desk.loader.changed, self.refresh),
        )  # fmt: skip
        self.refresh()

    # -- mapping

    def _how(self, session: Session) -> dict[str, Any]:
        """How the points are clustered: as those on show, or as those were that were kept."""
        how = session.proposals
        if how is not None:
            return {"tree": how.kind, "smoothing": how.smoothing, "seed": how.seed}
        kept = session.record.proposals
        if kept is not None:
            return {"tree": kept.tree, "smoothing": kept.smoothing, "seed": kept.seed}
        return {}

    def _map(self, stride: int) -> None:
        desk, session = self._desk, self._desk.session
        if session is None or self._takes_general(session, lambda: self._map(stride)):
            return
        box, points = desk.box, _points(session, desk.box, stride)

        def begin() -> None:
            seconds = self.seconds(points)
            if seconds is not None and seconds > _LONG and not ask(
                self, f"Mapping {points:,} points takes about {time_left(seconds)}: begin?", "Begin"
            ):  # fmt: skip
                return
            job = session.discover_job(
                stride=stride, box=box, device=desk.device, **self._how(session)
            )
            desk.start(_MAPPING, job)

        if points < _FEW or self.seconds(points) is not None:
            begin()
            return
        # A short look at how quick it is.
        key, job = self._key(session), pace_job(session, desk.device)
        desk.start("measuring how long it takes", job, lambda pace: self._on_pace(key, pace, begin))

    def _takes_general(self, session: Session, then: Callable[[], None]) -> bool:
        """Where there is no model yet, take the general one, and then go on."""
        if session.model is not None:
            return False

        from napari_hypseg.model import GENERAL

        def take(trained: Trained) -> None:
            session.take(trained)
            then()

        self._desk.start(_MAPPING, load_job(session, GENERAL), take)
        return True

    def _on_pace(self, key: tuple[str, str], pace: float, begin: Any) -> None:
        self._paces[key] = pace
        begin()

    def _key(self, session: Session) -> tuple[str, str]:
        assert session.model is not None  # noqa: S101
        return session.model.model.fingerprint(), self._desk.device

    def seconds(self, points: int) -> float | None:
        """How long so many points take, mapped and clustered; None while that is unknown."""
        session = self._desk.session
        if session is None or session.model is None:
            return None
        pace = self._paces.get(self._key(session))
        return None if pace is None else points * (pace + _CLUSTERING)

    def slice_box(self) -> Box | None:
        """The slice on show, as a box of the session's volume; None if it lies outside."""
        desk = self._desk
        assert desk.session is not None  # noqa: S101
        # Of a layer that is turned, the axis that goes most nearly through the slices.
        axis = int(np.argmax(np.abs(warp_of(desk.layer)[through(desk.viewer), :3])))
        at = round(float(data_point(desk.viewer, desk.layer)[axis]))
        shape = desk.session.volume.shape
        if not 0 <= at < shape[axis]:
            return None
        spans = [slice(0, n) for n in shape]
        spans[axis] = slice(at, at + 1)
        z, y, x = spans
        return z, y, x

    def _map_slice(self) -> None:
        desk, session = self._desk, self._desk.session
        if session is None or desk.layer is None:
            return
        if self._takes_general(session, self._map_slice):
            return
        box = self.slice_box()
        if box is None:
            desk.said.emit("The slice on show lies outside the volume: move to one inside")
            return
        desk.start(_MAPPING, session.glance_job(box, device=desk.device, **self._how(session)))

    # -- how it stands

    def _is_of_all(self, shown: Proposals) -> bool:
        """Whether proposals are of the model in use and of all that is to be mapped."""
        session = self._desk.session
        assert session is not None  # noqa: S101
        wanted = self._desk.box or tuple(slice(0, n) for n in session.volume.shape)
        model = session.model
        return model is not None and shown.model == model.number and shown.box == wanted

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        desk, session = self._desk, self._desk.session
        missing = desk.lacks_session or (
            "" if desk.loader.choices is not None else desk.loader.problem or LOADING
        )
        if session is None or missing:
            self.say("waiting", missing)
        elif desk.runner.title == _MAPPING:
            self.say("next", "Mapping and clustering: see below")
        elif session.proposals is not None:
            shown = session.proposals
            whole = self._is_of_all(shown) and shown.stride == 1
            self.say("done" if whole else "next", self._describe(session, shown, whole=whole))
        elif session.latents is not None:
            self.say("next", "Mapped, not clustered yet: see step 4, or map again")
        else:
            self.say("next", f"Preview first, it takes seconds. {self._needs(session)}")
        no_layer = "" if desk.layer is not None else "The volume's layer was removed"
        for pushed, reason in ((self.preview, ""), (self.slice, no_layer), (self.all, "")):
            allow(pushed, missing or desk.runner.wait or reason)

    def _describe(self, session: Session, shown: Proposals, *, whole: bool) -> str:
        of = f"with model {shown.model}"
        if whole:
            part = "the box" if self._desk.box is not None else "the volume"
            return f"All voxels of {part} are mapped {of}"
        if 1 in shown.latents.shape and shown.stride == 1:
            what = "One slice"
        elif shown.stride > 1:
            what = f"A preview, one voxel in {shown.stride} along each axis,"
        elif shown.box == tuple(slice(0, n) for n in session.volume.shape):
            what = "The volume"
        else:
            what = "A part"
        return f"{what} is mapped {of}. {self._needs(session)}"

    def _needs(self, session: Session) -> str:
        """What all voxels will take, and a warning where there is too little of it."""
        needs = session.needs(box=self._desk.box)
        points = _points(session, self._desk.box, 1)
        seconds = self.seconds(points)
        # No line ends within a size.
        disk, memory = (
            in_words(b).replace(" ", "\N{NO-BREAK SPACE}") for b in (needs.disk, needs.memory)
        )
        shortage = f". ⚠ T{needs.shortage[1:]}" if needs.shortage else ""
        about = "" if seconds is None else f"about {time_left(seconds)}, "
        part = "" if self._desk.box is None else " of the box"
        return (
            f"All {points:,} voxels{part} take {about}up to {disk} of disk and {memory} of "
            f"memory{shortage}"
        )


def _points(session: Session, box: Box | None, stride: int) -> int:
    spans = box or tuple(slice(0, n) for n in session.volume.shape)
    return math.prod(-(-(s.stop - s.start) // stride) for s in spans)


def pace_job(session: Session, device: str) -> Job[float]:
    """Measure how long a point takes to be mapped.

    Returns
    -------
    float
        Seconds for each point.
    """
    from napari_hypseg.latents import embed_job

    assert session.model is not None  # noqa: S101
    # Noise will do: it costs the same, and needs no reading.
    noise = np.random.default_rng(0).normal(size=(_SIDE,) * 3).astype(np.float32)
    paces: list[float] = []
    began = time.monotonic()
    # The first time all is prepared anew.
    while len(paces) < 2 or time.monotonic() - began < _MEASURED:
        like = Volume(noise, session.volume.voxel_size)
        job = embed_job(session.model.model, like, device=device)
        first: tuple[float, int] | None = None
        last = (0.0, 0)
        while True:
            try:
                progress = next(job)
            except StopIteration:
                break
            if progress.stage == _MAPPING:
                last = (time.monotonic(), progress.done)
                first = first or last
            yield progress
        assert first is not None  # noqa: S101
        paces.append((last[0] - first[0]) / max(1, last[1] - first[1]))
    return min(paces)
