"""One training under way: network, optimisers, steps taken, and its checkpoint file."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_hypseg.model.config import ModelConfig, TrainingConfig
from napari_hypseg.model.files import Model, ModelError, build_network, load_tensors, save_tensors
from napari_hypseg.model.gyroplane import load_geoopt
from napari_hypseg.model.vae import VAE
from napari_hypseg.training.devices import has_fast_bfloat16
from napari_hypseg.training.features import FeaturePool
from napari_hypseg.training.losses import Losses, objective
from napari_hypseg.training.patches import VoxelPool

__all__ = ["Glimpse", "TrainingError", "TrainingState", "model_so_far"]

# The gradient's norm is clipped here, as in CIHS's code.
_CLIP = 8.0
# Steps whose mean losses make one entry of the history.
_RECORD_EVERY = 20
# So often a training that diverges is taken back, each time to half the learning rate.
_MOST_ROLLBACKS = 5

# Patches in a glimpse.
_GLIMPSES = 4


class Glimpse(NamedTuple):
    """What the network makes of a few patches so far.

    Attributes
    ----------
    patches, reconstructions : array of float32, shape (n, m, m)
        Middle planes in normalised intensity; the patches stay the same during a training.
    """

    patches: npt.NDArray[np.float32]
    reconstructions: npt.NDArray[np.float32]


class TrainingError(RuntimeError):
    """Training that can't go on; the message is one sentence for a person."""


