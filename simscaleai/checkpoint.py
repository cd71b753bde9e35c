"""A checkpoint: one folder with all that evaluation needs, and nothing that could be executed.

::

    checkpoints/vla/
    ├── config.json         model and its arguments, needs, normalisation, training record
    └── model.safetensors   weights, float32 or float16

`load_checkpoint` builds the model by its registered name. It imports a user's own model only if the caller names
exactly that class, because a file that came from elsewhere must not decide which code runs. Reading the configuration
alone (`read_checkpoint_config`) needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simscaleai.contract import Needs
from simscaleai.errors import SimScaleError
from simscaleai.files import replace_file
from simscaleai.json_data import DAMAGE
from simscaleai.models.registry import create_model, list_models
from simscaleai.processing import CHANNELS, Processor

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CONFIG_VERSION = 2
"""Version of the content of `config.json`. Version 1 has no `config_version`, and a contract instead of needs."""
INFERENCE_VERSION = 1
"""Version of the computation. It is raised when the same weights would give other actions, for example because of
another attention, precision or sampling procedure."""

_CONFIG_TYPES = {
    "inference_version": int, "model": dict, "n_action_steps": int, "needs": dict, "processor": dict,
    "training": dict, "weights": dict,
}  # fmt: skip


class CheckpointError(SimScaleError):
    """A checkpoint that cannot be used. The text names the folder and the reason."""


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """The content of `config.json`."""

    model_name: str
    """Registered name, or `package.module:Class`."""
    model_arguments: dict[str, Any]
    """Arguments that the model was built with."""
    module: str | None
    """`package.module:Class` of a model that is not registered; None for one that is."""
    needs: Needs
    """What the policy needs of an environment."""
    processor: Processor
    """Conversions between environment and model."""
    n_action_steps: int
    """Number of actions of a chunk that are executed before the model predicts the next chunk."""
    training: dict[str, Any]
    """How it was trained: configuration, dataset digest, seeds, steps, minutes, versions."""
    inference_version: int
    """Version of the computation of actions from weights with which it was made."""
    weights_sha256: str
    """SHA-256 of the weights file."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint(CheckpointConfig):
    """A loaded checkpoint."""

    model: nn.Module
    """The network in eval mode, float32, on the CPU."""
    digest: str
    """Identity of the checkpoint; see `checkpoint_digest`."""


def checkpoint_digest(config_bytes: bytes, weights_bytes: bytes) -> str:
    """Return the identity of a checkpoint: SHA-256 of the bytes of `config.json`, then of `model.safetensors`."""
    digest = hashlib.sha256(config_bytes)
    digest.update(weights_bytes)
    return digest.hexdigest()


def read_checkpoint_config(folder: str | Path) -> CheckpointConfig:
    """Read and check the configuration of a checkpoint, without its weights.

    Raises:
        CheckpointError: If the file is missing or damaged, or a newer version wrote it.
    """
    return _parse_config(Path(folder), _read(Path(folder), CONFIG_FILE))


def save_checkpoint(
    folder: str | Path,
    *,
    model: nn.Module,
    model_name: str,
    model_arguments: Mapping[str, Any],
    needs: Needs,
    processor: Processor,
    training: Mapping[str, Any],
    n_action_steps: int = 1,
    module: str | None = None,
    half: bool = False,
) -> None:
    """Write a checkpoint, replacing one that is there.

    Each file is replaced atomically. The configuration comes last and holds the SHA-256 of the weights, so a process
    that dies in between leaves the old checkpoint, or two files that `load_checkpoint` refuses because they do not
    belong together.

    Args:
        folder: Where to write; created if needed.
        model: The network.
        model_name: Its registered name, or `package.module:Class`.
        model_arguments: Arguments that it was built with; JSON data.
        needs: What the policy needs of an environment.
        processor: The conversions it was trained with.
        training: The training record; JSON data.
        n_action_steps: Number of actions of a chunk to execute, 1 to the model's action horizon.
        module: `package.module:Class` of a model that is not registered; None for one that is.
        half: Store weights as float16.

    Raises:
        CheckpointError: If a weight is not finite, or lies beyond the range of float16.
    """
    from safetensors.torch import save

    folder = Path(folder)
    tensors = {name: _stored(tensor, half) for name, tensor in model.state_dict().items()}
    _check_finite(folder, tensors)
    weights = save(tensors)
    config = {
        "config_version": CONFIG_VERSION,
        "inference_version": INFERENCE_VERSION,
        "model": {"name": model_name, "arguments": dict(model_arguments), "module": module},
        "n_action_steps": n_action_steps,
        "needs": needs.to_json(),
        "processor": processor.to_config(),
        "training": dict(training),
        "weights": {"precision": "float16" if half else "float32", "sha256": hashlib.sha256(weights).hexdigest()},
    }
    text = json.dumps(config, indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / WEIGHTS_FILE, weights)
    replace_file(folder / CONFIG_FILE, text)


