"""A training that diverges, a device whose memory is full: said, and got over."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_hypseg.jobs import finish
from napari_hypseg.latents import embed
from napari_hypseg.model import Model, ModelConfig, Preset, TrainingConfig
from napari_hypseg.training import TrainingError, model_so_far, train, train_job
from napari_hypseg.training.state import TrainingState
from napari_hypseg.volumes import Volume

# The rooms give functions the modules' names.
state = sys.modules["napari_hypseg.training.state"]
embedding = sys.modules["napari_hypseg.latents.embed"]

SMALL = Preset(
    ModelConfig(latent_dim=2, encoder="stacked", grid=2, hidden=0, channels=(4, 4, 8, 8), planes=8),
    TrainingConfig(batch_size=8, samples=8, min_size=5, max_size=12, learning_rate=3e-3),
)
RIGHT = state.objective


@pytest.fixture
def volume() -> Volume:
    rng = np.random.default_rng(0)
    return Volume(rng.normal(size=(14, 20, 24)).astype(np.float32), name="noise")


def same(a: Model, b: Model) -> bool:
    first, second = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


class Faulty:
    """An objective that goes wrong at some of its calls."""

    def __init__(self, wrong: set[int], fault: str) -> None:
        self.calls, self.wrong, self.fault, self.batches = 0, wrong, fault, []

    def __call__(self, network, patches, *rest):
        self.calls += 1
        self.batches.append(len(patches))
        if self.calls in self.wrong and self.fault == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        losses = RIGHT(network, patches, *rest)
        if self.calls in self.wrong:
            value = float("nan") if self.fault == "nan" else float("inf")
            losses = losses._replace(total=losses.total * value)
        return losses


def learning_rates(monkeypatch) -> list[float]:
    seen, original = [], TrainingState.advance

    def advance(self, pool):
        original(self, pool)
        seen.append(self._optimisers[0].param_groups[0]["lr"])

    monkeypatch.setattr(TrainingState, "advance", advance)
    return seen


@pytest.mark.parametrize("fault", ["nan", "inf"])
@pytest.mark.parametrize("call", [1, 20, 21, 33, 45])
def test_a_training_that_diverges_is_taken_back(volume, monkeypatch, fault, call, count):
    monkeypatch.setattr(state, "objective", Faulty({call}, fault))
    rates = learning_rates(monkeypatch)
    found = min(-(-call // 20) * 20, 45)
    back = (call - 1) // 20 * 20
    words = f"finite before step {found}: .* from step {back} at 1/2 of the learning rate"
    with pytest.warns(UserWarning, match=words) as said:
        model = train(volume, preset=SMALL, steps=45, device="cpu")
    assert len(said) == 1
    assert model.training["rollbacks"] == [{"step": found, "back_to": back}]
    assert [entry["step"] for entry in model.training["loss"]] == [20, 40, 45]
    assert all(np.isfinite(v) for entry in model.training["loss"] for v in entry.values())
    assert all(bool(torch.isfinite(t).all()) for t in model.network.state_dict().values())
    # The same step, before and after.
    assert rates[found] == pytest.approx(rates[back] / 2)
    count("loss that is not finite")


def test_what_is_taken_back_is_the_last_good_state(volume, monkeypatch, count):
    """With the rate given back, the training ends as if nothing had happened."""
    right = train(volume, preset=SMALL, steps=45, device="cpu")
    monkeypatch.setattr(state, "objective", Faulty({33}, "nan"))
    original = TrainingState._roll_back

    def rate_given_back(self):
        original(self)
        self.rollbacks.clear()

    monkeypatch.setattr(TrainingState, "_roll_back", rate_given_back)
    with pytest.warns(UserWarning, match="from step 20"):
        model = train(volume, preset=SMALL, steps=45, device="cpu")
    for name, weight in right.network.state_dict().items():
        # To the rounding of sums over a copy that lies elsewhere in memory.
        torch.testing.assert_close(model.network.state_dict()[name], weight, rtol=0, atol=1e-6)
    for found, expected in zip(model.training["loss"], right.training["loss"], strict=True):
        assert found == pytest.approx(expected)
    count("loss that is not finite")


def test_a_training_that_always_diverges_ends_with_a_reason(volume, monkeypatch, count):
    faulty = Faulty(set(range(23, 1000)), "nan")
    monkeypatch.setattr(state, "objective", faulty)
    with (
        pytest.warns(UserWarning, match="from step 20 at 1/[0-9]+ of the") as said,
        pytest.raises(TrainingError, match="also at 1/32 of the learning rate") as caught,
    ):
        train(volume, preset=SMALL, steps=45, device="cpu")
    assert len(said) == 5
    assert "\n" not in str(caught.value)
    count("loss that is not finite", faulty.calls - 22)


def test_no_checkpoint_of_a_state_that_is_not_finite(volume, monkeypatch, tmp_path, count):
    monkeypatch.setattr(sys.modules["napari_hypseg.training.train"], "_CHECKPOINT_EVERY", 0.0)
    monkeypatch.setattr(sys.modules["napari_hypseg.training.train"], "_REPORT_EVERY", 0.0)
    file = Path(tmp_path / "run.checkpoint")
    monkeypatch.setattr(state, "objective", Faulty({23}, "nan"))
    job = train_job(volume, preset=SMALL, steps=45, device="cpu", checkpoint=file)
    for progress in job:
        if progress.stage == "training" and progress.done == 30:
            break
    job.close()
    assert model_so_far(file).training["stopped"] == 22
    monkeypatch.setattr(state, "objective", RIGHT)
    resumed = finish(train_job(volume, preset=SMALL, steps=45, device="cpu", checkpoint=file))
    assert same(resumed, train(volume, preset=SMALL, steps=45, device="cpu"))
    count("loss that is not finite")


def test_training_halves_the_batch_where_memory_is_full(volume, monkeypatch, tmp_path, count):
    faulty = Faulty({3, 4}, "memory")
    monkeypatch.setattr(state, "objective", faulty)
    with pytest.warns(UserWarning, match="memory of cpu is full: .* with batches of") as said:
        model = train(volume, preset=SMALL, steps=6, device="cpu")
    assert [str(w.message).rsplit(" ", 1)[1] for w in said] == ["4", "2"]
    full = faulty.batches[0]
    assert faulty.batches == [full] * 3 + [full // 2] + [full // 4] * 4
    assert model.training["batch_size"] == 2
    assert model.training["settings"]["batch_size"] == 8
    count("out of memory", 2)


def test_memory_too_small_for_a_patch(volume, monkeypatch, count):
    monkeypatch.setattr(state, "objective", Faulty(set(range(100)), "memory"))
    with (
        pytest.warns(UserWarning, match="batches of [421]"),
        pytest.raises(TrainingError, match="the memory of cpu is too small even for one patch"),
    ):
        train(volume, preset=SMALL, steps=6, device="cpu")
    count("out of memory", 4)


@pytest.mark.parametrize("most", [1, 7, 100])
def test_mapping_halves_its_blocks_where_memory_is_full(volume, monkeypatch, most, count):
    model = train(volume, preset=SMALL, steps=2, device="cpu")
    right = embed(model, volume, device="cpu").read()
    encode, failed = embedding.encode, []

    def small(network, block, precision):
        if len(block) > most:
            failed.append(len(block))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return encode(network, block, precision)

    monkeypatch.setattr(embedding, "encode", small)
    with pytest.warns(UserWarning, match="memory of cpu is full: .* voxels at a time") as said:
        found = embed(model, volume, device="cpu").read()
    np.testing.assert_allclose(found, right, atol=1e-6)
    # What was too much once is not tried again.
    assert len(said) == len(failed) < 25
    count("out of memory", len(failed))


def test_mapping_with_no_memory_at_all(volume, monkeypatch):
    model = train(volume, preset=SMALL, steps=2, device="cpu")

    def none(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(embedding, "encode", none)
    with (
        pytest.warns(UserWarning, match="voxels at a time"),
        pytest.raises(RuntimeError, match="too small even for one voxel"),
    ):
        embed(model, volume, device="cpu")
