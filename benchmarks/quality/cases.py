"""The volumes with truth: what is asked of each, what counts in means, and where objects are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import napari_hypseg as hs
from napari_hypseg.evaluation import read_picks

__all__ = ["CASES", "Case", "load"]

# A quick run takes the first volume of each kind of data, cut to this size.
QUICK = (32, 96, 96)
TOYS = 4
# Of sim_cryoet/NAME_truth.mrc.gz: classes 0 to 11 at level 3, and what they are at levels 2 and 1.
SIMULATED = (
    (0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    (0, 1, 2, 2, 3, 2, 4, 5, 5, 6, 6, 6),
    tuple(range(12)),
)
SIMULATED_NAMES = ("outside", "cytosol", "membrane", "lumen", "matrix", "filament", "complex")


@dataclass(frozen=True)
class Case:
    """A volume and what is known of it.

    Attributes
    ----------
    name, data : str
        The volume, and the kind of data that it belongs to: a column of the tables.
    volume : Volume
        In memory.
    levels : tuple of array, shape (z, y, x)
        Truths, coarse to fine.
    focus : int
        Index of the level that targets belong to.
    targets : dict of int to str
        The classes of that level that count in means, by name; one that the volume lacks does not.
    thin : tuple of int
        The targets that are sheets or filaments.
    bodies : array or None
        Instances that the boundary, target 1, parts; 0 is the boundary.
    picks : dict of str to array, shape (n, 3)
        Centres by class in voxels.
    objects : int
        The target whose components stand for objects.
    radius : float
        How far a centre may be off, in voxels.
    """

    name: str
    data: str
    volume: hs.Volume
    levels: tuple[npt.NDArray[Any], ...]
    targets: dict[int, str]
    focus: int = 0
    thin: tuple[int, ...] = ()
    bodies: npt.NDArray[Any] | None = None
    picks: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    objects: int = 0
    radius: float = 10.0

    @property
    def truth(self) -> npt.NDArray[Any]:
        """The level that targets belong to."""
        return self.levels[self.focus]

    def cut(self, shape: tuple[int, int, int]) -> Case:
        """The part of this size around the middle of the picks or, without any, of the targets."""
        wanted = (
            np.concatenate(list(self.picks.values()))
            if self.picks
            else np.argwhere(np.isin(self.truth, list(self.targets)))
        )
        starts = [
            int(np.clip(middle - size // 2, 0, max(0, n - size)))
            for middle, size, n in zip(
                np.median(wanted, axis=0), shape, self.volume.shape, strict=True
            )
        ]
        box = tuple(slice(start, start + size) for start, size in zip(starts, shape, strict=True))
        held = self.volume
        voxels = held.read()[box]
        picks = {
            name: inside
            for name, places in self.picks.items()
            if len(inside := _inside(places - starts, voxels.shape))
        }
        return replace(
            self,
            volume=hs.Volume(voxels, held.voxel_size, held.origin, held.name),
            levels=tuple(level[box] for level in self.levels),
            bodies=None if self.bodies is None else self.bodies[box],
            picks=picks,
        )


def _inside(places: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    kept: npt.NDArray[np.float64] = places[((places >= 0) & (places < shape)).all(axis=1)]
    return kept


def _simulated(name: str, folder: Path) -> Case:
    folder = folder / "sim_cryoet"
    fine = hs.read_volume(folder / f"{name}_truth.mrc.gz").read().astype(np.uint8)
    return Case(
        name, f"simulated, {name[2:]}", _held(folder / f"{name}.mrc"),
        tuple(np.array(level, np.uint8)[fine] for level in SIMULATED),
        dict(list(enumerate(SIMULATED_NAMES))[2:]), focus=1, thin=(2, 5),
        picks=read_picks(folder / f"{name}_picks.csv"), objects=6,
    )  # fmt: skip


def _microtubule(_: str, folder: Path) -> Case:
    folder = folder / "microtubule_cryoet"
    truth = hs.read_volume(folder / "13pf_MT_derived_labels.tif").read().astype(np.uint8)
    return Case(
        "microtubule", "microtubule", _held(folder / "13pf_MT.mrc"), (truth,), {1: "wall"},
        thin=(1,),
    )  # fmt: skip


def _traced(name: str, folder: Path) -> Case:
    folder = folder / "tardis_microtubules"
    truth = hs.read_volume(folder / f"{name}_mask.tif", voxel_size=25.0).read() > 0
    return Case(
        name, "traced microtubules", _held(folder / f"{name}.tif", 25.0),
        (truth.astype(np.uint8),), {1: "microtubule"}, thin=(1,),
    )  # fmt: skip


def _fly(name: str, folder: Path) -> Case:
    folder = folder / "fly_fibsem"
    bodies = hs.read_volume(folder / f"{name}-gt.lzf.h5", voxel_size=100.0).read()
    return Case(
        f"fly-{name}", "fly", _held(folder / f"{name}-image.h5", 100.0),
        ((bodies == 0).astype(np.uint8),), {1: "boundary"}, thin=(1,), bodies=bodies,
    )  # fmt: skip


def _glioma(_: str, folder: Path) -> Case:
    folder = folder / "glioma_mri"
    whole = _held(folder / "TCGA-DU-7294_fla.nii.gz")
    voxels = whole.read()
    tumour = hs.read_volume(folder / "TCGA-DU-7294_consensus.nii.gz").read() > 0
    truth = np.where(tumour, 2, voxels != 0).astype(np.uint8)
    # Cut to the brain, beyond which all is 0.
    box = tuple(
        slice(int(hit[0]), int(hit[-1]) + 1)
        for axis in range(3)
        for hit in [np.flatnonzero((voxels != 0).any(axis=tuple({0, 1, 2} - {axis})))]
    )
    volume = hs.Volume(voxels[box], whole.voxel_size, whole.origin, whole.name)
    return Case("glioma", "glioma", volume, (truth[box],), {2: "tumour"})


def _toy(name: str, _: Path) -> Case:
    kind, seed = name.rsplit("-", 1)
    toy = hs.make_toy(kind, seed=int(seed))  # type: ignore[arg-type]
    found = np.unique(toy.levels[1])
    return Case(
        name, f"toy, {kind}", toy.volume, tuple(toy.levels),
        {int(value): f"object {value}" for value in found if value > 1}, focus=1,
    )  # fmt: skip


def _made(name: str, _: Path) -> Case:
    made = hs.make_tomogram(seed=int(name.rsplit("-", 1)[1]))
    found = np.unique(made.levels[1])
    return Case(
        name, "made tomogram", made.volume, tuple(made.levels),
        {int(value): f"class {value}" for value in found if value > 1}, focus=1,
        picks={str(each): np.asarray(places, float) for each, places in made.picks.items()},
        objects=int(found[-1]),
    )  # fmt: skip


def _held(path: Path, voxel_size: float | None = None) -> hs.Volume:
    """A volume in memory: every method reads all of it, most of them several times."""
    found = hs.read_volume(path, voxel_size=voxel_size)
    return hs.Volume(found.read(), found.voxel_size, found.origin, found.name)


Make = Callable[[str, Path], Case]

# By kind of data: what makes a case, and the names. Toys are those of no other table's seeds.
CASES: dict[str, tuple[Make, tuple[str, ...]]] = {
    "simulated, clear": (_simulated, ("a_clear", "b_clear")),
    "simulated, noisy": (_simulated, ("c_noisy", "d_noisy")),
    "made tomogram": (_made, ("made-0", "made-1")),
    "microtubule": (_microtubule, ("microtubule",)),
    "traced microtubules": (_traced, ("4_0_55_98_25", "0_0_30_47_25")),
    "fly": (_fly, ("train", "test")),
    "glioma": (_glioma, ("glioma",)),
    **{
        f"toy, {kind}": (_toy, tuple(f"{kind}-{200 + seed}" for seed in range(TOYS)))
        for kind in ("regular", "irregular", "texture")
    },
}


def load(folder: Path, data: list[str], *, quick: bool) -> Iterator[Callable[[], Case]]:
    """What makes the cases of some kinds of data, one after the other."""
    for kind in data:
        make, names = CASES[kind]
        for name in names[:1] if quick else names:

            def case(make: Make = make, name: str = name) -> Case:
                whole = make(name, folder)
                return whole.cut(QUICK) if quick else whole

            yield case
