"""What a person made of a session: the classes with their names, kept in its folder."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.clustering import TreeClustering
from napari_hypseg.discovery import Partition
from napari_hypseg.discovery.partition import leaves_below
from napari_hypseg.session.session import Session
from napari_hypseg.volumes.atomic import replacing

__all__ = ["keep_partition", "kept_partition"]

Mask = npt.NDArray[np.bool_]


def keep_partition(session: Session, partition: Partition, **more: Any) -> None:
    """Keep the classes as they are, in the folder of a session.

    Parameters
    ----------
    session : Session
        Whose clustering the partition is of.
    partition : Partition
        The classes. Voxels of own ones go into files of their own, which are written once.
    **more
        Further JSON values for the session's ``view``.
    """
    masks = {own.key: own.mask for own in partition.own}
    for key, mask in masks.items():
        if mask is not session.masks.get(key):
            _write_mask(_mask_path(session.folder, key), mask)
    session.view = {
        **session.view,
        **more,
        "classes": {
            "nodes": list(partition.nodes),
            "names": {str(key): name for key, name in partition.names.items()},
            "hidden": sorted(partition.hidden),
            "own": [{"key": own.key, "colour": list(own.colour)} for own in partition.own],
        },
    }
    session.save()
    for key in session.masks.keys() - masks.keys():
        _mask_path(session.folder, key).unlink(missing_ok=True)
    session.masks = masks


def kept_partition(session: Session) -> Partition | None:
    """The classes that a session was left with; None if it has no tree, or nothing was kept.

    Raises
    ------
    ValueError
        If what was kept is damaged, or doesn't fit the tree.

    Examples
    --------
    >>> import napari_hypseg as hs
    >>> from napari_hypseg.session import kept_partition
    >>> session = hs.Session.open("result")  # doctest: +SKIP
    >>> [c.name for c in kept_partition(session).classes]  # doctest: +SKIP
    """
    clustering = session.clustering
    if not isinstance(clustering, TreeClustering) or "classes" not in session.view:
        return None
    try:
        found, masks = _partition(session.view["classes"], clustering, session.folder)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ):
        raise ValueError(
            f"{session.folder}: the classes kept there are damaged or don't fit their tree; the "
            "rest of the session is whole"
        ) from None
    session.masks |= masks
    return found


def _partition(
    kept: Mapping[str, Any], clustering: TreeClustering, folder: Path
) -> tuple[Partition, dict[int, Mask]]:
    n = clustering.tree.n_leaves
    nodes = [int(node) for node in kept["nodes"]]
    if not all(0 <= node < 2 * n - 1 for node in nodes):
        raise ValueError
    leaves = [leaf for node in nodes for leaf in leaves_below(clustering.tree, node)]
    if sorted(leaves) != list(range(n)):
        raise ValueError
    partition = Partition.of(clustering, 1)
    masks: dict[int, Mask] = {}
    for own in kept["own"]:
        key, (red, green, blue) = int(own["key"]), (float(v) for v in own["colour"])
        if not all(0 <= v <= 1 for v in (red, green, blue)) or key >= 0:
            raise ValueError
        masks[key] = _read_mask(_mask_path(folder, key), clustering.leaves.shape)
        partition = partition.add_own(masks[key], None, (red, green, blue))
    own_classes = tuple(
        replace(own, key=key) for own, key in zip(partition.own, masks, strict=True)
    )
    hidden = frozenset(int(key) for key in kept["hidden"])
    names = {int(key): str(name) for key, name in kept["names"].items()}
    if not hidden <= {*range(n), *masks} or not names.keys() <= {*range(2 * n - 1), *masks}:
        raise ValueError
    return replace(
        partition, nodes=tuple(nodes), names=names, hidden=hidden, own=own_classes
    ), masks


def _mask_path(folder: Path, key: int) -> Path:
    return folder / f"own_class_{-key}.npz"


def _write_mask(path: Path, mask: Mask) -> None:
    with replacing(path) as fresh, fresh.open("wb") as file:
        # Not compressed: that would take half a second of a large volume's, this a tenth.
        np.savez(file, bits=np.packbits(mask), shape=np.array(mask.shape))


def _read_mask(path: Path, shape: tuple[int, ...]) -> Mask:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        if tuple(kept["shape"].tolist()) != shape:
            raise ValueError
        bits = np.unpackbits(kept["bits"], count=int(np.prod(shape)))
    return bits.reshape(shape).astype(np.bool_)
