"""What a model is made of and how it is trained: configurations and the named presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

__all__ = ["PRESETS", "ModelConfig", "Preset", "TrainingConfig", "get_preset"]


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of the variational autoencoder.

    Attributes
    ----------
    latent_dim : int
        Dimension d of the latent space, at least 2.
    geometry : {"hyperbolic", "euclidean"}
        Latent space: the Poincare ball, or R^d (the papers' ablation).
    curvature : float
        The ball has curvature ``-curvature``; unused in the Euclidean space.
    gyroplane : bool
        First decoder layer: gyroplane convolution (seed paper's equation 7), or a Euclidean
        convolution of the tangent coordinates at the origin.
    encoder : {"scales", "stacked"}
        ``scales``: two fully connected layers on the scale space around a voxel (`scale_space`);
        ``stacked``: CIHS's four convolutions of stride 1 on a patch, with paddings 2, 1, 1, 0
        (10>10>8>6>2).
    channels : tuple of int
        Filters of the four convolutions; unused with ``scales``.
    hidden : int
        Width of a fully connected layer between the convolutions and the latent point, 0 for none;
        with ``scales`` that of both layers.
    planes : int
        Gyroplanes (or filters) of the first decoder layer.
    grid : int
        The decoder reads ``grid**3`` posterior samples of one patch, laid out as a cube.
    tangent_clip : float or None
        Longest tangent vector at the origin, as the distance of the latent point to the centre
        (Guo et al. 2022, *Clipped hyperbolic classifiers*); None for no clipping.
    relu_output : bool
        End the decoder in a ReLU as CIHS's published code does. Then no negative intensity can be
        reconstructed: a defect, kept only so that it can be measured.
    input_size : int
        Patches are resized to a cube of this side, in voxels.
    patch_size : int
        Side of the patch around a voxel that gives the voxel its latent point, in voxels; odd.
    """

    latent_dim: int = 16
    geometry: Literal["hyperbolic", "euclidean"] = "hyperbolic"
    curvature: float = 1.0
    gyroplane: bool = True
    encoder: Literal["scales", "stacked"] = "scales"
    channels: tuple[int, int, int, int] = (8, 16, 32, 64)
    hidden: int = 128
    planes: int = 64
    grid: int = 1
    tangent_clip: float | None = 5.0
    relu_output: bool = False
    input_size: int = 10
    patch_size: int = 5

    def __post_init__(self) -> None:
        if self.latent_dim < 2:
            raise ValueError(f"the latent dimension must be at least 2, not {self.latent_dim}")
        if self.gyroplane and self.geometry == "euclidean":
            raise ValueError("gyroplanes need the hyperbolic latent space")
        if self.encoder == "scales" and not self.hidden:
            raise ValueError("the encoder of scales needs a hidden layer")
        if not self.curvature > 0:
            raise ValueError(f"the curvature constant must be positive, not {self.curvature}")
        if self.patch_size < 1 or self.patch_size % 2 == 0:
            raise ValueError(f"the patch size must be odd, to have a centre, not {self.patch_size}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON gives them back."""
        return {**asdict(self), "channels": list(self.channels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Inverse of `to_dict`; an unknown field is an error, since it would change the model."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown model settings: {', '.join(sorted(map(str, unknown)))}")
        if "channels" not in values:
            raise ValueError("there are no channels among them")
        for f in fields(cls):
            if f.name in values and not _makes_sense(f.name, values[f.name], f.default):
                raise ValueError(f"{f.name} can't be {str(values[f.name])[:40]!r}")
        return cls(**{**values, "channels": tuple(values["channels"])})


# Of sizes that no weight has to fit.
_LARGEST = 255


def _makes_sense(name: str, value: object, default: object) -> bool:
    """Whether a value from a file is of the type of a model setting, and in its range."""
    if name == "channels":
        return (
            isinstance(value, list | tuple)
            and len(value) == 4
            and all(type(n) is int and n > 0 for n in value)
        )
    if name in ("geometry", "encoder"):
        return value in _CHOICES[name]
    if name == "tangent_clip" and value is None:
        return True
    if isinstance(default, float):
        return type(value) in (int, float) and 1e-6 < value < 1e6  # type: ignore[operator]
    if type(value) is not type(default):
        return False
    most = _LARGEST if name in ("patch_size", "input_size", "grid") else 1 << 31
    return not isinstance(value, int) or isinstance(value, bool) or 0 <= value <= most


_CHOICES = {"geometry": ("hyperbolic", "euclidean"), "encoder": ("scales", "stacked")}


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes
    ----------
    steps, batch_size : int
        Optimiser steps, and anchors (each with its positive and its negative) in a step.
    learning_rate, ball_learning_rate : float
        Step size for Euclidean parameters, and for parameters on the ball (gyroplane offsets).
    decay : bool
        Let the step size fall to zero along half a cosine.
    kl_weight : float
        Weight of the Kullback-Leibler term of the ELBO.
    samples : int
        Posterior samples a patch for the Monte-Carlo ELBO (``ModelConfig.grid**3`` divides it).
    triplet_weight, margin : float
        beta and alpha of the hierarchical triplet loss; a weight of 0 turns it off.
    squared_distance : bool
        Compare squared distances, as CIHS's code does, rather than distances (equation 8).
    min_size, max_size : int
        Anchor patches have sides in this range, in voxels (less where the volume is smaller).
    min_child, max_child, gap : int
        Children have sides in ``[min_child, min(max_child, anchor - gap)]``.
    log_sizes : bool
        Draw anchor sizes log-uniformly (the papers' scheme for large inputs).
    concentric : bool
        Centre each child in its anchor, as CIHS's code does, or place it anywhere inside.
    pretrained : bool
        Begin with the general model, which comes with the package. Sizes, gap and whether children
        are concentric say nothing of an encoder of scales.
    """

    steps: int = 1200
    batch_size: int = 128
    learning_rate: float = 1e-3
    ball_learning_rate: float = 1e-3
    decay: bool = True
    kl_weight: float = 0.1
    samples: int = 1
    triplet_weight: float = 100.0
    margin: float = 0.2
    squared_distance: bool = False
    min_size: int = 5
    max_size: int = 34
    min_child: int = 3
    max_child: int = 15
    gap: int = 1
    log_sizes: bool = True
    concentric: bool = False
    pretrained: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Inverse of `to_dict`."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown training settings: {', '.join(sorted(unknown))}")
        return cls(**values)


@dataclass(frozen=True)
class Preset:
    """A model and its training under one name."""

    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


_CIHS_MODEL = ModelConfig(
    latent_dim=2,
    encoder="stacked",
    channels=(16, 32, 64, 128),
    hidden=300,
    planes=300,
    grid=2,
    tangent_clip=None,
    patch_size=5,
)
# 8 epochs over CIHS's patches; the toy set's 80 volumes make about 12,000 steps of 128.
_CIHS_TRAINING = TrainingConfig(
    steps=12_000,
    learning_rate=5e-5,
    ball_learning_rate=5e-7,
    decay=False,
    kl_weight=1.0,
    samples=8,
    triplet_weight=1e3,
    squared_distance=True,
    log_sizes=False,
    concentric=True,
)
_PLAIN_MODEL = replace(_CIHS_MODEL, gyroplane=False)
_EUCLIDEAN_MODEL = replace(_PLAIN_MODEL, geometry="euclidean")
_NO_TRIPLET = replace(_CIHS_TRAINING, triplet_weight=0.0)

PRESETS: dict[str, Preset] = {
    "default": Preset(
        ModelConfig(),
        TrainingConfig(steps=0, batch_size=512, triplet_weight=1.0, pretrained=True),
    ),
    "cihs": Preset(_CIHS_MODEL, _CIHS_TRAINING),
    "cihs-gyroconv": Preset(_CIHS_MODEL, _NO_TRIPLET),
    "cihs-triplet": Preset(_PLAIN_MODEL, _CIHS_TRAINING),
    "cihs-base": Preset(_PLAIN_MODEL, _NO_TRIPLET),
    "cihs-euclidean-triplet": Preset(_EUCLIDEAN_MODEL, _CIHS_TRAINING),
    "cihs-euclidean-base": Preset(_EUCLIDEAN_MODEL, _NO_TRIPLET),
}


def get_preset(name: str) -> Preset:
    """The preset called ``name``.

    ``default`` is the model that comes with the package, as it is or trained further; ``cihs`` is
    what the code of Hsu et al. (NeurIPS 2021) runs, and ``cihs-*`` are the other rows of their
    ablation (table 2).

    Raises
    ------
    ValueError
        If there is no such preset.

    Examples
    --------
    >>> get_preset("default").model.latent_dim
    16
    """
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}") from None