def load_checkpoint(folder: str | Path, *, module: str | None = None) -> Checkpoint:
    """Read, check and build a checkpoint.

    Args:
        folder: The checkpoint.
        module: `package.module:Class` that may be imported. It is required for a checkpoint of an unregistered model,
            and must be the class that the checkpoint names; None for a registered model.

    Raises:
        CheckpointError: If a file is missing or damaged, the weights do not fit the model, or a newer version wrote it.
    """
    folder = Path(folder)
    config_bytes, weights = _read(folder, CONFIG_FILE), _read(folder, WEIGHTS_FILE)
    config = _parse_config(folder, config_bytes)
    if hashlib.sha256(weights).hexdigest() != config.weights_sha256:
        raise CheckpointError(f"{folder}: {WEIGHTS_FILE} is not the file that {CONFIG_FILE} was written with")
    model = _build_model(folder, config, module)
    _load_weights(folder, model, weights)
    return Checkpoint(**vars(config), model=model.eval(), digest=checkpoint_digest(config_bytes, weights))


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"{folder} is no checkpoint: cannot read {name} ({reason})") from None


def _parse_config(folder: Path, data: bytes) -> CheckpointConfig:
    config = _read_object(folder, data)
    for name, newest in {"config_version": CONFIG_VERSION, "inference_version": INFERENCE_VERSION}.items():
        _check_version(folder, name, config.get(name, 1), newest)
    if "config_version" not in config:
        config = config | {"needs": config.get("contract")}
    for name, kind in _CONFIG_TYPES.items():
        _require(folder, config, name, kind)
    _require(folder, config["weights"], "sha256", str)
    _require(folder, config["model"], "name", str)
    _require(folder, config["model"], "arguments", dict)
    if config["n_action_steps"] < 1:
        raise CheckpointError(f"{folder}: n_action_steps must be at least 1, got {config['n_action_steps']}")
    try:
        return _config_from_json(config)
    except DAMAGE as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _read_object(folder: Path, data: bytes) -> dict[str, Any]:
    try:
        config = json.loads(data)
    except DAMAGE as error:
        raise CheckpointError(f"{folder}: {CONFIG_FILE} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder}: {CONFIG_FILE} must hold an object, got {type(config).__name__}")
    return config


def _check_version(folder: Path, name: str, version: object, newest: int) -> None:
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{folder}: {name} must be a whole number of at least 1, got {version!r:.60}")
    if version > newest:
        raise CheckpointError(f"{folder} has {name} {version}, this installation knows {newest}; update simscaleai")


def _require(folder: Path, values: Mapping[str, Any], name: str, kind: type) -> None:
    if type(values.get(name)) is not kind:
        found = repr(values[name]) if name in values else "nothing"
        raise CheckpointError(f"{folder}: expected {name!r} in {CONFIG_FILE} as {kind.__name__}, got {found[:60]}")


def _config_from_json(config: Mapping[str, Any]) -> CheckpointConfig:
    needs = Needs.from_json(config["needs"])
    stored = config["processor"]
    return CheckpointConfig(
        model_name=config["model"]["name"],
        model_arguments=config["model"]["arguments"],
        module=config["model"].get("module"),
        needs=needs,
        processor=Processor.from_config(stored if "config_version" in config else _from_version_1(stored, needs)),
        n_action_steps=config["n_action_steps"],
        training=config["training"],
        inference_version=config["inference_version"],
        weights_sha256=config["weights"]["sha256"],
    )


def _from_version_1(processor: Mapping[str, Any], needs: Needs) -> dict[str, Any]:
    """Return the processor of a configuration of version 1 as version 2 stores it."""
    shape = processor.get("image_shape")
    if shape is not None and shape[2:] != [CHANNELS * len(needs.cameras)]:
        raise SimScaleError(f"the stored normalisation is damaged: images of {shape} from {len(needs.cameras)} cameras")
    cameras = [] if shape is None else list(needs.cameras)
    return dict(processor) | {"cameras": cameras, "image_size": None if shape is None else shape[:2]}


def _build_model(folder: Path, config: CheckpointConfig, module: str | None) -> nn.Module:
    """Build the untrained network without a change to the caller's random numbers."""
    import torch

    if config.module != module:
        raise CheckpointError(
            f"{folder} was made by model {config.module!r}; pass exactly that name to allow its import"
            if config.module is not None
            else f"{folder} was made by the registered model {config.model_name!r}, not by {module!r}"
        )
    if config.module is None and config.model_name not in list_models():
        known = ", ".join(list_models())
        raise CheckpointError(f"{folder}: unknown model {config.model_name[:60]!r}; registered are {known}")
    try:
        with torch.random.fork_rng(devices=[]):
            return create_model(config.module or config.model_name, **config.model_arguments)
    except (SimScaleError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: model {config.model_name!r} cannot be built: {error}") from error


def _load_weights(folder: Path, model: nn.Module, data: bytes) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

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
    import torch

    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    return tensor.to(torch.float16) if half and tensor.is_floating_point() else tensor


def _check_finite(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{folder}: weight {name} holds a value that is not finite")
