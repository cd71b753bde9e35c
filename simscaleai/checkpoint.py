"""A checkpoint: one folder with everything that evaluation needs, and without executable code.

::

    checkpoints/vla/
    ├── config.json         model and its arguments, needs, normalisation, training record
    └── model.safetensors   weights, float32 or float16

`load_checkpoint` builds the model by its registered name. It imports a user's own model only if the caller names
exactly that class, because a file of unknown origin must not decide which code runs. Reading the configuration
alone (`read_checkpoint_config`) needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simscaleai.contract import Needs
from simscaleai.errors import SimScaleError
from simscaleai.files import read_file, replace_file
from simscaleai.json_data import DAMAGE, damage_text, is_of_type, parse_json, plain, read_checked
from simscaleai.models.registry import create_model, list_models
from simscaleai.processing import CHANNELS, Processor

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CONFIG_VERSION = 2
"""Version of the content of `config.json`. Version 1 has a contract instead of needs, and no `config_version`."""
INFERENCE_VERSION = 1
"""Version of the inference code. It increases when the same weights would give other actions, for example because of
another attention, precision or sampling procedure."""


_MOST_BYTES = {CONFIG_FILE: 2**26, WEIGHTS_FILE: 2**35}
_RESTORE = "copy the checkpoint again, or train the model again"
_REBUILD = "use the code of the model that it was trained with, or train the model again"


class CheckpointError(SimScaleError):
    """A checkpoint cannot be used. The text names the folder and the reason."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """How to build the model."""

    name: str
    """Registered name, or `package.module:Class`."""
    arguments: dict[str, Any]
    """Arguments of the constructor."""
    module: str | None = None
    """`package.module:Class` of a model that is not registered; None for a registered model."""


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """Precision and digest of the weights file."""

    precision: str
    """Type of the stored numbers: "float32" or "float16"."""
    sha256: str
    """SHA-256 of the file."""


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """The content of `config.json`, in the order of the file."""

    config_version: int = CONFIG_VERSION
    inference_version: int = INFERENCE_VERSION
    """`INFERENCE_VERSION` of the code that wrote the checkpoint."""
    model: ModelConfig
    n_action_steps: int
    """Number of actions of a chunk that are executed before the model predicts the next chunk."""
    needs: Needs
    """What the policy needs from an environment."""
    processor: Processor
    """Conversions between environment and model."""
    training: dict[str, Any]
    """How the model was trained: configuration, dataset digest, seeds, steps, minutes, versions."""
    weights: WeightsConfig

    def __post_init__(self) -> None:
        """Check the numbers, and that the processor converts exactly the observations that the policy needs."""
        for name in ("config_version", "inference_version", "n_action_steps"):
            if getattr(self, name) < 1:
                raise SimScaleError(f"{name} must be at least 1, got {getattr(self, name)}")
        needed = {key: layout.size for key, layout in self.needs.vectors.items()} | dict(self.needs.cameras)
        converted = {key: len(affine.offset) for key, affine in self.processor.vectors.items()}
        if needed != converted | dict.fromkeys(self.processor.cameras, self.processor.image_size):
            raise SimScaleError("needs and processor name different observations, or give them different sizes")

    @property
    def model_name(self) -> str:
        """Registered name of the model, or `package.module:Class`."""
        return self.model.name

    @property
    def model_arguments(self) -> dict[str, Any]:
        """Arguments of the model's constructor."""
        return self.model.arguments


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded checkpoint."""

    model: nn.Module
    """The network in eval mode, float32, on the CPU."""
    config: CheckpointConfig
    """The content of `config.json`."""
    digest: str
    """Identity of the checkpoint; see `checkpoint_digest`."""

    @property
    def model_name(self) -> str:
        """Registered name of the model, or `package.module:Class`."""
        return self.config.model.name

    @property
    def needs(self) -> Needs:
        """What the policy needs from an environment."""
        return self.config.needs

    @property
    def processor(self) -> Processor:
        """Conversions between environment and model."""
        return self.config.processor

    @property
    def n_action_steps(self) -> int:
        """Number of actions of a chunk that are executed before the model predicts the next chunk."""
        return self.config.n_action_steps

    @property
    def training(self) -> dict[str, Any]:
        """How the model was trained: configuration, dataset digest, seeds, steps, minutes, versions."""
        return self.config.training


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
    """Write a checkpoint. It replaces an existing checkpoint in `folder`.

    Each file is replaced atomically. The configuration comes last and holds the SHA-256 of the weights, so a process
    that dies in between leaves the old checkpoint, or two files that `load_checkpoint` refuses because they do not
    belong together.

    Args:
        folder: Where to write; created if needed.
        model: The network.
        model_name: Its registered name, or `package.module:Class`.
        model_arguments: Arguments that the model was built with; JSON data.
        needs: What the policy needs from an environment.
        processor: The conversions that the model was trained with.
        training: The training record; JSON data.
        n_action_steps: Number of actions of a chunk to execute, 1 to the model's action horizon.
        module: `package.module:Class` of a model that is not registered; None for a registered model.
        half: Store weights as float16.

    Raises:
        CheckpointError: If a weight is not finite, or lies beyond the range of float16.
    """
    from safetensors.torch import save

    folder = Path(folder)
    tensors = {name: _stored(tensor, half) for name, tensor in model.state_dict().items()}
    advice = "leave out --half" if half else "lower the --learning-rate"
    _check_finite(folder, tensors, advice)
    weights = save(tensors)
    config = CheckpointConfig(
        model=ModelConfig(name=model_name, arguments=dict(model_arguments), module=module),
        n_action_steps=n_action_steps,
        needs=needs,
        processor=processor,
        training=dict(training),
        weights=WeightsConfig(precision="float16" if half else "float32", sha256=hashlib.sha256(weights).hexdigest()),
    )
    text = json.dumps(plain(asdict(config)), indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / WEIGHTS_FILE, weights)
    replace_file(folder / CONFIG_FILE, text)


def load_checkpoint(folder: str | Path, *, module: str | None = None) -> Checkpoint:
    """Read and check a checkpoint, and build its model.

    Args:
        folder: The checkpoint.
        module: The class that may be imported, `package.module:Class`. A checkpoint of an unregistered model requires
            exactly the class that it names; None for a registered model.

    Raises:
        CheckpointError: If a file is missing or damaged, the weights do not fit the model, or a newer version wrote it.
    """
    folder = Path(folder)
    config_bytes, weights = _read(folder, CONFIG_FILE), _read(folder, WEIGHTS_FILE)
    config = _parse_config(folder, config_bytes)
    if hashlib.sha256(weights).hexdigest() != config.weights.sha256:
        raise CheckpointError(
            f"{folder}: {WEIGHTS_FILE} is not the file that {CONFIG_FILE} was written with; {_RESTORE}"
        )
    model = _build_model(folder, config.model, module)
    _load_weights(folder, model, weights)
    return Checkpoint(model=model.eval(), config=config, digest=checkpoint_digest(config_bytes, weights))


def _read(folder: Path, name: str) -> bytes:
    try:
        return read_file(folder / name, _MOST_BYTES[name])
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise CheckpointError(f"{folder} is no checkpoint: cannot read {name} ({reason})") from None
    except SimScaleError as error:
        raise CheckpointError(f"{folder} is no checkpoint: {error}") from None


def _parse_config(folder: Path, data: bytes) -> CheckpointConfig:
    try:
        config = parse_json(data)
    except DAMAGE as error:
        raise CheckpointError(f"{folder}: {CONFIG_FILE} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder}: {CONFIG_FILE} must hold an object, got {type(config).__name__}")
    try:
        _check_versions(config)
        return read_checked(CheckpointConfig, config if "config_version" in config else _from_version_1(config))
    except DAMAGE as error:
        raise CheckpointError(f"{folder}: cannot use {CONFIG_FILE}: {damage_text(error)}") from error


def _check_versions(config: Mapping[str, Any]) -> None:
    for name, newest in {"config_version": CONFIG_VERSION, "inference_version": INFERENCE_VERSION}.items():
        version = config.get(name, 1)
        if is_of_type(version, int) and version > newest:
            raise SimScaleError(
                f"it has {name} {str(version)[:20]}, this version reads up to {newest}; update simscaleai"
            )


def _from_version_1(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of version 1 as version 2 stores it."""
    if "contract" not in config:
        raise SimScaleError("expected a config_version, or the contract of version 1; this is no checkpoint of ours")
    needs, processor = Needs.from_json(config["contract"]), dict(config["processor"])
    shape = processor.pop("image_shape")
    cameras = [] if shape is None else list(needs.cameras)
    if shape is not None and shape[2] != CHANNELS * len(cameras):
        raise SimScaleError(f"expected images of {len(cameras)} cameras, got the shape {shape}")
    processor |= {"cameras": cameras, "image_size": None if shape is None else shape[:2]}
    values = {name: value for name, value in config.items() if name != "contract"}
    return values | {"config_version": CONFIG_VERSION, "needs": needs.to_json(), "processor": processor}


