"""Sample data for napari's File > Open Sample: made volumes and their truth."""

from __future__ import annotations

from dataclasses import replace

from napari_hypseg.samples import Tomogram, Toy, make_tomogram, make_toy
from napari_hypseg.widgets.layers import LayerData, layer_of

__all__ = ["irregular", "regular", "texture", "tomogram"]


def tomogram() -> list[LayerData]:
    """A tomogram of a made cell, so small that it is there in about two seconds."""
    return _layers(make_tomogram((64, 160, 160)))


def regular() -> list[LayerData]:
    """The papers' toy cell of spheres and cuboids."""
    return _layers(make_toy("regular"))


def irregular() -> list[LayerData]:
    """The papers' toy cell, bent."""
    return _layers(make_toy("irregular"))


def texture() -> list[LayerData]:
    """A toy cell whose parts differ in texture alone."""
    return _layers(make_toy("texture"))


def _layers(made: Toy | Tomogram) -> list[LayerData]:
    """The volume, and hidden below it its truth at three levels, coarse to fine."""
    truths = [
        layer_of(replace(made.volume, data=truth, name=f"truth, level {level}"), "labels",
                 visible=False)
        for level, truth in enumerate(made.levels, start=1)
    ]  # fmt: skip
    return [layer_of(made.volume), *truths]
