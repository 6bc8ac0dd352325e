"""Sample data for napari's File > Open Sample: toy volumes and their truth."""

from __future__ import annotations

from dataclasses import replace

from napari_hypseg.samples import ToyKind, make_toy
from napari_hypseg.widgets.layers import LayerData, layer_of

__all__ = ["cell", "irregular", "regular", "texture"]


def regular() -> list[LayerData]:
    """The papers' toy cell of spheres and cuboids."""
    return _layers("regular")


def irregular() -> list[LayerData]:
    """The papers' toy cell, bent."""
    return _layers("irregular")


def texture() -> list[LayerData]:
    """A toy cell whose parts differ in texture alone."""
    return _layers("texture")


def cell() -> list[LayerData]:
    """A small cell as in a tomogram."""
    return _layers("cell")


def _layers(kind: ToyKind) -> list[LayerData]:
    """The volume, and hidden below it its truth at three levels, coarse to fine."""
    toy = make_toy(kind)
    truths = [
        layer_of(replace(toy.volume, data=truth, name=f"truth, level {level}"), "labels",
                 visible=False)
        for level, truth in enumerate(toy.levels, start=1)
    ]  # fmt: skip
    return [layer_of(toy.volume), *truths]