def _build_model(folder: Path, config: ModelConfig, module: str | None) -> nn.Module:
    """Build the untrained network without changing the state of torch's random generator."""
    import torch

    if config.module != module:
        raise CheckpointError(
            f"{folder} was made by model {config.module!r}; pass exactly that name to allow its import"
            if config.module is not None
            else f"{folder} was made by the registered model {config.name!r}, not by {module!r}"
        )
    if config.module is None and config.name not in list_models():
        known = ", ".join(list_models())
        raise CheckpointError(f"{folder}: unknown model {config.name[:60]!r}; registered are {known}")
    try:
        with torch.random.fork_rng(devices=[]):
            return create_model(config.module or config.name, **config.arguments)
    except (SimScaleError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: model {config.name!r} cannot be built: {error}") from error


def _load_weights(folder: Path, model: nn.Module, data: bytes) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{folder}: {WEIGHTS_FILE} is damaged: {error}; {_RESTORE}") from None
    expected = model.state_dict()
    missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unknown:
        raise CheckpointError(
            f"{folder}: weights do not fit the model: missing {sorted(missing)[:3]}, unknown {sorted(unknown)[:3]}; "
            f"{_REBUILD}"
        )
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{folder}: weight {name} has shape {tuple(tensors[name].shape)}, the model {tuple(tensor.shape)}; "
                f"{_REBUILD}"
            )
    _check_finite(folder, tensors, "train the model again with a lower --learning-rate")
    model.load_state_dict(tensors)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    import torch

    tensor = tensor.detach().to("cpu", copy=True).contiguous()
    return tensor.to(torch.float16) if half and tensor.is_floating_point() else tensor


def _check_finite(folder: Path, tensors: Mapping[str, Tensor], advice: str) -> None:
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{folder}: weight {name} holds a value that is not finite; {advice}")