class TrainingState:
    """A network that is being trained.

    The random numbers of a step depend on the seed and the step's number alone, so that a
    training resumed from a checkpoint draws what an uninterrupted one would have drawn.

    Parameters
    ----------
    model : ModelConfig
        The architecture.
    training : TrainingConfig
        The objective and the optimiser's settings.
    seed : int
        Seed of the initial weights and of every step.
    device : torch.device
        Where to train.
    start : Model, optional
        A trained model whose weights to go on from.
    """

    def __init__(
        self,
        model: ModelConfig,
        training: TrainingConfig,
        seed: int,
        device: torch.device,
        start: Model | None = None,
    ) -> None:
        geoopt = load_geoopt()
        self.training = training
        self.seed = seed
        self.device = device
        self.step = 0
        self.history: list[dict[str, float]] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = VAE(model)
        self._start = None if start is None else start.fingerprint()
        if start is not None:
            network.load_state_dict(start.network.state_dict())
        self.network = network.to(device).train()
        if model.encoder == "stacked":
            # Twice as fast on the CPU; only the convolutions' weights have the rank for it.
            for layers in (self.network.encoder.convolutions, self.network.decoder.layers):
                layers.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        parameters = list(self.network.parameters())
        on_ball = [p for p in parameters if isinstance(p, geoopt.ManifoldParameter)]
        euclidean = [p for p in parameters if not isinstance(p, geoopt.ManifoldParameter)]
        self._optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(
                euclidean, lr=training.learning_rate, amsgrad=True, fused=device.type != "mps"
            )
        ]
        if on_ball:
            self._optimisers.append(
                geoopt.optim.RiemannianAdam(on_ball, lr=training.ball_learning_rate, amsgrad=True)
            )
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["initial_lr"] = group["lr"]
        self._bfloat16 = has_fast_bfloat16(device)
        self._sums = torch.zeros(len(Losses._fields), device=device)
        self.batch_size = training.batch_size
        self.rollbacks: list[dict[str, float]] = []
        self._good = self._snapshot()

    @property
    def latest(self) -> Mapping[str, float]:
        """The newest entry of the history."""
        return self.history[-1] if self.history else {}

    def advance(self, pool: VoxelPool | FeaturePool) -> None:
        """Take one step.

        Raises
        ------
        TrainingError
            If the loss stopped being finite once too often, or one patch is too much for the
            device's memory.

        Warns
        -----
        UserWarning
            If the loss is no longer finite (looked at every few steps, when it is recorded) and
            the training was taken back to its last good state, with half the learning rate; or
            if the device's memory was full and the batch halved.
        """
        while (losses := self._gradients(pool)) is None:
            if self.batch_size == 1:
                raise TrainingError(f"the memory of {self.device} is too small even for one patch")
            self.batch_size //= 2
            torch.cuda.empty_cache()
            warnings.warn(
                f"the memory of {self.device} is full: "
                f"the training goes on with batches of {self.batch_size}",
                stacklevel=2,
            )
        self._clip()
        share = 0.5 * (1 + math.cos(math.pi * self.step / self.training.steps))
        rate = (share if self.training.decay else 1.0) * 0.5 ** len(self.rollbacks)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * rate
            optimiser.step()
        self._sums += losses
        self.step += 1
        if self.step % _RECORD_EVERY == 0 or self.step == self.training.steps:
            self._record()

    def _gradients(self, pool: VoxelPool | FeaturePool) -> Tensor | None:
        """The losses of a batch, with the gradients in place; None if the memory is too small."""
        state = np.random.SeedSequence([self.seed, self.step]).generate_state(1, np.uint64)
        generator = torch.Generator(self.device).manual_seed(int(state[0]) >> 1)
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        try:
            patches = pool.batch(self.batch_size, self.network.config.input_size, generator)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
                losses = objective(self.network, patches, self.training, generator)
            losses.total.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError:
            # Not handled here: the error keeps what filled the memory alive.
            return None
        return torch.stack(losses).detach()

    def _clip(self) -> None:
        """Clip the norm of all gradients, as `torch.nn.utils.clip_grad_norm_` does.

        That sums in as many parts as there are threads; rows are summed one by one here.
        """
        grads = [p.grad for p in self.network.parameters() if p.grad is not None]
        rows = [grad.reshape(len(grad), -1).square().sum(1).sum() for grad in grads]
        share = (_CLIP / (torch.stack(rows).sum().sqrt() + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(share)

    def glimpse(self, pool: VoxelPool | FeaturePool) -> Glimpse:
        """What the network makes of a few patches; it disturbs no random number of a step."""
        generator = torch.Generator(self.device).manual_seed(self.seed)
        network = self.network
        with torch.inference_mode():
            batch = pool.batch(_GLIMPSES, network.config.input_size, generator)
            # The positives: of features all scales are there.
            patches = batch.chunk(3)[network.config.encoder == "scales"]
            made = network.decode(network.encoder(patches).mean)
        return Glimpse(network.picture(patches).cpu().numpy(), made.cpu().numpy())

    def _record(self) -> None:
        count = (self.step - 1) % _RECORD_EVERY + 1
        means = (self._sums / count).tolist()
        self._sums.zero_()
        if not (all(map(math.isfinite, means)) and self._is_finite()):
            self._roll_back()
            return
        names = Losses._fields
        self.history.append({"step": self.step, **dict(zip(names, means, strict=True))})
        self._good = self._snapshot()

    def _is_finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())

    def _snapshot(self) -> tuple[Any, ...]:
        """All that changes from step to step, as it is now."""
        optimisers = [optimiser.state_dict() for optimiser in self._optimisers]
        return copy.deepcopy(
            (self.step, self.history, self._sums, self.network.state_dict(), optimisers)
        )

    def _roll_back(self) -> None:
        """Go back to the last good state, and on from there at half the learning rate."""
        reached = self.step
        if len(self.rollbacks) == _MOST_ROLLBACKS:
            raise TrainingError(
                f"the loss stopped being finite before step {reached}, also at "
                f"1/{2**_MOST_ROLLBACKS} of the learning rate: the volume or the preset is at fault"
            )
        self.step, self.history, self._sums, network, optimisers = copy.deepcopy(self._good)
        self.network.load_state_dict(network)
        for optimiser, state in zip(self._optimisers, optimisers, strict=True):
            optimiser.load_state_dict(state)
        self.rollbacks.append({"step": reached, "back_to": self.step})
        warnings.warn(
            f"the loss stopped being finite before step {reached}: the training goes on from "
            f"step {self.step} at 1/{2 ** len(self.rollbacks)} of the learning rate",
            stacklevel=2,
        )

    def _optimiser_tensors(self) -> dict[str, Tensor]:
        """The optimisers' running averages, in the order of their parameters, for a checkpoint."""
        return {
            f"optimiser.{i}.{index}.{key}": torch.as_tensor(value)
            for i, optimiser in enumerate(self._optimisers)
            for index, entries in optimiser.state_dict()["state"].items()
            for key, value in entries.items()
        }

    def save(self, path: Path, volumes: Sequence[Mapping[str, Any]], preset: str) -> None:
        """Write a checkpoint, unless the state is not finite; ``preset`` names its settings."""
        if not (self._is_finite() and bool(torch.isfinite(self._sums).all())):
            return
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= self._optimiser_tensors() | {"sums": self._sums}
        metadata = {
            "identity": self._identity(volumes),
            "step": self.step,
            "history": self.history,
            "batch_size": self.batch_size,
            "rollbacks": self.rollbacks,
            "preset": preset,
            "device": str(self.device),
        }
        save_tensors(path, tensors, metadata)

    def restore(self, path: Path, volumes: Sequence[Mapping[str, Any]]) -> bool:
        """Take up the training of a checkpoint, if it is this same training.

        Returns
        -------
        bool
            Whether it was; otherwise nothing changes.

        Raises
        ------
        ModelError
            If the file is damaged; the state may then be half another one.
        """
        tensors, metadata = load_tensors(path)
        if _nameless(metadata.get("identity")) != _nameless(self._identity(volumes)):
            return False
        try:
            self._take(tensors, metadata)
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError) as error:
            raise ModelError(f"{path}: this is no checkpoint of a training") from error
        return True

    def _take(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Become the state of a checkpoint."""
        step, history = metadata["step"], metadata["history"]
        if type(step) is not int or not 0 <= step <= self.training.steps:
            raise ValueError("its number of steps makes no sense")
        self.network.load_state_dict(_weights(tensors))
        for i, optimiser in enumerate(self._optimisers):
            saved = optimiser.state_dict()
            saved["state"] = {}
            parameters = optimiser.param_groups[0]["params"]
            for name, value in tensors.items():
                if name.startswith(f"optimiser.{i}."):
                    index, key = name.split(".")[2:]
                    entry = _laid_out_as(parameters[int(index)], value)
                    saved["state"].setdefault(int(index), {})[key] = entry
            optimiser.load_state_dict(saved)
        for optimiser in self._optimisers[1:]:
            for entries in optimiser.state.values():
                # geoopt counts in plain integers; the tensor that PyTorch makes of one is float32.
                entries["step"] = int(entries["step"])
        self.step, self.history = step, [dict(row) for row in history]
        batch_size = metadata.get("batch_size", self.batch_size)
        if type(batch_size) is not int or not 1 <= batch_size <= self.training.batch_size:
            raise ValueError("its batches make no sense")
        self.batch_size = batch_size
        self.rollbacks = list(metadata.get("rollbacks", []))
        self._sums.copy_(tensors["sums"])
        self._good = self._snapshot()

    def _identity(self, volumes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "model": self.network.config.to_dict()
            | {"channels": list(self.network.config.channels)},
            "training": self.training.to_dict(),
            "seed": self.seed,
            "start": self._start,
            "volumes": [dict(v) for v in volumes],
        }


def model_so_far(path: Path) -> Model:
    """The model that a training which was stopped had come to.

    Parameters
    ----------
    path : path
        Checkpoint of the training.

    Returns
    -------
    Model
        Its training summary has the number of steps taken as ``stopped``.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or no checkpoint.
    """
    tensors, metadata = load_tensors(path)
    try:
        identity = metadata["identity"]
        network = build_network(identity["model"], _weights(tensors))
        summary = {
            "settings": identity["training"],
            "seed": identity["seed"],
            "start": identity.get("start"),
            "volumes": identity["volumes"],
            "device": metadata["device"],
            "loss": metadata["history"],
            "batch_size": metadata.get("batch_size", identity["training"]["batch_size"]),
            "rollbacks": metadata.get("rollbacks", []),
            "stopped": metadata["step"],
        }
        return Model(network.eval(), metadata["preset"], summary)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: this is no checkpoint of a training") from error


def _nameless(identity: Any) -> Any:
    """What tells one training from another: not what its volumes are called."""
    try:
        volumes = [{k: v for k, v in one.items() if k != "name"} for one in identity["volumes"]]
        return {**identity, "volumes": volumes}
    except (TypeError, KeyError, AttributeError):
        return None


def _weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's weights among the tensors of a checkpoint."""
    return {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """A value with its elements in memory as those of its parameter: the fused Adam needs it."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_strided(parameter.shape, parameter.stride()).copy_(value)
