"""CSV files of hostile names: nothing is a formula, and all comes back."""

from __future__ import annotations

import csv
import io

import pytest

from napari_hypseg.volumes.csv_cells import safe_cells


@pytest.mark.parametrize(
    "name", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0"]
)
def test_formulas_become_text(name):
    held = io.StringIO(newline="")
    csv.writer(held).writerow(safe_cells([name, 1]))
    held.seek(0)
    cell, number = next(csv.reader(held))
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell[1:] == name
    assert number == "1"


def test_numbers_and_common_names_stay():
    row = [-1, -2.5, float("-inf"), "-2.5", "+3e5", "a=b", "membrane", "", None, "µ-tubule"]
    assert safe_cells(row) == row
