"""The general model: what it is made with, and that the one in the package is of use."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import napari_hypseg as hs
from napari_hypseg.evaluation import evaluate
from napari_hypseg.geometry import ball
from napari_hypseg.model import GENERAL, get_preset, load_model
from napari_hypseg.model.scale_space import WIDTH
from napari_hypseg.pretrain import pretrain, unlikeness


def test_unlikeness_is_what_it_says():
    generator = torch.Generator().manual_seed(0)
    points = 0.3 * torch.randn(2, 7, 3, generator=generator).double()
    points /= 1 + points.norm(dim=-1, keepdim=True)
    classes = torch.tensor([[0, 0, 1, 1, 1, 2, 0], [0, 1, 0, 1, 2, 2, 2]])
    terms = []
    for cloud, names in zip(points, classes, strict=True):
        for i in range(7):
            near = [
                0.0 if j == i else math.exp(-float(ball.distance(cloud[i], cloud[j], c=1.0)) / 0.5)
                for j in range(7)
            ]
            friends = sum(near[j] for j in range(7) if names[j] == names[i])
            # One that is alone in its class says nothing.
            if friends:
                terms.append(-math.log(friends / sum(near)))
    assert float(unlikeness(points, classes, 1.0)) == pytest.approx(np.mean(terms), rel=1e-3)


@pytest.fixture(scope="module")
def worlds():
    """Two clouds of features that lie apart in each of three worlds, in other directions each."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 2, (3, 400))
    apart = rng.normal(size=(3, 1, WIDTH)) * classes[..., None]
    features = apart + 0.3 * rng.normal(size=(3, 400, WIDTH))
    return (
        torch.from_numpy(features).half(),
        torch.from_numpy(np.repeat(classes[..., None], 3, -1).astype(np.uint8)),
    )


def test_pretraining_parts_classes_and_its_seed_decides(worlds, capsys):
    first, again = (pretrain(*worlds, steps=30, seed=1) for _ in range(2))
    said = capsys.readouterr().out.splitlines()
    truths = [float(line.rsplit(" ", 1)[1]) for line in said]
    assert truths[1] < truths[0] - 0.5
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_training_without_steps_gives_the_general_model_at_once():
    volume = hs.make_toy("regular").volume
    model, general = hs.train(volume, preset="default"), load_model(GENERAL)
    assert model.config == get_preset("default").model == general.config
    assert model.fingerprint() == general.fingerprint()
    assert model.training["volumes"][0]["name"] == volume.name
    assert model.training["loss"] == []
    assert GENERAL.stat().st_size < 3e6


def test_it_finds_what_it_was_not_shown_without_training():
    toy = hs.make_toy("irregular", seed=3)
    clusters = hs.cluster(hs.embed(hs.train(toy.volume, preset="default"), toy.volume), toy.volume)
    assert evaluate(clusters.labels(2), toy.levels[0]).mean_dice > 0.9
    assert evaluate(clusters.labels(4), toy.levels[1]).mean_dice > 0.6


def test_its_file_can_be_trained_further_like_any_other():
    volume = hs.make_toy("regular").volume
    model = hs.train(volume, start=load_model(GENERAL), steps=2)
    assert model.preset == "default"
    assert model.fingerprint() != load_model(GENERAL).fingerprint()


def test_trained_further_it_reconstructs_a_volume_better():
    volume = hs.make_toy("texture", seed=5).volume
    losses = hs.train(volume, preset="default", steps=60, seed=0).training["loss"]
    assert losses[-1]["reconstruction"] < losses[0]["reconstruction"]
