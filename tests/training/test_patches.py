"""Random triplets of patches and their voxels, against enumeration and PyTorch's interpolation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import interpolate

from napari_hypseg.model import TrainingConfig
from napari_hypseg.training.patches import Patches, Triplets, VoxelPool, largest_anchor

CONFIG = TrainingConfig()
CPU = torch.device("cpu")
# Sizes so small that all places can be enumerated.
TINY = replace(CONFIG, min_size=4, max_size=4, min_child=3, max_child=3)


def _arrays(*shapes: tuple[int, int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def pieces(arrays):
    """With all voxels inside."""
    return [(array, np.zeros(array.shape, bool)) for array in arrays]


def _draw(shapes, config=CONFIG, count=30_000, seed=0) -> Triplets:
    pool = VoxelPool(pieces(np.zeros(s, np.float32) for s in shapes), config, CPU)
    return pool.draw(count, torch.Generator().manual_seed(seed))


def _likely(observed, expected) -> bool:
    """Whether counts may come from a distribution (one seed, so this never flips)."""
    observed, expected = np.asarray(observed, float), np.asarray(expected, float)
    assert observed.shape == expected.shape
    expected = expected * observed.sum() / expected.sum()
    assert expected.min() >= 5
    return stats.chisquare(observed, expected).pvalue > 1e-3


def test_gather_is_torchs_interpolation_of_each_patch():
    arrays = _arrays((40, 41, 43), (36, 50, 35), (34, 34, 34))
    pool = VoxelPool(pieces(arrays), CONFIG, CPU)
    rng = np.random.default_rng(1)
    places = []
    for volume, array in enumerate(arrays):
        for size in range(3, 35):
            # A random place, and the two opposite corners of the volume.
            free = np.array(array.shape) - size
            for corner in (rng.integers(0, free + 1), free * 0, free):
                places.append((volume, corner, size))
    patches = Patches(
        torch.tensor([v for v, _, _ in places]),
        torch.tensor(np.array([c for _, c, _ in places])),
        torch.tensor([s for _, _, s in places]),
    )
    got = pool.gather(patches, 10)
    assert got.shape == (len(places), 1, 10, 10, 10)
    for (volume, (z, y, x), size), patch in zip(places, got, strict=True):
        cube = torch.from_numpy(arrays[volume][z : z + size, y : y + size, x : x + size])
        expected = interpolate(cube[None, None], (10, 10, 10), mode="trilinear")[0]
        torch.testing.assert_close(patch, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [1, 5, 16])
def test_gather_to_other_sides(side):
    (array,) = _arrays((12, 12, 18))
    pool = VoxelPool(pieces([array]), CONFIG, CPU)
    patches = Patches(
        torch.zeros(2).long(), torch.tensor([[1, 2, 3], [0, 5, 9]]), torch.tensor([9, 5])
    )
    got = pool.gather(patches, side)
    for patch, (z, y, x), size in zip(got, patches.corner.tolist(), (9, 5), strict=True):
        cube = torch.from_numpy(array[z : z + size, y : y + size, x : x + size])
        expected = interpolate(cube[None, None], (side,) * 3, mode="trilinear")[0]
        torch.testing.assert_close(patch, expected, rtol=1e-5, atol=1e-5)


def test_patches_of_the_input_size_are_the_voxels_themselves():
    (array,) = _arrays((12, 14, 20))
    patches = Patches(torch.zeros(1).long(), torch.tensor([[2, 3, 7]]), torch.tensor([10]))
    got = VoxelPool(pieces([array]), CONFIG, CPU).gather(patches, 10)
    assert np.array_equal(got[0, 0], array[2:12, 3:13, 7:17])


SHAPES = [(12, 80, 60), (4, 4, 10), (64, 5, 9), (50, 50, 50), (10, 300, 11)]


@pytest.mark.parametrize("shapes", [[s] for s in SHAPES] + [SHAPES])
@pytest.mark.parametrize("changes", [{}, {"log_sizes": False, "concentric": True}, {"gap": 0}])
def test_every_patch_keeps_its_promises(shapes, changes):
    config = replace(CONFIG, **changes)
    anchor, positive, negative = _draw(shapes, config)
    assert torch.equal(anchor.volume, positive.volume)
    assert torch.equal(anchor.volume, negative.volume)
    extent = torch.tensor(shapes)[anchor.volume]
    for patches in (anchor, positive, negative):
        assert bool((patches.corner >= 0).all())
        assert bool((patches.corner + patches.size[:, None] <= extent).all())
    assert bool((positive.corner >= anchor.corner).all())
    inside = anchor.corner + anchor.size[:, None] - positive.corner - positive.size[:, None]
    assert bool((inside >= 0).all())
    # Two boxes share no voxel if along some axis one ends before the other begins.
    before = negative.corner + negative.size[:, None] <= anchor.corner
    after = negative.corner >= anchor.corner + anchor.size[:, None]
    assert bool((before | after).any(1).all())
    assert torch.equal(positive.size, negative.size)
    assert int(positive.size.min()) == config.min_child
    assert bool((positive.size <= config.max_child).all())
    assert bool((positive.size <= anchor.size - config.gap).all())
    assert bool((anchor.size <= config.max_size).all())
    most = torch.tensor([largest_anchor(s, config) for s in shapes])[anchor.volume]
    assert bool((anchor.size >= torch.minimum(most, torch.tensor(config.min_size))).all())


@pytest.mark.parametrize("shape", [(8, 7, 10), (4, 4, 10), (4, 11, 5)])
def test_anchors_and_negatives_are_uniform_over_all_places(shape):
    count = 200_000
    anchor, _, negative = _draw([shape], TINY, count)
    key = np.concatenate([anchor.corner, negative.corner], axis=1)
    seen, counts = np.unique(key, axis=0, return_counts=True)
    found = dict(zip(map(tuple, seen.tolist()), counts, strict=True))
    observed, expected = [], []
    anchors = list(np.ndindex(*(n - 3 for n in shape)))
    for a in anchors:
        allowed = [
            b
            for b in np.ndindex(*(n - 2 for n in shape))
            if any(q + 3 <= p or q >= p + 4 for p, q in zip(a, b, strict=True))
        ]
        observed += [found.pop((*a, *b), 0) for b in allowed]
        expected += [count / len(anchors) / len(allowed)] * len(allowed)
    assert not found  # nothing outside of what is allowed
    assert _likely(observed, expected)


def test_positives_are_uniform_inside_their_anchors():
    config = replace(TINY, min_size=6, max_size=6)
    anchor, positive, _ = _draw([(20, 20, 20)], config)
    offset = positive.corner - anchor.corner
    counts = np.bincount(offset @ torch.tensor([16, 4, 1]), minlength=64)
    assert _likely(counts, np.ones(64))


def test_concentric_children():
    anchor, positive, _ = _draw([(50, 50, 50)], replace(CONFIG, concentric=True))
    slack = anchor.size - positive.size
    assert torch.equal(positive.corner - anchor.corner, (slack // 2)[:, None].expand(-1, 3))


def test_anchor_sizes_are_uniform():
    anchor, _, _ = _draw([(50, 50, 50)], replace(CONFIG, log_sizes=False))
    assert _likely(np.bincount(anchor.size)[5:], np.ones(30))


def test_anchor_sizes_are_log_uniform():
    anchor, _, _ = _draw([(50, 50, 50)])
    expected = [math.log((r + 1) / r) for r in range(5, 35)]
    assert _likely(np.bincount(anchor.size)[5:], expected)


def test_anchor_sizes_of_a_thin_volume():
    anchor, _, _ = _draw([(12, 80, 60)], replace(CONFIG, log_sizes=False))
    assert _likely(np.bincount(anchor.size)[5:], np.ones(8))


def test_child_sizes_are_uniform():
    anchor, positive, _ = _draw([(60, 60, 60)], replace(CONFIG, log_sizes=False))
    for size, most in [(8, 7), (30, 15)]:
        counts = np.bincount(positive.size[anchor.size == size])[3:]
        assert _likely(counts, np.ones(most - 2))


def test_volumes_are_drawn_in_proportion_to_their_size():
    shapes = [(12, 20, 20), (30, 30, 30), (10, 10, 10), (5, 40, 40)]
    anchor, _, _ = _draw(shapes)
    assert _likely(np.bincount(anchor.volume), [math.prod(s) for s in shapes])


def test_draws_repeat_with_their_generator():
    first, again, other = (_draw([(20, 20, 30)], count=50, seed=s) for s in (1, 1, 2))
    assert all(
        torch.equal(a, b)
        for p, q in zip(first, again, strict=True)
        for a, b in zip(p, q, strict=True)
    )
    assert not torch.equal(first.anchor.corner, other.anchor.corner)


@pytest.mark.parametrize("shape", [(8, 8, 8), (3, 300, 300), (1, 1, 1), (4, 4, 9)])
def test_a_volume_that_is_too_small(shape):
    text = (
        f"a volume of {shape[0]} x {shape[1]} x {shape[2]} voxels is too small to train on: "
        "it needs at least 4 voxels along every axis and 10 along one"
    )
    with pytest.raises(ValueError, match=f"^{text}$"):
        VoxelPool(pieces(_arrays(shape)), CONFIG, CPU)
    with pytest.raises(ValueError, match=text):
        VoxelPool(pieces(_arrays((30, 30, 30), shape)), CONFIG, CPU)


def test_the_smallest_volume():
    assert largest_anchor((4, 4, 10), CONFIG) == 4
    assert largest_anchor((34, 34, 40), CONFIG) == 34
    assert largest_anchor((34, 34, 39), CONFIG) == 33


def _drawn_around(outside, config=TINY, count=20_000):
    array = np.zeros(outside.shape, np.float32)
    pool = VoxelPool([(array, outside)], config, CPU)
    return pool, pool.draw(count, torch.Generator().manual_seed(0))


def test_what_lies_outside_is_not_drawn():
    """In a ball that fills a third of its box, all middles lie inside; the ball is filled."""
    z, y, x = np.indices((40, 40, 40)) - 19.5
    outside = z**2 + y**2 + x**2 > 17**2
    _, triplets = _drawn_around(outside)
    for patches in triplets:
        # The box of the ball starts at 3, whose layers before are trimmed.
        middle = (patches.corner + patches.size[:, None] // 2).numpy() + 3
        assert outside[tuple(middle.T)].mean() < 1e-3
    seen = np.zeros(outside.shape, bool)
    seen[tuple(middle.T)] = True
    assert seen[~outside].mean() > 0.3


def test_a_frame_is_trimmed():
    """So that no patch reaches into it, whatever its size."""
    outside = np.ones((50, 50, 50), bool)
    outside[4:-4, 5:-4, 4:-6] = False
    array = np.where(outside, 9, 1).astype(np.float32)
    pool = VoxelPool([(array, outside)], CONFIG, CPU)
    triplets = pool.draw(200, torch.Generator().manual_seed(0))
    for patches in triplets:
        assert (pool.gather(patches, 10) == 1).all()


def test_a_volume_of_padding_alone_still_gives_patches():
    _, triplets = _drawn_around(np.ones((20, 20, 20), bool), count=10)
    assert len(triplets.anchor.size) == 10
