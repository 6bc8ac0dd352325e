"""The proposals in the viewer: recoloured while the slider moves, exact labels when it rests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.widgets.labels_layer import (
    colour,
    find_layer,
    put_layer,
    remove_layer,
    value_under,
)

if TYPE_CHECKING:
    from napari_hypseg.session import Proposals
    from napari_hypseg.widgets.desk import Desk

__all__ = ["ProposalsLayer"]

# Opacity of proposals while others are chosen.
_DIM = 0.15


class ProposalsLayer:
    """One napari Labels layer that shows what is proposed at the granularity of now.

    While the slider moves, the layer holds the leaves of the tree (one byte a voxel) and only its
    colours change: milliseconds, whatever the size. When the slider rests it gets the exact
    labels: then napari's status bar and its own saving speak of proposals. Chosen branches stand
    out until others, or none, are chosen. Nothing paints here: proposals are the machine's.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        self._desk, self._only = desk, False
        # Leaves from 1 on, once they are needed: 0 is napari's background.
        self._leaves: npt.NDArray[np.uint8] | None = None
        # Granularity whose labels the layer holds; None while it holds the leaves.
        self._k: int | None = None
        desk.session_changed.connect(self._on_proposals)
        desk.proposals_changed.connect(self._on_proposals)
        desk.k_changed.connect(self._on_k)
        desk.rested.connect(self._on_rested)
        desk.chosen_changed.connect(self._on_chosen)

    @property
    def layer(self) -> Any:
        """The napari layer; None while there is none."""
        return find_layer(self._desk.viewer, "proposals")

    @property
    def only(self) -> bool:
        """Whether chosen proposals are shown alone."""
        return self._only

    @only.setter
    def only(self, only: bool) -> None:
        self._only = only
        self._on_chosen()

    def node_under(self, event: Any) -> int | None:
        """The proposal that a mouse event is over."""
        session, value = self._desk.session, value_under(self.layer, event)
        if session is None or session.proposals is None or not value:
            return None
        if self._k is not None:
            return session.proposals.nodes(self._k)[value - 1]
        return session.proposals.node_at(value - 1, session.k)

    def _on_proposals(self) -> None:
        session = self._desk.session
        self._leaves = self._k = None
        if session is None or session.proposals is None:
            remove_layer(self._desk.viewer, "proposals")
        else:
            self._show(session.proposals, exact=True)

    def _on_k(self) -> None:
        session = self._desk.session
        if session is not None and session.proposals is not None:
            self._show(session.proposals, exact=False)

    def _on_rested(self) -> None:
        session = self._desk.session
        if session is not None and session.proposals is not None and self.layer is not None:
            self._show(session.proposals, exact=True)

    _on_chosen = _on_rested

    def _show(self, proposals: Proposals, *, exact: bool) -> None:
        """Show the proposals by their exact labels, as far as these can be coloured, or leaves."""
        session = self._desk.session
        assert session is not None  # noqa: S101
        k, n = session.k, proposals.tree.n_leaves
        lookup = proposals.lookup(k)[:n].astype(int)
        colours = self._colours(proposals, lookup)
        table = np.zeros((256, 4), np.float32)
        if exact:
            table[lookup] = colours
            # A chosen branch may be finer than the labels.
            exact = bool((table[lookup] == colours).all())
        if not exact:
            table[:] = 0
            table[1 : n + 1] = colours
        held = k if exact else None
        if held != self._k or self.layer is None or (self._k is None and self._leaves is None):
            data = proposals.labels(k) if exact else self._leaves_of(proposals)
            layer = put_layer(self._desk, "proposals", data, proposals.latents.as_volume())
            layer.editable = False
            self._k = held
            self._describe(layer, proposals, k)
        colour(self.layer, table)

    def _colours(
        self, proposals: Proposals, lookup: npt.NDArray[np.int_]
    ) -> npt.NDArray[np.float32]:
        """RGBA of each leaf."""
        session = self._desk.session
        assert session is not None  # noqa: S101
        nodes = np.array(proposals.nodes(session.k))
        colours = np.ones((len(lookup), 4), np.float32)
        colours[:, :3] = proposals.colours[nodes[lookup - 1]]
        if session.chosen:
            stands_out = np.zeros(len(lookup), np.bool_)
            for node in session.chosen:
                stands_out[list(proposals.leaves_below(node))] = True
            colours[~stands_out, 3] = 0.0 if self._only else _DIM
        return colours

    def _leaves_of(self, proposals: Proposals) -> npt.NDArray[np.uint8]:
        from napari_hypseg.figures.voxels import relabel

        if self._leaves is None:
            following = np.arange(1, 257).astype(np.uint8)
            self._leaves = relabel(proposals.clustering.leaves, following)
        return self._leaves

    def _describe(self, layer: Any, proposals: Proposals, k: int) -> None:
        """Say what a value is where napari's status bar looks."""
        if self._k is None:
            layer.features = {}
        else:
            counts = proposals.tree.counts[list(proposals.nodes(k))]
            layer.features = {"index": range(1, k + 1), "voxels": counts}
