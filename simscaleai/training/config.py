"""What a training is asked to do: the command line, the Python argument and the record in one object."""

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
    """What to train: bc, vla, or package.module:Class."""
    dataset: tuple[Path, ...]
    """Dataset folders; several are joined if observations and actions mean the same in all."""
    output: Path
    """Folder of the checkpoint; also holds metrics.csv and training_state.safetensors."""

    initial_checkpoint: Path | None = None
    """Start from the weights and the normalisation of this checkpoint (fine-tuning); what does not fit, such as another
    action head, starts anew."""
    preset: str | None = None
    """Size of the vla model: debug, small, medium, large or xl."""
    model_arguments: tuple[str, ...] = ()
    """Constructor arguments as KEY=VALUE, for example patch_size=8 dropout=0 action_head_type=diffusion."""
    image: bool = True
    """Look at the dataset's images, if it has any."""
    language: bool = True
    """Read the instruction, if the model can."""
    use_environment_state: bool = False
    """Give the policy simulator truth (object poses) and no images: a debugging aid, no robot has this."""
    action_horizon: int = 1
    """Consecutive actions predicted at once."""
    n_action_steps: int | None = None
    """How many of them the policy executes before it looks again; all unless given. Kept in the checkpoint."""

    steps: int = 10_000
    """Optimiser steps."""
    batch_size: int = 64
    """Windows of the demonstrations per step."""
    learning_rate: float = 3e-4
    """Highest learning rate, reached after the warm-up; falls to zero along a cosine."""
    warmup_steps: int = 200
    """Steps of linear warm-up."""
    weight_decay: float = 1e-4
    """Decay of weight matrices; biases, norms and other vectors are spared."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema_decay: float = 0.999
    """Decay of the moving average of the weights that the checkpoint holds; 0 keeps the last weights."""
    image_shift: int = 4
    """Training images are displaced at random by up to this many pixels, each camera on its own."""
    auxiliary_weight: float = 0.0
    """Weight of a second loss: telling objects' positions from the features, by a head that is not kept."""
    bfloat16: bool = False
    """Compute in bfloat16 where torch deems it safe (autocast); pays off on processors with hardware for it."""
    seed: int = 0
    """Seed of initial weights, order of the data, image shifts, dropout and diffusion noise."""

    validation_fraction: float = 0.05
    """Share of the episodes that is held out, to report the loss on."""
    allow_failures: bool = False
    """Train on a dataset that contains unsuccessful episodes."""
    checkpoint_interval: int = 1000
    """Steps between validations, each followed by writing checkpoint and training state."""
    half: bool = False
    """Store the checkpoint's weights as float16."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard, too, into a folder of that name in the output folder."""
    device: str = "cpu"
    """Where to compute: cpu, cuda, cuda:1, …"""
    threads: int | None = None
    """Threads of torch on the CPU; its own choice unless given."""
    max_minutes: float | None = None
    """Stop after this time with everything saved, to be continued with --resume."""
    resume: bool = False
    """Continue the training in the output folder, to the same weights as if it had never stopped; else start it."""

    def __post_init__(self) -> None:
        """Check every value that can be checked without looking at data or model."""
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
        if self.n_action_steps is not None:
            self._check_range("n_action_steps", 1, self.action_horizon)
        if self.threads is not None:
            self._check_range("threads", 1, math.inf)
        if self.max_minutes is not None:
            self._check_range("max_minutes", 0, math.inf)
        if any(self.output.resolve() == folder.resolve() for folder in self.dataset):
            raise SimScaleError(f"--output {self.output} is a dataset's folder; choose another")
        if self.auxiliary_weight and self.use_environment_state:
            raise SimScaleError("--auxiliary-weight has no use with --use-environment-state: the policy sees the truth")
        self.parsed_model_arguments()

    @property
    def log_interval(self) -> int:
        """Steps between rows of metrics.csv: about 200 rows in all."""
        return max(1, self.steps // 200)

    def parsed_model_arguments(self) -> dict[str, Any]:
        """Return `model_arguments` as a dictionary; values are read as JSON, or else as text."""
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
