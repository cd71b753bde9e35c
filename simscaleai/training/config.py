"""Configuration of a training, shared by the command line, Python callers and the training record."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simscaleai.errors import SimScaleError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a policy from demonstrations and write a checkpoint."""

    model: str
    """Model to train: bc, vla, or package.module:Class."""
    dataset: tuple[Path, ...]
    """Dataset folders. Several are joined; observations and actions must mean the same in all."""
    output: Path
    """Folder of the checkpoint. It also holds metrics.csv and training_state.safetensors."""

    initial_checkpoint: Path | None = None
    """Start from the weights and the normalisation of this checkpoint (fine-tuning). Weights that do not fit, such as
    those of another action head, start untrained."""
    preset: str | None = None
    """Size of the vla model: debug, small, medium, large or xl."""
    model_arguments: tuple[str, ...] = ()
    """Arguments of the model's constructor as KEY=VALUE, for example patch_size=8 dropout=0
    action_head_type=diffusion."""
    image: bool = True
    """Give the policy the images of the dataset, if there are any."""
    language: bool = True
    """Give the policy the instruction, if the model reads one."""
    use_environment_state: bool = False
    """Give the policy the privileged vectors too (simulator truth, such as object poses), and no images. This helps to
    find errors; no robot knows simulator truth."""
    action_horizon: int = 1
    """Number of consecutive actions that the policy predicts at once."""
    n_action_steps: int | None = None
    """Number of predicted actions that the policy executes before it predicts again; all by default. It is stored in
    the checkpoint."""

    steps: int = 10_000
    """Number of optimiser steps."""
    batch_size: int = 64
    """Number of samples (an observation and its chunk of actions) per step."""
    learning_rate: float = 3e-4
    """Highest learning rate. It is reached after the warm-up, then falls to zero along a cosine."""
    warmup_steps: int = 200
    """Number of steps of linear warm-up."""
    weight_decay: float = 1e-4
    """Decay of weight matrices. Biases, norms and other vectors do not decay."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient; a longer gradient is scaled down."""
    ema_decay: float = 0.999
    """Decay of the moving average of the weights. The checkpoint holds the average; 0 keeps the last weights."""
    image_shift: int = 4
    """Largest random displacement of training images [px], drawn for each camera separately."""
    augmentation: float = 0.0
    """Strength of random changes of training images, drawn for each sample and camera: 0 for none, 1 for brightness
    ± 1.3 stops, contrast ± 50 %, saturation ± 70 %, hue ± 20° and blur up to 1.5 px."""
    auxiliary_weight: float = 0.0
    """Weight of an auxiliary loss: a second head, which is not kept, predicts the positions of objects."""
    bfloat16: bool = False
    """Compute in bfloat16 where torch considers it safe (autocast). It is faster on processors that support it."""
    seed: int = 0
    """Seed of initial weights, order of the data, image shifts, dropout and diffusion noise."""

    validation_fraction: float = 0.05
    """Share of the episodes that is held out from training, to compute the validation loss."""
    allow_failures: bool = False
    """Train on a dataset that contains unsuccessful episodes."""
    checkpoint_interval: int = 1000
    """Number of steps between validations. After each validation, the checkpoint and the training state are written."""
    half: bool = False
    """Store the weights of the checkpoint as float16."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard, into the folder tensorboard of the output folder."""
    device: str = "cpu"
    """Device to compute on: cpu, cuda, cuda:1, …"""
    cuda_graph: bool = True
    """On CUDA, record the computation of a step once and replay it, which is much faster for small models. Models that
    cannot be recorded, and several processes, compute without."""
    threads: int | None = None
    """Number of threads of torch on the CPU; torch chooses by default."""
    max_minutes: float | None = None
    """Save everything and stop after this time [min]. --resume continues the training."""
    resume: bool = False
    """Continue the training in the output folder, or start it if there is none. The weights are the same as without the
    interruption."""

    def __post_init__(self) -> None:
        """Check all values that can be checked without the dataset and the model."""
        if not self.dataset:
            raise SimScaleError("--dataset needs at least one folder")
        for name in ("action_horizon", "steps", "batch_size", "checkpoint_interval"):
            self._check_range(name, 1, math.inf)
        for name in ("warmup_steps", "weight_decay", "image_shift", "auxiliary_weight", "seed"):
            self._check_range(name, 0, math.inf)
        self._check_range("learning_rate", 1e-12, 1)
        self._check_range("gradient_clip", 1e-12, math.inf)
        self._check_range("ema_decay", 0, 1 - 1e-9)
        self._check_range("validation_fraction", 0, 0.9)
        self._check_range("augmentation", 0, 1)
        if self.n_action_steps is not None:
            self._check_range("n_action_steps", 1, self.action_horizon)
        if self.threads is not None:
            self._check_range("threads", 1, math.inf)
        if self.max_minutes is not None:
            self._check_range("max_minutes", 0, math.inf)
        if len({folder.resolve() for folder in self.dataset}) < len(self.dataset):
            listing = " ".join(map(str, self.dataset))
            raise SimScaleError(f"expected each --dataset once, got {listing}; leave out the copy")
        if any(self.output.resolve() == folder.resolve() for folder in self.dataset):
            raise SimScaleError(f"--output {self.output} is a dataset's folder; choose another")
        if self.auxiliary_weight and self.use_environment_state:
            raise SimScaleError(
                "--auxiliary-weight has no use with --use-environment-state, which gives the policy the positions"
            )
        self.parsed_model_arguments()

    @property
    def log_interval(self) -> int:
        """Number of steps between rows of metrics.csv, for about 200 rows in total."""
        return max(1, self.steps // 200)

    def parsed_model_arguments(self) -> dict[str, Any]:
        """Return `model_arguments` as a dictionary. A value that is not JSON is a string."""
        arguments = {}
        for item in self.model_arguments:
            key, separator, value = item.partition("=")
            if not separator or not key.isidentifier():
                raise SimScaleError(f"--model-arguments takes KEY=VALUE, for example patch_size=8, got {item!r}")
            try:
                arguments[key] = json.loads(value)
            except json.JSONDecodeError:
                arguments[key] = value
        return arguments

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON data."""
        data = dataclasses.asdict(self)
        data["dataset"] = [str(folder) for folder in self.dataset]
        data["output"] = str(self.output)
        data["initial_checkpoint"] = None if self.initial_checkpoint is None else str(self.initial_checkpoint)
        data["model_arguments"] = list(self.model_arguments)
        return data

    def _check_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not low <= value <= high:
            wanted = f"be at least {low:g}" if high == math.inf else f"lie in [{low:g}, {high:g}]"
            raise SimScaleError(f"--{name.replace('_', '-')} must {wanted}, got {value}")
