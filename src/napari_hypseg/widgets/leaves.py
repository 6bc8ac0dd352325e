"""The labels layer of a result: recoloured while k changes, exact labels when it rests."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.utils.colormaps import CyclicLabelColormap

from napari_hypseg.widgets.layers import place_of
from napari_hypseg.widgets.state import State

if TYPE_CHECKING:
    from napari_hypseg.figures import OwnClass, Partition

__all__ = ["LeafLayer"]

# Opacity of classes while others stand out.
_DIM = 0.15


class LeafLayer:
    """One napari Labels layer that shows a result at the granularity chosen.

    While the slider moves, the layer holds the leaves of the tree (one byte a voxel) and only its
    colours change: milliseconds, whatever the size. When the slider rests the layer gets the
    exact labels: then napari's status bar, its tools and its own saving all speak of classes.

    Parameters
    ----------
    viewer : napari.Viewer
    state : State
        With a result.
    """

    def __init__(self, viewer: Any, state: State) -> None:
        assert state.result is not None  # noqa: S101
        assert state.partition is not None  # noqa: S101
        self._viewer = viewer
        partition, latents = state.partition, state.result.latents
        self._take(partition)
        self.layer = viewer.add_labels(
            self._labels(partition), name=f"{latents.name} classes", opacity=0.6,
            **place_of(latents.as_volume()),
        )  # fmt: skip
        self._colour(partition.label_colours())
        self._describe(partition)

    def show(self, state: State) -> None:
        """Show another result of the same volume: how a person set the layer up stays."""
        assert state.result is not None  # noqa: S101
        assert state.partition is not None  # noqa: S101
        place = place_of(state.result.latents.as_volume())
        self._take(state.partition)
        self.layer.data = self._labels(state.partition)
        self.layer.scale, self.layer.translate = place["scale"], place["translate"]
        self._colour(state.partition.label_colours())
        self._describe(state.partition)

    def _take(self, partition: Partition) -> None:
        # Leaves and own classes, once they are asked for, and which own classes these are.
        self._values: npt.NDArray[np.uint8] | None = None
        self._written: tuple[OwnClass, ...] = ()
        # Own classes of what is on show.
        self._own = partition.own
        # Labels of the values, where the layer holds labels; None while it holds the values.
        self._exact: npt.NDArray[np.uint8] | None = partition.value_labels()

    @property
    def is_there(self) -> bool:
        """Whether the layer is still in the viewer, or a person has removed it."""
        return self.layer in self._viewer.layers

    def recolour(self, partition: Partition, chosen: Collection[int] = ()) -> None:
        """Show the classes by their colours, whatever the size.

        Parameters
        ----------
        partition : Partition
        chosen : collection of int
            Keys of classes that stand out from the others; none of them if there are none.
        """
        labels = partition.value_labels()
        if partition.own is not self._own:
            self._take_own(partition, labels)
        elif self._exact is not None and not np.array_equal(labels, self._exact):
            self.layer.data = self._values_of(partition)
            self._exact = None
        colours = partition.label_colours()
        if chosen:
            colours[[key not in chosen for key in partition.keys], 3] *= _DIM
        there = labels > 0
        self._colour(colours if self._exact is not None else colours[labels[there] - 1])

    def settle(self, partition: Partition) -> None:
        """Show the classes by exact labels, with their names."""
        if self._exact is None:
            self._exact = partition.value_labels()
            self.layer.data = self._labels(partition)
            self._colour(partition.label_colours())
        # At hand when the slider moves.
        self._values_of(partition)
        self._describe(partition)

    def point_out(self, partition: Partition, chosen: Sequence[int]) -> None:
        """Let classes stand out; of one that napari's tools paint with takes its label."""
        self.recolour(partition, chosen)
        if self._exact is not None and len(chosen) == 1:
            self.layer.selected_label = partition.keys.index(chosen[0]) + 1

    def _take_own(self, partition: Partition, labels: npt.NDArray[np.uint8]) -> None:
        """Take other own classes; write one that was added into the labels."""
        from napari_hypseg.figures.voxels import burn

        before, own, exact = self._own, partition.own, self._exact
        self._own = own
        first = partition.tree.n_leaves + 1 + len(before)
        if (
            exact is None
            or own[: len(before)] != before
            or not np.array_equal(labels[:first], exact[:first])
        ):
            self.layer.data, self._exact = self._values_of(partition), None
            return
        for value, added in enumerate(own[len(before) :], start=first):
            burn(self.layer.data, added.mask, labels[value])
        self._exact = labels

    def _values_of(self, partition: Partition) -> npt.NDArray[np.uint8]:
        """The values of a partition; an own class that was added is written into what is there."""
        from napari_hypseg.figures.voxels import burn

        written, own = self._written, partition.own
        if self._values is None or own[: len(written)] != written:
            self._values = partition.values()
        else:
            first = partition.tree.n_leaves + 1 + len(written)
            for value, added in enumerate(own[len(written) :], start=first):
                burn(self._values, added.mask, value)
        self._written = own
        return self._values

    def _labels(self, partition: Partition) -> npt.NDArray[np.uint8]:
        from napari_hypseg.figures.voxels import relabel

        assert self._exact is not None  # noqa: S101
        return relabel(self._values_of(partition), self._exact)

    def _describe(self, partition: Partition) -> None:
        """Put the classes' names where napari's status bar finds them."""
        classes = partition.classes
        self.layer.features = {
            "index": [c.label for c in classes], "class": [c.name for c in classes]
        }  # fmt: skip

    def _colour(self, colours: Any) -> None:
        """Colours and opacities of the values from 1 on."""
        table = np.zeros((256, 4), np.float32)
        table[1 : len(colours) + 1] = colours
        # A new colour map announces a new selected label, which nobody has selected. One colour
        # for each byte: a DirectLabelColormap takes napari 30 ms each time, and seconds at first.
        with self.layer.events.selected_label.blocker():
            self.layer.colormap = CyclicLabelColormap(colors=table)
