"""Models are versions: no training overwrites a finished one, one that was stopped goes on."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hypseg.session import Session
from napari_hypseg.volumes import Volume


@pytest.fixture
def session(voxels, tmp_path):
    session = Session(Volume(voxels), tmp_path)
    session.train(steps=2, device="cpu")
    return session


def stop(session, **settings):
    """Train for a moment, and stop."""
    job = session.train_job(device="cpu", **settings)
    for progress in job:
        if progress.stage == "training" and progress.done:
            break
    job.close()


def bytes_of(session, number):
    return session.versions.path(number).read_bytes()


def test_a_training_makes_the_next_version(session):
    first = bytes_of(session, 1)
    session.train(steps=3, device="cpu")
    assert session.versions.numbers == [1, 2]
    assert session.model.number == 2
    assert bytes_of(session, 1) == first
    # One of the same settings is there already.
    session.train(steps=2, device="cpu")
    assert session.model.number == 1
    assert session.versions.numbers == [1, 2]


def test_a_training_that_is_stopped_leaves_the_good_model(session):
    first = bytes_of(session, 1)
    stop(session, steps=500)
    assert session.model.number == 1
    assert session.versions.numbers == [1]
    assert bytes_of(session, 1) == first
    assert Session.open(session.folder).model.number == 1


def test_a_stopped_training_is_offered_again_after_a_restart(session, voxels, tmp_path):
    stop(session, steps=6, seed=3)
    again = Session.open(session.folder)
    assert (again.stopped.number, again.stopped.steps, again.stopped.seed) == (2, 6, 3)
    model = again.resume()
    assert again.model.number == 2
    assert again.stopped is None
    assert Session.open(session.folder).stopped is None
    other = Session(Volume(voxels), tmp_path / "other")
    whole = other.train(steps=6, seed=3, device="cpu")
    assert model.fingerprint() == whole.fingerprint()


def test_a_script_keeps_a_stopped_training_too(voxels, tmp_path):
    session = Session(Volume(voxels), tmp_path)
    stop(session, steps=500)
    session.discover(stride=2, device="cpu")
    assert session.model.number == 2
    general = bytes_of(session, 2)
    assert session.stopped.number == 1
    session.use_stopped()
    assert session.versions.numbers == [1, 2]
    assert bytes_of(session, 2) == general


def test_a_stopped_training_can_be_used_as_it_is(session):
    stop(session, steps=500)
    model = session.use_stopped()
    assert session.model.number == 2
    assert model.training["stopped"] < 500
    assert session.stopped is None
    assert Session.open(session.folder).model.number == 2


def test_another_training_takes_the_place_of_a_stopped_one(session):
    stop(session, steps=500)
    session.train(steps=3, device="cpu")
    assert session.stopped is None
    assert session.versions.numbers == [1, 2]


@pytest.mark.parametrize("do", ["resume", "use_stopped"])
def test_nothing_to_go_on_with_is_told(session, do):
    with pytest.raises(ValueError, match="no training was stopped here"):
        getattr(session, do)()


def test_steps_are_added_to_a_finished_model(session):
    before = session.model.model
    after = session.train(start=1, steps=3, device="cpu")
    assert session.model.number == 2
    assert after.training["start"] == before.fingerprint()
    assert after.fingerprint() != before.fingerprint()
    # It has gone on from there: three steps change little of the weights.
    theirs, ours = before.network.state_dict(), after.network.state_dict()
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 0.01


def test_a_model_from_elsewhere_is_kept_once(session, voxels, tmp_path):
    other = Session(Volume(voxels), tmp_path / "other")
    model = other.train(steps=4, device="cpu")
    session.use(model)
    session.use(1)
    session.use(model)
    assert session.versions.numbers == [1, 2]
    assert session.model.number == 2


def test_what_is_on_show_keeps_its_own_model(session):
    shown = session.discover(stride=2, device="cpu")
    labels = shown.labels(4).copy()
    session.train(steps=3, device="cpu")
    assert session.proposals is shown
    assert (session.proposals.model, session.model.number) == (1, 2)
    again = Session.open(session.folder)
    assert (again.proposals.model, again.model.number) == (1, 2)
    np.testing.assert_array_equal(again.proposals.labels(4), labels)
