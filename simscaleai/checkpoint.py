"""A checkpoint: one folder with everything that evaluation needs, and nothing that can execute.

::

    checkpoints/vla/
    ├── config.json         model and its arguments, contract, normalisation, training record
    └── model.safetensors   weights, float32 or float16

Loading builds the model by its registered name. A model of the user's own is imported only when the caller asks for
exactly that class: a name inside a file that came from elsewhere is never reason enough to import code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from simscaleai.errors import SimScaleError
from simscaleai.files import replace_file
from simscaleai.models.registry import create_model, list_models
from simscaleai.processing import Processor

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INFERENCE_VERSION = 1
"""Raised when the same weights would give other actions: another attention, precision or sampling path."""


class CheckpointError(SimScaleError):
    """A checkpoint that cannot be used; the text names the folder and the reason."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded checkpoint."""

    model: nn.Module
    """The network in eval mode, float32, on the CPU."""
    model_name: str
    """Registered name, or `package.module:Class`."""
    model_arguments: dict[str, Any]
    """What the model was built with."""
    contract: dict[str, Any]
    """What the policy requires of an environment, as plain JSON data."""
    processor: Processor
    """Transforms between environment and model."""
    n_action_steps: int
    """Actions of a chunk that are executed before the model is asked again."""
    training: dict[str, Any]
    """How it was trained: configuration, data digest, seeds used, steps, minutes, versions."""
    inference_version: int
    """Version of the path from weights to actions that it was evaluated with."""
    digest: str
    """SHA-256 over both files."""


def save_checkpoint(
    folder: str | Path,
    *,
    model: nn.Module,
    model_name: str,
    model_arguments: Mapping[str, Any],
    contract: Mapping[str, Any],
    processor: Processor,
    training: Mapping[str, Any],
    n_action_steps: int = 1,
    module: str | None = None,
    half: bool = False,
) -> None:
    """Write a checkpoint, replacing one that is there.

    Each file is replaced atomically and the configuration, which holds the digest of the weights, comes last: a
    process that dies in between leaves either checkpoint, or a pair that loading refuses, never a silent mixture.

    Args:
        folder: Where to write; created if needed.
        model: The network.
        model_name: Its registered name, or `package.module:Class`.
        model_arguments: What it was built with; JSON data.
        contract: The policy's contract as plain JSON data.
        processor: The transforms it was trained with.
        training: The training record; JSON data.
        n_action_steps: Actions of a chunk to execute, 1 to the model's action horizon.
        module: `package.module:Class` of a model that is not registered; None for one that is.
        half: Store weights as float16.

    Raises:
        CheckpointError: If a weight is not finite, or leaves float16's range.
    """
    folder = Path(folder)
    tensors = {name: _stored(tensor, half) for name, tensor in model.state_dict().items()}
    _check_finite(folder, tensors)
    weights = save(tensors)
    config = {
        "inference_version": INFERENCE_VERSION,
        "model": {"name": model_name, "arguments": dict(model_arguments), "module": module},
        "n_action_steps": n_action_steps,
        "contract": dict(contract),
        "processor": processor.to_config(),
        "training": dict(training),
        "weights": {"precision": "float16" if half else "float32", "sha256": hashlib.sha256(weights).hexdigest()},
    }
    text = json.dumps(config, indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / WEIGHTS_FILE, weights)
    replace_file(folder / CONFIG_FILE, text.encode())


