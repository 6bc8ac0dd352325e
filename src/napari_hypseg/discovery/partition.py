"""A `Partition`: which branches of the tree are the classes now, their names, which are hidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from napari_hypseg.clustering import MergeTree, TreeClustering
from napari_hypseg.discovery.colours import distinct_colour, node_colours
from napari_hypseg.discovery.voxels import burn, plus_one, relabel

__all__ = ["OwnClass", "Partition", "PartitionClass", "leaves_below"]

Array = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

# What one byte tells apart, 0 being the background.
_VALUES = 255
# Classes of the tree up to this many differ clearly from a person's own.
_FINER = 30


@dataclass(frozen=True, eq=False, slots=True)
class OwnClass:
    """A class that a person drew: it takes its voxels from the classes of the tree.

    Attributes
    ----------
    key : int
        Negative, unlike a node.
    colour : tuple of float
        sRGB, 0 to 1.
    mask : array of bool, shape (z, y, x)
        Its voxels.
    """

    key: int
    colour: tuple[float, float, float]
    mask: Mask


@dataclass(frozen=True, slots=True)
class PartitionClass:
    """One class as it is now.

    Attributes
    ----------
    label : int
        From 1; it changes when others are split or merged.
    key : int
        What stays: the node of the tree, or the negative key of a class of a person's own.
    name : str
    colour : tuple of float
        sRGB, 0 to 1.
    hidden : bool
    """

    label: int
    key: int
    name: str
    colour: tuple[float, float, float]
    hidden: bool


@dataclass(frozen=True, eq=False)
class Partition:
    """The classes of a volume as a person has them now. Every operation gives a new one.

    A key is a node of the tree, or the negative key of a class of a person's own. Names, colours
    and what is hidden belong to keys: they stay with the branch, whatever is split or merged.
    `Partition.of` makes the first one.

    Attributes
    ----------
    clustering : TreeClustering
        The tree and the leaves of the volume.
    colours : array, shape (2 n - 1, 3)
        sRGB of every node of the tree, 0 to 1.
    nodes : tuple of int
        Nodes that are the classes: each leaf lies below exactly one. Entry ``i - 1`` has label i.
    names : mapping of int to str
        Names that a person has given, by key.
    hidden : frozenset of int
        Leaves and own classes that are not shown. A node is hidden when all its leaves are.
    own : tuple of OwnClass
        Their labels follow those of the nodes; a later one covers an earlier one.

    Examples
    --------
    >>> tree = MergeTree(np.array([[0, 1], [2, 3]]), np.arange(2.0), np.array([6, 2, 4, 8, 12]),
    ...                  np.zeros((5, 2)))
    >>> leaves = np.repeat(np.uint8([0, 1, 2]), [6, 2, 4]).reshape(1, 3, 4)
    >>> two = Partition.of(TreeClustering("disk", leaves, tree), 2)
    >>> two.nodes, two.split(3).nodes, two.split(3).merge(3).nodes
    ((3, 2), (0, 2, 1), (3, 2))
    >>> two.rename(3, "membrane").at(3).at(2).classes[0].name
    'membrane'
    >>> two.add_own(leaves == 1, "spike").labels().tolist()
    [[[1, 1, 1, 1], [1, 1, 3, 3], [2, 2, 2, 2]]]
    """

    clustering: TreeClustering
    colours: Array
    nodes: tuple[int, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    hidden: frozenset[int] = frozenset()
    own: tuple[OwnClass, ...] = ()

    @classmethod
    def of(cls, clustering: TreeClustering, k: int, colours: Array | None = None) -> Partition:
        """The classes at a granularity, all shown, none named.

        Parameters
        ----------
        clustering : TreeClustering
        k : int
            Number of classes.
        colours : array, shape (2 n - 1, 3), optional
            Of the nodes; those of `node_colours` without it.
        """
        tree = clustering.tree
        nodes = tuple(tree.nodes(k).tolist())
        return cls(clustering, node_colours(tree) if colours is None else colours, nodes)

    # -- what there is

    @property
    def tree(self) -> MergeTree:
        """The tree over the leaves."""
        return self.clustering.tree

    @property
    def k(self) -> int:
        """Number of classes of the tree; own ones come on top."""
        return len(self.nodes)

    @property
    def keys(self) -> tuple[int, ...]:
        """Keys of all classes; entry ``i - 1`` has label i."""
        return self.nodes + tuple(own.key for own in self.own)

    @cached_property
    def classes(self) -> list[PartitionClass]:
        """All classes in order of their labels: those of the tree, then the own ones."""
        colours = [tuple(self.colours[node].tolist()) for node in self.nodes]
        colours += [own.colour for own in self.own]
        hidden = self._hidden()
        return [
            PartitionClass(label, key, self.name(key), colours[label - 1], bool(hidden[label - 1]))
            for label, key in enumerate(self.keys, start=1)
        ]

    @property
    def wholes(self) -> list[int]:
        """The nodes above the classes, the root last."""
        n, inside = self.tree.n_leaves, set(self.nodes)
        found = []
        for node, (a, b) in enumerate(self.tree.merges.tolist(), start=n):
            if a in inside or b in inside:
                inside.add(node)
                found.append(node)
        return found

    def name(self, key: int) -> str:
        """What a person calls a branch or an own class; its label, or its number, if nothing."""
        if key in self.names:
            return self.names[key]
        if key < 0:
            return f"own class {-key}"
        return f"class {self.nodes.index(key) + 1}" if key in self.nodes else f"branch {key}"

    def is_hidden(self, key: int) -> bool:
        """Whether nothing of a branch, or of an own class, is shown."""
        return bool(self.hidden) and self._parts([key]) <= self.hidden

    def classes_in(self, node: int) -> tuple[int, ...]:
        """The nodes that are classes below a node, or the one that it is or is part of."""
        found = set(self.lookup()[leaves_below(self.tree, node)].tolist())
        return tuple(self.nodes[label - 1] for label in sorted(found))

    # -- voxels

    def lookup(self) -> Bytes:
        """Label of every leaf, shape (n,); own classes aside."""
        return self._lookup.copy()

    def values(self) -> Bytes:
        """Leaf of each voxel counted from 1, own classes after the leaves, shape (z, y, x).

        It stays the same while only the tree is cut elsewhere.
        """
        return self._burn(plus_one(self.clustering.leaves), self.tree.n_leaves + 1)

    def own_values(self) -> Bytes:
        """Own class of each voxel counted from 1, 0 where there is none, shape (z, y, x).

        Not to be written to: of a single own class it is the mask itself.
        """
        if len(self.own) == 1:
            return self.own[0].mask.view(np.uint8)
        # Filled, not made of zeros: so that it comes in large pages.
        empty = np.empty(self.clustering.leaves.shape, np.uint8)
        empty.fill(0)
        return self._burn(empty, 1)

    def value_labels(self) -> Bytes:
        """Label of each of the `values`, shape (256,); that of 0 is 0."""
        n, m = self.tree.n_leaves, len(self.own)
        labels = np.zeros(_VALUES + 1, np.uint8)
        labels[1 : n + 1] = self.lookup()
        labels[n + 1 : n + m + 1] = np.arange(self.k + 1, self.k + m + 1)
        return labels

    def label_colours(self) -> Array:
        """Colours of the labels 1 to the last with their opacity, 0 if hidden, shape (m, 4)."""
        return np.array([[*c.colour, 0.0 if c.hidden else 1.0] for c in self.classes])

    def labels(self) -> Bytes:
        """Label of each voxel, shape (z, y, x); those of hidden classes too."""
        lookup = np.zeros(_VALUES + 1, np.uint8)
        lookup[: self.tree.n_leaves] = self.lookup()
        return self._burn(relabel(self.clustering.leaves, lookup), self.k + 1)

    def labels_at(self, voxels: npt.NDArray[np.int64], leaves: Bytes | None = None) -> Bytes:
        """Labels of some voxels.

        Parameters
        ----------
        voxels : array of int64, shape (m,)
            Their flat indices.
        leaves : array of uint8, shape (m,), optional
            Their leaves, where they are known: to gather them takes most of the time.
        """
        if leaves is None:
            leaves = self.clustering.leaves.reshape(-1)[voxels]
        labels: Bytes = self._lookup[leaves]
        for label, own in enumerate(self.own, start=self.k + 1):
            labels[own.mask.reshape(-1)[voxels]] = label
        return labels

    # -- operations on the tree's classes

    def at(self, k: int) -> Partition:
        """The classes at one granularity, 1 to the number of leaves."""
        return replace(self, nodes=tuple(self.tree.nodes(k).tolist()))

    def can_split(self, key: int) -> bool:
        """Whether this is a class that has parts."""
        return key in self.nodes and key >= self.tree.n_leaves

    def split(self, node: int) -> Partition:
        """Put the two parts of a class in its place: the larger one keeps its label.

        Raises
        ------
        ValueError
            If it is no class of the tree, or a leaf.
        """
        if node not in self.nodes:
            raise ValueError(f"node {node} is no class now: it can't be split")
        if not self.can_split(node):
            raise ValueError(f"{self.name(node)} is a leaf of the tree: it has no parts")
        a, b = self.tree.merges[node - self.tree.n_leaves].tolist()
        larger, smaller = (a, b) if self.tree.counts[a] >= self.tree.counts[b] else (b, a)
        nodes = tuple(larger if n == node else n for n in self.nodes)
        return replace(self, nodes=(*nodes, smaller))

    def merge(self, node: int) -> Partition:
        """Make one class of all classes below a node; it takes the lowest of their labels.

        Raises
        ------
        ValueError
            If no classes lie below the node.
        """
        below = self.classes_in(node)
        if len(below) < 2:
            raise ValueError(f"{self.name(below[0])} has no classes below it to merge")
        kept = [node if n == below[0] else n for n in self.nodes if n not in below[1:]]
        return replace(self, nodes=tuple(kept))

    def whole(self, nodes: Iterable[int]) -> int | None:
        """The node that merging some classes makes: the lowest above all of them.

        Of one class that is its parent, and None where it is the whole tree.
        """
        parents = _parents(self.tree)
        first, *others = nodes
        if not others:
            return None if first == len(parents) - 1 else int(parents[first])
        wanted = set().union(*(leaves_below(self.tree, node) for node in (first, *others)))
        node = first
        while not wanted <= set(leaves_below(self.tree, node)):
            node = int(parents[node])
        return node

    # -- names, and what is shown

    def rename(self, key: int, name: str) -> Partition:
        """Name a branch or an own class; an empty name takes its name away."""
        names = {**self.names, key: name.strip()}
        if not names[key]:
            del names[key]
        return replace(self, names=names)

    def hide(self, *keys: int) -> Partition:
        """Hide branches or own classes."""
        return replace(self, hidden=self.hidden | self._parts(keys))

    def show(self, *keys: int) -> Partition:
        """Show branches or own classes; everything if none are given."""
        return replace(self, hidden=self.hidden - self._parts(keys or self.keys))

    def only(self, *keys: int) -> Partition:
        """Show these and hide everything else."""
        return replace(self, hidden=self._parts(self.keys) - self._parts(keys))

    # -- classes of a person's own

    def add_own(
        self,
        mask: npt.ArrayLike,
        name: str | None = None,
        colour: tuple[float, float, float] | None = None,
    ) -> Partition:
        """Add a class of some voxels, last of all: ``own[-1]``.

        Parameters
        ----------
        mask : array of bool, shape (z, y, x)
            On the lattice of the leaves.
        name : str, optional
            "own class 1" and so on without it.
        colour : tuple of float, optional
            sRGB, 0 to 1; without it one that differs from those of all others.

        Raises
        ------
        ValueError
            If the mask is empty or of another shape, or there are too many own classes.
        """
        voxels, shape = np.asarray(mask, np.bool_), self.clustering.leaves.shape
        if voxels.shape != shape:
            raise ValueError(f"a class needs a mask of shape {shape}, not {voxels.shape}")
        if not voxels.any():
            raise ValueError("no voxels are in this class")
        most = _VALUES - self.tree.n_leaves
        if len(self.own) >= most:
            raise ValueError(f"there can be {most} classes of your own: remove one first")
        key = min((own.key for own in self.own), default=0) - 1
        if colour is None:
            # Of what shows now, or would if the tree were cut elsewhere; no branch has the same.
            finer = self.tree.nodes(min(_FINER, self.tree.n_leaves))
            taken = [*(c.colour for c in self.classes), *self.colours[finer].tolist()]
            red, green, blue = distinct_colour(taken, self.colours).tolist()
            colour = red, green, blue
        added = replace(self, own=(*self.own, OwnClass(key, colour, voxels)))
        return added.rename(key, name or "")

    def remove_own(self, key: int) -> Partition:
        """Take an own class away: its voxels go back to the classes of the tree."""
        names = {other: name for other, name in self.names.items() if other != key}
        own = tuple(own for own in self.own if own.key != key)
        return replace(self, names=names, own=own, hidden=self.hidden - {key})

    def with_own_of(self, other: Partition) -> Partition:
        """Take the own classes of another partition of the same voxels in place of the own ones."""
        names = {key: name for key, name in self.names.items() if key >= 0}
        names |= {key: name for key, name in other.names.items() if key < 0}
        hidden = {key for key in self.hidden if key >= 0} | {k for k in other.hidden if k < 0}
        return replace(self, names=names, hidden=frozenset(hidden), own=other.own)

    # -- helpers

    @cached_property
    def _lookup(self) -> Bytes:
        n = self.tree.n_leaves
        labels = np.zeros(2 * n - 1, np.uint8)
        labels[list(self.nodes)] = np.arange(1, self.k + 1)
        merges = self.tree.merges.tolist()
        for merge in range(n - 2, -1, -1):
            if labels[n + merge]:
                labels[merges[merge]] = labels[n + merge]
        return labels[:n]

    def _parts(self, keys: Iterable[int]) -> frozenset[int]:
        """The leaves and own classes that keys consist of."""
        return frozenset().union(
            *([key] if key < 0 else leaves_below(self.tree, key) for key in keys)
        )

    def _hidden(self) -> Mask:
        """Whether each class is hidden, in order of the labels."""
        lookup = self.lookup()
        seen = np.ones(len(lookup), np.bool_)
        seen[[key for key in self.hidden if key >= 0]] = False
        shown = np.bincount(lookup[seen], minlength=self.k + 1)[1:] > 0
        return np.concatenate([~shown, [own.key in self.hidden for own in self.own]]).astype(bool)

    def _burn(self, volume: Bytes, first: int) -> Bytes:
        """Write the own classes into a volume, from this value on."""
        for value, own in enumerate(self.own, start=first):
            burn(volume, own.mask, value)
        return volume


def leaves_below(tree: MergeTree, node: int) -> list[int]:
    """The leaves below a node, or the leaf itself."""
    found, left = [], [node]
    while left:
        node = left.pop()
        if node < tree.n_leaves:
            found.append(node)
        else:
            left += tree.merges[node - tree.n_leaves].tolist()
    return found


def _parents(tree: MergeTree) -> npt.NDArray[np.int64]:
    """Parent of every node but the root, shape (2 n - 1,)."""
    n = tree.n_leaves
    parents = np.zeros(2 * n - 1, np.int64)
    parents[tree.merges] = np.arange(n, 2 * n - 1)[:, None]
    return parents
