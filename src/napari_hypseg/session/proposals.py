"""`Proposals`: what the machine offers now, the leaves of a map and the tree that groups them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, finish

if TYPE_CHECKING:
    from napari_hypseg.clustering import MergeTree, TreeClustering
    from napari_hypseg.figures import Cloud
    from napari_hypseg.latents import Latents
    from napari_hypseg.volumes import Box, Volume

__all__ = ["FINEST", "ProposalRow", "Proposals"]

#: The finest granularity that is offered.
FINEST = 30

Bytes = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """One proposal at a granularity.

    Attributes
    ----------
    label : int
        From 1; of the same voxels, or some of them, at the next granularity.
    node : int
        Its branch of the tree: this is what stays when the granularity changes.
    colour : tuple of float
        sRGB, 0 to 1.
    voxels : int
        Of the map's lattice.
    volume_nm3 : float
    distance : float
        Mean distance of its latent points to the centre; large where the network is certain.
    """

    label: int
    node: int
    colour: Colour
    voxels: int
    volume_nm3: float
    distance: float


@dataclass(frozen=True, eq=False)
class Proposals:
    """A clustering of latent points with all that is drawn of it; it never changes.

    Attributes
    ----------
    latents : Latents
        The points, with the stride and the box that were mapped.
    clustering : TreeClustering
    smoothing : float
        Weight of the smoothing before clustering.
    seed : int
    model : int
        Number of the session's model whose points these are.
    is_kept : bool
        Whether the session's folder holds them; not of a quick look at a part.
    """

    latents: Latents
    clustering: TreeClustering
    smoothing: float
    seed: int
    model: int
    is_kept: bool = True

    @property
    def tree(self) -> MergeTree:
        """The tree over the leaves."""
        return self.clustering.tree

    @property
    def kind(self) -> Literal["things", "kinds"]:
        """Which tree it is."""
        return self.clustering.kind

    @property
    def most(self) -> int:
        """The finest granularity that is offered."""
        return min(FINEST, self.tree.n_leaves)

    @property
    def stride(self) -> int:
        """Every how many voxels were mapped: more than 1 is a preview."""
        return int(self.latents.array.attrs["stride"])  # type: ignore[arg-type]

    @property
    def box(self) -> Box:
        """The part of the volume that was mapped, in its voxels."""
        spans: Any = self.latents.array.attrs["box"]
        z, y, x = (slice(int(start), int(stop)) for start, stop in spans)
        return z, y, x

    @cached_property
    def colours(self) -> npt.NDArray[np.float64]:
        """SRGB of every node of the tree, 0 to 1, shape (2 n - 1, 3)."""
        from napari_hypseg.figures import node_colours

        return node_colours(self.tree)

    @cached_property
    def cloud(self) -> Cloud:
        """The latent points as they are drawn and picked; `gather_job` before can be stopped."""
        from napari_hypseg.figures import cloud_job

        return finish(cloud_job(self.latents))

    @property
    def is_gathered(self) -> bool:
        """Whether the points of `cloud` are at hand: they take a moment to gather."""
        return "cloud" in self.__dict__

    def gather_job(self, other: Proposals | None = None) -> Job[None]:
        """Gather the points of `cloud`, or take those of other proposals of the same map."""
        from napari_hypseg.figures import cloud_job

        if other is not None and other.latents is self.latents and other.is_gathered:
            self.__dict__["cloud"] = other.cloud
        elif not self.is_gathered:
            self.__dict__["cloud"] = yield from cloud_job(self.latents)

    def placed(self, volume: Volume) -> Proposals:
        """The same proposals at the place of a volume of the same voxels."""
        moved = replace(self, latents=self.latents.placed(volume))
        # What does not depend on the place is not gathered anew.
        moved.__dict__.update({n: v for n, v in self.__dict__.items() if n in ("cloud", "colours")})
        return moved

    @cached_property
    def cloud_leaves(self) -> Bytes:
        """Leaf of each point of the cloud, shape (n,)."""
        leaves: Bytes = self.clustering.leaves.reshape(-1)[self.cloud.voxels]
        return leaves

    # -- at a granularity

    def clip(self, k: int) -> int:
        """The granularity nearest to k that there is."""
        return max(1, min(k, self.most))

    def nodes(self, k: int) -> tuple[int, ...]:
        """Nodes of the proposals at a granularity; entry ``i - 1`` has label i."""
        return tuple(self.tree.nodes(k).tolist())

    def lookup(self, k: int) -> Bytes:
        """Label of each leaf at a granularity, shape (256,), for indexing with leaves."""
        table = np.zeros(256, np.uint8)
        table[: self.tree.n_leaves] = self.tree.lookup(k)
        return table

    def labels(self, k: int) -> Bytes:
        """Label of each voxel of the map's lattice, shape (z, y, x)."""
        from napari_hypseg.figures.voxels import relabel

        return relabel(self.clustering.leaves, self.lookup(k))

    def rows(self, k: int) -> list[ProposalRow]:
        """The proposals at a granularity, in order of their labels."""
        nodes, voxel = self.nodes(k), math.prod(self.latents.voxel_size) / 1e3
        sampled, distances = self._by_leaf
        rows = []
        for label, node in enumerate(nodes, start=1):
            leaves = list(self.leaves_below(node))
            count = int(self.tree.counts[node])
            some = int(sampled[leaves].sum())
            mean = float(distances[leaves].sum() / some) if some else math.nan
            rows.append(ProposalRow(label, node, self.colour(node), count, count * voxel, mean))
        return rows

    @cached_property
    def _by_leaf(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Points of the cloud in each leaf, and the sum of their distances to the centre."""
        from napari_hypseg.latents.maps import distance_to_centre

        cloud, n = self.cloud, self.tree.n_leaves
        radii = distance_to_centre(cloud.points, cloud.curvature)
        return (
            np.bincount(self.cloud_leaves, minlength=n)[:n],
            np.bincount(self.cloud_leaves, radii, minlength=n)[:n],
        )

    # -- branches

    def colour(self, node: int) -> Colour:
        """Colour of a branch, the same at every granularity."""
        red, green, blue = self.colours[node].tolist()
        return red, green, blue

    def leaves_below(self, node: int) -> tuple[int, ...]:
        """The leaves of a branch."""
        n, below, found = self.tree.n_leaves, [node], []
        while below:
            node = below.pop()
            if node < n:
                found.append(node)
            else:
                below += self.tree.merges[node - n].tolist()
        return tuple(sorted(found))

    def node_at(self, leaf: int, k: int) -> int | None:
        """The proposal that a leaf is part of at a granularity; None of what lies outside."""
        if leaf >= self.tree.n_leaves:
            return None
        return self.nodes(k)[int(self.tree.lookup(k)[leaf]) - 1]

    def mask(self, nodes: Iterable[int]) -> tuple[npt.NDArray[np.bool_], Box]:
        """Voxels of branches on the volume's own lattice, whatever stride was mapped.

        Returns
        -------
        mask : array of bool
            Of the box.
        box : tuple of slice
            Where it lies in the volume.

        Raises
        ------
        ValueError
            If no branch is given, or there is no such branch.
        """
        from napari_hypseg.figures.voxels import relabel

        chosen = set(nodes)
        if not chosen or not chosen <= set(range(2 * self.tree.n_leaves - 1)):
            raise ValueError("choose one or more proposals first")
        table = np.zeros(256, np.uint8)
        for node in chosen:
            table[list(self.leaves_below(node))] = 1
        found = relabel(self.clustering.leaves, table).view(np.bool_)
        return self.on_volume(found), self.box

    def on_volume(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of the map's lattice at each voxel of its box: those of the nearest point."""
        if self.stride == 1:
            return values
        index = [
            np.minimum(np.arange(s.stop - s.start) + self.stride // 2, (n * self.stride) - 1)
            // self.stride
            for s, n in zip(self.box, values.shape, strict=True)
        ]
        return values[np.ix_(*index)]

    def in_volume(self, voxels: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Voxels of the volume at points (z, y, x) of the map's lattice, shape (..., 3)."""
        corner = [s.start for s in self.box]
        found: npt.NDArray[np.int64] = np.asarray(voxels, np.int64) * self.stride + corner
        return found

    def voxel_of(self, place: Sequence[float]) -> tuple[int, int, int] | None:
        """The point of the map's lattice at a place in angstrom (z, y, x); None outside."""
        latents = self.latents
        z, y, x = (
            round((p - o) / s)
            for p, o, s in zip(place, latents.origin, latents.voxel_size, strict=True)
        )
        inside = all(0 <= i < n for i, n in zip((z, y, x), latents.shape, strict=True))
        return (z, y, x) if inside else None
