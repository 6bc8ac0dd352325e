"""Whatever is done in whatever order: a kept class is as the person left it, and undo works.

Actions in random order on a tiny volume. After each, the classes are compared with a plain copy of
what the person made of them; the number of sequences is 12, or what HYPSEG_SEQUENCES says.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import napari_hypseg as hs
from napari_hypseg.session import Session
from napari_hypseg.volumes import Volume, read_volume, write_image

SEQUENCES = int(os.environ.get("HYPSEG_SEQUENCES", "12"))


class Person(RuleBasedStateMachine):
    """A person at a session, and a plain account of what they kept."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.place = Path(self.folder.name)

    @initialize()
    def begin(self) -> None:
        voxels = hs.make_toy("regular", seed=4).volume.read()[12:30, 12:32, 12:32]
        write_image(self.place / "a.mrc", voxels, Volume(voxels))
        self.session = Session(read_volume(self.place / "a.mrc"), self.place / "r")
        self.session.train(steps=1, device="cpu")
        self.session.discover(stride=4, device="cpu")
        self.labels = np.zeros(voxels.shape, np.uint8)
        # What undo and redo go through: labels and names, one entry for each state.
        self.states = [(self.labels.copy(), {})]
        self.at = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @property
    def names(self) -> dict[int, str]:
        return {row.number: row.name for row in self.session.classes.table}

    def edited(self, labels: np.ndarray, names: dict[int, str]) -> None:
        """The person has made this of the classes."""
        self.states = [*self.states[: self.at + 1], (labels.copy(), dict(names))]
        self.at += 1

    @property
    def now(self) -> tuple[np.ndarray, dict[int, str]]:
        labels, names = self.states[self.at]
        return labels.copy(), dict(names)

    # -- what the machine does

    @rule(steps=st.integers(1, 2), seed=st.integers(0, 2))
    def train(self, steps: int, seed: int) -> None:
        self.session.train(steps=steps, seed=seed, device="cpu")

    @rule(seed=st.integers(0, 3))
    def train_and_stop(self, seed: int) -> None:
        job = self.session.train_job(steps=60, seed=seed, device="cpu")
        for progress in job:
            if progress.stage == "training" and progress.done:
                break
        job.close()

    @rule(stride=st.sampled_from([1, 2, 4]))
    def map(self, stride: int) -> None:
        self.session.discover(stride=stride, device="cpu")

    @rule()
    def map_and_stop(self) -> None:
        job = self.session.discover_job(device="cpu")
        next(job)
        next(job)
        job.close()

    @rule(z=st.integers(0, 17))
    def this_slice(self, z: int) -> None:
        from napari_hypseg.jobs import finish

        box = (slice(z, z + 1), slice(0, 20), slice(0, 20))
        self.session.take(finish(self.session.glance_job(box, device="cpu")))

    @rule(tree=st.sampled_from(["things", "kinds"]), smoothing=st.sampled_from([0.5, 1.0]))
    def other_tree(self, tree: str, smoothing: float) -> None:
        self.session.propose(tree=tree, smoothing=smoothing)

    @rule(k=st.integers(1, 40))
    def slide(self, k: int) -> None:
        self.session.k = k
        self.session.save_view()

    @rule()
    def export(self) -> None:
        self.session.propose()
        self.session.write([2, 3], overwrite=True)

    @rule(program=st.sampled_from(["crash", "second"]))
    def reopen(self, program: str) -> None:
        """The program has crashed, or another one has opened the folder."""
        if program == "crash":
            del self.session
        self.session = Session.open(self.place / "r")
        if self.session.proposals is None:
            self.session.discover(stride=4, device="cpu")

    @rule(k=st.integers(2, 4))
    def rerun(self, k: int) -> None:
        """The same folder by the command."""
        session = Session(read_volume(self.place / "a.mrc"), self.place / "r")
        session.train(steps=1, device="cpu")
        session.map(stride=2, device="cpu")
        session.propose()
        session.write([k], overwrite=True)

    # -- what the person does

    def mask(self, nodes: tuple[int, ...]) -> np.ndarray:
        mask, box = self.session.proposals.mask(nodes)
        whole = np.zeros(self.labels.shape, bool)
        whole[box] = mask
        return whole

    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        nodes = self.session.proposals.nodes(self.session.k)
        chosen = data.draw(st.sets(st.sampled_from(nodes), min_size=1, max_size=3))
        mask, (labels, names) = self.mask(tuple(chosen)), self.now
        number = self.session.keep(chosen, name=f"kept {self.at}")
        assert number not in names
        labels[mask] = number
        self.edited(labels, {**names, number: f"kept {self.at}"})

    @precondition(lambda self: len(self.states[self.at][1]) < 200)
    @rule()
    def keep_all(self) -> None:
        labels, names = self.now
        found = self.session.proposals.on_volume(self.session.proposals.labels(self.session.k))
        box = self.session.proposals.box
        if not ((labels[box] == 0) & (found > 0)).any():
            return
        numbers = self.session.keep_all()
        rest = labels[box] == 0
        kept = sorted(set(found[rest].tolist()) - {0})
        for number, label in zip(numbers, kept, strict=True):
            labels[box][rest & (found == label)] = number
        self.edited(labels, {**names, **{n: self.names[n] for n in numbers}})

    @precondition(lambda self: self.states[self.at][1])
    @rule(data=st.data())
    def paint(self, data: st.DataObject) -> None:
        """As napari does: it has painted before it tells."""
        labels, names = self.now
        number = data.draw(st.sampled_from([0, *names]))
        z, y, x = (data.draw(st.integers(0, n - 1)) for n in labels.shape)
        where = np.zeros(labels.shape, bool)
        where[z, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = True
        indices = np.nonzero(where)
        before = self.session.classes.labels[indices].copy()
        if (before == number).all():
            return
        self.session.classes.labels[indices] = number
        self.session.classes.painted(indices, before)
        labels[indices] = number
        self.edited(labels, names)

    @precondition(lambda self: len(self.states[self.at][1]) > 1)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        labels, names = self.now
        numbers = data.draw(st.sets(st.sampled_from(sorted(names)), min_size=2, max_size=3))
        stays = self.session.classes.merge(sorted(numbers))
        assert stays == min(numbers)
        labels[np.isin(labels, sorted(numbers))] = stays
        self.edited(labels, {n: name for n, name in names.items() if n not in numbers - {stays}})

    @precondition(lambda self: self.states[self.at][1])
    @rule(data=st.data())
    def rename(self, data: st.DataObject) -> None:
        labels, names = self.now
        number = data.draw(st.sampled_from(sorted(names)))
        if names[number] != "renamed":
            self.session.classes.rename(number, "renamed")
            self.edited(labels, {**names, number: "renamed"})

    @precondition(lambda self: self.states[self.at][1])
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        labels, names = self.now
        number = data.draw(st.sampled_from(sorted(names)))
        self.session.classes.remove(number)
        labels[labels == number] = 0
        self.edited(labels, {n: name for n, name in names.items() if n != number})

    @precondition(lambda self: self.at > 0)
    @rule()
    def undo(self) -> None:
        self.session.undo()
        self.at -= 1

    @precondition(lambda self: self.at + 1 < len(self.states))
    @rule()
    def redo(self) -> None:
        self.session.redo()
        self.at += 1

    @invariant()
    def classes_are_as_they_were_left(self) -> None:
        if not hasattr(self, "states"):
            return
        labels, names = self.states[self.at]
        classes = self.session.classes
        np.testing.assert_array_equal(classes.labels, labels)
        assert self.names == names
        assert classes.can_undo == (self.at > 0)
        assert classes.can_redo == (self.at + 1 < len(self.states))


TestPerson = Person.TestCase
TestPerson.settings = settings(
    max_examples=SEQUENCES,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