def load_checkpoint(folder: str | Path, *, module: str | None = None) -> Checkpoint:
    """Read, check and build a checkpoint.

    Args:
        folder: The checkpoint.
        module: `package.module:Class` that the caller allows to be imported; needed for, and only for, a checkpoint
            of an unregistered model, and must be the one it names.

    Raises:
        CheckpointError: If a file is missing or damaged, weights do not fit the model, or it was written by a newer
            version.
    """
    folder = Path(folder)
    config_bytes, weights = _read(folder, CONFIG_FILE), _read(folder, WEIGHTS_FILE)
    config = _parse_config(folder, config_bytes)
    if hashlib.sha256(weights).hexdigest() != config["weights"]["sha256"]:
        raise CheckpointError(f"{folder}: {WEIGHTS_FILE} is not the file that {CONFIG_FILE} was written with")
    try:
        processor = Processor.from_config(config["processor"])
    except SimScaleError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    model = _build_model(folder, config["model"], module)
    _load_weights(folder, model, weights)
    return Checkpoint(
        model=model.eval(),
        model_name=config["model"]["name"],
        model_arguments=config["model"]["arguments"],
        contract=config["contract"],
        processor=processor,
        n_action_steps=config["n_action_steps"],
        training=config["training"],
        inference_version=config["inference_version"],
        digest=hashlib.sha256(config_bytes + weights).hexdigest(),
    )


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{folder} is no checkpoint: cannot read {name} ({reason})") from None


_CONFIG_TYPES = {
    "inference_version": int, "model": dict, "n_action_steps": int, "contract": dict, "processor": dict,
    "training": dict, "weights": dict,
}  # fmt: skip


def _parse_config(folder: Path, data: bytes) -> dict[str, Any]:
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder}: {CONFIG_FILE} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder}: {CONFIG_FILE} must hold an object, got {type(config).__name__}")
    version = config.get("inference_version")
    if isinstance(version, int) and version > INFERENCE_VERSION:
        raise CheckpointError(
            f"{folder} has inference_version {version}, this installation knows {INFERENCE_VERSION}; update simscaleai"
        )
    for name, kind in _CONFIG_TYPES.items():
        _require(folder, config, name, kind)
    _require(folder, config["weights"], "sha256", str)
    _require(folder, config["model"], "name", str)
    _require(folder, config["model"], "arguments", dict)
    if config["inference_version"] < 1:
        raise CheckpointError(f"{folder}: inference_version must be at least 1, got {config['inference_version']}")
    if config["n_action_steps"] < 1:
        raise CheckpointError(f"{folder}: n_action_steps must be at least 1, got {config['n_action_steps']}")
    return config


def _require(folder: Path, values: Mapping[str, Any], name: str, kind: type) -> None:
    if type(values.get(name)) is not kind:
        found = repr(values[name]) if name in values else "nothing"
        raise CheckpointError(f"{folder}: {CONFIG_FILE} needs {name!r} as {kind.__name__}, found {found[:60]}")


def _build_model(folder: Path, config: Mapping[str, Any], module: str | None) -> nn.Module:
    """Build the untrained network without touching the caller's random numbers."""
    needed = config.get("module")
    if needed != module:
        raise CheckpointError(
            f"{folder} was made by model {needed!r}; pass exactly that name to allow importing it"
            if needed is not None
            else f"{folder} was made by the registered model {config['name']!r}, not by {module!r}"
        )
    if needed is None and config["name"] not in list_models():
        known = ", ".join(list_models())
        raise CheckpointError(f"{folder}: unknown model {config['name'][:60]!r}; registered are {known}")
    try:
        with torch.random.fork_rng(devices=[]):
            return create_model(config["name"] if needed is None else needed, **config["arguments"])
    except (SimScaleError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: model {config['name']!r} cannot be built: {error}") from error


def _load_weights(folder: Path, model: nn.Module, data: bytes) -> None:
    try:
        tensors = load(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{folder}: {WEIGHTS_FILE} is damaged: {error}") from None
    expected = model.state_dict()
    missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unknown:
        raise CheckpointError(
            f"{folder}: weights do not fit the model: missing {sorted(missing)[:3]}, unknown {sorted(unknown)[:3]}"
        )
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{folder}: weight {name} has shape {tuple(tensors[name].shape)}, the model {tuple(tensor.shape)}"
            )
    _check_finite(folder, tensors)
    model.load_state_dict(tensors)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    return tensor.to(torch.float16) if half and tensor.is_floating_point() else tensor


def _check_finite(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{folder}: weight {name} holds a value that is not finite")
