"""The benchmark's methods: that all keep the interface, and that each does what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.feature_extraction.image import grid_to_graph
from sklearn.metrics import adjusted_rand_score, mutual_info_score
from torch import nn

from napari_hypseg.volumes import Volume
from papers.methods import METHODS, Budget, intensity
from papers.methods.iic import mutual_information
from papers.methods.intensity import ward
from papers.methods.jule import MARGIN, _triplet
from papers.methods.networks import crops, dense, seeded
from papers.methods.texture import gabor_amplitudes


@pytest.fixture(scope="module")
def easy():
    """A bright cube in noise, and its truth."""
    rng = np.random.default_rng(0)
    truth = np.zeros((14, 15, 16), np.uint8)
    truth[3:11, 4:12, 5:13] = 1
    voxels = 3.0 * truth + rng.normal(0, 0.3, truth.shape)
    return Volume(voxels.astype(np.float32), name="easy"), truth


@pytest.fixture
def two_steps(monkeypatch):
    monkeypatch.setattr(Budget, "steps", lambda self, full: 2)


def test_a_quick_run_takes_a_fifth_of_the_steps():
    assert [Budget(quick=quick).steps(1500) for quick in (True, False)] == [300, 1500]
    assert Budget(quick=True).steps(3) == 1


# One of each kind; the others differ in a preset.
ONE_OF_EACH = (
    "kmeans-tv",
    "ward-tv",
    "gabor",
    "pca",
    "nalepa",
    "iic-slices",
    "iic-3d",
    "moriya",
    "cihs",
)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_method_keeps_the_interface(name, easy, two_steps):
    volume, _ = easy
    method = METHODS[name]
    assert method.name == name
    predict = method.fit([volume, volume], Budget(seed=1, quick=True, ks=(2, 3)))
    for k in (2, 3):
        labels = predict(volume, k)
        assert labels.shape == volume.shape
        assert labels.dtype == np.uint8
        assert labels.max() < k


@pytest.mark.parametrize("name", ["pca", "nalepa", "iic-3d", "moriya", "cihs"])
def test_the_seed_decides(name, easy, two_steps):
    volume, _ = easy
    first, again = (
        METHODS[name].fit([volume], Budget(seed=3, ks=(3,)))(volume, 3) for _ in range(2)
    )
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("kmeans-raw", 0.9),
        ("kmeans-gaussian", 0.9),
        ("kmeans-tv", 0.9),
        ("ward-tv", 0.9),
        # These see patches, which blurs the faces of the cube.
        ("pca", 0.7),
        ("nalepa", 0.6),
    ],
)
def test_what_is_easy_is_found(name, least, easy, two_steps):
    volume, truth = easy
    labels = METHODS[name].fit([volume], Budget())(volume, 2)
    assert adjusted_rand_score(truth.ravel(), labels.ravel()) > least


def test_ward_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    voxels = rng.normal(size=(6, 7, 8)).astype(np.float32)
    labels = ward(voxels)
    for k in (2, 5, 17):
        model = AgglomerativeClustering(k, connectivity=grid_to_graph(6, 7, 8))
        expected = model.fit_predict(voxels.reshape(-1, 1).astype(np.float64))
        assert adjusted_rand_score(expected, labels(k).ravel()) == pytest.approx(1)


def test_ward_of_a_large_volume_finds_what_is_easy(easy, monkeypatch):
    volume, truth = easy
    monkeypatch.setattr(intensity, "MOST_VOXELS", 100)
    labels = ward(volume.read())(2)
    assert adjusted_rand_score(truth.ravel(), labels.ravel()) > 0.9


def test_gabor_amplitudes_tell_waves_apart_that_have_the_same_mean_and_variance():
    x = np.arange(32)
    along_z, along_x = np.meshgrid(np.arange(32), x, x, indexing="ij")[::2]
    voxels = np.where(along_x < 16, np.sin(2 * np.pi * along_z / 4.2), 0)
    voxels = voxels + np.where(along_x >= 16, np.sin(2 * np.pi * along_x / 4.2), 0)
    features = gabor_amplitudes(voxels.astype(np.float32))
    assert features.shape == (32, 32, 32, 53)
    left, right = features[..., 4:12, :].mean((0, 1, 2)), features[..., 20:28, :].mean((0, 1, 2))
    # Channel 0 is the intensity; then 13 directions a wavelength, (0, 0, 1) first, (1, 0, 0) fifth
    # from the end.
    along_x, along_z = 1 + 13, 1 + 13 + 13 - 5
    assert (right - left)[along_x] > 1.5
    assert (left - right)[along_z] > 1.5
    assert abs((right - left)[0]) < 0.5


def test_mutual_information_of_certain_classes_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    first = rng.integers(0, 3, (2, 4, 5, 6))
    second = (first + (rng.random(first.shape) < 0.2)) % 3

    def hot(classes):
        return torch.from_numpy(np.eye(3, dtype=np.float32)[classes]).movedim(-1, 1)

    ours = mutual_information(hot(first), hot(second), (0, 0, 0))
    # The joint distribution is made symmetric: each pair counts both ways round.
    both = np.concatenate([first.ravel(), second.ravel()])
    swapped = np.concatenate([second.ravel(), first.ravel()])
    assert float(ours) == pytest.approx(mutual_info_score(both, swapped), abs=1e-4)


def test_mutual_information_averages_over_displacements():
    image = torch.rand(1, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    left = mutual_information(image[..., 1:], image[..., :-1], (0, 0, 0))
    right = mutual_information(image[..., :-1], image[..., 1:], (0, 0, 0))
    same = mutual_information(image, image, (0, 0, 0))
    mean = mutual_information(image, image, (0, 0, 1))
    assert float(mean) == pytest.approx(float((left + right + same) / 3), abs=1e-6)


def test_the_gradient_of_mutual_information_is_that_of_its_differences():
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.rand(2, 3, 2, 3, 4, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(2)
    )
    assert torch.autograd.gradcheck(
        lambda a, b: mutual_information(a, b, (0, 1, 2)), [first, second]
    )


def test_triplet_loss_is_the_mean_over_violating_triplets():
    rng = np.random.default_rng(4)
    points = rng.normal(size=(9, 2)).astype(np.float32) / 3
    clusters = rng.integers(0, 3, 9)
    losses = []
    for a in range(9):
        for p in range(9):
            for n in range(9):
                if p != a and clusters[p] == clusters[a] != clusters[n]:
                    gap = ((points[a] - points[p]) ** 2).sum() + MARGIN
                    gap -= ((points[a] - points[n]) ** 2).sum()
                    losses += [gap] if gap > 0 else []
    ours = _triplet(torch.from_numpy(points), torch.from_numpy(clusters))
    assert float(ours) == pytest.approx(np.mean(losses), rel=1e-4)


def test_dense_features_are_those_of_the_patches(easy):
    volume, _ = easy
    seeded(0)
    network = nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU(), nn.Conv3d(3, 2, 3))
    found = dense(network, volume, 2)
    assert found.shape == (14, 15, 16, 2)
    voxels = next(crops([volume], volume.shape, 1, seeded(0)))
    with torch.inference_mode():
        inside = network(voxels)[0].movedim(0, -1).numpy()
    assert np.allclose(found[2:-2, 2:-2, 2:-2], inside, atol=1e-5)
