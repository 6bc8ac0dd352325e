"""Any sequence of edits against a naive model: full copies of labels and rows."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from napari_hypseg.classes import Classes, Source

SHAPE = (3, 66, 5)  # Two chunks, of which one is cut off by the end.
seeds = st.integers(0, 2**20)
picks = st.integers(0, 10)


def some(seed, share=0.3):
    return np.random.default_rng(seed).random(SHAPE) < share


class Edits(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.classes = Classes(self.folder / "classes", SHAPE)
        self.array = self.classes.labels
        # What was there after each edit: labels, and name and lock of each number.
        self.states = [(np.zeros(SHAPE, int), {})]
        self.at = 0

    def teardown(self):
        shutil.rmtree(self.folder)

    @property
    def labels(self):
        return self.states[self.at][0].copy()

    @property
    def rows(self):
        return dict(self.states[self.at][1])

    def done(self, labels, rows):
        self.states = [*self.states[: self.at + 1], (labels, rows)]
        self.at += 1

    def held(self):
        return np.isin(self.labels, [n for n, (_, locked) in self.rows.items() if locked])

    def refused(self, call):
        before = self.classes.labels.copy(), self.classes.table
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            call()
        assert np.array_equal(before[0], self.classes.labels)
        assert before[1] == self.classes.table

    def one(self, pick):
        numbers = sorted(self.rows)
        return numbers[pick % len(numbers)]

    @rule(seed=seeds)
    def add(self, seed):
        mask = some(seed)
        free = mask & ~self.held()
        if not free.any():
            return self.refused(lambda: self.classes.add(mask))
        number = self.classes.add(mask, f"name {seed}")
        assert number not in self.rows
        labels = self.labels
        labels[free] = number
        self.done(labels, {**self.rows, number: (f"name {seed}", False)})
        return None

    @rule(seed=seeds)
    def add_in_a_box(self, seed):
        box = np.s_[1:3, 60:66, 0:4]
        mask = some(seed)[box]
        whole = np.zeros(SHAPE, bool)
        whole[box] = mask
        free = whole & ~self.held()
        if not free.any():
            return self.refused(lambda: self.classes.add(mask, box=box))
        number = self.classes.add(mask, box=box)
        labels = self.labels
        labels[free] = number
        self.done(labels, {**self.rows, number: (f"class {number}", False)})
        return None

    @precondition(lambda self: self.rows)
    @rule(seed=seeds, pick=picks, take=st.booleans())
    def fill_or_subtract(self, seed, pick, take):
        number, mask, labels = self.one(pick), some(seed, 0.1), self.labels
        call = self.classes.subtract if take else self.classes.fill
        where = mask & (labels == number) if take else mask & (labels != number) & ~self.held()
        if self.rows[number][1] or not where.any():
            return self.refused(lambda: call(number, mask))
        call(number, mask)
        labels[where] = 0 if take else number
        self.done(labels, self.rows)
        return None

    @precondition(lambda self: len(self.rows) > 1)
    @rule(first=picks, second=picks, into=st.booleans())
    def merge(self, first, second, into):
        a, b = self.one(first), self.one(second)
        stays = b if into else min(a, b)
        if a == b or self.rows[a][1] or self.rows[b][1]:
            return self.refused(lambda: self.classes.merge([a, b], b if into else None))
        assert self.classes.merge([a, b], b if into else None) == stays
        labels, rows = self.labels, self.rows
        labels[np.isin(labels, [a, b])] = stays
        rows.pop(a + b - stays)
        self.done(labels, rows)
        return None

    @precondition(lambda self: self.rows)
    @rule(pick=picks, whole=st.booleans())
    def clear_or_remove(self, pick, whole):
        number, labels, rows = self.one(pick), self.labels, self.rows
        call = self.classes.remove if whole else self.classes.clear
        if rows[number][1]:
            return self.refused(lambda: call(number))
        call(number)
        if not whole and not (labels == number).any():
            return None  # Nothing to clear is nothing done.
        labels[labels == number] = 0
        if whole:
            rows.pop(number)
        self.done(labels, rows)
        return None

    @precondition(lambda self: self.rows)
    @rule(pick=picks, locked=st.booleans())
    def lock(self, pick, locked):
        number, rows = self.one(pick), self.rows
        self.classes.lock(number, locked)
        if rows[number][1] != locked:
            rows[number] = (rows[number][0], locked)
            self.done(self.labels, rows)

    @precondition(lambda self: self.rows)
    @rule(pick=picks, name=st.text(min_size=1).filter(str.strip))
    def rename(self, pick, name):
        number, rows = self.one(pick), self.rows
        self.classes.rename(number, name)
        if " ".join(name.split()) != rows[number][0]:
            rows[number] = (" ".join(name.split()), rows[number][1])
            self.done(self.labels, rows)

    @precondition(lambda self: self.rows)
    @rule(pick=picks, hidden=st.booleans())
    def hide(self, pick, hidden):
        number = self.one(pick)
        (self.classes.hide if hidden else self.classes.show)(number)
        assert {r.number: r.hidden for r in self.classes.table}[number] == hidden

    @rule(seed=seeds, share=st.sampled_from([0.02, 0.5]))
    def keep_all(self, seed, share):
        offered = np.random.default_rng(seed).integers(1, 4, SHAPE) * some(seed, share)
        labels, rows = self.labels, self.rows
        rest = offered * (labels == 0)
        if not rest.any():
            return self.refused(lambda: self.classes.fill_rest(offered))
        names = [None, "two", None]
        numbers = self.classes.fill_rest(offered, names=names, source=Source("proposal", "k = 3"))
        labels_left = sorted(set(np.unique(rest).tolist()) - {0})
        for label, number in zip(labels_left, numbers, strict=True):
            assert number not in rows
            labels[rest == label] = number
            rows[number] = ("two" if label == 2 else f"class {number}", False)
        self.done(labels, rows)
        return None

    @rule(seed=seeds)
    def replace(self, seed):
        new = np.random.default_rng(seed).integers(0, 5, SHAPE)
        held, rows = self.held(), self.rows
        self.classes.replace(new)
        there = set(np.unique(new).tolist()) - {0}
        new = np.where(held, self.labels, new)
        rows |= {n: (f"class {n}", False) for n in there - set(rows)}
        self.done(new, rows)

    @rule(seed=seeds, number=st.integers(0, 12), fill=st.booleans())
    def paint(self, seed, number, fill):
        """Some voxels twice, as a brush that turns back does."""
        draw = np.random.default_rng(seed)
        flat = draw.integers(0, self.labels.size, 3000 if fill else 30)
        before = self.array.reshape(-1)[flat].copy()
        seen = np.unique(flat, return_index=True)[1]
        again = np.setdiff1d(np.arange(flat.size), seen)
        before[again] = number
        self.array.reshape(-1)[flat] = number
        labels, rows, held = self.labels, self.rows, self.held().reshape(-1)
        painted = np.zeros(labels.size, bool)
        painted[flat] = True
        changes = painted & (labels.reshape(-1) != number)
        if rows.get(number, ("", False))[1]:
            held = np.ones_like(held)  # Nothing is painted with the number of a locked class.
        count = self.classes.painted(flat, before)
        assert count == (changes & held).sum()
        if (changes & ~held).any():
            labels.reshape(-1)[changes & ~held] = number
            if number and number not in rows:
                rows[number] = (f"class {number}", False)
            self.done(labels, rows)

    @rule(back=st.booleans())
    def step(self, back):
        call = self.classes.undo if back else self.classes.redo
        call()
        if not (self.at if back else len(self.states) - 1 - self.at):
            return
        self.at += -1 if back else 1
        return

    @rule()
    def open_again(self):
        self.classes = Classes(self.folder / "classes", SHAPE)
        self.array = self.classes.labels

    @rule()
    def another_program(self):
        """It edits and ends; the one that is open finds that at its next edit or refresh."""
        other = Classes(self.folder / "classes", SHAPE)
        number = other.add(name="by another")
        self.done(self.labels, {**self.rows, number: ("by another", False)})
        self.classes.refresh()

    @invariant()
    def all_is_as_it_was_left(self):
        assert self.classes.labels is self.array
        assert np.array_equal(self.array, self.labels)
        assert {r.number: (r.name, r.locked) for r in self.classes.table} == self.rows
        counts = np.bincount(self.array.ravel(), minlength=256)
        assert self.classes.counts == {n: counts[n] for n in self.rows}
        assert self.classes.can_undo == bool(self.at)
        assert self.classes.can_redo == (self.at < len(self.states) - 1)
        assert len(self.classes.history) == self.at


Edits.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestEdits = Edits.TestCase
