"""One seed, one model: training gives the same bits on any number of threads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_hypseg.model import get_preset
from napari_hypseg.model.dense import SteadyConv3d
from napari_hypseg.samples import make_toy
from napari_hypseg.training import train
from napari_hypseg.training.devices import threads_note


@pytest.fixture
def threads():
    """Sets PyTorch's number of threads, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_any_number_of_threads_trains_the_same_model(threads):
    volume = make_toy("regular", seed=3).volume
    found = set()
    for number in (1, 2, 3):
        threads(number)
        model = train(volume, steps=4, seed=5)
        found.add(model.fingerprint())
        assert model.training["threads"] == number
    assert len(found) == 1


@pytest.mark.parametrize(("width", "channels", "kernel", "stride", "padding", "side"), [
    (1, 8, 5, 2, 2, 10), (8, 8, 3, 1, 1, 5), (16, 6, 1, 1, 0, 1), (16, 6, 1, 1, 0, 2),
])  # fmt: skip
def test_steady_convolutions_against_those_of_pytorch(
    width, channels, kernel, stride, padding, side
):
    torch.manual_seed(0)
    plain = nn.Conv3d(width, channels, kernel, stride, padding, dtype=torch.float64)
    steady = SteadyConv3d(width, channels, kernel, stride, padding, dtype=torch.float64)
    steady.load_state_dict(plain.state_dict())
    cubes = torch.randn(7, width, side, side, side, dtype=torch.float64)
    results = []
    for layer in (plain, steady):
        given = cubes.clone().requires_grad_()
        out = layer(given)
        out.square().sum().backward()
        results.append([out, given.grad, layer.weight.grad, layer.bias.grad])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_note_where_another_number_of_threads_gives_another_model(threads):
    threads(2)
    stacked, strided = get_preset("cihs").model, get_preset("default").model
    assert threads_note(stacked, {"threads": 2, "device": "cpu"}) == ""
    assert "with 1 thread, now there are 2" in threads_note(
        stacked, {"threads": 1, "device": "cpu"}
    )
    # These don't depend on it.
    assert threads_note(strided, {"threads": 1, "device": "cpu"}) == ""
    assert threads_note(stacked, {"threads": 1, "device": "cuda"}) == ""
    assert threads_note(stacked, {}) == ""
