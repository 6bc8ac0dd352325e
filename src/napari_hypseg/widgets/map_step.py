"""Step 3 of the dock: map the voxels to latent points, a preview first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from napari_hypseg.widgets.parts import Step, allow, button
from napari_hypseg.widgets.runner import JobRunner, time_left
from napari_hypseg.widgets.state import Result, State

__all__ = ["MapStep"]

_PREVIEW = 4


class MapStep(Step):
    """Map the voxels: a preview first, then all.

    Parameters
    ----------
    state : State
    runner : JobRunner
    on_map : callable
        Gets the stride at which to map the voxels.
    """

    def __init__(self, state: State, runner: JobRunner, on_map: Callable[[int], Any]) -> None:
        super().__init__("3  Map voxels")
        self._state, self._runner = state, runner
        self.preview = button(
            "Preview", "Map every 4th voxel along each axis: 64 times quicker than all",
            lambda: on_map(_PREVIEW),
        )  # fmt: skip
        self.all = button(
            "Map all voxels", "Map every voxel to its point of the disk", lambda: on_map(1)
        )
        self.row(self.preview, self.all)

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        session = self._state.session
        no_model = "Needs a model: step 2" if session is None or session.model is None else ""
        if no_model:
            self.say("waiting", no_model)
        elif self._runner.title == "mapping voxels":
            self.say("next", "Mapping and clustering: see below")
        elif session is None or session.latents is None:
            self.say("next", "Preview first: it shows in seconds if the model is any good")
        else:
            self.say("done", self._describe(self._state.result))
        for pushed in (self.preview, self.all):
            allow(pushed, self._runner.wait or no_model)

    def _describe(self, result: Result | None) -> str:
        if result is None:
            return "Mapped, not clustered yet: press Cluster again below"
        # Points that were kept from an earlier run take no time, and say nothing about it.
        timed = result.seconds >= 0.1
        if result.stride == 1:
            return "All voxels are mapped" + (f", in {time_left(result.seconds)}" if timed else "")
        session = self._state.session
        assert session is not None  # noqa: S101
        voxels = math.prod(session.volume.shape)
        disk = f"{voxels * result.latents.dim * 4 / 1e6:,.0f} MB on disk"
        time = f"{time_left(result.seconds * result.stride**3)} and " if timed else ""
        return f"Preview of every {result.stride}th voxel. All {voxels:,} take up to {time}{disk}"
