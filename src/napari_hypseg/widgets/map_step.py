"""Step 3 of the dock: map the voxels to latent points, a preview first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from napari_hypseg.volumes import Box
from napari_hypseg.volumes.limits import in_words
from napari_hypseg.widgets.parts import Step, allow, button
from napari_hypseg.widgets.runner import JobRunner, time_left
from napari_hypseg.widgets.state import State

__all__ = ["MapStep"]

_PREVIEW = 4


class MapStep(Step):
    """Map the voxels: a preview or the slice on show first, then all.

    Parameters
    ----------
    viewer : napari.Viewer
    state : State
    runner : JobRunner
    on_map : callable
        Gets the stride at which to map the voxels, and the box if it is not all of them.
    """

    def __init__(
        self, viewer: Any, state: State, runner: JobRunner, on_map: Callable[..., Any]
    ) -> None:
        super().__init__("3  Map voxels")
        self._viewer, self._state, self._runner = viewer, state, runner
        self.preview = button(
            "Preview", "Map every 4th voxel along each axis: 64 times quicker than all",
            lambda: on_map(_PREVIEW),
        )  # fmt: skip
        self.slice = button(
            "This slice", "Map every voxel of the slice (z) on show: quick, and as fine as it gets",
            lambda: on_map(1, self._slice()),
        )  # fmt: skip
        self.all = button(
            "Map all voxels", "Map every voxel: coarse labels appear first and become finer; "
            "stopped, it goes on later where it was",
            lambda: on_map(1),
        )  # fmt: skip
        self.row(self.preview, self.slice, self.all)

    def _slice(self) -> Box:
        """The slice on show, as a box of the session's volume."""
        session = self._state.session
        assert session is not None  # noqa: S101
        volume = session.volume
        at = (self._viewer.dims.point[0] - volume.origin[0]) / volume.voxel_size[0]
        z = min(max(round(at), 0), volume.shape[0] - 1)
        return slice(z, z + 1), slice(0, volume.shape[1]), slice(0, volume.shape[2])

    @property
    def is_whole(self) -> bool:
        """Whether what is on show is of all slices."""
        session, result = self._state.session, self._state.result
        return (
            session is not None
            and result is not None
            and result.latents.shape[0] == -(-session.volume.shape[0] // result.stride)
        )

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        session, result = self._state.session, self._state.result
        no_model = "Needs a model: step 2" if session is None or session.model is None else ""
        if session is None or no_model:
            self.say("waiting", no_model)
        elif self._runner.title == "mapping voxels":
            self.say("next", "Mapping and clustering: see below")
        elif result is not None and result.model is session.model:
            self.say("done" if result.stride == 1 and self.is_whole else "next", self._describe())
        elif session.latents is not None:
            self.say("next", "Mapped, not clustered yet: press Cluster again below")
        else:
            self.say("next", f"Preview first, it takes seconds. {self._needs('')}")
        for pushed in (self.preview, self.slice, self.all):
            allow(pushed, self._runner.wait or no_model)

    def _describe(self) -> str:
        session, result = self._state.session, self._state.result
        assert session is not None  # noqa: S101
        assert result is not None  # noqa: S101
        # Points that were kept from an earlier run take no time, and say nothing about it.
        timed = result.seconds >= 0.1
        if result.stride == 1 and self.is_whole:
            return "All voxels are mapped" + (f", in {time_left(result.seconds)}" if timed else "")
        share = math.prod(session.volume.shape) / math.prod(result.latents.shape)
        time = f"{time_left(result.seconds * share)}, " if timed else ""
        what = f"one voxel in {result.stride} along each axis" if self.is_whole else "one slice"
        return f"Preview of {what}. {self._needs(time)}"

    def _needs(self, time: str) -> str:
        """What all voxels will take, and a warning where there is too little of it."""
        session = self._state.session
        assert session is not None  # noqa: S101
        needs = session.needs()
        voxels = math.prod(session.volume.shape)
        # No line ends within a size.
        disk, memory = (
            in_words(b).replace(" ", "\N{NO-BREAK SPACE}") for b in (needs.disk, needs.memory)
        )
        shortage = f". ⚠ T{needs.shortage[1:]}" if needs.shortage else ""
        take = f"{time}{disk} of disk and {memory} of memory"
        return f"All {voxels:,} voxels take up to {take}{shortage}"
